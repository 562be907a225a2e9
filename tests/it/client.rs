//! Outgoing requests, and what a request carries from one process to the next.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use awc::Client;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue, Value};
use spanbridge::{ClientTracing, ServerTracing};

use crate::http::{CALLER, TestServer, client, echo, echo_server, text};
use crate::support::{Tracing, attribute, tree};

#[actix_web::test]
async fn span_has_the_attributes_of_the_conventions() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = echo_server(&Tracing::none());
        let port = server.address.port();

        let url = format!("http://me:secret@127.0.0.1:{port}/echo?color=blue&sig=secret");
        client().get(url).send().await.unwrap();

        let [span] = &tracing.ended(1).await[..] else { panic!("one span") };
        assert_eq!(span.name, "GET", "{setup:?}");
        assert_eq!(span.span_kind, SpanKind::Client, "{setup:?}");
        assert_eq!(span.status, Status::Unset, "{setup:?}");
        let mut attributes: Vec<_> =
            span.attributes.iter().map(|kv| (kv.key.as_str(), kv.value.clone())).collect();
        attributes.sort_by_key(|(key, _)| *key);
        let url = format!("http://REDACTED:REDACTED@127.0.0.1:{port}/echo?color=blue&sig=REDACTED");
        let expected = [
            ("http.request.method", Value::from("GET")),
            ("http.response.status_code", Value::I64(200)),
            ("network.peer.address", Value::from("127.0.0.1")),
            ("network.peer.port", Value::I64(i64::from(port))),
            ("network.protocol.version", Value::from("1.1")),
            ("server.address", Value::from("127.0.0.1")),
            ("server.port", Value::I64(i64::from(port))),
            ("url.full", Value::from(url)),
        ];
        assert_eq!(attributes, expected, "{setup:?}");
    }
}

#[actix_web::test]
async fn failures_are_told_by_the_status_code_or_the_error() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = TestServer::start(&Tracing::none(), ServerTracing::new(), |app| {
            app.route(
                "/{code}",
                web::get().to(|code: web::Path<u16>| async move {
                    let status = actix_web::http::StatusCode::from_u16(*code).unwrap();
                    HttpResponse::build(status).finish()
                }),
            );
        });
        // Bound and given back, so that nobody listens there.
        let unused = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();

        for (url, expected) in [
            (server.url("/204"), "client GET 204\n"),
            (server.url("/404"), "client GET 404 404 failed\n"),
            (server.url("/503"), "client GET 503 503 failed\n"),
            (format!("http://{unused}/"), "client GET connect_refused failed\n"),
            (format!("https://{}/", server.address), "client GET tls failed\n"),
        ] {
            let before = tracing.ended(0).await.len();
            drop(client().get(&url).send().await);
            let spans = tracing.ended(before + 1).await;
            assert_eq!(tree(&spans[before..]), expected, "{setup:?} {url}");
        }
    }
}

#[actix_web::test]
async fn each_hop_of_a_redirect_has_a_span() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = TestServer::start(&Tracing::none(), ServerTracing::new(), |app| {
            let moved = |to: &'static str| {
                move || async move { HttpResponse::Found().insert_header(("location", to)).finish() }
            };
            app.route("/a", web::get().to(moved("/b")))
                .route("/b", web::get().to(moved("/echo")))
                .route("/echo", web::get().to(echo));
        });

        let arrived = text(client().get(server.url("/a"))).await;

        let spans = tracing.ended(3).await;
        assert_eq!(tree(&spans), "client GET 302\nclient GET 302\nclient GET 200\n", "{setup:?}");
        let last = spans[2].span_context.span_id().to_string();
        assert!(arrived.contains(&last), "{arrived} is not of {last}");
    }
}

#[actix_web::test]
async fn dropped_request_has_no_status() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = TestServer::start(&Tracing::none(), ServerTracing::new(), |app| {
            app.default_service(web::to(std::future::pending::<HttpResponse>));
        });

        let sent = client().get(server.url("/")).send();
        assert!(tokio::time::timeout(Duration::from_millis(1), sent).await.is_err());

        assert_eq!(tree(&tracing.ended(1).await), "client GET\n", "{setup:?}");
    }
}

#[actix_web::test]
async fn headers_set_by_hand_are_removed_where_there_is_no_trace() {
    let server = echo_server(&Tracing::none());

    let request = client().get(server.url("/echo")).insert_header(("traceparent", CALLER));
    let arrived = text(request.insert_header(("baggage", "user=a"))).await;

    assert_eq!(arrived, "");
}

#[actix_web::test]
async fn frozen_request_carries_a_new_span_each_time() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = echo_server(&Tracing::none());

        let request = client().get(server.url("/echo"));
        let request = request.insert_header(("traceparent", CALLER));
        let request = request.insert_header(("baggage", "user=old"));
        let request = request.insert_header(("tracestate", "old=1")).freeze().unwrap();

        for count in 1..=2 {
            let body = request.send().await.unwrap().body().await.unwrap();
            let span = tracing.ended(count).await.pop().unwrap().span_context;
            // Our ids are random and say so; the SDK's do not.
            let flags = span.trace_flags().to_u8();
            let expected =
                format!("traceparent: 00-{}-{}-{flags:02x}\n", span.trace_id(), span.span_id());
            assert_eq!(body, expected, "{setup:?}");
        }
    }
}

#[actix_web::test]
async fn baggage_of_the_current_context_is_sent() {
    let server = echo_server(&Tracing::none());
    let cx = Context::current_with_baggage([KeyValue::new("user", "a b")]);

    let sent = {
        let _attached = cx.attach();
        client().get(server.url("/echo")).send()
    };

    assert_eq!(sent.await.unwrap().body().await.unwrap(), "baggage: user=a%20b\n");
}

/// One header of its own kind, which holds a decimal trace id and span id.
#[derive(Debug)]
struct DecimalPropagator([String; 1]);

impl DecimalPropagator {
    fn new() -> Self {
        Self(["x-decimal".to_owned()])
    }
}

impl TextMapPropagator for DecimalPropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span().span_context().clone();
        if span.is_valid() {
            let trace = u128::from_be_bytes(span.trace_id().to_bytes());
            let id = u64::from_be_bytes(span.span_id().to_bytes());
            injector.set("x-decimal", format!("{trace}/{id}"));
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

        let Some((trace, id)) = extractor.get("x-decimal").and_then(|v| v.split_once('/')) else {
            return cx.clone();
        };
        cx.with_remote_span_context(SpanContext::new(
            TraceId::from(trace.parse::<u128>().unwrap()),
            SpanId::from(id.parse::<u64>().unwrap()),
            TraceFlags::SAMPLED,
            true,
            TraceState::default(),
        ))
    }

    fn fields(&self) -> text_map_propagator::FieldIter<'_> {
        text_map_propagator::FieldIter::new(&self.0)
    }
}

#[actix_web::test]
async fn other_propagators_take_the_place_of_the_w3c_headers() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let middleware = ServerTracing::new().with_propagator(DecimalPropagator::new());
        let server = TestServer::start(&tracing, middleware, |app| {
            app.route("/echo", web::get().to(echo));
        });
        let client = Client::builder()
            .wrap(ClientTracing::new().with_propagator(DecimalPropagator::new()))
            .finish();

        let arrived = text(client.get(server.url("/echo"))).await;

        assert_eq!(arrived, "", "{setup:?}");
        assert_eq!(
            tree(&tracing.ended(2).await),
            "client GET 200\n  server GET /echo 200\n",
            "{setup:?}"
        );
        assert!(attribute(&tracing.ended(2).await[1], "http.route").is_some());
    }
}
