//! What a `legacy::Trace` with two steps costs: off, with its text, as a span, and both.
//!
//! The trace is fast, as nearly all are: its text is kept and never printed. `printed` is the rare
//! one that is. The span goes to an exporter that throws it away. `cargo bench --bench legacy`.

#[path = "shared/trace.rs"]
mod trace;

use std::future;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tracing_subscriber::prelude::*;

#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    fn export(&self, _: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        future::ready(Ok(()))
    }
}

fn traces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trace with two steps");
    for setting in trace::ALL {
        let log = setting.log();
        let (layer, guard) = spanbridge::layer().with_exporter(Nowhere).build();
        let subscriber = tracing_subscriber::registry().with(setting.has_span.then_some(layer));
        let run = || {
            group.bench_function(BenchmarkId::from_parameter(setting.name), |bencher| {
                bencher.iter(|| trace::operation(&log, setting.threshold));
            });
        };
        if setting.has_span {
            tracing::subscriber::with_default(subscriber, run);
        } else {
            tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), run);
        }
        drop(guard);
    }
    group.finish();
}

criterion_group!(benches, traces);
criterion_main!(benches);
