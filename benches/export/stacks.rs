//! The stacks that are compared, and the spans that each of them makes; also for `benches/peers`.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use spanbridge::TracingConfig;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::shared::export::{Exporting, Pipeline};
use crate::shared::spans;
use crate::theirs;

pub(crate) const ALL: &[Exporting] = &[
    Exporting { name: "spanbridge", set_up: ours },
    Exporting { name: "spanbridge, opentelemetry-otlp", set_up: ours_with_stock_exporter },
    Exporting { name: "tracing-opentelemetry, every option off", set_up: |to| theirs(to, false) },
    Exporting { name: "tracing-opentelemetry, defaults", set_up: |to| theirs(to, true) },
];

/// So many spans, in pairs of parent and child.
fn spans(count: u64) {
    for _ in 0..count / 2 {
        spans::request_within(&spans::server_span(), |_| ());
    }
}

fn pipeline(flush: impl Fn() + 'static) -> Pipeline {
    Pipeline { spans, flush: Box::new(flush) }
}

/// Only the spans that are measured: those of an exporter's own h2 and tonic would be traced and
/// exported again. Above all layers, where it costs a span nothing, and the same for each stack.
fn measured() -> Targets {
    Targets::new().with_target(env!("CARGO_CRATE_NAME"), Level::TRACE)
}

fn ours(endpoint: &str) -> Pipeline {
    let config = TracingConfig::default()
        .with_url(endpoint)
        .with_sampling_rate_per_million(1_000_000)
        .with_service_name("bench");
    let (layer, guard) =
        spanbridge::layer_from(Some(config)).expect("is valid").expect("tracing is on");
    tracing_subscriber::registry().with(measured()).with(layer).init();
    pipeline(move || {
        let _ = guard.force_flush(Duration::from_secs(60));
    })
}

/// In the exporter's own runtime, as tonic asks for one.
pub(crate) fn stock_exporter(endpoint: &str) -> opentelemetry_otlp::SpanExporter {
    opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .expect("the endpoint is valid")
}

/// tonic connects from a runtime; this one serves until the process ends.
pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("there are threads");
    Box::leak(Box::new(runtime))
}

fn ours_with_stock_exporter(endpoint: &str) -> Pipeline {
    let entered = runtime().enter();
    let exporter = stock_exporter(endpoint);
    let (layer, guard) = spanbridge::layer().with_exporter(exporter).build();
    drop(entered);
    tracing_subscriber::registry().with(measured()).with(layer).init();
    pipeline(move || {
        let _ = guard.force_flush(Duration::from_secs(60));
    })
}

fn theirs(endpoint: &str, defaults: bool) -> Pipeline {
    let entered = runtime().enter();
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(stock_exporter(endpoint)).build();
    drop(entered);
    let layer = theirs::layer(provider.tracer("bench"), defaults);
    tracing_subscriber::registry().with(measured()).with(layer).init();
    pipeline(move || drop(provider.force_flush()))
}
