//! What a `legacy::Trace` with two steps costs: off, with its text, as a span, and both.
//!
//! The trace is fast, as nearly all are: its text is kept and never printed. `printed` is the rare
//! one that is. The span goes to an exporter that throws it away. `cargo bench --bench legacy`.

use std::hint::black_box;
use std::time::Duration;
use std::{future, io};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use spanbridge::legacy::{TextLog, Trace, fields};
use tracing_subscriber::prelude::*;

#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    fn export(&self, _: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        future::ready(Ok(()))
    }
}

fn operation(log: &TextLog, path: &'static str, count: usize, threshold: Duration) {
    let trace = Trace::new_in(log, "List", fields!["url" => path, "limit" => 500]);
    trace.step("listed from storage", fields!["count" => count]);
    trace.step("encoded", fields![]);
    trace.log_if_long(threshold);
}

fn trace(criterion: &mut Criterion) {
    let never = Duration::from_secs(3600);
    let text = TextLog::builder().with_writer(io::sink).build();
    let silent = TextLog::builder().with_verbosity(0).build();
    let mut group = criterion.benchmark_group("trace with two steps");

    for (name, log, has_span, threshold) in [
        ("off", &silent, false, never),
        ("text only", &text, false, never),
        ("span only", &silent, true, never),
        ("both", &text, true, never),
        ("text only, printed", &text, false, Duration::ZERO),
    ] {
        let (layer, guard) = spanbridge::layer().with_exporter(Nowhere).build();
        let subscriber = tracing_subscriber::registry().with(has_span.then_some(layer));
        let run = || {
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| operation(log, black_box("/api/v1/pods"), black_box(3), threshold));
            });
        };
        if has_span {
            tracing::subscriber::with_default(subscriber, run);
        } else {
            tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), run);
        }
        drop(guard);
    }
    group.finish();
}

criterion_group!(benches, trace);
criterion_main!(benches);
