//! What a sampler that looks at more than ids is told of an incoming request.

use std::sync::{Arc, Mutex};

use actix_web::http::header::HeaderName;
use actix_web::{HttpResponse, web};
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};
use spanbridge::server::ServerSpan;
use spanbridge::{ServerTracing, SpanExt as _, Trust};

use crate::http::{CALLER, TestServer, send};
use crate::support::{Setup, Tracing};

/// Samples everything, and remembers what it was asked.
#[derive(Clone, Debug, Default)]
struct Curious(Arc<Mutex<Vec<String>>>);

impl ShouldSample for Curious {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let has_parent = parent.is_some_and(|cx| cx.span().span_context().is_valid());
        let mut all: Vec<_> = attributes
            .iter()
            .filter(|kv| !kv.key.as_str().starts_with("network.peer"))
            .map(|kv| format!("{}={}", kv.key, kv.value.as_str()))
            .collect();
        all.sort();
        let links = links.len();
        let asked = format!("{name} {kind:?} parent={has_parent} links={links} {}", all.join(" "));
        self.0.lock().unwrap().push(asked);
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: TraceState::NONE,
        }
    }
}

#[actix_web::test]
async fn sampler_is_told_all_that_is_known_of_a_request() {
    const BASE: &str = "http.request.method=GET http.route=/x/{id} network.protocol.version=1.1 \
                        region=north server.address=h url.path=/x/1 url.scheme=http";
    for setup in [Setup::Ours, Setup::OursBehindReload, Setup::Theirs] {
        for (trust, parent, links) in
            [(Trust::Parent, true, 0), (Trust::Link, false, 1), (Trust::Ignore, false, 0)]
        {
            for baggage in ["", "\nbaggage: user=a"] {
                let sampler = Curious::default();
                let tracing = Tracing::with_sampler(setup, sampler.clone());
                let middleware = ServerTracing::new()
                    .with_request_headers([HeaderName::from_static("x-tenant")])
                    .with_provisional_route(true)
                    .public_endpoint(move |_| trust)
                    .on_request(|_, span| span.set_attribute("region", "north"));
                let server = TestServer::start(&tracing, middleware, |app| {
                    let asks = |span: ServerSpan| async move {
                        drop(span.context());
                        HttpResponse::Ok().finish()
                    };
                    app.route("/x/{id}", web::get().to(asks));
                });
                let head = "GET /x/1 HTTP/1.1\nHost: h\nX-Tenant: t";
                send(&server, &format!("{head}\ntraceparent: {CALLER}{baggage}"));
                tracing.ended(1).await;

                let asked = sampler.0.lock().unwrap();
                let [asked] = &asked[..] else { panic!("{setup:?} {trust:?}: {asked:?}") };
                let expected = format!(
                    "GET /x/{{id}} Server parent={parent} links={links} client.address=127.0.0.1 \
                     http.request.header.x-tenant=[\"t\"] {BASE}"
                );
                assert_eq!(*asked, expected, "{setup:?} {trust:?} {baggage}");
            }
        }
    }
}

#[actix_web::test]
async fn a_layer_that_is_in_no_subscriber_takes_no_part_in_a_link() {
    let (_layer, _guard) = spanbridge::layer().build();
    let sampler = Curious::default();
    let tracing = Tracing::with_sampler(Setup::Theirs, sampler.clone());
    let middleware = ServerTracing::new().public_endpoint(|_| Trust::Link);
    let server = TestServer::start(&tracing, middleware, |app| {
        app.route("/", web::get().to(HttpResponse::Ok));
    });
    send(&server, &format!("GET / HTTP/1.1\nHost: h\ntraceparent: {CALLER}"));
    tracing.ended(1).await;
    let asked = sampler.0.lock().unwrap();
    assert!(asked[0].contains(" links=1 "), "{asked:?}");
}
