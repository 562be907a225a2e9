//! What `ServerTracing` can be told.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpMessage as _, HttpResponse, web};
use opentelemetry::Value;
use opentelemetry_sdk::trace::SpanData;
use spanbridge::server::{ServerSpan, TrustedProxies, is_health_check};
use spanbridge::{ServerTracing, SpanExt as _, Trust};
use tracing::Instrument as _;

use crate::http::{CALLER, CALLER_TRACE, TestServer, send};
use crate::support::{Setup, Tracing, attribute, tree};

/// What one request to `/x/{id}` leaves behind, in each setup.
async fn each(middleware: ServerTracing, head: &str, check: impl Fn(&SpanData, Setup)) {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, middleware.clone(), |app| {
            app.route("/x/{id}", web::to(|| async { "hello" }));
        });
        send(&server, head);
        let [span] = &tracing.ended(1).await[..] else { panic!("{setup:?}: one span") };
        check(span, setup);
    }
}

fn text(span: &SpanData, key: &str) -> Option<String> {
    attribute(span, key).map(|value| value.as_str().into_owned())
}

#[actix_web::test]
async fn known_methods_can_be_replaced() {
    for (method, attribute, original, name) in [
        ("PROPFIND", "PROPFIND", None, "PROPFIND /x/{id}"),
        ("POST", "_OTHER", Some("POST"), "HTTP /x/{id}"),
    ] {
        let middleware = ServerTracing::new().with_known_methods(["GET", "PROPFIND"]);
        each(middleware, &format!("{method} /x/1 HTTP/1.1\nHost: h"), |span, setup| {
            assert_eq!(span.name, name, "{setup:?}");
            let found = text(span, "http.request.method");
            assert_eq!(found.as_deref(), Some(attribute), "{setup:?}");
            let found = text(span, "http.request.method_original");
            assert_eq!(found.as_deref(), original, "{setup:?}");
        })
        .await;
    }
}

/// Runs itself in a process of its own, since the environment is the process's.
#[actix_web::test]
async fn known_methods_come_from_the_environment() {
    const VARIABLE: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";
    if std::env::var(VARIABLE).is_err() {
        let name = "server_options::known_methods_come_from_the_environment";
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(VARIABLE, "GET,PROPFIND")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    for (method, expected) in [("PROPFIND", "PROPFIND"), ("GET", "GET"), ("POST", "_OTHER")] {
        let head = format!("{method} /x/1 HTTP/1.1\nHost: h");
        each(ServerTracing::new(), &head, |span, setup| {
            assert_eq!(text(span, "http.request.method").unwrap(), expected, "{setup:?}");
        })
        .await;
    }
}

#[actix_web::test]
async fn sensitive_keys_can_be_replaced() {
    let middleware = ServerTracing::new().with_sensitive_query_keys(["token"]);
    each(middleware, "GET /x/1?token=a&sig=b HTTP/1.1\nHost: h", |span, setup| {
        assert_eq!(text(span, "url.query").unwrap(), "token=REDACTED&sig=b", "{setup:?}");
    })
    .await;
}

#[actix_web::test]
async fn headers_are_recorded_if_they_are_wanted_and_not_denied() {
    let middleware = ServerTracing::new()
        .with_request_headers([header::ACCEPT, header::AUTHORIZATION])
        .with_response_headers([header::CONTENT_TYPE, header::SET_COOKIE]);
    let head = "GET /x/1 HTTP/1.1\nHost: h\nAccept: a\nAuthorization: secret\nAccept: b\nX-Id: 1";
    each(middleware, head, |span, setup| {
        let found = text(span, "http.request.header.accept");
        assert_eq!(found.as_deref(), Some("[\"a\",\"b\"]"), "{setup:?}");
        let found = text(span, "http.response.header.content-type");
        assert_eq!(found.as_deref(), Some("[\"text/plain; charset=utf-8\"]"), "{setup:?}");
        for absent in ["request.header.authorization", "request.header.x-id"] {
            assert_eq!(text(span, &format!("http.{absent}")), None, "{setup:?}");
        }
    })
    .await;
    let middleware = ServerTracing::new()
        .with_denied_headers([header::ACCEPT])
        .with_request_headers([header::ACCEPT, HeaderName::from_static("x-id")]);
    each(middleware, head, |span, setup| {
        assert_eq!(text(span, "http.request.header.accept"), None, "{setup:?}");
        assert_eq!(text(span, "http.request.header.x-id").unwrap(), "[\"1\"]", "{setup:?}");
    })
    .await;
}

#[actix_web::test]
async fn forwarding_headers_are_believed_from_trusted_proxies_only() {
    let head = "GET /x/1 HTTP/1.1\nHost: inner:8080\nForwarded: for=6.6.6.6;host=made.up, \
                for=\"[2001:db8::7]:4711\";proto=https;host=shop.example, for=10.0.0.9";
    let keys = ["client.address", "url.scheme", "server.address", "server.port"];
    let proxies = TrustedProxies::from_networks(["127.0.0.1", "10.0.0.0/8"]).unwrap();
    let trusting = ServerTracing::new().with_trusted_proxies(proxies).with_network_details(true);
    each(trusting, head, |span, setup| {
        let found = keys.map(|key| text(span, key));
        let expected = [Some("2001:db8::7"), Some("https"), Some("shop.example"), None];
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)), "{setup:?}");
        assert_eq!(attribute(span, "client.port"), Some(&Value::I64(4711)), "{setup:?}");
        assert_eq!(text(span, "network.peer.address").unwrap(), "127.0.0.1", "{setup:?}");
    })
    .await;
    let others = TrustedProxies::from_networks(["10.0.0.0/8"]).unwrap();
    for middleware in [ServerTracing::new(), ServerTracing::new().with_trusted_proxies(others)] {
        each(middleware, head, |span, setup| {
            let found = keys.map(|key| text(span, key).unwrap());
            assert_eq!(found, ["127.0.0.1", "http", "inner", "8080"], "{setup:?}");
        })
        .await;
    }
}

#[actix_web::test]
async fn network_details_and_body_sizes_are_there_on_request() {
    let middleware = ServerTracing::new().with_network_details(true).with_body_sizes(true);
    let head = "POST /x/1 HTTP/1.1\nHost: h\nContent-Length: 0";
    each(middleware.clone(), head, |span, setup| {
        for (key, expected) in [
            ("network.transport", "tcp".into()),
            ("network.local.address", "127.0.0.1".into()),
            ("http.request.body.size", 0.into()),
            ("http.response.body.size", 5.into()),
        ] {
            assert_eq!(attribute(span, key), Some(&expected), "{setup:?} {key}");
        }
        assert!(attribute(span, "network.local.port").is_some(), "{setup:?}");
        assert_eq!(
            attribute(span, "client.port"),
            attribute(span, "network.peer.port"),
            "{setup:?}"
        );
    })
    .await;
    each(middleware, "HEAD /x/1 HTTP/1.1\nHost: h", |span, setup| {
        assert_eq!(attribute(span, "http.request.body.size"), None, "{setup:?}");
        assert_eq!(attribute(span, "http.response.body.size"), Some(&0.into()), "{setup:?}");
    })
    .await;
    each(ServerTracing::new(), "GET /x/1 HTTP/1.1\nHost: h", |span, setup| {
        for key in ["network.transport", "http.response.body.size", "client.port"] {
            assert_eq!(attribute(span, key), None, "{setup:?} {key}");
        }
    })
    .await;
}

#[actix_web::test]
async fn names_are_formatted_with_and_without_the_route() {
    let middleware = ServerTracing::new().with_span_name_formatter(|request, route| {
        let kind = request.headers().get("x-kind")?.to_str().ok()?;
        Some(format!("{kind} {}", route.unwrap_or("?")))
    });
    for (head, expected) in [
        ("GET /x/1 HTTP/1.1\nHost: h\nX-Kind: order", "order /x/{id}"),
        ("GET /none HTTP/1.1\nHost: h\nX-Kind: order", "order ?"),
        ("GET /x/1 HTTP/1.1\nHost: h", "GET /x/{id}"),
    ] {
        each(middleware.clone(), head, |span, setup| {
            assert_eq!(span.name, expected, "{setup:?}");
        })
        .await;
    }
}

#[actix_web::test]
async fn hooks_set_attributes_with_a_state_of_their_own() {
    let region = "north".to_owned();
    let middleware = ServerTracing::new()
        .on_request(move |request, span| {
            span.set_attribute("region", region.clone());
            span.set_attribute("path.length", request.path().len() as i64);
        })
        .on_response(|request, head, span| {
            span.set_attribute("answer", format!("{} {}", request.path(), head.status.as_u16()));
        });
    each(middleware, "GET /x/1 HTTP/1.1\nHost: h", |span, setup| {
        assert_eq!(text(span, "region").unwrap(), "north", "{setup:?}");
        assert_eq!(attribute(span, "path.length"), Some(&4.into()), "{setup:?}");
        assert_eq!(text(span, "answer").unwrap(), "/x/1 200", "{setup:?}");
    })
    .await;
}

/// Who calls, as a middleware that authenticates would leave it.
#[derive(Clone)]
struct Caller(&'static str);

async fn authenticate(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let known = request.headers().contains_key("authorization");
    request.extensions_mut().insert(Caller(if known { "admin" } else { "anyone" }));
    next.call(request).await
}

#[actix_web::test]
async fn decisions_may_depend_on_authentication() {
    // A scope with authentication, tracing below it, and routes below that.
    let inner = ServerTracing::new()
        .public_endpoint(|request| match request.extensions().get::<Caller>() {
            Some(Caller("admin")) => Trust::Parent,
            _ => Trust::Ignore,
        })
        .with_span_name_formatter(|request, _| {
            request.extensions().get::<Caller>().map(|caller| caller.0.to_owned())
        });
    for (setup, tracing) in Tracing::each() {
        let inner = inner.clone();
        let outer = ServerTracing::new().filter(|_| false);
        let server = TestServer::start(&tracing, outer, move |app| {
            let scope = web::scope("/s").route("/x", web::get().to(HttpResponse::Ok));
            let boxed = actix_web::middleware::Compat::new(inner.clone());
            app.service(scope.wrap(boxed).wrap(from_fn(authenticate)));
        });

        let head = format!("GET /s/x HTTP/1.1\nHost: h\ntraceparent: {CALLER}");
        send(&server, &head);
        send(&server, &format!("{head}\nAuthorization: secret"));

        let spans = tracing.ended(2).await;
        let found: Vec<_> = spans
            .iter()
            .map(|span| (&*span.name, span.span_context.trace_id().to_string() == CALLER_TRACE))
            .collect();
        assert_eq!(found, [("anyone", false), ("admin", true)], "{setup:?}");
    }
}

/// Other middleware, with a span of its own.
async fn measured(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    next.call(request).instrument(tracing::info_span!("measured")).await
}

#[actix_web::test]
async fn server_span_is_at_hand_below_other_spans() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            let order = |span: ServerSpan| async move {
                span.set_attribute("order.id", 4711);
                async { ServerSpan::current().set_attribute("order.kind", "book") }
                    .instrument(tracing::info_span!("deeper"))
                    .await;
                HttpResponse::Ok().finish()
            };
            app.service(web::resource("/x").wrap(from_fn(measured)).to(order));
        });

        send(&server, "GET /x HTTP/1.1\nHost: h");

        let spans = tracing.ended(3).await;
        let expected = "server GET /x 200\n  internal measured\n    internal deeper\n";
        assert_eq!(tree(&spans), expected, "{setup:?}");
        assert_eq!(attribute(&spans[0], "order.id"), Some(&4711.into()), "{setup:?}");
        assert_eq!(attribute(&spans[0], "order.kind"), Some(&"book".into()), "{setup:?}");
    }
    assert!(ServerSpan::current().is_disabled(), "no request is handled on this thread");
}

#[actix_web::test]
async fn server_span_is_disabled_where_there_is_none() {
    for tracing in [Tracing::ours(), Tracing::none()] {
        let middleware = ServerTracing::new().filter(|request| !is_health_check(request));
        let server = TestServer::start(&tracing, middleware, |app| {
            app.route(
                "/healthz",
                web::get().to(|span: ServerSpan| async move { span.is_disabled().to_string() }),
            );
        });
        let said = send(&server, "GET /healthz HTTP/1.1\nHost: h");
        assert!(said.ends_with("true"), "{said}");
        assert_eq!(tracing.tree(), "");
    }
}

#[actix_web::test]
async fn clients_are_told_about_the_span_on_request() {
    for (setup, tracing) in Tracing::each() {
        let middleware = ServerTracing::new().with_server_timing(true);
        let server = TestServer::start(&tracing, middleware, |app| {
            app.route(
                "/x",
                web::get().to(|| async {
                    HttpResponse::Ok().insert_header(("server-timing", "db;dur=1")).finish()
                }),
            );
        });

        let said = send(&server, &format!("GET /x HTTP/1.1\nHost: h\ntraceparent: {CALLER}"));

        let [span] = &tracing.ended(1).await[..] else { panic!("{setup:?}: one span") };
        let id = span.span_context.span_id();
        let expected = format!("server-timing: trace;desc=00-{CALLER_TRACE}-{id}-01\r\n");
        assert!(said.contains(&expected), "{setup:?}: {said}");
        assert!(said.contains("server-timing: db;dur=1\r\n"), "{setup:?}: {said}");
    }
    let tracing = Tracing::ours();
    let server = TestServer::start(&tracing, ServerTracing::new(), |_| {});
    let said = send(&server, "GET /x HTTP/1.1\nHost: h");
    assert!(!said.contains("server-timing"), "{said}");
}

fn panics() -> HttpResponse {
    panic!("the test wants the handler to panic")
}

#[actix_web::test]
async fn provisional_route_is_there_before_the_exact_one() {
    for (wanted, setup) in Setup::RECORDING.into_iter().flat_map(|s| [(true, s), (false, s)]) {
        let tracing = Tracing::new(setup);
        let middleware = ServerTracing::new().with_provisional_route(wanted);
        let server = TestServer::start(&tracing, middleware, |app| {
            app.route("/panic/{id}", web::get().to(|| async { panics() }))
                .route("/x/{id}", web::post().to(HttpResponse::Ok));
        });

        send(&server, "GET /panic/1 HTTP/1.1\nHost: h");
        send(&server, "POST /x/1 HTTP/1.1\nHost: h\nContent-Length: 0");
        send(&server, "GET /none HTTP/1.1\nHost: h");

        let name = if wanted { "GET /panic/{id}" } else { "GET" };
        let expected =
            format!("server {name} panic failed\nserver POST /x/{{id}} 200\nserver GET 404\n");
        assert_eq!(tree(&tracing.ended(3).await), expected, "{setup:?}");
    }
}

#[actix_web::test]
async fn name_that_code_has_given_stands() {
    for (wanted, setup) in Setup::RECORDING.into_iter().flat_map(|s| [(true, s), (false, s)]) {
        let tracing = Tracing::new(setup);
        let middleware = ServerTracing::new()
            .with_provisional_route(wanted)
            .on_request(|request, span| {
                if request.path() == "/hook/1" {
                    span.update_name("by the hook");
                }
            })
            .on_response(|request, _, span| {
                if request.path() == "/late/1" {
                    span.update_name("at last");
                }
            });
        let server = TestServer::start(&tracing, middleware, |app| {
            let named = |span: ServerSpan| async move {
                span.update_name("by the handler");
                HttpResponse::Ok().finish()
            };
            app.route("/named/{id}", web::get().to(named))
                .route("/late/{id}", web::get().to(named))
                .route("/hook/{id}", web::get().to(HttpResponse::Ok))
                .route(
                    "/spawned/{id}",
                    web::get().to(|span: ServerSpan| async move {
                        let renamed =
                            actix_web::rt::spawn(async move { span.update_name("elsewhere") });
                        renamed.await.unwrap();
                        HttpResponse::Ok().finish()
                    }),
                );
        });
        for (i, (path, expected)) in [
            ("/named/1", "by the handler"),
            ("/late/1", "at last"),
            ("/hook/1", "by the hook"),
            ("/spawned/1", "elsewhere"),
        ]
        .into_iter()
        .enumerate()
        {
            send(&server, &format!("GET {path} HTTP/1.1\nHost: h"));
            let spans = tracing.ended(i + 1).await;
            assert_eq!(spans[i].name, expected, "{setup:?} {wanted}");
            let mut routes =
                spans[i].attributes.iter().filter(|kv| kv.key.as_str() == "http.route");
            assert!(routes.all(|kv| kv.value.as_str().ends_with("/{id}")), "{setup:?}");
        }
    }
}
