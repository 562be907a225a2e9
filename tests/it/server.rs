//! Incoming requests.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Bytes};
use actix_web::{Error, HttpRequest, HttpResponse, guard};
use awc::Client;
use futures_util::stream;
use opentelemetry::Value;
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use spanbridge::{ClientTracing, ServerTracing, Trust};
use tokio::sync::mpsc;
use tracing::{Dispatch, info};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::http::{
    CALLER, CALLER_SPAN, CALLER_TRACE, TestServer, connect, echo_server, send, text,
};
use crate::support::{Tracing, attribute, tree};

fn attributes(span: &opentelemetry_sdk::trace::SpanData) -> Vec<(String, Value)> {
    let mut all: Vec<_> =
        span.attributes.iter().map(|kv| (kv.key.to_string(), kv.value.clone())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[actix_web::test]
async fn span_has_the_attributes_of_the_conventions() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route("/pods/{name}", web::get().to(HttpResponse::Ok));
        });

        send(
            &server,
            "GET /pods/a?color=blue&sig=secret HTTP/1.1\nHost: [::1]:8080\nUser-Agent: test/1",
        );

        let [span] = &tracing.ended(1).await[..] else { panic!("one span") };
        assert_eq!(span.name, "GET /pods/{name}", "{setup:?}");
        assert_eq!(span.span_kind, SpanKind::Server, "{setup:?}");
        assert_eq!(span.status, Status::Unset, "{setup:?}");
        let port = attribute(span, "network.peer.port").cloned();
        assert!(matches!(port, Some(Value::I64(1..=65535))), "{port:?}");
        let expected = [
            ("client.address", Value::from("127.0.0.1")),
            ("http.request.method", Value::from("GET")),
            ("http.response.status_code", Value::I64(200)),
            ("http.route", Value::from("/pods/{name}")),
            ("network.peer.address", Value::from("127.0.0.1")),
            ("network.peer.port", port.unwrap()),
            ("network.protocol.version", Value::from("1.1")),
            ("server.address", Value::from("::1")),
            ("server.port", Value::I64(8080)),
            ("url.path", Value::from("/pods/a")),
            ("url.query", Value::from("color=blue&sig=REDACTED")),
            ("url.scheme", Value::from("http")),
            ("user_agent.original", Value::from("test/1")),
        ];
        assert_eq!(
            attributes(span),
            expected.map(|(key, value)| (key.to_owned(), value)),
            "{setup:?}"
        );
    }
}

#[actix_web::test]
async fn unknown_method_is_not_in_the_name() {
    let tracing = Tracing::ours();
    let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
        app.route("/x", web::to(HttpResponse::Ok));
    });

    send(&server, "PROPFIND /x HTTP/1.1\nHost: h");

    let [span] = &tracing.ended(1).await[..] else { panic!("one span") };
    assert_eq!(span.name, "HTTP /x");
    assert_eq!(attribute(span, "http.request.method"), Some(&"_OTHER".into()));
    assert_eq!(attribute(span, "http.request.method_original"), Some(&"PROPFIND".into()));
}

#[actix_web::test]
async fn route_of_a_resource_without_a_path_is_that_of_its_scope() {
    // 1. The scope takes all of the path. 2. Its resource "" answers, or has guards that refuse, so
    // that the default service answers. actix-web reports the same of both, so that the second one
    // has the route of a resource which would have been asked, though it did not answer.
    let tracing = Tracing::ours();
    let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
        app.service(
            web::scope("/pods/{name}")
                .service(web::resource("").guard(guard::Get()).to(HttpResponse::Ok))
                .service(web::resource("/log").to(HttpResponse::Ok)),
        )
        .service(web::scope("/empty").service(web::resource("/log").to(HttpResponse::Ok)));
    });
    for (sent, (request, name, status)) in [
        ("GET /pods/a", "GET /pods/{name}", 200),
        ("PUT /pods/a", "PUT /pods/{name}", 404),
        ("GET /pods/a/", "GET", 404),
        ("GET /pods/a/log", "GET /pods/{name}/log", 200),
        ("GET /empty", "GET", 404),
    ]
    .into_iter()
    .enumerate()
    {
        send(&server, &format!("{request} HTTP/1.1\nHost: h"));
        let spans = tracing.ended(sent + 1).await;
        let span = spans.last().unwrap();
        let route = name.split_once(' ').map(|(_, route)| Value::from(route.to_owned()));
        assert_eq!(span.name, name, "{request}");
        assert_eq!(attribute(span, "http.route").cloned(), route, "{request}");
        let code = Value::I64(status);
        assert_eq!(attribute(span, "http.response.status_code"), Some(&code), "{request}");
    }
}

#[actix_web::test]
async fn route_is_the_one_that_was_taken() {
    let tracing = Tracing::ours();
    let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
        app.service(
            web::scope("/api/{version}")
                .service(web::resource("/widgets/{id}").guard(guard::Get()).to(HttpResponse::Ok))
                .service(web::resource("/widgets/action").guard(guard::Post()).to(HttpResponse::Ok))
                .service(web::resource("/only").route(web::get().to(HttpResponse::Ok))),
        )
        .service(web::resource("/plain").guard(guard::Get()).to(HttpResponse::Ok));
    });
    let no_route = |method: &str| (method.to_owned(), None, 404);
    let route = |method: &str, route: &str, status| {
        (format!("{method} {route}"), Some(Value::from(route.to_owned())), status)
    };

    for (request, expected) in [
        ("GET /api/v1/widgets/action", route("GET", "/api/{version}/widgets/{id}", 200)),
        ("POST /api/v1/widgets/action", route("POST", "/api/{version}/widgets/action", 200)),
        ("PUT /api/v1/only", route("PUT", "/api/{version}/only", 405)),
        // A guard refused it in the scope, in the application, nothing like it is there.
        ("PUT /api/v1/widgets/1", no_route("PUT")),
        ("PUT /plain", no_route("PUT")),
        ("GET /api/v1/none", no_route("GET")),
        ("GET /none", no_route("GET")),
        ("GET /", no_route("GET")),
    ] {
        let tracing_before = tracing.ended(0).await.len();
        send(&server, &format!("{request} HTTP/1.1\nHost: h"));
        let spans = tracing.ended(tracing_before + 1).await;
        let span = spans.last().unwrap();
        let status = attribute(span, "http.response.status_code").cloned();
        let (name, route, code) = expected;
        assert_eq!(span.name, name, "{request}");
        assert_eq!(attribute(span, "http.route").cloned(), route, "{request}");
        assert_eq!(status, Some(Value::I64(code)), "{request}");
        assert_eq!(span.status, Status::Unset, "{request}");
    }
}

/// Where a test's layer prints to.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl io::Write for Printed {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[actix_web::test]
async fn layers_that_print_see_the_spans_and_their_fields() {
    let printed = Printed::default();
    let writer = printed.clone();
    let fmt = tracing_subscriber::fmt::layer().with_ansi(false);
    let fmt = fmt.with_writer(move || writer.clone());
    let (layer, _guard) = spanbridge::layer().build();
    let mut tracing = Tracing::none();
    tracing.dispatch = Dispatch::new(tracing_subscriber::registry().with(layer).with(fmt));
    let echo = echo_server(&Tracing::none());
    let url = echo.url("/echo");
    let server = TestServer::start(&tracing, ServerTracing::new(), move |app| {
        let url = url.clone();
        let call = move || {
            let hook = ClientTracing::new().on_request(|_, span| info!(parent: span, "sending"));
            let client = Client::builder().wrap(hook).finish();
            let request = client.get(url.clone());
            async move {
                info!("at work");
                text(request).await
            }
        };
        app.route("/call", web::get().to(call));
    });

    send(&server, "GET /call HTTP/1.1\nHost: h");

    let printed = String::from_utf8(printed.0.lock().unwrap().clone()).unwrap();
    let line = |event| printed.lines().find(|line| line.ends_with(event)).expect(event);
    assert!(line("at work").contains("url.path=\"/call\""), "{printed}");
    assert!(line("sending").contains("url.path=\"/call\""), "{printed}");
    assert!(line("sending").contains("url.full=http://127.0.0.1:"), "{printed}");
}

#[actix_web::test]
async fn callers_trace_is_continued() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route(
                "/x",
                web::get().to(|| async {
                    tracing::info_span!("read")
                        .in_scope(|| tracing::info_span!("decode").in_scope(|| ()));
                    HttpResponse::Ok().finish()
                }),
            );
        });

        send(&server, &format!("GET /x HTTP/1.1\nHost: h\ntraceparent: {CALLER}"));

        let spans = tracing.ended(3).await;
        assert_eq!(
            tree(&spans),
            "server GET /x 200\n  internal read\n    internal decode\n",
            "{setup:?}"
        );
        assert_eq!(spans[0].parent_span_id, SpanId::from_hex(CALLER_SPAN).unwrap(), "{setup:?}");
        assert!(spans[0].parent_span_is_remote);
        for span in &spans {
            assert_eq!(
                span.span_context.trace_id(),
                TraceId::from_hex(CALLER_TRACE).unwrap(),
                "{setup:?}"
            );
        }
    }
}

#[actix_web::test]
async fn public_endpoint_links_or_ignores_the_caller() {
    for (setup, tracing) in Tracing::each() {
        let middleware = ServerTracing::new().public_endpoint(|request| match request.path() {
            "/parent" => Trust::Parent,
            "/link" => Trust::Link,
            _ => Trust::Ignore,
        });
        let server = TestServer::start(&tracing, middleware, |app| {
            app.default_service(web::to(|| async {
                use opentelemetry::baggage::BaggageExt as _;
                opentelemetry::Context::map_current(|cx| cx.baggage().len().to_string())
            }));
        });
        // The first member is more than a `TraceState`, and so a link, can hold.
        let caller = format!("traceparent: {CALLER}\ntracestate: a@b@c=0,a=1\nbaggage: user=a");

        for (path, is_continued, links, baggage) in
            [("/parent", true, 0, "1"), ("/link", false, 1, "0"), ("/ignore", false, 0, "0")]
        {
            let before = tracing.ended(0).await.len();
            let response = send(&server, &format!("GET {path} HTTP/1.1\nHost: h\n{caller}"));
            let spans = tracing.ended(before + 1).await;
            let span = spans.last().unwrap();
            let trace = span.span_context.trace_id().to_string();
            assert_eq!(trace == CALLER_TRACE, is_continued, "{setup:?} {path}");
            assert_eq!(span.parent_span_id != SpanId::INVALID, is_continued, "{setup:?} {path}");
            assert_eq!(span.links.len(), links, "{setup:?} {path}");
            for link in span.links.iter() {
                assert_eq!(link.span_context.span_id().to_string(), CALLER_SPAN, "{setup:?}");
                assert_eq!(link.span_context.trace_state().header(), "a=1", "{setup:?}");
                assert!(link.span_context.is_remote(), "{setup:?}");
            }
            assert!(response.ends_with(baggage), "{path}: {response}");
        }
    }
}

#[actix_web::test]
async fn failures_are_told_by_the_status_code() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route(
                "/{code}",
                web::get().to(|code: web::Path<u16>| async move {
                    HttpResponse::build(StatusCode::from_u16(*code).unwrap()).body("x")
                }),
            )
            .route(
                "/error/{code}",
                web::get().to(|code: web::Path<u16>| async move {
                    let status = StatusCode::from_u16(*code).unwrap();
                    Err::<HttpResponse, _>(actix_web::error::InternalError::new("no", status))
                }),
            );
        });

        for (path, expected) in [
            ("/200", "server GET /{code} 200\n"),
            ("/204", "server GET /{code} 204\n"),
            ("/304", "server GET /{code} 304\n"),
            ("/404", "server GET /{code} 404\n"),
            ("/500", "server GET /{code} 500 500 failed\n"),
            ("/503", "server GET /{code} 503 503 failed\n"),
            ("/error/403", "server GET /error/{code} 403\n"),
            ("/error/502", "server GET /error/{code} 502 502 failed\n"),
            // The extractor fails.
            ("/nan", "server GET /{code} 404\n"),
        ] {
            let before = tracing.ended(0).await.len();
            send(&server, &format!("GET {path} HTTP/1.1\nHost: h"));
            let spans = tracing.ended(before + 1).await;
            assert_eq!(tree(&spans[before..]), expected, "{setup:?} {path}");
        }
    }
}

#[actix_web::test]
async fn error_of_other_middleware_gives_its_status() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            let refuse = from_fn(|request, next| async move {
                if true {
                    return Err(actix_web::error::ErrorServiceUnavailable("busy"));
                }
                let next: Next<BoxBody> = next;
                next.call(request).await
            });
            app.service(web::resource("/x").wrap(refuse).to(HttpResponse::Ok));
        });

        let response = send(&server, "GET /x HTTP/1.1\nHost: h");

        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
        assert_eq!(tree(&tracing.ended(1).await), "server GET 503 503 failed\n", "{setup:?}");
    }
}

#[actix_web::test]
async fn span_outlives_a_streaming_body() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route(
                "/x",
                web::get().to(|| async {
                    let chunks = (0..3).map(|i| {
                        tracing::info_span!("chunk").in_scope(|| ());
                        Ok::<_, io::Error>(Bytes::from(i.to_string()))
                    });
                    HttpResponse::Ok().streaming(stream::iter(chunks))
                }),
            );
        });

        let response = send(&server, "GET /x HTTP/1.1\nHost: h");

        assert!(response.contains("chunked") && response.contains("\r\n2\r\n"), "{response}");
        let expected = "server GET /x 200\n  internal chunk\n  internal chunk\n  internal chunk\n";
        assert_eq!(tree(&tracing.ended(4).await), expected, "{setup:?}");
    }
}

#[actix_web::test]
async fn content_length_and_head_are_as_without_the_middleware() {
    let tracing = Tracing::ours();
    let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
        app.route("/x", web::to(|| async { "hello" })).route(
            "/stream",
            web::to(|| async {
                let chunks = stream::iter([Ok::<_, io::Error>(Bytes::from("hello"))]);
                HttpResponse::Ok().no_chunking(5).streaming(chunks)
            }),
        );
    });

    for (request, has_body) in
        [("GET /x", true), ("HEAD /x", false), ("GET /stream", true), ("HEAD /stream", false)]
    {
        let before = tracing.ended(0).await.len();
        let response = send(&server, &format!("{request} HTTP/1.1\nHost: h"));
        assert!(response.contains("content-length: 5\r\n"), "{request}: {response}");
        assert_eq!(response.ends_with("hello"), has_body, "{request}: {response}");
        let spans = tracing.ended(before + 1).await;
        assert_eq!(tree(&spans[before..]), format!("server {request} 200\n"));
    }
}

/// Middleware further out that takes a body in one piece where that is possible, as compression
/// does, and says so.
async fn takes_bytes(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) => BoxBody::new([&b"whole: "[..], &bytes].concat()),
        Err(body) => BoxBody::new(body),
    }))
}

#[actix_web::test]
async fn body_can_be_taken_in_one_piece() {
    let streamed = || async {
        let chunks = [Ok::<_, io::Error>(Bytes::from("hello"))];
        HttpResponse::Ok().streaming(stream::iter(chunks))
    };
    for (setup, tracing) in Tracing::each() {
        let outer = ServerTracing::new().filter(|_| false);
        let server = TestServer::start(&tracing, outer, move |app| {
            app.service(
                web::scope("/s")
                    .wrap(ServerTracing::new().with_body_sizes(true))
                    .wrap(from_fn(takes_bytes))
                    .route("/text", web::get().to(|| async { "hello" }))
                    .route("/empty", web::get().to(HttpResponse::Ok))
                    .route("/stream", web::get().to(streamed)),
            );
        });
        for (i, (path, answer, size)) in [
            ("/s/text", "\r\n\r\nwhole: hello", 5),
            ("/s/empty", "\r\n\r\nwhole: ", 0),
            ("/s/stream", "\r\n5\r\nhello\r\n0\r\n\r\n", 5),
        ]
        .into_iter()
        .enumerate()
        {
            let said = send(&server, &format!("GET {path} HTTP/1.1\nHost: h"));
            assert!(said.ends_with(answer), "{setup:?} {path}: {said}");
            let spans = tracing.ended(i + 1).await;
            assert_eq!(spans.len(), i + 1, "{setup:?} {path}: it ends once");
            assert_eq!(tree(&spans[i..]), format!("server GET {path} 200\n"), "{setup:?}");
            let sent = attribute(&spans[i], "http.response.body.size");
            assert_eq!(sent, Some(&size.into()), "{setup:?} {path}");
        }
    }
}

#[actix_web::test]
async fn early_drop_before_the_response_is_visible() {
    // 1. The handler waits for something that does not come. 2. The client leaves.
    for (setup, tracing) in Tracing::each() {
        let (started, mut has_started) = mpsc::unbounded_channel();
        let server = TestServer::start(&tracing, ServerTracing::new(), move |app| {
            let started = started.clone();
            app.route(
                "/x",
                web::get().to(move || {
                    started.send(()).unwrap();
                    std::future::pending::<HttpResponse>()
                }),
            );
        });

        let mut socket = connect(&server);
        socket.write_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        has_started.recv().await.unwrap();
        drop(socket);

        let spans = tracing.ended(1).await;
        assert_eq!(tree(&spans), "server GET client_disconnect failed\n", "{setup:?}");
        assert_eq!(attribute(&spans[0], "http.response.status_code"), None, "{setup:?}");
    }
}

#[actix_web::test]
async fn early_drop_within_the_body_is_visible() {
    // 1. The body has begun and waits. 2. The client leaves. 3. The next chunk cannot be written.
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route(
                "/x",
                web::get().to(|| async {
                    let chunks = stream::unfold((), |()| async {
                        actix_web::rt::task::yield_now().await;
                        Some((Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 4096])), ()))
                    });
                    HttpResponse::Ok().streaming(chunks)
                }),
            );
        });

        let mut socket = connect(&server);
        socket.write_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut some = [0; 16384];
        socket.read_exact(&mut some).unwrap();
        socket.shutdown(Shutdown::Both).unwrap();
        drop(socket);

        let spans = tracing.ended(1).await;
        assert_eq!(tree(&spans), "server GET /x 200 client_disconnect failed\n", "{setup:?}");
    }
}

#[actix_web::test]
async fn failing_body_is_visible() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route(
                "/x",
                web::get().to(|| async {
                    let chunks = [Ok(Bytes::from("a")), Err(io::Error::other("disk"))];
                    HttpResponse::Ok().streaming(stream::iter(chunks))
                }),
            );
        });

        send(&server, "GET /x HTTP/1.1\nHost: h");

        assert_eq!(
            tree(&tracing.ended(1).await),
            "server GET /x 200 response_body failed\n",
            "{setup:?}"
        );
    }
}

fn fail(where_: &str) -> Bytes {
    panic!("the test wants the {where_} to panic")
}

#[actix_web::test]
async fn panics_are_visible() {
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route("/handler", web::get().to(|| async { fail("handler").len().to_string() }))
                .route(
                    "/body",
                    web::get().to(|| async {
                        let chunks = [|| Bytes::from("a"), || fail("body")];
                        let chunks = chunks.into_iter().map(|chunk| Ok::<_, io::Error>(chunk()));
                        HttpResponse::Ok().streaming(stream::iter(chunks))
                    }),
                );
        });

        for (path, expected) in [
            ("/handler", "server GET panic failed\n"),
            ("/body", "server GET /body 200 panic failed\n"),
        ] {
            let before = tracing.ended(0).await.len();
            send(&server, &format!("GET {path} HTTP/1.1\nHost: h"));
            let spans = tracing.ended(before + 1).await;
            assert_eq!(tree(&spans[before..]), expected, "{setup:?} {path}");
        }
    }
}

#[actix_web::test]
async fn handshake_of_an_upgrade_ends_the_span() {
    // 1. The server switches protocols; the body that is the new protocol does not end.
    // 2. The span ends nevertheless.
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.route(
                "/ws",
                web::get().to(|_: HttpRequest| async {
                    HttpResponse::SwitchingProtocols()
                        .upgrade("websocket")
                        .streaming(stream::pending::<Result<Bytes, io::Error>>())
                }),
            );
        });

        let mut socket = connect(&server);
        let head =
            "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();

        assert_eq!(tree(&tracing.ended(1).await), "server GET /ws 101\n", "{setup:?}");
        drop(socket);
    }
}

#[actix_web::test]
async fn scope_and_resource_can_be_wrapped() {
    for (setup, tracing) in Tracing::each() {
        let outer = ServerTracing::new().filter(|_| false);
        let server = TestServer::start(&tracing, outer, |app| {
            app.service(
                web::scope("/scope")
                    .wrap(ServerTracing::new())
                    .route("/{id}", web::get().to(HttpResponse::Ok)),
            )
            .service(
                web::resource("/resource/{id}").wrap(ServerTracing::new()).to(HttpResponse::Ok),
            );
        });

        send(&server, "GET /scope/1 HTTP/1.1\nHost: h");
        send(&server, "GET /resource/1 HTTP/1.1\nHost: h");
        send(&server, "GET /scope/1/2 HTTP/1.1\nHost: h");

        let expected =
            "server GET /scope/{id} 200\nserver GET /resource/{id} 200\nserver GET 404\n";
        assert_eq!(tree(&tracing.ended(3).await), expected, "{setup:?}");
    }
}
