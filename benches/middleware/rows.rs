//! The applications that are compared.

use std::cell::RefCell;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderName};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, HttpResponse, rt, web};
use opentelemetry::KeyValue;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use spanbridge::metrics::ServerMetrics;
use spanbridge::server::{MetricLabels, TrustedProxies};
use spanbridge::{ServerTracing, SpanExt as _, TracingGuard, Trust};
use tracing_subscriber::prelude::*;

/// An application.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The row that it is compared with.
    pub(crate) over: &'static str,
    pub(crate) layer: Layer,
    middleware: Option<fn(ServerTracing) -> ServerTracing>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    No,
    Sampled,
    Unsampled,
}

pub(crate) const ROWS: &[Row] = &[
    Row { name: "bare", over: "-", layer: Layer::Sampled, middleware: None },
    row("no layer", "bare", Layer::No, |it| it),
    row("not sampled", "bare", Layer::Unsampled, |it| it),
    row("sampled", "bare", Layer::Sampled, |it| it),
    sampled("filter that keeps", |it| it.filter(|_| true)),
    sampled("public endpoint: parent", |it| it.public_endpoint(|_| Trust::Parent)),
    sampled("public endpoint: link", |it| it.public_endpoint(|_| Trust::Link)),
    sampled("trusted proxies", |it| {
        it.with_trusted_proxies(TrustedProxies::from_networks(["10.0.0.0/8"]).expect("a network"))
    }),
    sampled("known methods", |it| it.with_known_methods(["GET", "POST"])),
    sampled("query keys", |it| it.with_sensitive_query_keys(["token", "key"])),
    sampled("one request header", |it| it.with_request_headers([header::ACCEPT])),
    sampled("one response header", |it| it.with_response_headers([header::CONTENT_TYPE])),
    sampled("name formatter", |it| {
        it.with_span_name_formatter(|_, route| route.map(|route| format!("api {route}")))
    }),
    sampled("hooks that do nothing", |it| it.on_request(|_, _| ()).on_response(|_, _, _| ())),
    sampled("hook that sets an attribute", |it| {
        it.on_request(|_, span| span.set_attribute("region", "north"))
    }),
    sampled("start time", |it| it.with_start_time(|_| Some(std::time::SystemTime::UNIX_EPOCH))),
    sampled("provisional route", |it| it.with_provisional_route(true)),
    row("provisional route, not sampled", "not sampled", Layer::Unsampled, |it| {
        it.with_provisional_route(true)
    }),
    sampled("network details", |it| it.with_network_details(true)),
    sampled("body sizes", |it| it.with_body_sizes(true)),
    sampled("server-timing", |it| it.with_server_timing(true)),
    sampled("metrics: duration", |it| it.with_metrics(ServerMetrics::new(&provider()))),
    sampled("metrics: all", |it| {
        let metrics = ServerMetrics::new(&provider());
        it.with_metrics(metrics.with_active_requests().with_body_sizes())
    }),
];

const fn row(
    name: &'static str,
    over: &'static str,
    layer: Layer,
    middleware: fn(ServerTracing) -> ServerTracing,
) -> Row {
    Row { name, over, layer, middleware: Some(middleware) }
}

const fn sampled(name: &'static str, middleware: fn(ServerTracing) -> ServerTracing) -> Row {
    row(name, "sampled", Layer::Sampled, middleware)
}

/// Aggregates, and reads nothing by itself.
fn provider() -> SdkMeterProvider {
    let exporter = opentelemetry_sdk::metrics::InMemoryMetricExporter::default();
    let reader = opentelemetry_sdk::metrics::PeriodicReader::builder(exporter)
        .with_interval(std::time::Duration::from_secs(3_600))
        .build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    // A provider that is dropped shuts down.
    std::mem::forget(provider.clone());
    provider
}

/// An exporter that drops spans.
#[derive(Debug)]
struct Sink;

impl SpanExporter for Sink {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

impl Layer {
    /// Makes the global subscriber.
    pub(crate) fn install(self) -> Option<TracingGuard> {
        if self == Self::No {
            return None;
        }
        let (layer, guard) = spanbridge::layer().with_exporter(Sink).build();
        tracing_subscriber::registry().with(layer).init();
        Some(guard)
    }

    /// Whether the caller records is what decides.
    fn traceparent(self) -> &'static str {
        match self {
            Self::Unsampled => "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            Self::No | Self::Sampled => "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        }
    }
}

/// The application, ready to be called.
pub(crate) struct Service {
    system: RefCell<rt::SystemRunner>,
    call: Box<dyn Fn()>,
}

impl Service {
    pub(crate) fn new(row: &Row) -> Self {
        let system = rt::System::new();
        let traceparent = row.layer.traceparent();
        let app = App::new()
            .route("/pods/{name}", web::get().to(pod))
            .route("/nodes/{name}", web::get().to(HttpResponse::Ok));
        let call = match row.middleware {
            None => calls(system.block_on(init_service(app)), traceparent),
            Some(set) => {
                let app = app.wrap(set(ServerTracing::new()));
                calls(system.block_on(init_service(app)), traceparent)
            }
        };
        Self { system: RefCell::new(system), call }
    }

    pub(crate) fn requests(&self, count: u32) {
        self.system.borrow().block_on(async {
            for _ in 0..count {
                (self.call)();
            }
        });
    }
}

/// Handlers may add to metrics, measured or not.
async fn pod(name: web::Path<String>, labels: MetricLabels) -> HttpResponse {
    labels.add(KeyValue::new("tier", "gold"));
    black_box(&name);
    HttpResponse::Ok().content_type("text/plain").body("a pod")
}

fn calls<S, B>(service: S, traceparent: &'static str) -> Box<dyn Fn()>
where
    S: actix_web::dev::Service<
            actix_http::Request,
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
        > + 'static,
    B: MessageBody + 'static,
{
    Box::new(move || {
        let request = TestRequest::get()
            .uri("/pods/web-0?watch=true&token=secret")
            .insert_header((header::HOST, "api.example:8080"))
            .insert_header((header::USER_AGENT, "bench/1.0"))
            .insert_header((header::ACCEPT, "application/json"))
            .insert_header((HeaderName::from_static("traceparent"), traceparent))
            .insert_header((header::X_FORWARDED_FOR, "192.0.2.60"))
            .peer_addr(([10, 0, 0, 1], 54_321).into())
            .to_request();
        let mut waiting = Context::from_waker(Waker::noop());
        let response = match pin!(service.call(request)).poll(&mut waiting) {
            Poll::Ready(Ok(response)) => response,
            other => panic!("the handler answers at once: {}", other.is_pending()),
        };
        assert_eq!(response.status().as_u16(), 200);
        let body: BoxBody = response.map_into_boxed_body().into_body();
        assert_eq!(body.try_into_bytes().expect("it is a text"), "a pod");
    })
}
