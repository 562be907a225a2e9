//! What docs/migrating.md says of tracing-opentelemetry's layer and of ours, side by side.

use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId};
use opentelemetry::trace::{TraceState, TracerProvider as _};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use spanbridge::legacy::{Trace, fields};
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_subscriber::prelude::*;

/// The first span that `f` makes under tracing-opentelemetry's layer.
fn theirs(f: impl FnOnce()) -> SpanData {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("theirs"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), f);
    exporter.get_finished_spans().unwrap().swap_remove(0)
}

/// The first span that `f` makes under ours.
fn ours(f: impl FnOnce()) -> SpanData {
    let exporter = InMemorySpanExporter::default();
    let (layer, guard) = spanbridge::layer().with_exporter(exporter.clone()).build();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), f);
    guard.force_flush(Duration::from_secs(60)).unwrap();
    exporter.get_finished_spans().unwrap().swap_remove(0)
}

fn attribute(span: &SpanData, key: &str) -> Option<Value> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    attribute.map(|attribute| attribute.value.clone())
}

fn remote() -> Context {
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from(7),
        SpanId::from(8),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    ))
}

#[test]
fn unsigned_numbers_stay_numbers() {
    let make = || drop(info_span!("s", n = 7_u64));
    assert_eq!(attribute(&theirs(make), "n"), Some("7".into()));
    assert_eq!(attribute(&ours(make), "n"), Some(7.into()));
}

#[test]
fn a_name_may_be_recorded_late() {
    let make = || {
        let span = info_span!("s", otel.name = Empty);
        span.in_scope(|| {});
        span.record("otel.name", "late");
    };
    assert_eq!(theirs(make).name, "s");
    assert_eq!(ours(make).name, "late");
}

#[test]
fn a_parent_may_be_set_after_the_span_was_entered() {
    let theirs = theirs(|| {
        let span = info_span!("s").entered();
        let is_set = tracing_opentelemetry::OpenTelemetrySpanExt::set_parent(&*span, remote());
        assert!(is_set.is_err());
    });
    assert_eq!(theirs.parent_span_id, SpanId::INVALID);
    let ours = ours(|| {
        let span = info_span!("s").entered();
        spanbridge::SpanExt::set_parent(&*span, remote()).unwrap();
    });
    assert_eq!(ours.parent_span_id, SpanId::from(8));
}

#[test]
fn the_current_context_has_to_be_asked_for() {
    use spanbridge::SpanExt as _;

    let is_current = || Context::current().span().span_context().is_valid();
    theirs(|| info_span!("s").in_scope(|| assert!(is_current())));
    ours(|| {
        info_span!("s").in_scope(|| {
            assert!(!is_current());
            let _attached = Span::current().context().attach();
            assert!(is_current());
        });
    });
}

#[test]
fn threads_and_idle_times_are_not_recorded_unasked() {
    let make = || info_span!("s").in_scope(|| {});
    let (theirs, ours) = (theirs(make), ours(make));
    for key in ["thread.id", "busy_ns", "idle_ns"] {
        assert!(attribute(&theirs, key).is_some(), "{key}");
        assert_eq!(attribute(&ours, key), None, "{key}");
    }
    for key in ["code.file.path", "code.line.number", "code.module.name", "target"] {
        assert_eq!(attribute(&theirs, key), attribute(&ours, key), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_given_the_trace_that_it_belongs_to() {
    let trace = Trace::new("spawns", fields![]);
    let handed_on = trace.in_scope(|| {
        tokio::spawn(Trace::current().in_future(async { Trace::current().total_time() }))
    });
    assert!(handed_on.await.unwrap() > Duration::ZERO);
    let not = trace.in_scope(|| tokio::spawn(async { Trace::current().total_time() }));
    assert_eq!(not.await.unwrap(), Duration::ZERO);
}
