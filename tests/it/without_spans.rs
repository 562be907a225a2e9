//! Requests that nothing is recorded of, and what still works for them.

use actix_web::{HttpResponse, web};
use awc::Client;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _};
use opentelemetry_sdk::trace::Sampler;
use spanbridge::{ServerTracing, SpanExt as _};
use tracing::Span;

use crate::http::{
    CALLER, CALLER_SPAN, TestServer, UNSAMPLED_CALLER, caller, client, echo_server, send, text,
};
use crate::support::{Setup, Tracing, tree};

/// Does everything that a handler may do with a span.
async fn busy() -> HttpResponse {
    let span = tracing::info_span!("work", size = 3, late = tracing::field::Empty);
    span.in_scope(|| {
        tracing::info!("read");
        span.record("late", "text");
        span.set_attribute("key", 1_i64);
        span.add_event("event", vec![KeyValue::new("key", "value")]);
        span.add_link(SpanContext::NONE);
        span.update_name("other");
        tracing::info_span!("inner").in_scope(|| tracing::info!("decoded"));
    });
    Span::current().set_attribute("key", 1_i64);
    HttpResponse::Ok().finish()
}

#[actix_web::test]
async fn unsampled_request_makes_no_record() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route("/x", web::get().to(busy));
        });

        for _ in 0..10 {
            let head = format!("GET /x HTTP/1.1\nHost: h\ntraceparent: {UNSAMPLED_CALLER}");
            assert!(send(&server, &head).starts_with("HTTP/1.1 200 "), "{setup:?}");
        }

        assert_eq!(tracing.tree(), "", "{setup:?}");
        if setup != Setup::Theirs {
            // One decision a request; the spans below it did not even ask.
            let stats = tracing.stats();
            assert_eq!(stats.not_sampled(), 10, "{setup:?}");
            assert_eq!((stats.started(), stats.dropped().total()), (0, 0), "{setup:?}");
        }
    }
}

#[actix_web::test]
async fn trace_that_is_not_sampled_here_is_passed_on_as_such() {
    for (setup, tracing) in Tracing::each_unsampled() {
        let echo = echo_server(&tracing);
        let server = caller(&tracing, ServerTracing::new(), &echo);

        let arrived = text(Client::new().get(server.url("/call"))).await;

        let flags = if setup == Setup::Theirs { "-00\n" } else { "-02\n" };
        assert!(arrived.starts_with("traceparent: 00-"), "{setup:?}: {arrived}");
        assert!(arrived.ends_with(flags), "{setup:?}: {arrived}");
        assert_eq!(tracing.tree(), "", "{setup:?}");

        // The caller's decision comes first.
        let request = Client::new().get(server.url("/call"));
        text(request.insert_header(("traceparent", CALLER))).await;
        let expected = "server GET /call 200\n  client GET 200\n    server GET /echo 200\n";
        assert_eq!(tree(&tracing.ended(3).await), expected, "{setup:?}");
    }
}

#[actix_web::test]
async fn filtered_request_has_no_span_and_keeps_the_trace() {
    for (setup, tracing) in Tracing::each() {
        let echo = echo_server(&Tracing::none());
        let url = echo.url("/echo");
        let middleware = ServerTracing::new().filter(|request| request.path() != "/healthz");
        let server = TestServer::start(&tracing, middleware, move |app| {
            let url = url.clone();
            app.default_service(web::to(move || {
                let url = url.clone();
                async move {
                    tracing::info_span!("work").in_scope(|| ());
                    text(client().get(url)).await
                }
            }));
        });

        let request = |path| Client::new().get(server.url(path)).insert_header(("baggage", "k=v"));
        let arrived = text(request("/healthz").insert_header(("traceparent", CALLER))).await;

        // What the handler makes are the caller's children.
        let spans = tracing.ended(2).await;
        assert_eq!(tree(&spans), "internal work\nclient GET 200\n", "{setup:?}");
        for span in &spans {
            assert_eq!(span.parent_span_id, SpanId::from_hex(CALLER_SPAN).unwrap(), "{setup:?}");
            assert!(span.parent_span_is_remote, "{setup:?}");
        }
        let client = spans[1].span_context.span_id();
        let expected = format!("{}-{client}-01\nbaggage: k=v\n", &CALLER[..35]);
        assert_eq!(arrived, format!("traceparent: {expected}"), "{setup:?}");

        text(request("/x").insert_header(("traceparent", CALLER))).await;
        let expected = "server GET 200\n  internal work\n  client GET 200\n";
        assert_eq!(tree(&tracing.ended(5).await[2..]), expected, "{setup:?}");
    }
}

#[actix_web::test]
async fn untrusted_caller_never_reaches_the_sampler() {
    use spanbridge::Trust;

    for setup in Setup::RECORDING {
        for trust in [Trust::Link, Trust::Ignore] {
            let tracing =
                Tracing::with_sampler(setup, Sampler::ParentBased(Box::new(Sampler::AlwaysOff)));
            let middleware = ServerTracing::new().public_endpoint(move |_| trust);
            let server = TestServer::start(&tracing, middleware, |app| {
                app.default_service(web::to(HttpResponse::Ok));
            });

            send(&server, &format!("GET / HTTP/1.1\nHost: h\ntraceparent: {CALLER}"));

            assert_eq!(tracing.tree(), "", "{setup:?} {trust:?}");
        }
    }
}

#[actix_web::test]
async fn context_of_a_handler_is_that_of_the_caller_where_there_is_no_layer() {
    let server = TestServer::start(&Tracing::none(), ServerTracing::new(), |app| {
        app.default_service(web::to(|| async {
            Span::current().context().span().span_context().span_id().to_string()
        }));
    });

    let response = send(&server, &format!("GET / HTTP/1.1\nHost: h\ntraceparent: {CALLER}"));

    assert!(response.ends_with(CALLER_SPAN), "{response}");
}
