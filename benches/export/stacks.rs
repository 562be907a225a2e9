//! The stacks that are compared, and the spans that each of them makes.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use spanbridge::TracingConfig;
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// Waits until everything has been sent.
type Flush = Box<dyn Fn()>;

pub(crate) struct Stack {
    pub(crate) name: &'static str,
    pub(crate) set_up: fn(&str) -> Flush,
}

pub(crate) const ALL: &[Stack] = &[
    Stack { name: "spanbridge", set_up: ours },
    Stack { name: "spanbridge, opentelemetry-otlp", set_up: ours_with_stock_exporter },
    Stack { name: "tracing-opentelemetry, every option off", set_up: |to| theirs(to, false) },
    Stack { name: "tracing-opentelemetry, defaults", set_up: |to| theirs(to, true) },
];

/// So many spans, in pairs of parent and child.
pub(crate) fn spans(count: u64) {
    for _ in 0..count / 2 {
        let server = info_span!(
            "HTTP request",
            otel.kind = "server",
            http.request.method = "GET",
            url.path = "/api/v1/namespaces/default/pods",
            url.scheme = "http",
            server.address = "localhost",
            server.port = 8080_i64,
            network.peer.address = "127.0.0.1",
            network.peer.port = 54_321_i64,
            network.protocol.version = "1.1",
            user_agent.original = "bench/1.0",
            http.response.status_code = 200_i64,
        );
        server.in_scope(|| {
            info_span!(
                "HTTP request",
                otel.kind = "client",
                http.request.method = "POST",
                server.address = "webhook.default.svc",
                server.port = 443_i64,
                url.full = "https://webhook.default.svc/admit",
                http.response.status_code = 200_i64,
            )
            .in_scope(|| ());
        });
    }
}

fn ours(endpoint: &str) -> Flush {
    let config = TracingConfig::default()
        .with_url(endpoint)
        .with_sampling_rate_per_million(1_000_000)
        .with_service_name("bench");
    let (layer, guard) =
        spanbridge::layer_from(Some(config)).expect("is valid").expect("tracing is on");
    tracing_subscriber::registry().with(layer).init();
    Box::new(move || {
        let _ = guard.force_flush(Duration::from_secs(60));
    })
}

/// In the exporter's own runtime, as tonic asks for one.
fn stock_exporter(endpoint: &str) -> opentelemetry_otlp::SpanExporter {
    opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .expect("the endpoint is valid")
}

/// tonic connects from a runtime; this one serves until the process ends.
fn runtime() -> &'static tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("there are threads");
    Box::leak(Box::new(runtime))
}

fn ours_with_stock_exporter(endpoint: &str) -> Flush {
    let entered = runtime().enter();
    let exporter = stock_exporter(endpoint);
    let (layer, guard) = spanbridge::layer().with_exporter(exporter).build();
    drop(entered);
    tracing_subscriber::registry().with(layer).init();
    Box::new(move || {
        let _ = guard.force_flush(Duration::from_secs(60));
    })
}

fn theirs(endpoint: &str, defaults: bool) -> Flush {
    let entered = runtime().enter();
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(stock_exporter(endpoint)).build();
    drop(entered);
    let mut layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    if !defaults {
        layer = layer
            .with_location(false)
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_context_activation(false);
    }
    // Its exporter's own spans, of h2 and tonic, would be traced and exported again.
    let own =
        tracing_subscriber::filter::Targets::new().with_target("export", tracing::Level::TRACE);
    tracing_subscriber::registry().with(layer.with_filter(own)).init();
    Box::new(move || drop(provider.force_flush()))
}
