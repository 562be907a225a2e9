//! tracing-opentelemetry with the OpenTelemetry SDK, and our layer used as that one is.
//!
//! For those who have the crate: `#[path = "../shared/theirs.rs"] mod theirs;`.

// Each benchmark uses its own part of this.
#![allow(dead_code)]

use std::hint::black_box;

use actix_web::http::header::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use spanbridge::propagation::{HeaderExtractor, HeaderInjector};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

use crate::shared::sink::Sink;
use crate::shared::stack::{self, Outcome, Running, Stack};
use crate::shared::work::{Op, Work};
use crate::shared::{ours, spans};

pub(crate) const DEFAULTS: Stack = Stack {
    name: "tracing-opentelemetry, defaults",
    set_up: |work| set_up(work, true, Sampler::AlwaysOn, |work| Some(op(work, true))),
};

pub(crate) const OPTIONS_OFF: Stack = Stack {
    name: "tracing-opentelemetry, every option off",
    set_up: |work| set_up(work, false, Sampler::AlwaysOn, |work| Some(op(work, true))),
};

/// With its defaults; callers that do not record, and no traces of its own.
pub(crate) const UNSAMPLED: Stack = Stack {
    name: "tracing-opentelemetry, unsampled",
    set_up: |work| {
        let mut running = set_up(work, true, Sampler::AlwaysOff, |work| Some(op(work, false)));
        let finish = running.finish;
        running.finish = Box::new(move || {
            assert_eq!(finish().exported, 0, "recorded all the same");
            Outcome::NOTHING
        });
        running
    },
};

/// Our layer, through the OpenTelemetry API instead of `start_span` and `inject_span`.
pub(crate) const OURS_BY_PROPAGATOR: Stack = Stack {
    name: "spanbridge, by TextMapPropagator",
    set_up: |work| {
        ours::set_up(work, spanbridge::layer(), |work| {
            use spanbridge::SpanExt;
            use spanbridge::propagation::{BaggagePropagator, TraceContextPropagator};

            (work == Work::Request).then(|| {
                let propagator = TextMapCompositePropagator::new(vec![
                    Box::new(TraceContextPropagator::new()),
                    Box::new(BaggagePropagator::new()),
                ]);
                let set_parent = |span: &Span, cx| assert!(SpanExt::set_parent(span, cx).is_ok());
                request(propagator, true, set_parent, SpanExt::context)
            })
        })
    },
};

/// Its layer, with all that it does by default or with all that can be switched off switched off.
pub(crate) fn layer<S>(tracer: SdkTracer, defaults: bool) -> OpenTelemetryLayer<S, SdkTracer>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    if defaults {
        return layer;
    }
    layer
        .with_location(false)
        .with_tracked_inactivity(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_context_activation(false)
}

fn set_up(work: Work, defaults: bool, root: Sampler, op: fn(Work) -> Option<Op>) -> Running {
    let sink = Sink::default();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(sink.clone())
        .with_sampler(Sampler::ParentBased(Box::new(root)))
        .build();
    let layer = layer(provider.tracer("bench"), defaults);
    stack::install(tracing_subscriber::registry().with(layer), work);
    let finish = move || {
        let _ = provider.force_flush();
        // It does not say how many it dropped.
        Outcome { records: true, exported: sink.count(), dropped: None }
    };
    Running { op, finish: Box::new(finish) }
}

fn op(work: Work, sampled: bool) -> Op {
    use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    ours::on_tracing(work, || {
        let propagator = TextMapCompositePropagator::new(vec![
            Box::new(TraceContextPropagator::new()),
            Box::new(BaggagePropagator::new()),
        ]);
        let set_parent =
            |span: &Span, cx| assert!(OpenTelemetrySpanExt::set_parent(span, cx).is_ok());
        request(propagator, sampled, set_parent, OpenTelemetrySpanExt::context)
    })
}

/// By the OpenTelemetry API: what a middleware and client written by hand do.
fn request(
    propagator: impl TextMapPropagator + 'static,
    sampled: bool,
    set_parent: fn(&Span, Context),
    context: fn(&Span) -> Context,
) -> Op {
    let headers = spans::incoming(sampled);
    let mut outgoing = HeaderMap::new();
    Box::new(move |iterations| {
        spans::repeat(iterations, || {
            let parent = propagator.extract(&HeaderExtractor(&headers));
            let server = spans::server_span();
            set_parent(&server, parent);
            spans::request_within(&server, |client| {
                propagator.inject_context(&context(client), &mut HeaderInjector(&mut outgoing));
                black_box(&outgoing);
            });
        })
    })
}
