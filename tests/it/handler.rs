//! What a handler does with the span it runs in.

use actix_web::{HttpResponse, web};
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanId, Status, TraceContextExt as _, TraceId};
use spanbridge::{ServerTracing, SpanExt as _};
use tracing::{Instrument as _, Span};

use crate::http::{CALLER, CALLER_SPAN, CALLER_TRACE, TestServer, UNSAMPLED_CALLER, send};
use crate::support::{Setup, Tracing, attribute};

#[actix_web::test]
async fn what_a_handler_adds_lands_on_the_server_span() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route(
                "/x",
                web::get().to(|| async {
                    let span = Span::current();
                    span.set_attribute("order.id", 4711_i64);
                    span.set_attribute("order.kind", "book");
                    tracing::info!(items = 2, "checked");
                    actix_web::rt::task::yield_now().await;
                    span.add_event("paid", vec![KeyValue::new("amount", 12.5)]);
                    span.add_link(linked());
                    span.set_status(Status::error("out of stock"));
                    let cx = span.context();
                    let sc = cx.span().span_context().clone();
                    HttpResponse::Ok().body(format!("{}-{}", sc.trace_id(), sc.span_id()))
                }),
            );
        });

        let said = send(&server, &format!("GET /x HTTP/1.1\nHost: h\ntraceparent: {CALLER}"));

        let [span] = &tracing.ended(1).await[..] else { panic!("{setup:?}: one span") };
        let ids = &span.span_context;
        let expected = format!("\r\n\r\n{}-{}", ids.trace_id(), ids.span_id());
        assert!(said.ends_with(&expected), "{setup:?}: {said} is not {expected}");
        assert_eq!(ids.trace_id().to_string(), CALLER_TRACE, "{setup:?}");
        assert_eq!(span.name, "GET /x", "{setup:?}");
        assert_eq!(attribute(span, "order.id"), Some(&4711_i64.into()), "{setup:?}");
        assert_eq!(attribute(span, "order.kind"), Some(&"book".into()), "{setup:?}");
        let events: Vec<_> = span.events.iter().map(|event| event.name.as_ref()).collect();
        assert_eq!(events, ["checked", "paid"], "{setup:?}");
        let amount = &span.events.events[1].attributes;
        assert_eq!(amount, &[KeyValue::new("amount", 12.5)], "{setup:?}");
        let links: Vec<_> = span.links.iter().map(|link| link.span_context.clone()).collect();
        assert_eq!(links, [linked()], "{setup:?}");
        assert_eq!(span.status, Status::error("out of stock"), "{setup:?}");
    }
}

fn linked() -> SpanContext {
    SpanContext::new(
        TraceId::from(5),
        SpanId::from(6),
        opentelemetry::TraceFlags::SAMPLED,
        true,
        opentelemetry::trace::TraceState::NONE,
    )
}

/// Says the ids in `span.context()`, at the top of the handler and within a span of its own.
async fn say_ids() -> String {
    let ids = |span: &Span| {
        let cx = span.context();
        let sc = cx.span().span_context().clone();
        format!("{}-{}-{:02x}", sc.trace_id(), sc.span_id(), sc.trace_flags().to_u8())
    };
    let outer = ids(&Span::current());
    let inner = async { ids(&Span::current()) }.instrument(tracing::info_span!("work")).await;
    format!("{outer} {inner}")
}

#[actix_web::test]
async fn context_of_an_unsampled_span_has_the_callers_trace() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route("/x", web::get().to(say_ids));
        });

        let head = format!("GET /x HTTP/1.1\nHost: h\ntraceparent: {UNSAMPLED_CALLER}");
        let said = send(&server, &head);

        let (outer, inner) = said.split_once("\r\n\r\n").unwrap().1.split_once(' ').unwrap();
        for ids in [outer, inner] {
            assert!(ids.starts_with(CALLER_TRACE), "{setup:?}: {ids}");
            assert!(ids.ends_with("-00") && !ids.contains(CALLER_SPAN), "{setup:?}: {ids}");
            assert!(!ids.contains(&SpanId::INVALID.to_string()), "{setup:?}: {ids}");
        }
        if setup != Setup::Theirs {
            assert_eq!(outer, inner, "unsampled spans of ours share one id");
        }
        assert_eq!(tracing.tree(), "", "{setup:?}");
    }
}

#[actix_web::test]
async fn context_of_a_span_is_its_own() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route("/x", web::get().to(say_ids));
        });

        let said = send(&server, &format!("GET /x HTTP/1.1\nHost: h\ntraceparent: {CALLER}"));

        let spans = tracing.ended(2).await;
        let [server, work] = [0, 1].map(|at| spans[at].span_context.span_id());
        let expected = format!("{CALLER_TRACE}-{server}-01 {CALLER_TRACE}-{work}-01");
        assert!(said.ends_with(&expected), "{setup:?}: {said} is not {expected}");
    }
}
