//! spanbridge, and what it stands on.

use std::hint::black_box;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use opentelemetry_sdk::trace::Sampler;
use spanbridge::LayerBuilder;
use spanbridge::propagation::{inject_span, start_span};
use tracing_subscriber::prelude::*;

use super::sink::Sink;
use super::spans;
use super::stack::{self, Outcome, Running, Stack};
use super::work::{Op, Work};

/// The floor that no layer can go below.
pub(crate) const REGISTRY: Stack = Stack {
    name: "registry alone",
    set_up: |work| {
        stack::install(tracing_subscriber::registry(), work);
        Running::without_spans(|work| {
            Some(on_tracing(work, || {
                Box::new(|n| {
                    spans::repeat(n, || spans::request_within(&spans::server_span(), |_| ()))
                })
            }))
        })
    },
};

/// Every span recorded, and thrown away at the end.
pub(crate) const SAMPLED: Stack = Stack {
    name: "spanbridge",
    set_up: |work| {
        set_up(work, spanbridge::layer(), |work| Some(on_tracing(work, || request(true))))
    },
};

/// Callers that do not record, and no traces of its own.
pub(crate) const UNSAMPLED: Stack = Stack {
    name: "spanbridge, unsampled",
    set_up: |work| {
        let layer = spanbridge::layer().with_sampler(Sampler::AlwaysOff);
        let mut running = set_up(work, layer, |work| Some(on_tracing(work, || request(false))));
        // It owns the guard, with which the pipeline would end.
        let finish = running.finish;
        running.finish = Box::new(move || {
            let Outcome { exported, dropped, .. } = finish();
            assert_eq!((exported, dropped), (0, Some(0)), "recorded all the same");
            Outcome::NOTHING
        });
        running
    },
};

/// A service with spans and a subscriber, but not our layer in it: context is passed on.
pub(crate) const NO_LAYER: Stack = Stack {
    name: "spanbridge, no layer",
    set_up: |work| {
        stack::install(tracing_subscriber::registry(), work);
        Running::without_spans(only_request)
    },
};

/// What `init(None)` leaves: no subscriber at all. Context is passed on.
pub(crate) const OFF: Stack =
    Stack { name: "spanbridge, off", set_up: |_| Running::without_spans(only_request) };

fn only_request(work: Work) -> Option<Op> {
    (work == Work::Request).then(|| request(true))
}

pub(crate) fn on_tracing(work: Work, request: impl FnOnce() -> Op) -> Op {
    match work {
        Work::Request => request(),
        other => Box::new(move |iterations| spans::work(other, iterations)),
    }
}

/// The layer with an exporter that throws away, as the global subscriber.
pub(crate) fn set_up(work: Work, layer: LayerBuilder, op: fn(Work) -> Option<Op>) -> Running {
    let sink = Sink::default();
    let (layer, guard) = layer.with_exporter(sink.clone()).build();
    stack::install(tracing_subscriber::registry().with(layer), work);
    let finish = move || {
        guard.force_flush(Duration::from_secs(60)).expect("a sink is not slow");
        let stats = guard.stats();
        // All are closed by now. How many were made, the parent compares.
        assert_eq!(stats.live(), 0, "spans that nothing has become of: {stats}");
        assert_eq!(stats.exported(), sink.count(), "spans that did not arrive: {stats}");
        Outcome {
            records: true,
            exported: stats.exported(),
            dropped: Some(stats.dropped().total()),
        }
    };
    Running { op, finish: Box::new(finish) }
}

/// As `ServerTracing` and `ClientTracing` do it.
fn request(sampled: bool) -> Op {
    let headers = spans::incoming(sampled);
    let mut outgoing = HeaderMap::new();
    Box::new(move |iterations| {
        spans::repeat(iterations, || {
            let started = start_span(&headers, spans::server_span);
            let _attached = started.attach.map(opentelemetry::Context::attach);
            spans::request_within(&started.span, |client| {
                inject_span(client, &mut outgoing);
                black_box(&outgoing);
            });
        })
    })
}
