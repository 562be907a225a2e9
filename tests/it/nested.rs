//! Middleware below middleware: on a scope or a resource of an application that has it too.

use actix_web::http::header::HeaderName;
use actix_web::web::ServiceConfig;
use actix_web::{HttpResponse, web};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{SpanId, TraceContextExt as _};
use spanbridge::server::ServerSpan;
use spanbridge::{ServerTracing, SpanExt as _, Trust};

use crate::http::{CALLER, CALLER_SPAN, CALLER_TRACE, TestServer, caller, echo, echo_server, send};
use crate::support::{Hidden, Setup, Tracing, attribute, tree};

/// Says what code that reads the current context finds: whose span it is, and how much baggage.
async fn current() -> String {
    let own = ServerSpan::current().context().span().span_context().span_id();
    opentelemetry::Context::map_current(|cx| {
        let is_own = cx.span().span_context().span_id() == own;
        format!("own={is_own} baggage={}", cx.baggage().len())
    })
}

fn below(inner: ServerTracing) -> impl Fn(&mut ServiceConfig) + Send + Clone {
    move |app| {
        let scope = web::scope("/scope").wrap(inner.clone());
        app.service(scope.route("/{id}", web::get().to(current)));
    }
}

const HEAD: &str = "GET /scope/1 HTTP/1.1\nHost: h\nX-Id: 7";

fn with_caller(baggage: &str) -> String {
    format!("{HEAD}\ntraceparent: {CALLER}{baggage}")
}

#[actix_web::test]
async fn inner_span_is_a_child_of_the_outer_one_also_with_a_caller() {
    for (setup, tracing) in Tracing::each() {
        let inner = ServerTracing::new().with_request_headers([HeaderName::from_static("x-id")]);
        let server = TestServer::start(&tracing, ServerTracing::new(), below(inner));
        for (sent, baggage) in [(1, ""), (2, "\nbaggage: user=a")] {
            let said = send(&server, &with_caller(baggage));
            if sent == 2 {
                // Where both layers are, the current context is the other layer's.
                let own = setup != Setup::Both;
                assert!(said.ends_with(&format!("own={own} baggage=1")), "{setup:?}: {said}");
            }
            let spans = tracing.ended(2 * sent).await;
            let [outer, inner] = &spans[2 * (sent - 1)..] else { panic!("{setup:?}: two spans") };
            assert_eq!(outer.parent_span_id, SpanId::from_hex(CALLER_SPAN).unwrap(), "{setup:?}");
            assert_eq!(inner.parent_span_id, outer.span_context.span_id(), "{setup:?} {baggage}");
            assert_eq!(inner.span_context.trace_id().to_string(), CALLER_TRACE, "{setup:?}");
            let captured = |span| attribute(span, "http.request.header.x-id").is_some();
            assert_eq!((captured(outer), captured(inner)), (false, true), "{setup:?}");
        }
    }
}

#[actix_web::test]
async fn inner_span_is_a_child_of_the_outer_one_without_a_caller() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), below(ServerTracing::new()));
        let expected = "server GET /scope/{id} 200\n  server GET /scope/{id} 200\n";
        for (sent, baggage) in [(1, ""), (2, "\nbaggage: user=a")] {
            send(&server, &format!("{HEAD}{baggage}"));
            let spans = tracing.ended(2 * sent).await;
            assert_eq!(tree(&spans), expected.repeat(sent), "{setup:?}");
        }
    }
}

#[actix_web::test]
async fn inner_filter_leaves_the_outer_span_in_charge() {
    for (setup, tracing) in Tracing::each() {
        let callee = echo_server(&Tracing::none());
        let url = callee.url("/echo");
        let server = TestServer::start(&tracing, ServerTracing::new(), move |app| {
            let url = url.clone();
            let call = move || {
                let url = url.clone();
                async move { crate::http::text(crate::http::client().get(url)).await }
            };
            let scope = web::scope("/scope").wrap(ServerTracing::new().filter(|_| false));
            app.service(scope.route("/{id}", web::get().to(call)));
        });
        let said = send(&server, &with_caller("\nbaggage: user=a"));
        let [outer, client] = &tracing.ended(2).await[..] else { panic!("{setup:?}: two spans") };
        assert_eq!(client.parent_span_id, outer.span_context.span_id(), "{setup:?}");
        assert_eq!(outer.parent_span_id.to_string(), CALLER_SPAN, "{setup:?}");
        assert!(said.ends_with("baggage: user=a\n"), "{setup:?}: {said}");
    }
}

#[actix_web::test]
async fn caller_that_only_the_outer_one_believes_is_cut_off() {
    for (setup, tracing) in Tracing::each() {
        for (trust, links) in [(Trust::Link, 1), (Trust::Ignore, 0)] {
            let before = tracing.ended(0).await.len();
            let inner = ServerTracing::new().public_endpoint(move |_| trust);
            let server = TestServer::start(&tracing, ServerTracing::new(), below(inner));
            let said = send(&server, &with_caller("\nbaggage: user=a"));
            assert!(said.ends_with("baggage=0"), "{setup:?}: {said}");

            let spans = tracing.ended(before + 2).await;
            let expected = "server GET /scope/{id} 200\n".repeat(2);
            assert_eq!(tree(&spans[before..]), expected, "{setup:?}");
            let is_callers = |trace: String| trace == CALLER_TRACE;
            let inner = spans[before..]
                .iter()
                .find(|span| !is_callers(span.span_context.trace_id().to_string()))
                .expect("one is cut off");
            assert_eq!(inner.parent_span_id, SpanId::INVALID, "{setup:?}");
            assert_eq!(inner.links.len(), links, "{setup:?}");
        }
    }
}

#[actix_web::test]
async fn caller_that_only_the_outer_one_believes_is_not_passed_on() {
    // 1. The outer middleware follows the caller, the inner one does not.
    // 2. The inner one leaves the request out, or the spans of both are hidden.
    // 3. The handler makes a request.
    let mut all: Vec<_> = Tracing::each().map(|(s, t)| (format!("{s:?}"), t)).collect();
    all.push(("no layer".to_owned(), Tracing::none()));
    for setup in [Setup::Ours, Setup::Theirs] {
        for hidden in Hidden::ALL {
            for target in ["spanbridge", "spanbridge::server", "spanbridge::client"] {
                let tracing = Tracing::without_target(target, setup, hidden);
                all.push((format!("{setup:?} {hidden:?} {target}"), tracing));
            }
        }
    }
    let callee = echo_server(&Tracing::none());
    for (name, tracing) in all {
        for trust in [Trust::Link, Trust::Ignore] {
            for is_wanted in [true, false] {
                let url = callee.url("/echo");
                let server = TestServer::start(&tracing, ServerTracing::new(), move |app| {
                    let url = url.clone();
                    let call = move || {
                        let url = url.clone();
                        async move { crate::http::text(crate::http::client().get(url)).await }
                    };
                    let inner = ServerTracing::new().public_endpoint(move |_| trust);
                    let scope = web::scope("/scope").wrap(inner.filter(move |_| is_wanted));
                    app.service(scope.route("/{id}", web::get().to(call)));
                });
                let all = with_caller("\ntracestate: a=1\nbaggage: user=a");
                for head in [all, format!("{HEAD}\nbaggage: user=a")] {
                    let said = send(&server, &head);
                    let said = said.split_once("\r\n\r\n").unwrap().1;
                    let found = [CALLER_TRACE, "tracestate", "baggage"];
                    let found = found.into_iter().find(|text| said.contains(text));
                    assert_eq!(found, None, "{name} {trust:?} {is_wanted}: {said}");
                }
            }
        }
    }
}

#[actix_web::test]
async fn caller_goes_on_where_the_spans_are_hidden() {
    // 1. The request brings baggage. 2. The spans of both middleware are hidden from the layer.
    // 3. The handler makes a request, and code in it reads the current context.
    let callee = echo_server(&Tracing::none());
    for setup in [Setup::Ours, Setup::Theirs] {
        for hidden in Hidden::ALL {
            for target in ["spanbridge", "spanbridge::server"] {
                let tracing = Tracing::without_target(target, setup, hidden);
                let url = callee.url("/echo");
                let server = TestServer::start(&tracing, ServerTracing::new(), move |app| {
                    let url = url.clone();
                    let call = move || {
                        let url = url.clone();
                        async move {
                            let current = opentelemetry::Context::map_current(|cx| {
                                cx.span().span_context().span_id()
                            });
                            let said = crate::http::text(crate::http::client().get(url)).await;
                            format!("current: {current}\n{said}")
                        }
                    };
                    let scope = web::scope("/scope").wrap(ServerTracing::new());
                    app.service(scope.route("/{id}", web::get().to(call)));
                });
                let name = format!("{setup:?} {hidden:?} {target}");
                let said = send(&server, &with_caller("\ntracestate: a=1\nbaggage: user=a"));
                let said = said.split_once("\r\n\r\n").unwrap().1;
                assert!(said.starts_with(&format!("current: {CALLER_SPAN}\n")), "{name}: {said}");
                assert!(said.contains(CALLER_TRACE), "{name}: {said}");
                assert!(said.ends_with("tracestate: a=1\nbaggage: user=a\n"), "{name}: {said}");
                if target == "spanbridge" {
                    assert!(said.contains(CALLER), "{name}: {said}");
                }
            }
        }
    }
}

#[actix_web::test]
async fn caller_that_nobody_believes_is_cut_off_once() {
    for (setup, tracing) in Tracing::each() {
        let link = ServerTracing::new().public_endpoint(|_| Trust::Link);
        let server = TestServer::start(&tracing, link.clone(), below(link));
        send(&server, &with_caller(""));

        let spans = tracing.ended(2).await;
        let expected = "server GET /scope/{id} 200\n  server GET /scope/{id} 200\n";
        assert_eq!(tree(&spans), expected, "{setup:?}");
        assert_eq!(spans.iter().map(|span| span.links.len()).collect::<Vec<_>>(), [1, 0]);
    }
}

#[actix_web::test]
async fn caller_goes_on_where_there_are_no_spans() {
    let callee = echo_server(&Tracing::none());
    let server = caller(&Tracing::none(), ServerTracing::new(), &callee);
    let said = send(&server, &format!("GET /call HTTP/1.1\nHost: h\ntraceparent: {CALLER}"));
    assert!(said.ends_with(&format!("traceparent: {CALLER}\n")), "{said}");

    let server = TestServer::start(&Tracing::new(Setup::Nothing), ServerTracing::new(), |app| {
        let scope = web::scope("/scope").wrap(ServerTracing::new());
        app.service(scope.route("/{id}", web::get().to(echo)))
            .route("/none", web::get().to(HttpResponse::Ok));
    });
    let said = send(&server, &with_caller("\nbaggage: user=a"));
    assert!(said.ends_with(&format!("traceparent: {CALLER}\nbaggage: user=a\n")), "{said}");
}
