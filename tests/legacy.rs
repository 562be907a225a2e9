//! `spanbridge::legacy`: what its users see of spans, text, and the current trace.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::Sampler;
use spanbridge::legacy::{
    AlreadyInstalledError, Field, InTrace, TextLog, TextLogBuilder, Trace, component_base, fields,
};
use spanbridge::testing::InMemory;
use spanbridge::{BridgeLayer, SpanExt as _};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::prelude::*;

const NO_TIME: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    fn builder(&self) -> TextLogBuilder {
        let writer = self.clone();
        TextLog::builder().with_header(false).with_writer(move || writer.clone())
    }

    fn log(&self) -> TextLog {
        self.builder().build()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn silent() -> TextLog {
    TextLog::builder().with_verbosity(0).build()
}

/// What `f` makes of spans, as a tree.
fn spans(f: impl FnOnce()) -> String {
    let (memory, layer) = InMemory::new();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || silent().in_scope(f));
    memory.tree()
}

#[test]
fn a_trace_is_a_span_with_events_and_children() {
    let tree = spans(|| {
        let _request = tracing::info_span!("request").entered();
        let trace = Trace::new("List", fields!["url" => "/pods", "limit" => 500, "watch" => false]);
        trace.step("listed from storage", fields!["count" => 3_usize]);
        let nested = trace.nest("encode", fields!["ratio" => 0.5]);
        nested.log_if_long(LONG);
        trace.step("done", fields![]);
        trace.log_if_long(LONG);
    });
    let expected = "\
request
  List {url=\"/pods\", limit=500, watch=false}
    * listed from storage {count=3}
    * done
    encode {ratio=0.5}
";
    assert_eq!(tree, expected);
}

#[test]
fn a_span_ends_when_its_trace_is_logged() {
    let (memory, layer) = InMemory::new();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let trace = Trace::new_in(&silent(), "List", fields![]);
        trace.in_scope(|| trace.step("in scope", fields![]));
        assert_eq!(memory.tree(), "");
        trace.log();
        assert_eq!(memory.tree(), "List\n  * in scope\n");
        trace.step("too late for the span", fields![]);
        trace.log();
    });
    assert_eq!(memory.tree(), "List\n  * in scope\n");
}

#[test]
fn a_span_lasts_longer_than_the_scopes_it_was_entered_for() {
    let (memory, layer) = InMemory::new();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let trace = Trace::new_in(&silent(), "List", fields![]);
        trace.in_scope(|| {});
        let later = trace.nest("later", fields![]);
        later.log();
        trace.log();
    });
    let spans = memory.spans();
    let end = |name: &str| spans.iter().find(|span| span.name == name).unwrap().end_time;
    assert!(end("List") >= end("later"));
}

#[test]
fn code_within_a_trace_belongs_to_its_span() {
    let tree = spans(|| {
        let trace = Trace::new("List", fields![]);
        trace.in_scope(|| {
            tracing::info!("an event");
            tracing::info_span!("storage").in_scope(|| {});
        });
    });
    assert_eq!(tree, "List\n  * an event\n  storage\n");
}

#[test]
fn an_error_is_an_exception_a_status_and_a_step() {
    let out = Out::default();
    let (memory, layer) = InMemory::new();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let trace = Trace::new_in(&out.log(), "Create", fields![]);
        let error = "x".parse::<u8>().unwrap_err();
        trace.record_error(&error, fields!["attempt" => 2]);
        // Too short for its share, were it a step.
        trace.step("short", fields![]);
        std::thread::sleep(Duration::from_millis(20));
        trace.log_if_long(Duration::from_millis(20));
    });
    let expected = "\
Create error(invalid digit found in string)
  * exception {attempt=2, exception.type=\"core::num::error::ParseIntError\", exception.message=\"invalid digit found in string\"}
  * short
";
    assert_eq!(memory.tree(), expected);
    let text = out.text();
    assert!(text.contains("---\"exception\" attempt:2,exception.type:"), "{text}");
    assert!(text.contains("exception.message:invalid digit found in string "), "{text}");
    assert!(!text.contains("short"), "{text}");
}

#[test]
fn exactness_is_of_the_text_alone() {
    let out = Out::default();
    let (memory, layer) = InMemory::new();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let log = out.builder().with_upstream_exact(true).build();
        let trace = Trace::new_in(&log, "Create", fields![]);
        trace.record_error(&io::Error::other("full"), fields![]);
        trace.log();
    });
    assert!(!out.text().contains("full") && out.text().contains("\"Create\""), "{}", out.text());
    let tree = memory.tree();
    assert!(tree.starts_with("Create error(full)\n  * exception {"), "{tree}");
}

#[test]
fn bridge_feeds_span_and_text() {
    let out = Out::default();
    let (memory, layer) = InMemory::new();
    let subscriber = tracing_subscriber::registry().with(layer);
    let create = |error: &str| {
        let span = component_base::start("Create", fields!["verb" => "POST"]);
        span.in_scope(|| {
            let decode = component_base::start("decode", [Field::new("len", 7)]);
            decode.add_event("read", [opentelemetry::KeyValue::new("bytes", 7)]);
            decode.end(NO_TIME);
            let span = component_base::span_from_context();
            span.record_error(&io::Error::other(error.to_owned()), fields![]);
        });
        span.end(NO_TIME);
    };
    tracing::subscriber::with_default(subscriber, || {
        out.log().in_scope(|| {
            create("outside");
            tracing::info_span!("request").in_scope(|| create("inside"));
        });
    });
    let expected = "\
request
  Create error(inside) {verb=\"POST\"}
    * exception {exception.type=\"std::io::error::Error\", exception.message=\"inside\"}
    decode {len=7}
      * read {bytes=7}
";
    assert_eq!(memory.tree(), expected, "a span only where there is one already");
    let text = out.text();
    assert_eq!(text.matches("\"Create\" verb:POST (").count(), 2, "the text always: {text}");
    assert_eq!(text.matches("[\"decode\" len:7 ").count(), 2, "{text}");
    assert_eq!(text.matches("---\"read\" bytes:7 ").count(), 2, "{text}");
    assert!(text.contains("exception.message:outside"), "{text}");
}

#[test]
fn bridge_adds_to_the_innermost_span() {
    let tree = spans(|| {
        let _request = tracing::info_span!("request").entered();
        let span = component_base::start("Create", fields![]);
        span.in_scope(|| {
            let _inner = tracing::info_span!("inner").entered();
            component_base::span_from_context().add_event("here", fields![]);
        });
    });
    assert_eq!(tree, "request\n  Create\n    inner\n      * here\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_current_trace_follows_each_task() {
    let out = Out::default();
    let log = out.log();
    let mut tasks = Vec::new();
    for task in 0..16 {
        let trace = Trace::new_in(&log, format!("task {task}"), fields![]);
        tasks.push(tokio::spawn(async move {
            let steps = async {
                for step in 0..16 {
                    Trace::current().step(format!("step {step} of {task}."), fields![]);
                    tokio::task::yield_now().await;
                }
            };
            trace.in_future(steps).await;
            let nobody = Trace::current();
            nobody.step("lost", fields![]);
            trace.log();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let text = out.text();
    let blocks: Vec<&str> = text.split_inclusive("] END\n").collect();
    assert_eq!(blocks.len(), 16);
    for task in 0..16 {
        let name = format!("]: \"task {task}\" (");
        let block = blocks.iter().find(|block| block.contains(&name)).unwrap();
        assert_eq!(block.matches("---\"").count(), 16, "{block}");
        assert_eq!(block.matches(&format!(" of {task}.\"")).count(), 16, "{block}");
    }
}

#[test]
fn without_a_current_trace_nothing_breaks() {
    let current = Trace::current();
    current.step("nobody listens", fields![]);
    current.record_error(&fmt::Error, fields![]);
    current.log_if_long(NO_TIME);
    assert_eq!(current.total_time(), NO_TIME);
    let out = Out::default();
    out.log().in_scope(|| current.nest("root", fields![]).log());
    assert!(out.text().contains("]: \"root\" ("), "{}", out.text());
}

#[test]
fn everything_can_be_used_from_any_thread() {
    fn is_sendable<T: Send + Sync + 'static>() {}
    is_sendable::<Trace>();
    is_sendable::<component_base::Span>();
    is_sendable::<Field>();
    is_sendable::<TextLog>();
    is_sendable::<InTrace<std::future::Ready<()>>>();
    is_sendable::<AlreadyInstalledError>();
}

#[test]
fn where_nothing_is_wanted_nothing_is_made() {
    let evaluated = Cell::new(0);
    let value = || {
        evaluated.set(evaluated.get() + 1);
        "x".repeat(100)
    };
    let log = silent();
    let allocations = allocation_counter::measure(|| {
        let trace = Trace::new_in(&log, "List", fields!["k" => value()]);
        trace.step("step", fields!["k" => value()]);
        let nested = trace.nest("nested", fields!["k" => value()]);
        nested.in_scope(|| Trace::current().step("inner", fields!["k" => value()]));
        trace.log_if_long(NO_TIME);
    });
    assert_eq!(allocations.count_total, 0);
    assert_eq!(evaluated.get(), 0);
}

#[test]
fn fields_are_formatted_only_if_printed() {
    #[derive(Clone)]
    struct Counted(Arc<AtomicUsize>);
    impl fmt::Display for Counted {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fetch_add(1, Ordering::Relaxed);
            f.write_str("shown")
        }
    }
    impl fmt::Debug for Counted {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self, f)
        }
    }
    impl std::error::Error for Counted {}
    let out = Out::default();
    let counted = Counted(Arc::default());
    let trace = |threshold| {
        let trace = Trace::new_in(&out.log(), "List", fields!["a" => %counted.clone()]);
        trace.step("step", fields!["b" => %counted.clone()]);
        trace.log_if_long(threshold);
        counted.0.load(Ordering::Relaxed)
    };
    assert_eq!(trace(LONG), 0);
    assert_eq!(trace(NO_TIME), 2);
    assert!(out.text().contains("\"List\" a:shown ("), "{}", out.text());

    // What is given with an error, too; the error itself is borrowed, and is there at most once.
    counted.0.store(0, Ordering::Relaxed);
    for (threshold, expected) in [(LONG, 1), (NO_TIME, 3)] {
        let trace = Trace::new_in(&out.log(), "Get", fields![]);
        trace.record_error(&counted, fields!["c" => %counted.clone(), "n" => None::<u8>]);
        trace.log_if_long(threshold);
        assert_eq!(counted.0.load(Ordering::Relaxed), expected);
    }
    let text = out.text();
    assert!(text.contains("---\"exception\" c:shown,n:<nil>,exception.type:"), "{text}");

    // 1. A caller has not sampled its request, so that no span of it will be.
    // 2. Not even what such spans are made with is formatted, nor the errors on them.
    counted.0.store(0, Ordering::Relaxed);
    let (memory, layer) = InMemory::new();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let request = tracing::info_span!("request");
        let caller = SpanContext::new(
            TraceId::from(1),
            SpanId::from(2),
            TraceFlags::NOT_SAMPLED,
            true,
            TraceState::NONE,
        );
        request.set_parent(Context::new().with_remote_span_context(caller)).unwrap();
        let _entered = request.entered();
        for log in [silent(), TextLog::builder().with_writer(io::sink).build()] {
            let trace = Trace::new_in(&log, "List", fields!["a" => %counted.clone()]);
            trace.step("step", fields!["b" => ?counted.clone()]);
            trace.nest("nested", fields!["c" => %counted.clone()]).log_if_long(LONG);
            trace.in_scope(|| {
                let span = component_base::span_from_context();
                span.add_event("event", fields!["d" => %counted.clone()]);
            });
            trace.log_if_long(LONG);
        }
        let trace = Trace::new_in(&silent(), "List", fields![]);
        trace.record_error(&counted, fields!["e" => %counted.clone()]);
    });
    assert_eq!(counted.0.load(Ordering::Relaxed), 0);
    assert!(memory.spans().is_empty(), "{}", memory.tree());
}

#[test]
fn a_trace_that_is_logged_again_and_again_keeps_one_end() {
    // 1. A loop logs its root and a nested trace of it each time around, as heartbeats do.
    // 2. What they keep does not grow: allocations come from outside of the trace only.
    let log = TextLog::builder().with_header(false).with_writer(io::sink).build();
    let trace = Trace::new_in(&log, "loop", fields![]);
    let nested = trace.nest("nested", fields![]);
    let log_again = || {
        nested.log_if_long(LONG);
        trace.log_if_long(LONG);
    };
    log_again();
    let allocations = allocation_counter::measure(|| (0..10_000).for_each(|_| log_again()));
    assert_eq!(allocations.count_total, 0);

    // The last end counts, and the last threshold that was given.
    let out = Out::default();
    let trace = Trace::new_in(&out.log(), "root", fields![]);
    trace.log_if_long(LONG);
    trace.log();
    assert_eq!(out.text(), "", "the threshold stands");
    trace.log_if_long(NO_TIME);
    assert_eq!(out.text().matches(" END\n").count(), 1, "{}", out.text());
}

#[test]
fn a_writer_that_panics_or_fails_is_no_trouble() {
    struct Broken;
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("full"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    struct Panics;
    impl io::Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("boom")
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let logs = [
        TextLog::builder().with_writer(|| Broken).build(),
        TextLog::builder().with_writer(|| Panics).build(),
        TextLog::builder().with_writer(|| -> io::Sink { panic!("no writer") }).build(),
    ];
    for log in &logs {
        Trace::new_in(log, "List", fields![]).log();
        // Also where a panic within a panic would abort the process.
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _trace = Trace::new_in(log, "List", fields![]).log_on_drop(NO_TIME);
            panic!("the operation's own");
        }));
        assert_eq!(*unwound.unwrap_err().downcast::<&str>().unwrap(), "the operation's own");
        assert_eq!(log.lost_blocks(), 2, "{log:?}");
    }
    let out = Out::default();
    let log = out.log();
    Trace::new_in(&log, "List", fields![]).log();
    assert_eq!(log.lost_blocks(), 0);
}

#[test]
fn text_is_an_event_of_no_span_where_no_writer_is_given() {
    let out = Out::default();
    let writer = out.clone();
    let (memory, layer) = InMemory::new();
    let fmt = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone());
    let subscriber = tracing_subscriber::registry().with(layer).with(fmt);
    tracing::subscriber::with_default(subscriber, || {
        let _request = tracing::info_span!("request").entered();
        drop(Trace::new("List", fields!["limit" => 5]).log_on_drop(NO_TIME));
    });
    let text = out.text();
    assert!(text.starts_with(" INFO spanbridge::legacy::text: Trace["), "{text}");
    assert!(text.contains("]: \"List\" limit:5 (") && text.ends_with("] END\n"), "{text}");
    assert_eq!(memory.tree(), "request\n  List {limit=5}\n");
}

#[test]
fn text_and_spans_are_filtered_by_their_targets() {
    for (directives, has_text, has_span) in [
        ("info", true, true),
        ("warn", false, false),
        ("info,spanbridge::legacy::text=off", false, true),
        ("spanbridge::legacy::text=info", true, false),
    ] {
        let out = Out::default();
        let writer = out.clone();
        let (memory, layer) = InMemory::new();
        let subscriber = tracing_subscriber::registry()
            .with(EnvFilter::new(directives))
            .with(layer)
            .with(tracing_subscriber::fmt::layer().with_writer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            Trace::new("List", fields![]).log();
        });
        assert_eq!(!out.text().is_empty(), has_text, "{directives}: {}", out.text());
        assert_eq!(!memory.tree().is_empty(), has_span, "{directives}");
    }
}

#[test]
fn a_block_names_the_span_that_stands_for_it() {
    let out = Out::default();
    let (memory, layer) = InMemory::new();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let log = out.builder().with_ids(true).build();
        let trace = Trace::new_in(&log, "fast", fields![]);
        trace.nest("slow", fields!["k" => 1]).log_if_long(NO_TIME);
        trace.log_if_long(LONG);
    });
    let spans = memory.spans();
    let slow = spans.iter().find(|span| span.name == "slow").unwrap();
    let context = &slow.span_context;
    let ids = format!("k:1,trace_id:{},span_id:{} (", context.trace_id(), context.span_id());
    assert!(out.text().contains(&format!("]: \"slow\" {ids}")), "{ids}: {}", out.text());
}

#[test]
fn klogs_header_comes_before_a_block() {
    let out = Out::default();
    let log = out.builder().with_header(true).with_utc(true).build();
    Trace::new_in(&log, "List", fields![]).log();
    let text = out.text();
    let line = line!() - 2;
    let header = format!(" {:>7} legacy.rs:{line}] Trace[", std::process::id());
    let (time, rest) = text.split_once(&header).unwrap_or_else(|| panic!("{header}: {text}"));
    assert!(time.starts_with('I') && time.len() == "I1122 07:30:00.123456".len(), "{time}");
    assert!(!rest.contains("legacy.rs"), "only the first line has one: {text}");
}

/// A layer that samples nothing unless a parent was sampled, as in Kubernetes.
fn unsampled() -> (InMemory, BridgeLayer) {
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
    let builder = spanbridge::layer().with_location(false).with_target(false);
    InMemory::with(builder.with_sampler(sampler))
}

#[test]
fn a_slow_operation_that_was_not_sampled_is_kept_on_request() {
    for is_kept in [false, true] {
        let out = Out::default();
        let (memory, layer) = unsampled();
        let subscriber = tracing_subscriber::registry().with(layer);
        let before = SystemTime::now();
        let ids = tracing::subscriber::with_default(subscriber, || {
            let log = out.builder().with_unsampled_kept(is_kept).build();
            Trace::new_in(&log, "fast", fields![]).log_if_long(LONG);
            let trace = Trace::new_in(&log, "slow", fields!["url" => "/pods", "limit" => 5]);
            let cx = trace.span().unwrap().context();
            trace.step("step", fields!["count" => 3]);
            let nested = trace.nest("nested", fields!["ratio" => 0.5]);
            nested.nest("leaf", fields![]).log();
            nested.record_error(&fmt::Error, fields![]);
            nested.log_if_long(LONG);
            let unfinished = trace.nest("unfinished", fields![]);
            // A step that has an error's name is none.
            trace.step("exception", fields![]);
            trace.log_if_long(NO_TIME);
            drop(unfinished);
            cx.span().span_context().clone()
        });
        let after = SystemTime::now();
        assert!(!ids.is_sampled());
        let spans = memory.spans();
        if !is_kept {
            assert!(spans.is_empty(), "{}", memory.tree());
            continue;
        }
        let by_name = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let slow = by_name("slow");
        assert_eq!(slow.span_context.trace_id(), ids.trace_id());
        assert_eq!(slow.parent_span_id, ids.span_id());
        assert_ne!(slow.parent_span_id, SpanId::INVALID);
        let text = slow.attributes.iter().find(|kv| kv.key.as_str() == "slow_operation.text");
        let text = text.unwrap().value.as_str().into_owned();
        assert_eq!(text, out.text().trim_end());
        let expected = "\
slow {url=\"/pods\", limit=5}
  * step {count=3}
  * exception
  nested error(an error occurred when formatting an argument) {ratio=0.5}
    * exception {exception.type=\"core::fmt::Error\", \
exception.message=\"an error occurred when formatting an argument\"}
    leaf
  unfinished {spanbridge.unfinished=true}
";
        let tree = memory.tree().replace(&format!("slow_operation.text={text:?}, "), "");
        assert_eq!(tree, expected);

        // True times, not those at which the spans were made: one thing after the other.
        let (nested, leaf) = (by_name("nested"), by_name("leaf"));
        let moments = [
            before,
            slow.start_time,
            slow.events.events[0].timestamp,
            nested.start_time,
            leaf.start_time,
            leaf.end_time,
            nested.events.events[0].timestamp,
            nested.end_time,
            by_name("unfinished").start_time,
            slow.events.events[1].timestamp,
            slow.end_time,
            by_name("unfinished").end_time,
            after,
        ];
        assert!(moments.is_sorted(), "{moments:?}");
    }
}

#[test]
fn a_slow_operation_within_a_request_that_was_not_sampled_is_kept() {
    for is_bridge in [false, true] {
        let out = Out::default();
        let (memory, layer) = unsampled();
        let subscriber = tracing_subscriber::registry().with(layer);
        let request = tracing::subscriber::with_default(subscriber, || {
            let log = out.builder().with_unsampled_kept(true).build();
            let request = tracing::info_span!("request");
            log.in_scope(|| request.in_scope(|| work(is_bridge)));
            request.context().span().span_context().clone()
        });
        assert!(!request.is_sampled());
        let spans = memory.spans();
        let slow = spans.iter().find(|span| span.name == "slow");
        let slow = slow.unwrap_or_else(|| panic!("{is_bridge} {}", memory.tree()));
        assert_eq!(slow.span_context.trace_id(), request.trace_id(), "{is_bridge}");
        assert_eq!(spans.len(), 2, "{is_bridge} {}", memory.tree());
    }

    fn work(is_bridge: bool) {
        if is_bridge {
            let slow = component_base::start("slow", fields![]);
            slow.in_scope(|| component_base::start("nested", fields![]).end(NO_TIME));
            slow.end(NO_TIME);
        } else {
            let slow = Trace::new("slow", fields![]);
            slow.nest("nested", fields![]).log();
            slow.log_if_long(NO_TIME);
        }
    }
}

#[test]
fn what_is_kept_needs_nobody_to_want_its_text() {
    for (verbosity, is_event) in [(0, false), (2, true)] {
        let out = Out::default();
        let (memory, layer) = unsampled();
        // The text would be an event, and only spans pass.
        let filter = filter_fn(|metadata| metadata.is_span());
        let subscriber = tracing_subscriber::registry().with(layer).with(filter);
        tracing::subscriber::with_default(subscriber, || {
            let builder = if is_event { TextLog::builder() } else { out.builder() };
            let builder = builder.with_verbosity(verbosity).with_unsampled_kept(true);
            let log = builder.build();
            Trace::new_in(&log, "fast", fields![]).log_if_long(LONG);
            let trace = Trace::new_in(&log, "slow", fields!["n" => 1]);
            trace.step("step", fields![]);
            trace.nest("nested", fields![]).log();
            trace.log_if_long(NO_TIME);
        });
        let case = format!("{verbosity} {is_event}");
        assert_eq!(out.text(), "", "{case}");
        let slow = memory.spans().into_iter().find(|span| span.name == "slow").expect(&case);
        let text = slow.attributes.iter().find(|kv| kv.key.as_str() == "slow_operation.text");
        let text = text.expect(&case).value.as_str().into_owned();
        assert!(text.contains("]: \"slow\" n:1 (") && text.ends_with("END"), "{text}");
        let tree = memory.tree().replace(&format!("slow_operation.text={text:?}, "), "");
        assert_eq!(tree, "slow {n=1}\n  * step\n  nested\n", "{case}");
    }
}

#[test]
fn a_slow_part_of_a_fast_operation_is_kept_alone() {
    let out = Out::default();
    let (memory, layer) = unsampled();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let log = out.builder().with_unsampled_kept(true).build();
        let trace = Trace::new_in(&log, "fast", fields![]);
        trace.nest("other", fields![]).log_if_long(LONG);
        let slow = trace.nest("slow", fields!["n" => 1]);
        slow.nest("inner", fields!["n" => 2]).log();
        slow.log();
        trace.step("step", fields![]);
        trace.log_if_long(LONG);
    });
    let mut names: Vec<_> = memory.spans().iter().map(|span| span.name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["inner", "slow"], "{}", memory.tree());
}

#[test]
fn a_sampler_may_refuse_what_would_be_kept() {
    let out = Out::default();
    let builder = spanbridge::layer().with_sampler(Sampler::AlwaysOff);
    let (memory, layer) = InMemory::with(builder);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let log = out.builder().with_unsampled_kept(true).build();
        let trace = Trace::new_in(&log, "slow", fields![]);
        trace.nest("nested", fields![]).log();
        trace.log();
    });
    assert!(out.text().contains("slow") && memory.spans().is_empty(), "{}", memory.tree());
}

#[test]
fn a_sampled_operation_is_not_kept_twice() {
    let out = Out::default();
    let (memory, layer) = InMemory::new();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let log = out.builder().with_unsampled_kept(true).build();
        Trace::new_in(&log, "slow", fields![]).log();
    });
    assert_eq!(memory.tree(), "slow\n");
}

#[test]
fn a_dropped_trace_ends() {
    let out = Out::default();
    let log = out.log();
    drop(Trace::new_in(&log, "never logged", fields![]));
    assert_eq!(out.text(), "");
    {
        let root = Trace::new_in(&log, "root", fields![]).log_on_drop(NO_TIME);
        drop(root.nest("dropped", fields![]));
        drop(root.nest("fast", fields![]).log_on_drop(LONG));
        std::mem::forget(root.nest("forgotten", fields![]));
    }
    let text = out.text();
    assert!(text.contains("]: \"root\" ("), "{text}");
    assert!(text.contains("[\"dropped\" ") && !text.contains("fast"), "{text}");
    let forgotten = text.lines().find(|line| line.contains("forgotten")).unwrap();
    assert!(forgotten.ends_with(" (unfinished)]"), "{forgotten}");
}

#[test]
fn a_dropped_nested_trace_has_no_block_of_its_own() {
    // 1. A request starts a nested trace and returns early, so that it is dropped.
    // 2. The request was fast. Of its parts only what was logged may be printed in its place.
    let out = Out::default();
    let root = Trace::new_in(&out.log(), "fast", fields![]);
    let dropped = root.nest("dropped", fields![]);
    dropped.nest("logged", fields![]).log();
    drop(dropped);
    drop(root.nest("dropped on purpose", fields![]).log_on_drop(NO_TIME));
    root.log_if_long(LONG);
    let text = out.text();
    let first_lines: Vec<_> = text.lines().filter(|line| line.contains("total time")).collect();
    assert_eq!(first_lines.len(), 2, "{text}");
    assert!(first_lines[0].contains("]: \"logged\" ("), "{text}");
    assert!(first_lines[1].contains("]: \"dropped on purpose\" ("), "{text}");
}

#[test]
fn a_span_ends_before_what_is_nested_in_it() {
    // 1. A root that was never entered is logged.
    // 2. What is nested in it goes on, and keeps its span open.
    let (memory, layer) = InMemory::new();
    let subscriber = tracing_subscriber::registry().with(layer);
    let logged = tracing::subscriber::with_default(subscriber, || {
        let root = Trace::new_in(&silent(), "List", fields![]);
        let nested = root.nest("watch", fields![]);
        root.log();
        drop(root);
        let logged = SystemTime::now();
        while SystemTime::now() <= logged + Duration::from_millis(1) {
            std::hint::spin_loop();
        }
        drop(nested);
        logged
    });
    let spans = memory.spans();
    let end = |name: &str| spans.iter().find(|span| span.name == name).unwrap().end_time;
    assert!(end("List") <= logged, "{:?} after {logged:?}", end("List"));
    assert!(end("watch") > logged);
}

#[test]
fn an_error_of_a_quick_nested_trace_is_in_its_slow_roots_text() {
    // 1. A nested trace fails at once, long before its threshold.
    // 2. Its root is slow.
    let out = Out::default();
    let root = Trace::new_in(&out.log(), "slow", fields![]);
    let nested = root.nest("quick", fields![]);
    let failed = nested.nest("failed", fields![]);
    failed.step("short", fields![]);
    failed.record_error(&fmt::Error, fields![]);
    failed.log_if_long(LONG);
    nested.log_if_long(LONG);
    root.log_if_long(NO_TIME);
    let text = out.text();
    let lines: Vec<_> = text.lines().map(|line| line.split_once("]: ").unwrap().1).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[1].starts_with("[\"failed\" "), "{text}");
    assert!(lines[2].starts_with(" ---\"exception\" exception.type:"), "{text}");
}

#[test]
fn upstreams_behaviour_can_be_had_exactly() {
    let out = Out::default();
    let log = out.builder().with_upstream_exact(true).with_header(true).build();
    let root = Trace::new_in(&log, "root", fields![]);
    drop(root.nest("dropped", fields![]));
    let unfinished = root.nest("unfinished", fields![]);
    root.record_error(&fmt::Error, fields![]);
    for _ in 0..10_001 {
        root.step("step", fields![]);
    }
    root.log();
    drop(unfinished);
    let text = out.text();
    assert!(text.contains(" trace.go:236] Trace["), "{}", &text[..200]);
    assert_eq!(text.matches("---\"step\"").count(), 10_001);
    for absent in ["dropped", "unfinished", "exception", "left out"] {
        assert!(!text.contains(absent), "{absent}");
    }
}

#[test]
fn a_handle_ends_nothing_when_it_is_dropped() {
    let out = Out::default();
    let trace = Trace::new_in(&out.log(), "root", fields![]).log_on_drop(NO_TIME);
    let handle = trace.handle();
    std::thread::spawn(move || handle.step("from another thread", fields![])).join().unwrap();
    trace.in_scope(|| drop(Trace::current()));
    assert_eq!(out.text(), "");
    drop(trace);
    assert!(out.text().contains("---\"from another thread\""), "{}", out.text());
}

#[test]
fn nobody_waits_for_a_slow_writer() {
    struct Slow(mpsc::Sender<()>, Arc<Mutex<mpsc::Receiver<()>>>);
    impl io::Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(()).unwrap();
            // Held up until the other thread has done everything there is to do.
            self.1.lock().unwrap().recv().unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (writing, is_writing) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = Arc::new(Mutex::new(may_go_on));
    let log = TextLog::builder()
        .with_writer(move || Slow(writing.clone(), Arc::clone(&may_go_on)))
        .build();
    let trace = Trace::new_in(&log, "root", fields![]);
    std::thread::scope(|scope| {
        scope.spawn(|| trace.log());
        is_writing.recv().unwrap();
        trace.step("meanwhile", fields![]);
        let nested = trace.nest("meanwhile", fields![]);
        nested.step("below", fields![]);
        nested.log();
        go_on.send(()).unwrap();
    });
}

#[test]
fn what_a_trace_keeps_is_bounded() {
    #[derive(Debug)]
    struct Unprintable;
    impl fmt::Display for Unprintable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("nobody wants it")
        }
    }
    impl std::error::Error for Unprintable {}
    let out = Out::default();
    let trace = Trace::new_in(&out.log(), "root", fields![]);
    for _ in 0..10_003 {
        trace.step("step", fields![]);
    }
    let nested = trace.nest("nested", fields![]);
    nested.step("below", fields![]);
    nested.log();
    // An error is left out, too, and not even formatted.
    trace.record_error(&Unprintable, fields![]);
    trace.log();
    let text = out.text();
    assert_eq!(text.matches("---\"step\"").count(), 10_000);
    assert!(text.contains("---\"6 more left out: a trace keeps 10000\" "), "{}", out.text());
    assert!(!text.contains("nested"), "it was left out");
}

#[cfg(feature = "tracing-opentelemetry")]
#[test]
fn spans_reach_tracing_opentelemetrys_layer_too() {
    use opentelemetry::trace::{Status, TracerProvider as _};
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};

    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let trace = Trace::new_in(&silent(), "List", fields!["limit" => 5]);
        trace.step("step", fields!["count" => 3]);
        trace.nest("nested", fields![]).log();
        trace.record_error(&fmt::Error, fields![]);
        trace.log();
    });
    let spans = exporter.get_finished_spans().unwrap();
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["nested", "List"]);
    assert_eq!(spans[0].parent_span_id, spans[1].span_context.span_id());
    let limit = spans[1].attributes.iter().find(|kv| kv.key.as_str() == "limit").unwrap();
    assert_eq!(limit.value, 5_i64.into());
    let events: Vec<_> = spans[1].events.iter().map(|event| &*event.name).collect();
    assert_eq!(events, ["step", "exception"]);
    assert!(matches!(spans[1].status, Status::Error { .. }), "{:?}", spans[1].status);
}
