//! The stacks that are compared, and the request that each of them serves.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use spanbridge::propagation::{HeaderExtractor, HeaderInjector, inject_span, start_span};
use tracing::{Span, info_span};
use tracing_subscriber::prelude::*;

/// What a child runs, and what it says at the end.
type Running = (Box<dyn Fn()>, Box<dyn Fn() -> String>);

pub(crate) struct Stack {
    pub(crate) name: &'static str,
    pub(crate) set_up: fn() -> Running,
}

pub(crate) const ALL: &[Stack] = &[
    Stack { name: "registry alone", set_up: registry_alone },
    Stack { name: "spanbridge", set_up: || spanbridge(1) },
    Stack { name: "spanbridge, unsampled", set_up: || spanbridge(0) },
    Stack { name: "spanbridge, no layer", set_up: no_layer },
    Stack { name: "spanbridge, by TextMapPropagator", set_up: spanbridge_by_propagator },
    Stack { name: "tracing-opentelemetry, every option off", set_up: || theirs(false) },
    Stack { name: "tracing-opentelemetry, defaults", set_up: || theirs(true) },
];

/// An exporter that counts spans and drops them.
#[derive(Clone, Debug, Default)]
struct Sink(Arc<AtomicU64>);

impl SpanExporter for Sink {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// The headers of a request; bit 0 of `flags` says whether its caller records.
fn incoming(flags: u8) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags:02x}");
    headers.insert(HeaderName::from_static("traceparent"), value.parse().expect("is ASCII"));
    headers.insert(HeaderName::from_static("host"), HeaderValue::from_static("localhost:8080"));
    headers.insert(HeaderName::from_static("user-agent"), HeaderValue::from_static("bench/1.0"));
    headers
}

fn server_span() -> Span {
    info_span!(
        "HTTP request",
        otel.kind = "server",
        otel.name = "GET /api/v1/namespaces/{namespace}/pods",
        http.request.method = "GET",
        url.path = "/api/v1/namespaces/default/pods",
        url.scheme = "http",
        server.address = "localhost",
        server.port = 8080_i64,
        network.peer.address = "127.0.0.1",
        network.peer.port = 54_321_i64,
        network.protocol.version = "1.1",
        user_agent.original = "bench/1.0",
        http.response.status_code = tracing::field::Empty,
    )
}

fn client_span() -> Span {
    info_span!(
        "HTTP request",
        otel.kind = "client",
        otel.name = "POST",
        http.request.method = "POST",
        server.address = "webhook.default.svc",
        server.port = 443_i64,
        url.full = "https://webhook.default.svc/admit",
        http.response.status_code = tracing::field::Empty,
    )
}

/// One request by the OpenTelemetry API: what a hand-written middleware and client do.
fn request(
    headers: &HeaderMap,
    outgoing: &mut HeaderMap,
    propagator: &dyn TextMapPropagator,
    set_parent: impl Fn(&Span, opentelemetry::Context),
    context: impl Fn(&Span) -> opentelemetry::Context,
) {
    let parent = propagator.extract(&HeaderExtractor(headers));
    let server = server_span();
    set_parent(&server, parent);
    server.in_scope(|| {
        let client = client_span();
        propagator.inject_context(&context(&client), &mut HeaderInjector(outgoing));
        black_box(&outgoing);
        client.in_scope(|| black_box(()));
        client.record("http.response.status_code", 200_i64);
    });
    server.record("http.response.status_code", 200_i64);
}

fn registry_alone() -> Running {
    tracing_subscriber::registry().init();
    let headers = incoming(1);
    let run = move || {
        black_box(&headers);
        let server = server_span();
        server.in_scope(|| {
            let client = client_span();
            client.in_scope(|| black_box(()));
            client.record("http.response.status_code", 200_i64);
        });
        server.record("http.response.status_code", 200_i64);
    };
    (Box::new(run), Box::new(|| "no spans, no propagation".to_owned()))
}

/// One request as `ServerTracing` and `ClientTracing` do it.
fn own_request(headers: &HeaderMap, outgoing: &mut HeaderMap) {
    let started = start_span(headers, server_span);
    let _attached = started.attach.map(opentelemetry::Context::attach);
    let server = started.span;
    server.in_scope(|| {
        let client = client_span();
        inject_span(&client, outgoing);
        black_box(&outgoing);
        client.in_scope(|| black_box(()));
        client.record("http.response.status_code", 200_i64);
    });
    server.record("http.response.status_code", 200_i64);
}

fn install_spanbridge() -> spanbridge::TracingGuard {
    let (layer, guard) = spanbridge::layer().with_exporter(Sink::default()).build();
    tracing_subscriber::registry().with(layer).init();
    guard
}

fn report_of(guard: spanbridge::TracingGuard) -> Box<dyn Fn() -> String> {
    Box::new(move || {
        let _ = guard.force_flush(Duration::from_secs(60));
        guard.stats().to_string()
    })
}

fn spanbridge(flags: u8) -> Running {
    let guard = install_spanbridge();
    let headers = incoming(flags);
    let outgoing = RefCell::new(HeaderMap::new());
    let run = move || own_request(&headers, &mut outgoing.borrow_mut());
    (Box::new(run), report_of(guard))
}

fn no_layer() -> Running {
    tracing_subscriber::registry().init();
    let headers = incoming(1);
    let outgoing = RefCell::new(HeaderMap::new());
    let run = move || own_request(&headers, &mut outgoing.borrow_mut());
    (Box::new(run), Box::new(|| "no spans, propagation only".to_owned()))
}

fn spanbridge_by_propagator() -> Running {
    use spanbridge::SpanExt;
    use spanbridge::propagation::{BaggagePropagator, TraceContextPropagator};

    let guard = install_spanbridge();
    let headers = incoming(1);
    let outgoing = RefCell::new(HeaderMap::new());
    let propagator = TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ]);
    let run = move || {
        request(
            &headers,
            &mut outgoing.borrow_mut(),
            &propagator,
            |span, cx| assert!(SpanExt::set_parent(span, cx).is_ok()),
            SpanExt::context,
        );
    };
    (Box::new(run), report_of(guard))
}

fn theirs(defaults: bool) -> Running {
    use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let sink = Sink::default();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(sink.clone())
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .build();
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
    tracing_subscriber::registry().with(layer).init();
    let headers = incoming(1);
    let propagator = TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ]);
    let outgoing = RefCell::new(HeaderMap::new());
    let requests = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&requests);
    let run = move || {
        counted.store(counted.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        request(
            &headers,
            &mut outgoing.borrow_mut(),
            &propagator,
            |span, cx| assert!(OpenTelemetrySpanExt::set_parent(span, cx).is_ok()),
            OpenTelemetrySpanExt::context,
        );
    };
    let report = move || {
        let _ = provider.force_flush();
        let started = requests.load(Ordering::Relaxed) * 2;
        let exported = sink.0.load(Ordering::Relaxed);
        format!("spans: {started} started, {exported} exported, {} dropped", started - exported)
    };
    (Box::new(run), Box::new(report))
}
