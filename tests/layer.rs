//! What the layer makes of `tracing` spans, seen from an exporter.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{Sampler, SpanData};
use spanbridge::testing::InMemory;
use spanbridge::{SetParentError, SpanExt as _};
use tracing::{Level, Span, error, info, info_span, span, trace_span, warn};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Runs `f` under a registry with our layer alone, and gives what was exported.
fn traced(f: impl FnOnce()) -> InMemory {
    let (memory, layer) = InMemory::new();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), f);
    memory
}

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|a| &a.value)
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
}

fn remote(flags: u8) -> Context {
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
        SpanId::from(0x00f0_67aa_0ba9_02b7),
        TraceFlags::new(flags),
        true,
        Default::default(),
    ))
}

#[test]
fn nesting_values_and_events_arrive() {
    let memory = traced(|| {
        let _outer = info_span!("outer", n = 1_u64, ok = true, name = "x", ratio = 0.5).entered();
        info!(count = 2, "in outer");
        info_span!("inner", value = ?Some(3)).in_scope(|| info!("in inner"));
    });
    assert_eq!(
        memory.tree(),
        "outer {n=1, ok=true, name=\"x\", ratio=0.5}\n  \
           * in outer {count=2}\n  \
           inner {value=\"Some(3)\"}\n    \
             * in inner\n"
    );
}

#[test]
fn integers_stay_integers_and_only_those_beyond_64_bits_become_text() {
    let memory = traced(|| {
        let _ = info_span!(
            "s",
            a = 5_u64,
            b = u64::MAX,
            c = -1_i64,
            d = 7_usize,
            e = 1_u128,
            f = i128::MIN,
            g = 200_u16,
        );
    });
    let spans = memory.spans();
    let span = named(&spans, "s");
    assert_eq!(attribute(span, "a"), Some(&Value::I64(5)));
    assert_eq!(attribute(span, "b"), Some(&Value::String(u64::MAX.to_string().into())));
    assert_eq!(attribute(span, "c"), Some(&Value::I64(-1)));
    assert_eq!(attribute(span, "d"), Some(&Value::I64(7)));
    assert_eq!(attribute(span, "e"), Some(&Value::I64(1)));
    assert_eq!(attribute(span, "f"), Some(&Value::String(i128::MIN.to_string().into())));
    assert_eq!(attribute(span, "g"), Some(&Value::I64(200)));
}

#[test]
fn otel_fields_stay_live_until_close() {
    let memory = traced(|| {
        let span = info_span!(
            "first",
            otel.name = tracing::field::Empty,
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            otel.status_description = tracing::field::Empty,
        );
        span.in_scope(|| info_span!("child").in_scope(|| {}));
        span.record("otel.name", "second");
        span.record("otel.name", "third");
        span.record("otel.kind", "SERVER");
        span.record("otel.status_description", "gone");
        span.record("otel.status_code", "ERROR");
    });
    assert_eq!(memory.tree(), "third [server] error(gone)\n  child\n");
}

#[test]
fn a_value_recorded_late_or_again_is_the_last_one() {
    let memory = traced(|| {
        let span = info_span!("s", late = tracing::field::Empty, again = 1);
        span.record("late", 5);
        span.record("again", "two");
        span.record("again", 3.5);
    });
    assert_eq!(memory.tree(), "s {late=5, again=3.5}\n");
}

#[test]
fn errors_become_exceptions_and_status() {
    #[derive(Debug)]
    struct Wrapped(std::num::ParseIntError);
    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bad request")
        }
    }
    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let failure = Wrapped("x".parse::<i32>().unwrap_err());
    let memory = traced(|| {
        info_span!("field", problem = &failure as &dyn std::error::Error).in_scope(|| {});
        info_span!("returned").in_scope(|| error!(error = %failure));
        info_span!("logged").in_scope(|| error!("went wrong"));
        info_span!("warned").in_scope(|| warn!("careful"));
    });
    let spans = memory.spans();
    let span = named(&spans, "field");
    assert_eq!(attribute(span, "problem"), Some(&Value::String("bad request".into())));
    assert_eq!(attribute(span, "exception.message"), Some(&Value::String("bad request".into())));
    let sources = attribute(span, "problem.chain").unwrap().to_string();
    assert_eq!(sources, "[\"invalid digit found in string\"]");
    let span = named(&spans, "returned");
    assert_eq!(span.status, Status::error("bad request"));
    assert_eq!(span.events[0].name, "exception");
    assert_eq!(named(&spans, "logged").status, Status::error(""));
    assert_eq!(named(&spans, "warned").status, Status::Unset);
}

#[test]
fn links_follow_open_and_closed_spans() {
    let memory = traced(|| {
        let open = info_span!("open");
        let closed = info_span!("closed");
        let closed_id = closed.id().unwrap();
        drop(closed);
        let span = info_span!("follower");
        span.follows_from(open.id());
        span.follows_from(closed_id);
        let elsewhere = remote(1);
        span.add_link_with_attributes(
            elsewhere.span().span_context().clone(),
            vec![KeyValue::new("why", "batch")],
        );
    });
    let spans = memory.spans();
    let linked: Vec<_> =
        named(&spans, "follower").links.iter().map(|link| link.span_context.span_id()).collect();
    let id = |name| named(&spans, name).span_context.span_id();
    assert_eq!(linked, [id("open"), id("closed"), SpanId::from(0x00f0_67aa_0ba9_02b7)]);
}

#[test]
fn location_target_level_and_thread_are_attributes_as_asked() {
    let (memory, layer) = InMemory::with(spanbridge::layer().with_threads(true).with_level(true));
    let line = line!() + 3;
    let thread = std::thread::Builder::new().name("maker".into()).spawn(move || {
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            info_span!("s").in_scope(|| info!("e"));
        });
    });
    thread.unwrap().join().unwrap();
    let spans = memory.spans();
    let span = &spans[0];
    assert_eq!(attribute(span, "code.line.number"), Some(&Value::I64(i64::from(line))));
    assert!(attribute(span, "code.file.path").unwrap().as_str().ends_with("layer.rs"));
    assert_eq!(attribute(span, "code.module.name").unwrap().as_str(), "layer");
    assert_eq!(attribute(span, "target").unwrap().as_str(), "layer");
    assert_eq!(attribute(span, "level").unwrap().as_str(), "INFO");
    assert_eq!(attribute(span, "thread.name").unwrap().as_str(), "maker");
    assert!(span.events[0].attributes.iter().any(|a| a.key.as_str() == "code.line.number"));
}

#[test]
fn parent_is_explicit_then_current_then_the_otel_context() {
    let memory = traced(|| {
        let explicit = info_span!("explicit");
        let _current = info_span!("current").entered();
        info_span!(parent: &explicit, "of explicit").in_scope(|| {});
        info_span!("of current").in_scope(|| {});
        info_span!(parent: None, "root").in_scope(|| {});
        drop(_current);
        let _attached = remote(1).attach();
        info_span!("of remote").in_scope(|| {});
    });
    let spans = memory.spans();
    let parent = |name| named(&spans, name).parent_span_id;
    let id = |name| named(&spans, name).span_context.span_id();
    assert_eq!(parent("of explicit"), id("explicit"));
    assert_eq!(parent("of current"), id("current"));
    assert_eq!(parent("root"), SpanId::INVALID);
    assert_eq!(parent("of remote"), SpanId::from(0x00f0_67aa_0ba9_02b7));
    assert!(named(&spans, "of remote").parent_span_is_remote);
}

#[test]
fn set_parent_works_until_the_ids_have_left() {
    let memory = traced(|| {
        let _elsewhere = info_span!("elsewhere").entered();
        let span = info_span!("late");
        let entered = span.enter();
        span.set_parent(remote(1)).unwrap();
        drop(entered);
        span.in_scope(|| info_span!("child").in_scope(|| {}));
        assert_eq!(span.set_parent(remote(1)), Err(SetParentError::AlreadyStarted));
        assert_eq!(Span::none().set_parent(remote(1)), Err(SetParentError::SpanDisabled));
    });
    let spans = memory.spans();
    assert_eq!(named(&spans, "late").parent_span_id, SpanId::from(0x00f0_67aa_0ba9_02b7));
    let trace = named(&spans, "late").span_context.trace_id();
    assert_eq!(trace, TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
    assert_eq!(named(&spans, "child").span_context.trace_id(), trace);
    assert_ne!(named(&spans, "elsewhere").span_context.trace_id(), trace);
    assert_eq!(memory.stats().started(), 3);
}

#[test]
fn set_parent_without_a_layer_says_so() {
    tracing::subscriber::with_default(Registry::default(), || {
        let span = info_span!("s");
        assert_eq!(span.set_parent(remote(1)), Err(SetParentError::LayerNotFound));
    });
}

#[test]
fn the_flags_of_a_parent_travel_and_a_root_has_random_ids() {
    let memory = traced(|| {
        for flags in [1, 3] {
            let span = span!(Level::INFO, "continued", flags);
            span.set_parent(remote(flags)).unwrap();
        }
        drop(info_span!("fresh"));
    });
    for span in memory.spans() {
        let expected = match attribute(&span, "flags") {
            Some(Value::I64(flags)) => *flags as u8,
            _ => 3,
        };
        assert_eq!(span.span_context.trace_flags().to_u8(), expected, "{}", span.name);
    }
}

#[test]
fn one_decision_covers_the_local_trace() {
    let (memory, layer) = InMemory::with(
        spanbridge::layer().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))),
    );
    let seen = tracing::subscriber::with_default(Registry::default().with(layer), || {
        info_span!("dropped").in_scope(|| {
            info!("event");
            let child = info_span!("child");
            child.in_scope(|| {
                let grandchild = info_span!("grandchild");
                grandchild.record("otel.name", "x");
                grandchild.context().span().span_context().clone()
            })
        })
    });
    assert!(seen.is_valid() && !seen.is_sampled());
    let (memory2, layer) = InMemory::new();
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        let span = info_span!("unsampled by its parent");
        span.set_parent(remote(0)).unwrap();
        span.in_scope(|| info_span!("child").in_scope(|| {}));
    });
    for memory in [memory, memory2] {
        assert_eq!(memory.tree(), "");
        assert_eq!(memory.stats().started(), 0);
        assert_eq!(memory.stats().not_sampled(), 1);
    }
}

#[test]
fn an_unsampled_trace_stays_one_on_other_threads_and_under_other_spans() {
    let (memory, layer) = InMemory::new();
    let subscriber = std::sync::Arc::new(Registry::default().with(layer));
    let dispatch = tracing::Dispatch::from(subscriber);
    let child = tracing::dispatcher::with_default(&dispatch, || {
        let entry = info_span!("entry");
        entry.set_parent(remote(0)).unwrap();
        info_span!(parent: &entry, "child")
    });
    let dispatch2 = dispatch.clone();
    std::thread::spawn(move || {
        tracing::dispatcher::with_default(&dispatch2, || {
            let _unrelated = info_span!("sampled, unrelated").entered();
            child.in_scope(|| {
                info!("event of the unsampled child");
                info_span!("grandchild").in_scope(|| {});
            });
        });
    })
    .join()
    .unwrap();
    assert_eq!(memory.tree(), "sampled, unrelated\n");
}

#[cfg(feature = "actix-web")]
#[test]
fn what_has_no_record_passes_on_its_own_nearest_ancestor() {
    // 1. Two callers do not record; each has a span here, and both of these are open.
    // 2. Spans in either trace have no record; one is asked for what to send while this thread is in
    //    the other trace, after other such spans, in one of them, on another thread, and after a span
    //    of a third trace has taken the place of the one around it.
    use actix_web::http::header::HeaderMap;
    use actix_web::test::TestRequest;
    use spanbridge::propagation::{inject_span, start_span};
    let start = |trace: &str| {
        let value = format!("00-{trace:0>32}-00000000000000ff-00");
        let request = TestRequest::default().insert_header(("traceparent", value));
        start_span(request.to_http_request().headers(), || info_span!("request")).span
    };
    let sent = |span: &Span| {
        let mut headers = HeaderMap::new();
        inject_span(span, &mut headers);
        headers.get("traceparent").expect("a trace is passed on").to_str().unwrap().to_owned()
    };
    let memory = traced(|| {
        let (a, b) = (start("a"), start("b"));
        let (of_a, of_b) = (sent(&a), sent(&b));
        assert!(of_a.starts_with(&format!("00-{:0>32}-", "a")) && of_a.ends_with("-00"), "{of_a}");
        let in_a = a.enter();
        let child_of_b = info_span!(parent: &b, "no record");
        assert_eq!(sent(&child_of_b), of_b);
        let (first, second) = (info_span!("no record"), info_span!("no record"));
        assert_eq!([sent(&second), sent(&first), sent(&child_of_b)], [&*of_a, &of_a, &of_b]);
        let grandchild = first.in_scope(|| {
            let grandchild = info_span!("no record");
            assert_eq!(sent(&grandchild), of_a);
            grandchild
        });
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        std::thread::scope(|scope| {
            let on_other = || tracing::dispatcher::with_default(&dispatch, || sent(&grandchild));
            assert_eq!(scope.spawn(on_other).join().unwrap(), of_a);
        });
        drop(in_a);
        drop(a);
        let c = start("c");
        c.in_scope(|| assert_eq!([sent(&grandchild), sent(&c)], [of_a, sent(&c)]));
    });
    assert_eq!(memory.stats().not_sampled(), 3);
}

#[test]
fn a_custom_sampler_sees_the_settled_parent_name_kind_and_attributes() {
    #[derive(Clone, Debug)]
    struct Asking(std::sync::Arc<std::sync::Mutex<Vec<String>>>);
    impl opentelemetry_sdk::trace::ShouldSample for Asking {
        fn should_sample(
            &self,
            parent: Option<&Context>,
            _: TraceId,
            name: &str,
            kind: &opentelemetry::trace::SpanKind,
            attributes: &[KeyValue],
            _: &[opentelemetry::trace::Link],
        ) -> opentelemetry_sdk::trace::SamplingResult {
            let parent = parent.map(|cx| cx.span().span_context().span_id());
            self.0.lock().unwrap().push(format!("{parent:?} {name} {kind:?} {attributes:?}"));
            opentelemetry_sdk::trace::SamplingResult {
                decision: opentelemetry_sdk::trace::SamplingDecision::RecordAndSample,
                attributes: vec![KeyValue::new("sampler", "asked")],
                trace_state: Default::default(),
            }
        }
    }
    let asked = Asking(Default::default());
    let (memory, layer) = InMemory::with(
        spanbridge::layer().with_target(false).with_location(false).with_sampler(asked.clone()),
    );
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        let span = info_span!("s", otel.name = "renamed", otel.kind = "server", a = 1);
        span.set_parent(remote(0)).unwrap();
        span.in_scope(|| info_span!("child").in_scope(|| {}));
    });
    assert_eq!(memory.tree(), "renamed [server] {a=1, sampler=\"asked\"}\n  child\n");
    let asked = asked.0.lock().unwrap();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("00f067aa0ba902b7") && asked[0].contains("renamed Server"));
    assert!(asked[0].contains("Key(Static(\"a\"))") || asked[0].contains('a'), "{asked:?}");
}

#[test]
fn a_panicking_sampler_or_debug_does_not_reach_the_application() {
    #[derive(Clone, Debug)]
    struct Broken;
    impl opentelemetry_sdk::trace::ShouldSample for Broken {
        fn should_sample(
            &self,
            _: Option<&Context>,
            _: TraceId,
            _: &str,
            _: &opentelemetry::trace::SpanKind,
            _: &[KeyValue],
            _: &[opentelemetry::trace::Link],
        ) -> opentelemetry_sdk::trace::SamplingResult {
            panic!("in the sampler")
        }
    }
    let (memory, layer) = InMemory::with(spanbridge::layer().with_sampler(Broken));
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        info_span!("s").in_scope(|| info_span!("child").in_scope(|| {}));
    });
    assert_eq!((memory.tree().as_str(), memory.stats().not_sampled()), ("", 1));

    struct Bad;
    impl std::fmt::Debug for Bad {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("in Debug")
        }
    }
    let memory = traced(|| info_span!("s", bad = ?Bad, good = 1).in_scope(|| {}));
    assert_eq!(memory.tree(), "s {bad=\"(panicked while being formatted)\", good=1}\n");
}

#[test]
fn span_ext_reaches_the_record() {
    let when = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let memory = traced(|| {
        let span = info_span!("s", field = 1);
        span.set_attribute("a", "first");
        span.set_attribute("a", 2_i64);
        span.set_attribute("field", "replaced");
        span.add_event("now", vec![KeyValue::new("k", "v")]);
        span.add_event_with_timestamp("then", when, vec![]);
        span.set_status(Status::error("one"));
        span.set_status(Status::error("two"));
        span.update_name("renamed");
    });
    assert_eq!(
        memory.tree(),
        "renamed error(two) {field=\"replaced\", a=2}\n  * now {k=\"v\"}\n  * then\n"
    );
    assert_eq!(memory.spans()[0].events[1].timestamp, when);
}

#[test]
fn a_span_ends_when_it_was_left_last() {
    let memory = traced(|| {
        let parent = info_span!("parent");
        parent.in_scope(|| {});
        let child = info_span!(parent: &parent, "child");
        drop(parent);
        std::thread::yield_now();
        child.in_scope(|| {});
    });
    let spans = memory.spans();
    assert!(named(&spans, "parent").end_time <= named(&spans, "child").start_time);
    for span in &spans {
        assert!(span.end_time >= span.start_time);
    }
}

#[test]
fn a_guard_that_leaves_its_thread_does_not_become_a_parent() {
    // 1. A future enters a span, and is moved to another thread while the guard lives.
    // 2. The first thread goes on with other work: that is not the span's child.
    let memory = traced(|| {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let span = info_span!("travels");
        let on_exit = span.clone();
        std::mem::forget(span.clone().entered());
        std::thread::spawn(move || {
            // What the guard does when it is dropped over there.
            dispatch.exit(&on_exit.id().unwrap());
        })
        .join()
        .unwrap();
        info_span!("later work").in_scope(|| {});
        drop(span);
    });
    let spans = memory.spans();
    assert_eq!(named(&spans, "later work").parent_span_id, SpanId::INVALID);
}

#[test]
fn two_layers_on_one_registry_both_see_everything() {
    let (one, first) = InMemory::new();
    let (two, second) = InMemory::new();
    tracing::subscriber::with_default(Registry::default().with(first).with(second), || {
        let span = info_span!("s");
        span.set_parent(remote(1)).unwrap();
        span.set_attribute("a", 1_i64);
        span.add_event("by hand", vec![KeyValue::new("k", 2_i64)]);
        span.add_link_with_attributes(
            remote(1).span().span_context().clone(),
            vec![KeyValue::new("l", 3_i64)],
        );
        span.in_scope(|| info_span!("child").in_scope(|| info!("e")));
    });
    assert_eq!(
        one.tree(),
        "s {a=1}\n  * by hand {k=2}\n  ~ 00f067aa0ba902b7 {l=3}\n  child\n    * e\n"
    );
    assert_eq!(one.tree(), two.tree());
}

#[test]
fn it_works_behind_reload() {
    let (memory, layer) = InMemory::new();
    let (layer, handle) = reload::Layer::new(layer);
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        let span = info_span!("s");
        span.set_attribute("a", 1_i64);
        assert!(span.context().span().span_context().is_sampled());
    });
    assert_eq!(memory.tree(), "s {a=1}\n");
    drop(handle);
}

#[test]
fn filtered_spans_are_skipped_to_their_nearest_visible_ancestor() {
    let (memory, layer) = InMemory::new();
    let layer = layer.with_filter(filter_fn(|metadata| metadata.name() != "hidden"));
    // A span that no layer wants is not there at all, and nobody's parent.
    let other = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
    tracing::subscriber::with_default(Registry::default().with(layer).with(other), || {
        let visible = info_span!("visible");
        let hidden = info_span!(parent: &visible, "hidden");
        info_span!(parent: &hidden, "explicit").in_scope(|| {});
        hidden.in_scope(|| {
            info_span!("contextual").in_scope(|| {});
        });
        visible.in_scope(|| hidden.in_scope(|| info!("event")));
    });
    assert_eq!(memory.tree(), "visible\n  * event\n  explicit\n  contextual\n");
}

#[test]
fn it_composes_with_fmt_env_filter_and_levels() {
    let (memory, layer) = InMemory::new();
    let subscriber = Registry::default()
        .with(EnvFilter::new("info,layer=debug"))
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::sink))
        .with(layer.with_filter(LevelFilter::INFO));
    tracing::subscriber::with_default(subscriber, || {
        info_span!("kept").in_scope(|| {
            tracing::debug_span!("too fine").in_scope(|| info!("kept event"));
            trace_span!("much too fine").in_scope(|| {});
        });
    });
    assert_eq!(memory.tree(), "kept\n  * kept event\n");
    let (memory, layer) = InMemory::with(
        spanbridge::layer().with_target(false).with_location(false).with_max_level(Level::INFO),
    );
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        info_span!("kept").in_scope(|| {
            tracing::debug_span!("too fine").in_scope(|| {
                info!("kept event");
                info_span!("kept child").in_scope(|| {});
            });
        });
    });
    assert_eq!(memory.tree(), "kept\n  * kept event\n  kept child\n");
}

#[test]
fn spans_closed_after_shutdown_are_counted() {
    let (memory, layer) = InMemory::new();
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        let open = info_span!("open at shutdown");
        open.in_scope(|| info_span!("closed in time").in_scope(|| {}));
        memory.guard().shutdown(Duration::from_secs(10)).unwrap();
        drop(open);
        drop(info_span!("started after"));
    });
    assert_eq!(memory.tree(), "closed in time\n");
    let stats = memory.stats();
    assert_eq!((stats.started(), stats.exported(), stats.live()), (2, 1, 0), "{stats}");
    assert_eq!(stats.dropped().after_shutdown(), 1);
}

#[test]
fn more_open_spans_than_the_limit_are_dropped_and_counted() {
    let (memory, layer) = InMemory::with(spanbridge::layer().with_max_live_spans(10));
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        let spans: Vec<_> = (0..25).map(|_| info_span!("s")).collect();
        drop(spans);
        drop(info_span!("fits again"));
    });
    assert_eq!(memory.spans().len(), 11);
    let stats = memory.stats();
    assert_eq!((stats.started(), stats.exported(), stats.live()), (26, 11, 0), "{stats}");
    assert_eq!(stats.dropped().live_limit(), 15);
}

#[cfg(feature = "actix-web")]
#[test]
fn a_request_that_finds_no_slot_still_passes_its_callers_trace_on() {
    use actix_web::http::header::HeaderMap;
    use actix_web::test::TestRequest;
    use spanbridge::propagation::{inject_span, start_span};
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = TestRequest::default().insert_header(("traceparent", caller)).to_http_request();
    let (memory, layer) = InMemory::with(spanbridge::layer().with_max_live_spans(1));
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        let first = info_span!("takes the slot");
        let started = start_span(request.headers(), || info_span!("request"));
        let _attached = started.attach.expect("no layer took the span").attach();
        let mut headers = HeaderMap::new();
        started.span.in_scope(|| inject_span(&Span::current(), &mut headers));
        assert_eq!(headers.get("traceparent").unwrap(), caller);
        drop(first);
        started.span.in_scope(|| info_span!("finds one").in_scope(|| {}));
    });
    let spans = memory.spans();
    let parent = named(&spans, "finds one").parent_span_id;
    assert_eq!(parent, SpanId::from(0xb7ad_6b71_6920_3331));
    assert_eq!(memory.stats().dropped().live_limit(), 1);
}

#[test]
fn a_root_has_no_remote_parent_whatever_its_context_says() {
    let nobody = SpanContext::new(
        TraceId::INVALID,
        SpanId::INVALID,
        TraceFlags::SAMPLED,
        true,
        Default::default(),
    );
    let cx = Context::new().with_remote_span_context(nobody);
    let cx = cx.with_baggage([KeyValue::new("tenant", "blue")]);
    let memory = traced(|| {
        let _attached = cx.clone().attach();
        drop(info_span!("current"));
        info_span!("set").set_parent(cx).unwrap();
    });
    for span in memory.spans() {
        assert!(!span.parent_span_is_remote, "{span:?}");
        assert_eq!(span.parent_span_id, SpanId::INVALID);
    }
    assert_eq!(memory.spans().len(), 2);
}

/// A value of the user's, in a span's context, that traces while it is dropped: it links to a closed
/// span, which is looked for in what threads hold.
#[test]
fn what_rides_along_with_lost_spans_is_dropped_with_nothing_locked() {
    #[derive(Debug)]
    struct TracesWhenDropped {
        own: Span,
        closed: Option<tracing::Id>,
    }
    impl Drop for TracesWhenDropped {
        fn drop(&mut self) {
            self.own.follows_from(self.closed.clone());
        }
    }
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (memory, layer) = InMemory::with(spanbridge::layer().with_max_queue_size(1));
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            let (own, closed) = (info_span!("own"), info_span!("closed").id());
            // The worker cannot take them all as fast as they come.
            while memory.stats().dropped().queue_full() == 0 {
                for _ in 0..100 {
                    let cx = remote(1).with_baggage([KeyValue::new("k", "v")]);
                    let value = TracesWhenDropped { own: own.clone(), closed: closed.clone() };
                    info_span!("s").set_parent(cx.with_value(value)).unwrap();
                }
            }
        });
        memory.guard().force_flush(Duration::from_secs(10)).unwrap();
        done.send(memory.stats()).unwrap();
    });
    let stats = is_done.recv_timeout(Duration::from_secs(60)).expect("no dead-lock");
    assert_eq!(stats.live(), 0, "{stats}");
}

/// 1. A thread's first span asks nobody for a parent, so that the layer has its state there and
///    OpenTelemetry none. 2. The user has a thread local with a destructor. 3. A span looks for its
///    parent in OpenTelemetry's context, which is younger than both, and so the first to go.
/// 4. The destructor makes a span.
#[test]
fn a_span_can_be_made_where_the_context_of_its_thread_is_gone() {
    struct MakesASpan(tracing::Dispatch);
    impl Drop for MakesASpan {
        fn drop(&mut self) {
            tracing::dispatcher::with_default(&self.0, || drop(info_span!("late")));
        }
    }
    thread_local! {
        static LATE: RefCell<Option<MakesASpan>> = const { RefCell::new(None) };
    }
    let (memory, layer) = InMemory::new();
    let dispatch = tracing::Dispatch::new(Registry::default().with(layer));
    let thread = std::thread::spawn(move || {
        tracing::dispatcher::with_default(&dispatch, || {
            drop(info_span!(parent: None, "first"));
            LATE.set(Some(MakesASpan(dispatch.clone())));
            drop(info_span!("second"));
        });
    });
    thread.join().unwrap();
    let spans = memory.spans();
    for name in ["first", "second", "late"] {
        assert_eq!(named(&spans, name).parent_span_id, SpanId::INVALID);
    }
}

#[test]
fn what_is_counted_never_goes_back_while_threads_end() {
    let (memory, layer) = InMemory::with(spanbridge::layer().with_max_live_spans(1));
    let dispatch = tracing::Dispatch::new(Registry::default().with(layer));
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..300 {
                let spans = || drop([info_span!("fits"), info_span!("does not")]);
                let dispatch = &dispatch;
                std::thread::scope(|scope| {
                    scope.spawn(move || tracing::dispatcher::with_default(dispatch, spans));
                });
            }
            is_over.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut before = (0, 0);
        while !is_over.load(std::sync::atomic::Ordering::Acquire) {
            let stats = memory.stats();
            let now = (stats.started(), stats.dropped().live_limit());
            assert!(now.0 >= before.0 && now.1 >= before.1, "{before:?}, then {now:?}");
            before = now;
        }
    });
    // A thread that has just ended may still hold the one slot.
    assert!(memory.stats().dropped().live_limit() >= 300);
}

#[test]
fn attributes_and_events_over_the_limit_are_counted_on_the_span() {
    let memory = traced(|| {
        let span = info_span!("s");
        for i in 0..200_i64 {
            span.set_attribute(format!("k{i}"), i);
            span.in_scope(|| info!(i, "e"));
        }
    });
    let spans = memory.spans();
    assert_eq!((spans[0].attributes.len(), spans[0].dropped_attributes_count), (128, 72));
    assert_eq!((spans[0].events.len(), spans[0].events.dropped_count), (128, 72));
}

#[test]
fn spans_cross_threads_and_outlive_them() {
    let memory = traced(|| {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let span = info_span!("made here");
        std::thread::spawn(move || {
            tracing::dispatcher::with_default(&dispatch, || {
                span.in_scope(|| info_span!("child over there").in_scope(|| {}));
                drop(span);
            });
        })
        .join()
        .unwrap();
    });
    assert_eq!(memory.tree(), "made here\n  child over there\n");
}

#[test]
fn log_records_keep_their_own_level_and_place() {
    // 1. The first record that is ever decoded is an error, in a span of its own.
    // 2. The second is not, and must not make its span one.
    // `tracing-log` has a callsite for each level; the linker gives all of them one address.
    let say = |level, line| {
        let record = log::Record::builder()
            .level(level)
            .target("app::db")
            .file(Some("db.rs"))
            .line(Some(line))
            .args(format_args!("said"))
            .build();
        tracing_log::format_trace(&record).unwrap();
    };
    let (memory, layer) = InMemory::with(spanbridge::layer());
    let default = tracing_subscriber::registry().with(layer).set_default();
    info_span!("failed").in_scope(|| say(log::Level::Error, 1));
    info_span!("fine").in_scope(|| say(log::Level::Info, 2));
    drop(default);
    let spans = memory.spans();
    assert_eq!(named(&spans, "failed").status, Status::error(""));
    let fine = named(&spans, "fine");
    assert_eq!(fine.status, Status::Unset);
    let said = |key: &str| {
        let attributes = &fine.events[0].attributes;
        attributes.iter().find(|a| a.key.as_str() == key).map(|a| a.value.to_string())
    };
    assert_eq!(said("level").as_deref(), Some("INFO"));
    assert_eq!(said("target").as_deref(), Some("app::db"));
    assert_eq!(said("code.file.path").as_deref(), Some("db.rs"));
    assert_eq!(said("code.line.number").as_deref(), Some("2"));
    assert_eq!(said("log.target"), None);
}

#[test]
fn a_sampler_that_traces_is_not_asked_about_itself() {
    #[derive(Clone, Debug)]
    struct Tracing;
    impl opentelemetry_sdk::trace::ShouldSample for Tracing {
        fn should_sample(
            &self,
            _: Option<&Context>,
            _: TraceId,
            _: &str,
            _: &opentelemetry::trace::SpanKind,
            _: &[KeyValue],
            _: &[opentelemetry::trace::Link],
        ) -> opentelemetry_sdk::trace::SamplingResult {
            info_span!("deciding").in_scope(|| info!("decided"));
            opentelemetry_sdk::trace::SamplingResult {
                decision: opentelemetry_sdk::trace::SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: Default::default(),
            }
        }
    }
    let (memory, layer) = InMemory::with(spanbridge::layer().with_sampler(Tracing));
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        info_span!("s").in_scope(|| info_span!("child").in_scope(|| {}));
        drop(info_span!("decided at its end"));
    });
    assert_eq!(memory.spans().len(), 3);
}

#[cfg(feature = "otlp-grpc")]
#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_an_error_inside_a_runtime_too() {
    let config = spanbridge::TracingConfig::default().with_endpoint("unix-abstract:collector");
    let error = spanbridge::layer_from(Some(config)).unwrap_err();
    assert!(matches!(error, spanbridge::InitError::Exporter(_)), "{error}");
    assert!(error.to_string().contains("unix-abstract:collector"), "{error}");
}

#[cfg(feature = "actix-web")]
#[test]
fn a_request_without_a_caller_is_a_root_whatever_its_thread_has_entered() {
    // A handler that holds a guard across `.await` must not adopt the worker's next request.
    use actix_web::http::header::HeaderMap;
    let memory = traced(|| {
        let _left_behind = info_span!("another request's").entered();
        let started =
            spanbridge::propagation::start_span(&HeaderMap::new(), || info_span!("request"));
        drop(started);
    });
    let spans = memory.spans();
    assert_eq!(named(&spans, "request").parent_span_id, SpanId::INVALID);
}

#[test]
fn links_and_parents_are_found_where_a_layer_is_not_told_its_registry() {
    // `Option` does not tell the layer in it which subscriber it belongs to, and `reload` hides it.
    let (memory, layer) = InMemory::new();
    let (layer, _handle) = reload::Layer::new(Some(layer));
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        let span = info_span!("s");
        span.set_parent(remote(1)).unwrap();
        span.set_attribute("a", 1_i64);
        assert!(span.context().span().span_context().is_sampled());
    });
    assert_eq!(memory.tree(), "s {a=1}\n");
}

/// Calls `f` on another thread, under the same subscriber.
fn elsewhere(f: impl FnOnce() + Send) {
    let dispatch = tracing::dispatcher::get_default(tracing::Dispatch::clone);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| tracing::dispatcher::with_default(&dispatch, f));
        thread.join().unwrap();
    });
}

fn enter(span: &Span) {
    span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
}

fn exit(span: &Span) {
    span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
}

/// 1. A thread enters a span. 2. Another one exits it, as where a guard is held across an `.await`.
/// 3. A third enters it and makes a child.
#[test]
fn an_exit_elsewhere_ends_no_entry_that_was_made_after_it() {
    let memory = traced(|| {
        let span = info_span!("span");
        enter(&span);
        elsewhere(|| exit(&span));
        elsewhere(|| span.in_scope(|| drop(info_span!("child"))));
    });
    assert_eq!(memory.tree(), "span\n  child\n");
}

/// As above in a trace that is not sampled, below its first span; then the first thread makes a span
/// that has nothing to do with it.
#[test]
fn an_exit_elsewhere_in_an_unsampled_trace_leaves_nothing_behind() {
    let memory = traced(|| {
        let attached = remote(0).attach();
        let first = info_span!("first");
        drop(attached);
        let below = info_span!(parent: &first, "below");
        enter(&below);
        elsewhere(|| exit(&below));
        drop(info_span!("next"));
    });
    assert_eq!(memory.tree(), "next\n");
}

/// 1. An attribute is set. 2. A field of that name is recorded. 3. The attribute is set again.
#[test]
fn the_last_value_wins_whichever_way_it_came() {
    let memory = traced(|| {
        let span = info_span!("span", key = tracing::field::Empty);
        span.set_attribute("key", 1);
        span.record("key", 2);
        span.set_attribute("key", 3);
    });
    assert_eq!(memory.tree(), "span {key=3}\n");
}

/// 1. A span has as many events as it may.
/// 2. What it stands for fails, and events say so.
/// 3. They are dropped; the span has failed all the same.
#[test]
fn a_span_that_is_full_of_events_still_fails() {
    let failed = |fail: &dyn Fn()| {
        let memory = traced(|| {
            info_span!("s").in_scope(|| {
                (0..128).for_each(|number| info!(number, "step"));
                fail();
            });
        });
        memory.spans().remove(0)
    };
    let span = failed(&|| error!("it failed"));
    assert_eq!((span.events.len(), span.events.dropped_count), (128, 1));
    assert_eq!(span.status, Status::error(""));

    // As `#[instrument(err)]` does, again and again: the last one counts, and takes the room of one.
    let span = failed(&|| (0..10_000).for_each(|at| error!(error = %format!("no {at}"))));
    assert_eq!((span.status, span.dropped_attributes_count), (Status::error("no 9999"), 0));

    let error = "x".parse::<i32>().unwrap_err();
    let error: &(dyn std::error::Error + 'static) = &error;
    let span = failed(&|| info!(error, "with its cause"));
    let message = Value::from("invalid digit found in string");
    assert_eq!(attribute(&span, "exception.message"), Some(&message));
    assert_eq!(span.status, Status::Unset);
}

/// 1. A field has a value.
/// 2. More attributes are set than a span may have.
/// 3. The field gets another value: it replaces the first, and needs no room of its own.
#[test]
fn a_value_is_replaced_where_attributes_are_too_many() {
    let set = |span: &Span, as_field: bool, value: i64| {
        if as_field {
            span.record("late", value);
        } else {
            span.set_attribute("late", value);
        }
    };
    for case @ (first, again) in [(true, true), (true, false), (false, true), (false, false)] {
        let memory = traced(|| {
            let span = info_span!("s", late = tracing::field::Empty);
            set(&span, first, 1);
            for number in 0..200 {
                span.set_attribute(format!("k{number}"), number);
            }
            // Often enough that what was replaced is cleared away.
            (2..1_000).for_each(|value| set(&span, again, value));
        });
        let span = memory.spans().remove(0);
        assert_eq!((span.attributes.len(), span.dropped_attributes_count), (128, 73), "{case:?}");
        assert_eq!(attribute(&span, "late"), Some(&Value::I64(999)), "{case:?}");
    }
}
