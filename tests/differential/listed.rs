//! The differences that docs/differences.md lists, by their numbers there: each is one.

use std::collections::HashMap;
use std::panic::catch_unwind;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, SpanId, Status, TracerProvider as _};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, Sampler, SamplingDecision, SamplingResult, SdkTracerProvider,
    ShouldSample, SpanData,
};
use spanbridge::TracingConfig;
use tracing::field::Empty;
use tracing::{Dispatch, dispatcher, error, info, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as Theirs;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::spans::remote_context;
use crate::support::otlp_receiver::OtlpReceiver;

const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Options {
    activates: bool,
    sampler: fn() -> Sampler,
    /// Whether spans named "hidden" are hidden from the layer.
    hides: bool,
}

const USUAL: Options = Options {
    activates: true,
    sampler: || Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
    hides: false,
};

fn ours_with(options: Options, f: impl FnOnce()) -> Vec<SpanData> {
    let exporter = InMemorySpanExporter::default();
    let (layer, guard) = spanbridge::layer()
        .with_exporter(exporter.clone())
        .with_threads(true)
        .with_sampler((options.sampler)())
        .build();
    under(options, layer, f);
    guard.force_flush(LONG).unwrap();
    exporter.get_finished_spans().unwrap()
}

fn theirs_with(options: Options, f: impl FnOnce()) -> Vec<SpanData> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .with_sampler((options.sampler)())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("theirs"))
        .with_context_activation(options.activates);
    under(options, layer, f);
    exporter.get_finished_spans().unwrap()
}

fn under<L: Layer<Registry> + Send + Sync>(options: Options, layer: L, f: impl FnOnce()) {
    let registry = tracing_subscriber::registry();
    if options.hides {
        let layer = layer.with_filter(filter_fn(|metadata| metadata.name() != "hidden"));
        // For another layer they are there.
        let subscriber = registry.with(layer).with(fmt::layer().with_writer(std::io::sink));
        tracing::subscriber::with_default(subscriber, f);
    } else {
        tracing::subscriber::with_default(registry.with(layer), f);
    }
}

fn ours(f: impl FnOnce()) -> Vec<SpanData> {
    ours_with(USUAL, f)
}

fn theirs(f: impl FnOnce()) -> Vec<SpanData> {
    theirs_with(USUAL, f)
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
}

fn values<'a>(attributes: &'a [KeyValue], key: &str) -> Vec<&'a Value> {
    let of_key = attributes.iter().filter(|attribute| attribute.key.as_str() == key);
    of_key.map(|attribute| &attribute.value).collect()
}

#[test]
fn difference_01_integers() {
    let make = || drop(info_span!("s", n = 7_u64, wide = 8_i128));
    for key in ["n", "wide"] {
        assert!(matches!(*values(&theirs(make)[0].attributes, key)[0], Value::String(_)));
        assert!(matches!(*values(&ours(make)[0].attributes, key)[0], Value::I64(_)));
    }
}

#[test]
fn difference_02_late_name_and_kind() {
    let make = || {
        let span = info_span!("s", otel.name = Empty, otel.kind = Empty);
        span.in_scope(|| {});
        span.record("otel.name", "late");
        span.record("otel.kind", "client");
    };
    let seen = |spans: Vec<SpanData>| format!("{} {:?}", spans[0].name, spans[0].span_kind);
    assert_eq!(seen(theirs(make)), "s Internal");
    assert_eq!(seen(ours(make)), "late Client");
}

#[test]
fn difference_03_late_parents() {
    let spans = theirs(|| {
        let span = info_span!("s").entered();
        assert!(Theirs::set_parent(&*span, remote_context(0)).is_err());
    });
    assert_eq!(spans[0].parent_span_id, SpanId::INVALID);
    let spans = ours(|| {
        let span = info_span!("s").entered();
        spanbridge::SpanExt::set_parent(&*span, remote_context(0)).unwrap();
    });
    assert!(spans[0].parent_span_is_remote);

    // Below a span that is not sampled.
    let off = Options { sampler: || Sampler::ParentBased(Box::new(Sampler::AlwaysOff)), ..USUAL };
    let spans = theirs_with(off, || {
        let _root = info_span!("root").entered();
        Theirs::set_parent(&info_span!("s"), remote_context(0)).unwrap();
    });
    assert_eq!(spans.len(), 1);
    let spans = ours_with(off, || {
        let _root = info_span!("root").entered();
        let refused = spanbridge::SpanExt::set_parent(&info_span!("s"), remote_context(0));
        assert_eq!(refused, Err(spanbridge::SetParentError::LayerNotFound));
    });
    assert!(spans.is_empty());
}

#[test]
fn difference_04_several_statuses() {
    macro_rules! with {
        ($ext:path, $run:ident, $entered:expr, $($status:expr),*) => {
            $run(|| {
                use $ext as Ext;
                let span = info_span!("s");
                if $entered {
                    span.in_scope(|| {});
                }
                $(Ext::set_status(&span, $status);)*
            })[0].status.clone()
        };
    }
    let (a, b) = (Status::error("a"), Status::error("b"));
    assert_eq!(with!(Theirs, theirs, true, b.clone(), a.clone()), b);
    assert_eq!(with!(spanbridge::SpanExt, ours, true, b.clone(), a.clone()), a);
    assert_eq!(with!(Theirs, theirs, false, Status::Ok, a.clone()), a);
    assert_eq!(with!(spanbridge::SpanExt, ours, false, Status::Ok, a.clone()), Status::Ok);
    assert_eq!(with!(Theirs, theirs, false, a.clone(), Status::Unset), Status::Unset);
    assert_eq!(with!(spanbridge::SpanExt, ours, false, a.clone(), Status::Unset), a);

    let again = || {
        let span = info_span!("s", otel.status_code = "ok");
        span.in_scope(|| {});
        span.record("otel.status_code", "error");
    };
    assert_eq!(theirs(again)[0].status, Status::Ok);
    assert_eq!(ours(again)[0].status, Status::error(""));
}

#[test]
fn difference_05_links_to_closed_spans() {
    let make = || {
        let closed = info_span!("closed").id();
        info_span!("s").follows_from(closed);
    };
    assert_eq!(named(&theirs(make), "s").links.len(), 0);
    assert_eq!(named(&ours(make), "s").links.len(), 1);
}

#[test]
fn difference_06_links_to_spans_that_are_not_sampled() {
    let make = || {
        let unsampled = info_span!(parent: None, "unsampled");
        let attached = remote_context(1).attach();
        let first = info_span!("first");
        drop(attached);
        let below = info_span!(parent: &first, "below");
        let span = info_span!(parent: None, "s");
        span.follows_from(first.id());
        span.follows_from(below.id());
        drop(unsampled);
    };
    assert_eq!(named(&theirs(make), "s").links.len(), 2);
    assert_eq!(named(&ours(make), "s").links.len(), 1);
}

#[test]
fn difference_07_keys_are_unique() {
    let make = || {
        let span = info_span!("s", key = 1);
        span.record("key", 2);
    };
    assert_eq!(values(&theirs(make)[0].attributes, "key"), [&Value::I64(1), &Value::I64(2)]);
    assert_eq!(values(&ours(make)[0].attributes, "key"), [&Value::I64(2)]);
}

#[test]
fn difference_08_thread_ids() {
    let make = || {
        let dispatch = dispatcher::get_default(Dispatch::clone);
        let make = || dispatcher::with_default(&dispatch, || drop(info_span!("s")));
        std::thread::scope(|scope| drop(scope.spawn(make).join()));
    };
    // The first thread that makes a span for this layer, and never the first of the process.
    assert_eq!(values(&ours(make)[0].attributes, "thread.id"), [&Value::I64(0)]);
    assert_ne!(values(&theirs(make)[0].attributes, "thread.id"), [&Value::I64(0)]);
}

#[test]
fn difference_09_errors_that_are_text() {
    let make = || info_span!("s").in_scope(|| error!(error = "gone"));
    assert_eq!(theirs(make)[0].status, Status::error("\"gone\""));
    assert_eq!(ours(make)[0].status, Status::error("gone"));
}

#[test]
fn difference_10_what_a_sampler_adds() {
    #[derive(Clone, Debug)]
    struct Adds;
    impl ShouldSample for Adds {
        fn should_sample(
            &self,
            _: Option<&opentelemetry::Context>,
            _: opentelemetry::TraceId,
            _: &str,
            _: &opentelemetry::trace::SpanKind,
            _: &[KeyValue],
            _: &[opentelemetry::trace::Link],
        ) -> SamplingResult {
            SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: vec![KeyValue::new("rule", 7)],
                trace_state: Default::default(),
            }
        }
    }
    let options = Options { sampler: || Sampler::ParentBased(Box::new(Adds)), ..USUAL };
    let make = || drop(info_span!("s"));
    assert!(values(&theirs_with(options, make)[0].attributes, "rule").is_empty());
    assert_eq!(values(&ours_with(options, make)[0].attributes, "rule"), [&Value::I64(7)]);
}

#[test]
fn difference_11_flags() {
    let make = || drop(info_span!("s"));
    assert_eq!(theirs(make)[0].span_context.trace_flags().to_u8(), 1);
    assert_eq!(ours(make)[0].span_context.trace_flags().to_u8(), 3);
}

#[test]
fn difference_12_entries_that_end_elsewhere() {
    let make = || {
        let dispatch = dispatcher::get_default(Dispatch::clone);
        let first = || {
            let travels = info_span!("travels");
            travels.with_subscriber(|(id, dispatch)| dispatch.enter(id));
            let elsewhere = || {
                dispatcher::with_default(&dispatch, || {
                    travels.with_subscriber(|(id, dispatch)| dispatch.exit(id));
                });
            };
            std::thread::scope(|scope| drop(scope.spawn(elsewhere).join()));
            drop(info_span!("next"));
        };
        // On a thread of its own, that the next test does not find the context.
        std::thread::scope(|scope| {
            scope.spawn(|| dispatcher::with_default(&dispatch, first)).join().unwrap();
        });
    };
    assert_ne!(named(&theirs(make), "next").parent_span_id, SpanId::INVALID);
    assert_eq!(named(&ours(make), "next").parent_span_id, SpanId::INVALID);
}

#[test]
fn difference_13_a_span_that_is_entered_again() {
    let make = || {
        let (again, other) = (info_span!("again"), info_span!("other"));
        let _outer = again.enter();
        let _between = other.enter();
        let _inner = again.enter();
        info!("an event");
        drop(info_span!("child"));
    };
    let with_event = |spans: &[SpanData]| {
        let has_event = |span: &&SpanData| !span.events.is_empty();
        spans.iter().find(has_event).map(|span| span.name.to_string())
    };
    let parent = |spans: &[SpanData]| {
        let id = named(spans, "child").parent_span_id;
        spans.iter().find(|span| span.span_context.span_id() == id).map(|s| s.name.to_string())
    };
    let passive = Options { activates: false, ..USUAL };
    let (active, passive, ours) = (theirs(make), theirs_with(passive, make), ours(make));
    let (again, other) = (Some("again".to_owned()), Some("other".to_owned()));
    assert_eq!((with_event(&active), parent(&active)), (other.clone(), again.clone()));
    assert_eq!((with_event(&passive), parent(&passive)), (other.clone(), other));
    assert_eq!((with_event(&ours), parent(&ours)), (again.clone(), again));
}

#[test]
fn difference_14_order_of_attributes() {
    let make = || drop(info_span!("s", value = 1));
    let first = |spans: Vec<SpanData>| spans[0].attributes[0].key.to_string();
    assert_eq!(first(theirs(make)), "code.file.path");
    assert_eq!(first(ours(make)), "value");

    // Where there are too many, the last ones go.
    macro_rules! last {
        ($ext:path, $run:ident) => {{
            let spans = $run(|| {
                use $ext as Ext;
                let span = info_span!("s");
                (0..128).for_each(|at| Ext::set_attribute(&span, format!("k{at}"), at));
            });
            (
                values(&spans[0].attributes, "k127").len(),
                values(&spans[0].attributes, "target").len(),
            )
        }};
    }
    assert_eq!(last!(Theirs, theirs), (0, 1));
    assert_eq!(last!(spanbridge::SpanExt, ours), (1, 0));
}

/// Under the other layer the thread would wait for ever.
#[test]
fn difference_15_a_span_that_follows_from_itself() {
    let spans = ours(|| {
        let span = info_span!("s");
        span.follows_from(span.id());
    });
    let linked: Vec<_> = spans[0].links.iter().map(|link| link.span_context.span_id()).collect();
    assert_eq!(linked, [spans[0].span_context.span_id()]);
}

#[test]
fn difference_16_links_to_nothing() {
    let spans = theirs(|| Theirs::add_link(&info_span!("s"), SpanContext::NONE));
    assert_eq!(spans[0].links.len(), 0);
    let spans = ours(|| spanbridge::SpanExt::add_link(&info_span!("s"), SpanContext::NONE));
    assert_eq!(spans[0].links.len(), 1);
}

#[test]
fn difference_17_parents_that_a_filter_hides() {
    let make = || {
        let top = info_span!("top");
        let hidden = info_span!(parent: &top, "hidden");
        drop(info_span!(parent: &hidden, "s"));
    };
    let hiding = Options { hides: true, ..USUAL };
    let (theirs, ours) = (theirs_with(hiding, make), ours_with(hiding, make));
    assert_eq!(named(&theirs, "s").parent_span_id, SpanId::INVALID);
    let top = named(&ours, "top").span_context.span_id();
    assert_eq!(named(&ours, "s").parent_span_id, top);
}

#[test]
fn difference_18_how_much_a_span_may_hold() {
    let (text, half) = ("x".repeat(70_000), "x".repeat(40_000));
    let make = || {
        let span = info_span!("s", text, late = Empty);
        span.in_scope(|| {
            info!(half, "first");
            info!(half, "second");
        });
        span.record("late", 1);
    };
    let (theirs, ours) = (theirs(make), ours(make));
    assert_eq!((values(&theirs[0].attributes, "text").len(), theirs[0].events.len()), (1, 2));
    let ours = &ours[0];
    assert_eq!((values(&ours.attributes, "text").len(), ours.dropped_attributes_count), (0, 1));
    assert_eq!((ours.events.len(), ours.events.dropped_count), (1, 1));
    // A quarter is left to what is recorded last.
    assert_eq!(values(&ours.attributes, "late"), [&Value::I64(1)]);

    // What is formatted is cut short.
    let formatted = || drop(info_span!("s", %text));
    let length = |spans: Vec<SpanData>| values(&spans[0].attributes, "text")[0].as_str().len();
    assert_eq!(length(theirs_with(USUAL, formatted)), 70_000);
    assert!((60_000..=64 * 1024).contains(&length(ours_with(USUAL, formatted))));
}

#[test]
fn difference_19_trace_state_as_it_came() {
    let headers = HashMap::from([
        (
            "traceparent".to_owned(),
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        ),
        ("tracestate".to_owned(), "a@b@c=x,k=v".into()),
    ]);
    let parent = spanbridge::propagation::TraceContextPropagator::new().extract(&headers);
    // All that any exporter of the SDK is given.
    let spans = theirs(|| Theirs::set_parent(&info_span!("s"), parent.clone()).unwrap());
    assert_eq!(spans[0].span_context.trace_state().header(), "k=v");

    let receiver = OtlpReceiver::grpc();
    let config = TracingConfig::default()
        .with_url(receiver.endpoint())
        .with_sampling_rate_per_million(1_000_000);
    let (layer, guard) = spanbridge::layer_from(Some(config)).unwrap().unwrap();
    under(USUAL, layer, || spanbridge::SpanExt::set_parent(&info_span!("s"), parent).unwrap());
    guard.force_flush(LONG).unwrap();
    assert_eq!(receiver.spans()[0].trace_state, "a@b@c=x,k=v");
}

#[test]
fn difference_20_a_debug_that_panics() {
    struct Panics;
    impl std::fmt::Debug for Panics {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("in a Debug");
        }
    }
    let make = |unwinds: bool| {
        let _span = info_span!("s").entered();
        let made = catch_unwind(|| info!(value = ?Panics, "an event"));
        assert_eq!(made.is_err(), unwinds);
    };
    assert!(theirs(|| make(true))[0].events.is_empty());
    let spans = ours(|| make(false));
    let note = Value::from("(panicked while being formatted)");
    assert_eq!(values(&spans[0].events[0].attributes, "value"), [&note]);
}

/// Nothing is listed that no test shows, and the other way round.
#[test]
fn the_list_is_complete() {
    let listed = include_str!("../../docs/differences.md");
    let listed = listed.lines().filter_map(|line| {
        let (number, _) = line.strip_prefix("| ")?.split_once(". ")?;
        number.parse::<u32>().ok()
    });
    let shown = include_str!("listed.rs").lines().filter_map(|line| {
        let (number, _) = line.strip_prefix("fn difference_")?.split_once('_')?;
        number.parse::<u32>().ok()
    });
    assert_eq!(listed.collect::<Vec<_>>(), shown.collect::<Vec<_>>());
}
