//! Requests over HTTP/2 without TLS, from a client that knows that the server speaks it.

use std::io;

use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::join_all;
use futures_util::stream;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry::trace::{SpanId, TraceId};
use spanbridge::ServerTracing;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::http::{CALLER, CALLER_SPAN, CALLER_TRACE, TestServer, echo};
use crate::support::{Setup, Tracing, attribute, tree};

/// Those that leave out the spans of the HTTP/2 library itself, which are more verbose than ours.
pub(crate) const SETUPS: [Setup; 2] = [Setup::OursBesideAnother, Setup::OursBelowEnvFilter];

/// One connection, and the task that drives it.
pub(crate) type Connection = (SendRequest<Empty<Bytes>>, JoinHandle<()>);

pub(crate) async fn connect(server: &TestServer) -> Connection {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    (sender, tokio::spawn(async move { drop(connection.await) }))
}

pub(crate) fn request(server: &TestServer, path: &str, traceparent: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(server.url(path)).header("traceparent", traceparent);
    request.body(Empty::new()).unwrap()
}

#[actix_web::test]
async fn span_tells_the_version() {
    for (setup, tracing) in SETUPS.map(|setup| (setup, Tracing::new(setup))) {
        let server = TestServer::start_h2c(&tracing, ServerTracing::new(), |app| {
            app.route("/pods/{name}", web::get().to(echo));
        });
        let (mut sender, _connection) = connect(&server).await;

        let response = sender.send_request(request(&server, "/pods/a?b=c", CALLER)).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, hyper::Version::HTTP_2));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("traceparent: {CALLER}\n"), "{setup:?}");

        let [span] = &tracing.ended(1).await[..] else { panic!("{setup:?}: one span") };
        assert_eq!(span.name, "GET /pods/{name}", "{setup:?}");
        assert_eq!(span.span_context.trace_id().to_string(), CALLER_TRACE, "{setup:?}");
        assert_eq!(span.parent_span_id.to_string(), CALLER_SPAN, "{setup:?}");
        for (key, expected) in [
            ("network.protocol.version", "2".into()),
            ("http.response.status_code", 200.into()),
            ("server.address", "127.0.0.1".into()),
            ("server.port", i64::from(server.address.port()).into()),
            ("url.path", "/pods/a".into()),
            ("url.query", "b=c".into()),
            ("url.scheme", "http".into()),
        ] {
            assert_eq!(attribute(span, key), Some(&expected), "{setup:?} {key}");
        }
    }
}

#[actix_web::test]
async fn streams_of_one_connection_have_their_own_parents() {
    const STREAMS: u64 = 20;
    for (setup, tracing) in SETUPS.map(|setup| (setup, Tracing::new(setup))) {
        let barrier = web::Data::new(tokio::sync::Barrier::new(STREAMS as usize));
        let server = TestServer::start_h2c(&tracing, ServerTracing::new(), move |app| {
            app.app_data(barrier.clone()).default_service(web::to(
                |barrier: web::Data<tokio::sync::Barrier>| async move {
                    barrier.wait().await;
                    tracing::info_span!("work").in_scope(|| ());
                    HttpResponse::Ok().finish()
                },
            ));
        });
        let (sender, _connection) = connect(&server).await;

        let all = join_all((1..=STREAMS).map(|n| {
            let traceparent = format!("00-{n:032x}-{n:016x}-01");
            sender.clone().send_request(request(&server, "/", &traceparent))
        }));
        assert!(all.await.into_iter().all(|response| response.unwrap().status().is_success()));

        let spans = tracing.ended(2 * STREAMS as usize).await;
        let mut callers = Vec::new();
        for pair in spans.chunks_exact(2) {
            let [server, work] = pair else { unreachable!("two at a time") };
            let caller = u64::from_be_bytes(server.parent_span_id.to_bytes());
            let trace = server.span_context.trace_id();
            assert_eq!(trace, TraceId::from(u128::from(caller)), "{setup:?}");
            assert_eq!(work.parent_span_id, server.span_context.span_id(), "{setup:?}");
            callers.push(caller);
        }
        callers.sort_unstable();
        assert!(callers.into_iter().eq(1..=STREAMS), "{setup:?}");
    }
}

#[actix_web::test]
async fn span_ends_with_a_streamed_body() {
    let tracing = Tracing::new(Setup::OursBelowEnvFilter);
    let server = TestServer::start_h2c(&tracing, ServerTracing::new(), |app| {
        app.route(
            "/{end}",
            web::get().to(async |request: HttpRequest| {
                let end = match request.match_info().query("end") {
                    "fails" => vec![Err(io::Error::other("disk"))],
                    _ => vec![],
                };
                let chunks = (0..2).map(|i| {
                    tracing::info_span!("chunk").in_scope(|| ());
                    Ok(Bytes::from(i.to_string()))
                });
                HttpResponse::Ok().streaming(stream::iter(chunks.chain(end)))
            }),
        );
    });
    let chunks = "  internal chunk\n  internal chunk\n";

    let (mut sender, _connection) = connect(&server).await;
    let response = sender.send_request(request(&server, "/whole", CALLER)).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "01");
    let expected = format!("server GET /{{end}} 200\n{chunks}");
    assert_eq!(tree(&tracing.ended(3).await), expected);

    let response = sender.send_request(request(&server, "/fails", CALLER)).await.unwrap();
    drop(response.into_body().collect().await);
    let expected = format!("server GET /{{end}} 200 response_body failed\n{chunks}");
    assert_eq!(tree(&tracing.ended(6).await[3..]), expected);
}

#[actix_web::test]
async fn bodies_of_requests_are_read_or_left_as_without_the_middleware() {
    // More than what may be under way without being read, of a stream and of the connection.
    const LARGE: usize = 8 << 20;
    let tracing = Tracing::new(Setup::OursBelowEnvFilter);
    let release = tokio::sync::broadcast::Sender::<()>::new(1);
    let (begin, mut began) = mpsc::unbounded_channel();
    let released = release.clone();
    let server = TestServer::start_h2c(&tracing, ServerTracing::new(), move |app| {
        let (begin, released) = (begin.clone(), released.clone());
        app.app_data(web::PayloadConfig::new(LARGE))
            .route("/len", web::post().to(|body: Bytes| async move { body.len().to_string() }))
            .route("/read", web::post().to(|_: Bytes| HttpResponse::Ok()))
            .route("/refuse", web::post().to(HttpResponse::PayloadTooLarge))
            .route(
                "/leave",
                web::post().to(move |body: web::Payload| {
                    drop(body);
                    let mut released = released.subscribe();
                    begin.send(()).unwrap();
                    async move {
                        released.recv().await.unwrap();
                        HttpResponse::NoContent().finish()
                    }
                }),
            );
    });
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let send = |path: &str| {
        let body = Full::new(Bytes::from(vec![b'x'; LARGE]));
        let request = Request::post(server.url(path)).header("traceparent", CALLER);
        let mut sender = sender.clone();
        async move { sender.send_request(request.body(body).unwrap()).await.unwrap() }
    };

    // One that nobody reads does not hold up the others.
    let leave = tokio::spawn(send("/leave"));
    began.recv().await.unwrap();
    let response = send("/len").await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, LARGE.to_string());
    assert_eq!(send("/read").await.status().as_u16(), 200);
    assert_eq!(send("/refuse").await.status().as_u16(), 413);
    release.send(()).unwrap();
    assert_eq!(leave.await.unwrap().status().as_u16(), 204);

    let spans = tree(&tracing.ended(4).await);
    let mut lines: Vec<_> = spans.lines().collect();
    lines.sort_unstable();
    let expected = ["server POST /leave 204", "server POST /len 200"];
    let rest = ["server POST /read 200", "server POST /refuse 413"];
    assert_eq!(lines, [expected, rest].concat());
}

#[actix_web::test]
async fn panic_ends_only_its_own_stream() {
    let tracing = Tracing::new(Setup::OursBelowEnvFilter);
    let server = TestServer::start_h2c(&tracing, ServerTracing::new(), |app| {
        app.route("/panic", web::get().to(|| async { panics().len().to_string() }))
            .route("/x", web::get().to(HttpResponse::Ok));
    });
    let (mut sender, _connection) = connect(&server).await;

    assert!(sender.send_request(request(&server, "/panic", CALLER)).await.is_err());
    assert_eq!(tree(&tracing.ended(1).await), "server GET panic failed\n");

    let response = sender.send_request(request(&server, "/x", CALLER)).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let spans = tracing.ended(2).await;
    assert_eq!(tree(&spans), "server GET panic failed\nserver GET /x 200\n");
    assert_eq!(spans[1].parent_span_id, SpanId::from_hex(CALLER_SPAN).unwrap());
}

fn panics() -> Bytes {
    panic!("the test wants the handler to panic")
}

#[actix_web::test]
async fn early_drop_of_the_body_is_visible() {
    // 1. The body has begun and goes on for ever. 2. The client resets the stream.
    let tracing = Tracing::new(Setup::OursBelowEnvFilter);
    let (began, mut has_begun) = mpsc::unbounded_channel();
    let server = TestServer::start_h2c(&tracing, ServerTracing::new(), move |app| {
        let began = began.clone();
        app.route(
            "/x",
            web::get().to(move || {
                let began = began.clone();
                async move {
                    let chunks = stream::unfold((), move |()| {
                        began.send(()).unwrap_or_default();
                        async {
                            actix_web::rt::task::yield_now().await;
                            Some((Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 4096])), ()))
                        }
                    });
                    HttpResponse::Ok().streaming(chunks)
                }
            }),
        );
    });

    let (mut sender, _connection) = connect(&server).await;
    let response = sender.send_request(request(&server, "/x", CALLER)).await.unwrap();
    has_begun.recv().await.unwrap();
    drop(response);

    let spans = tracing.ended(1).await;
    assert_eq!(tree(&spans), "server GET /x 200 client_disconnect failed\n");
}
