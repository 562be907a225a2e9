//! Every way in which a request can end, over sockets. What streams, fails or panics within a body
//! is in `server` and `http2`.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use http_body_util::BodyExt as _;
use opentelemetry::trace::Status;
use spanbridge::ServerTracing;
use tokio::sync::{broadcast, mpsc};

use crate::http::{CALLER, TestServer, connect, send};
use crate::http2;
use crate::support::{Setup, Tracing, attribute, tree};

/// Responses of every kind that needs no help from the test.
fn all_kinds(app: &mut ServiceConfig) {
    app.route("/text", web::to(|| async { "hello" }))
        .route("/empty", web::to(HttpResponse::Ok))
        .route("/sized-empty", web::to(|| async { HttpResponse::Ok().body("") }))
        .route("/204", web::to(HttpResponse::NoContent))
        .route("/304", web::to(HttpResponse::NotModified))
        .route("/stream", web::to(|| async { HttpResponse::Ok().streaming(chunks(3)) }))
        .route("/no-chunks", web::to(|| async { HttpResponse::Ok().streaming(chunks(0)) }))
        .route(
            "/err",
            web::to(|| async {
                let gone = actix_web::error::ErrorGone("gone");
                Err::<HttpResponse, _>(gone)
            }),
        )
        .service(
            web::resource("/inner-err")
                .wrap(from_fn(|request: actix_web::dev::ServiceRequest, next| async move {
                    let refused = StatusCode::SERVICE_UNAVAILABLE;
                    if request.path().starts_with("/inner") {
                        return Err(actix_web::error::InternalError::new("busy", refused).into());
                    }
                    let next: actix_web::middleware::Next<actix_web::body::BoxBody> = next;
                    next.call(request).await
                }))
                .to(HttpResponse::Ok),
        );
}

fn chunks(count: u8) -> impl futures_util::Stream<Item = Result<Bytes, io::Error>> {
    stream::iter((0..count).map(|i| Ok(Bytes::from(vec![i; 3]))))
}

/// Path, how it ends, and the length of the body that is sent.
const KINDS: [(&str, &str, usize); 9] = [
    ("/text", "/text 200", 5),
    ("/empty", "/empty 200", 0),
    ("/sized-empty", "/sized-empty 200", 0),
    ("/204", "/204 204", 0),
    ("/304", "/304 304", 0),
    ("/stream", "/stream 200", 9),
    ("/no-chunks", "/no-chunks 200", 0),
    ("/err", "/err 410", 4),
    ("/inner-err", " 503 503 failed", 4),
];

fn expected(method: &str, end: &str) -> String {
    // Where no route is known the name is the method alone.
    format!("server {method} {}\n", end.trim_start())
}

#[actix_web::test]
async fn complete_responses_end_without_a_failure() {
    for (setup, tracing) in Tracing::each() {
        let middleware = ServerTracing::new().with_body_sizes(true);
        let server = TestServer::start(&tracing, middleware, all_kinds);
        for (path, end, len) in KINDS {
            for method in ["GET", "HEAD"] {
                let before = tracing.ended(0).await.len();
                let said = send(&server, &format!("{method} {path} HTTP/1.1\nHost: h"));
                let spans = tracing.ended(before + 1).await;
                assert_eq!(tree(&spans[before..]), expected(method, end), "{setup:?} {path}");
                let len = if method == "HEAD" { 0 } else { len };
                if len == 0 {
                    // The last chunk of none ends with an empty line too.
                    assert!(said.ends_with("\r\n\r\n"), "{method} {path}: {said}");
                }
                if !end.starts_with(' ') {
                    let size = attribute(&spans[before], "http.response.body.size").cloned();
                    assert_eq!(size, Some((len as i64).into()), "{setup:?} {method} {path}");
                }
            }
        }
    }
}

#[actix_web::test]
async fn complete_responses_end_without_a_failure_over_http2() {
    for (setup, tracing) in http2::SETUPS.map(|setup| (setup, Tracing::new(setup))) {
        let server = TestServer::start_h2c(&tracing, ServerTracing::new(), all_kinds);
        let (mut sender, _connection) = http2::connect(&server).await;
        for (path, end, len) in KINDS {
            for method in ["GET", "HEAD"] {
                let before = tracing.ended(0).await.len();
                let mut request = http2::request(&server, path, CALLER);
                *request.method_mut() = method.parse().unwrap();
                let response = sender.send_request(request).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body.len(), if method == "HEAD" { 0 } else { len }, "{method} {path}");
                let spans = tracing.ended(before + 1).await;
                assert_eq!(tree(&spans[before..]), expected(method, end), "{setup:?} {path}");
            }
        }
    }
}

/// More than the buffers of two sockets hold.
const LARGE: usize = 32 << 20;

fn large(app: &mut ServiceConfig) {
    app.route("/large", web::get().to(|| async { Bytes::from(vec![b'x'; LARGE]) }));
}

#[actix_web::test]
async fn client_that_leaves_within_a_single_chunk_has_left() {
    // 1. The body is one chunk, which actix-web takes at once. 2. The client reads its beginning,
    // and leaves. 3. The rest cannot be written.
    const LEFT: &str = "server GET /large 200 client_disconnect failed\n";
    for (setup, tracing) in Tracing::each() {
        for start in [TestServer::start, TestServer::start_half_closed] {
            let before = tracing.ended(0).await.len();
            let server = start(&tracing, ServerTracing::new(), large);
            let mut socket = connect(&server);
            socket.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            socket.read_exact(&mut [0; 1024]).unwrap();
            drop(socket);
            assert_eq!(tree(&tracing.ended(before + 1).await[before..]), LEFT, "{setup:?}");
        }
    }
    for (setup, tracing) in http2::SETUPS.map(|setup| (setup, Tracing::new(setup))) {
        let server = TestServer::start_h2c(&tracing, ServerTracing::new(), large);
        let (mut sender, _connection) = http2::connect(&server).await;
        let request = http2::request(&server, "/large", CALLER);
        let mut response = sender.send_request(request).await.unwrap();
        response.frame().await.unwrap().unwrap();
        drop(response);
        assert_eq!(tree(&tracing.ended(1).await), LEFT, "{setup:?}");
    }
}

#[actix_web::test]
async fn client_that_leaves_after_a_single_chunk_has_its_answer() {
    const COMPLETE: &str = "server GET /large 200\n";
    for (setup, tracing) in Tracing::each() {
        for start in [TestServer::start, TestServer::start_half_closed] {
            let before = tracing.ended(0).await.len();
            let server = start(&tracing, ServerTracing::new(), large);
            let mut socket = connect(&server);
            for _ in 0..2 {
                socket.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    socket.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                socket.read_exact(&mut vec![0; LARGE]).unwrap();
            }
            drop(socket);
            let spans = tracing.ended(before + 2).await;
            assert_eq!(tree(&spans[before..]), COMPLETE.repeat(2), "{setup:?}");
        }
    }
    for (setup, tracing) in http2::SETUPS.map(|setup| (setup, Tracing::new(setup))) {
        let server = TestServer::start_h2c(&tracing, ServerTracing::new(), large);
        let (mut sender, _connection) = http2::connect(&server).await;
        let request = http2::request(&server, "/large", CALLER);
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), LARGE);
        assert_eq!(tree(&tracing.ended(1).await), COMPLETE, "{setup:?}");
    }
}

/// A server whose handler says that it has begun, and waits to be released.
struct Waiting {
    began: mpsc::UnboundedReceiver<()>,
    release: broadcast::Sender<()>,
}

fn waiting() -> (Waiting, impl Fn(&mut ServiceConfig) + Send + Clone + 'static) {
    let (begin, began) = mpsc::unbounded_channel();
    let release = broadcast::Sender::new(1);
    let released = release.clone();
    let configure = move |app: &mut ServiceConfig| {
        for (path, body) in [("/x", "hello"), ("/empty", "")] {
            let (begin, released) = (begin.clone(), released.clone());
            app.route(
                path,
                web::to(move || {
                    let mut released = released.subscribe();
                    begin.send(()).unwrap();
                    async move {
                        released.recv().await.unwrap();
                        body
                    }
                }),
            );
        }
    };
    (Waiting { began, release }, configure)
}

const GET_X: &[u8] = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n";

#[actix_web::test]
async fn client_that_only_closes_its_side_has_its_answer() {
    // 1. The client says that it will send no more. 2. The handler answers. 3. All is well.
    for (setup, tracing) in Tracing::each() {
        let (mut waiting, configure) = waiting();
        let server = TestServer::start_half_closed(&tracing, ServerTracing::new(), configure);
        let mut socket = connect(&server);
        socket.write_all(b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        waiting.began.recv().await.unwrap();
        waiting.release.send(()).unwrap();

        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        assert!(said.ends_with("hello"), "{setup:?}: {said}");
        assert_eq!(tree(&tracing.ended(1).await), "server GET /x 200\n", "{setup:?}");
    }
}

#[actix_web::test]
async fn reset_of_the_connection_ends_the_request() {
    for (setup, tracing) in Tracing::each() {
        for half_closed in [false, true] {
            let before = tracing.ended(0).await.len();
            let (mut waiting, configure) = waiting();
            let server = match half_closed {
                false => TestServer::start(&tracing, ServerTracing::new(), configure),
                true => TestServer::start_half_closed(&tracing, ServerTracing::new(), configure),
            };
            let mut socket = connect(&server);
            socket.write_all(GET_X).unwrap();
            waiting.began.recv().await.unwrap();
            socket.set_nonblocking(true).unwrap();
            let socket = tokio::net::TcpStream::from_std(socket).unwrap();
            // Closing then sends RST instead of FIN.
            socket.set_zero_linger().unwrap();
            drop(socket);

            let spans = tracing.ended(before + 1).await;
            let expected = "server GET client_disconnect failed\n";
            assert_eq!(tree(&spans[before..]), expected, "{setup:?} {half_closed}");
        }
    }
}

#[actix_web::test]
async fn shutdown_of_the_server_ends_its_requests() {
    for (setup, tracing) in Tracing::each() {
        let (mut waiting, configure) = waiting();
        let server = TestServer::start(&tracing, ServerTracing::new(), configure);
        let mut socket = connect(&server);
        socket.write_all(GET_X).unwrap();
        waiting.began.recv().await.unwrap();

        drop(server);

        let spans = tracing.ended(1).await;
        assert_eq!(tree(&spans), "server GET server_shutdown failed\n", "{setup:?}");
    }
}

/// Server-sent events: what is sent here, until the sender is dropped.
fn events() -> (mpsc::UnboundedSender<&'static str>, impl Fn(&mut ServiceConfig) + Send + Clone) {
    let (sender, receiver) = mpsc::unbounded_channel::<&'static str>();
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let configure = move |app: &mut ServiceConfig| {
        let receiver = receiver.clone();
        app.route(
            "/events",
            web::get().to(move || {
                let receiver = receiver.lock().unwrap().take().unwrap();
                async move {
                    let events = stream::unfold(receiver, |mut receiver| async move {
                        let event = receiver.recv().await?;
                        Some((Ok::<_, io::Error>(Bytes::from(event)), receiver))
                    });
                    HttpResponse::Ok().content_type("text/event-stream").streaming(events)
                }
            }),
        );
    };
    (sender, configure)
}

#[actix_web::test]
async fn span_of_server_sent_events_lasts_as_long_as_they_do() {
    for (setup, tracing) in Tracing::each() {
        for client_leaves in [false, true] {
            let before = tracing.ended(0).await.len();
            let (sender, configure) = events();
            let server = TestServer::start(&tracing, ServerTracing::new(), configure);
            let mut socket = connect(&server);
            socket.write_all(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            sender.send("data: 1\n\n").unwrap();
            let mut said = String::new();
            while !said.contains("data: 1") {
                let mut some = [0; 512];
                let len = socket.read(&mut some).unwrap();
                said.push_str(std::str::from_utf8(&some[..len]).unwrap());
            }
            let first_event = std::time::SystemTime::now();
            assert_eq!(tracing.ended(0).await.len(), before, "{setup:?}: it goes on");

            let expected = match client_leaves {
                true => {
                    drop(socket);
                    "server GET /events 200 client_disconnect failed\n"
                }
                false => {
                    drop(sender);
                    "server GET /events 200\n"
                }
            };
            let spans = tracing.ended(before + 1).await;
            assert_eq!(tree(&spans[before..]), expected, "{setup:?}");
            assert!(spans[before].end_time >= first_event, "{setup:?}: all of it is measured");
        }
    }
}

#[actix_web::test]
async fn socket_that_is_upgraded_can_be_a_part_of_the_request() {
    // 1. The handshake. 2. The socket lives on. 3. The server closes it, or the client.
    for (setup, tracing) in Tracing::each() {
        for client_leaves in [false, true] {
            let before = tracing.ended(0).await.len();
            let (close, closed) = mpsc::unbounded_channel::<()>();
            let closed = std::sync::Arc::new(std::sync::Mutex::new(Some(closed)));
            let middleware = ServerTracing::new().with_upgrades_until_close(true);
            let server = TestServer::start(&tracing, middleware, move |app| {
                let closed = closed.clone();
                app.route(
                    "/ws",
                    web::get().to(move |_: HttpRequest, body: web::Payload| {
                        let closed = closed.lock().unwrap().take().unwrap();
                        async move {
                            let until =
                                stream::unfold((closed, body), |(mut closed, body)| async move {
                                    closed.recv().await;
                                    drop(body);
                                    None::<(Result<Bytes, io::Error>, _)>
                                });
                            HttpResponse::SwitchingProtocols().upgrade("websocket").streaming(until)
                        }
                    }),
                );
            });
            let mut socket = connect(&server);
            let head =
                "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            socket.write_all(head.as_bytes()).unwrap();
            let mut said = [0; 12];
            socket.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"HTTP/1.1 101");
            assert_eq!(tracing.ended(0).await.len(), before, "{setup:?}: it goes on");

            let expected = match client_leaves {
                true => {
                    drop(socket);
                    "server GET /ws 101 client_disconnect failed\n"
                }
                false => {
                    drop(close);
                    "server GET /ws 101\n"
                }
            };
            let spans = tracing.ended(before + 1).await;
            assert_eq!(tree(&spans[before..]), expected, "{setup:?}");
        }
    }
}

#[actix_web::test]
async fn reset_of_a_stream_before_its_response_is_visible() {
    // 1. The handler waits. 2. The client resets the stream. 3. The handler answers nobody.
    let tracing = Tracing::new(Setup::OursBelowEnvFilter);
    let (mut waiting, configure) = waiting();
    let server = TestServer::start_h2c(&tracing, ServerTracing::new(), configure);
    let (mut sender, _connection) = http2::connect(&server).await;
    let sent = sender.send_request(http2::request(&server, "/x", CALLER));
    tokio::select! {
        _ = sent => panic!("nobody has released it"),
        _ = waiting.began.recv() => {}
    }
    // The stream's reset is on its way before this request is.
    let other = sender.send_request(http2::request(&server, "/none", CALLER)).await.unwrap();
    assert_eq!(other.status().as_u16(), 404);
    waiting.release.send(()).unwrap();

    let spans = tracing.ended(2).await;
    let failed = spans.iter().find(|span| span.status != Status::Unset).expect("one has failed");
    let error = attribute(failed, "error.type").unwrap().as_str().into_owned();
    assert_eq!(error, "client_disconnect");
}

#[actix_web::test]
async fn loss_of_an_http2_connection_is_seen_when_the_handler_answers() {
    // 1. The handler waits. 2. The connection is lost; the handler is not told. 3. It answers
    // nobody. A body is dropped unsent then; without one the stream of the request tells.
    let tracing = Tracing::new(Setup::OursBelowEnvFilter);
    for (i, (path, expected)) in [
        ("/x", "server GET /x 200 client_disconnect failed\n"),
        ("/empty", "server GET /empty 200 client_disconnect failed\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut waiting, configure) = waiting();
        let server = TestServer::start_h2c(&tracing, ServerTracing::new(), configure);
        let (mut sender, connection) = http2::connect(&server).await;
        let sent = sender.send_request(http2::request(&server, path, CALLER));
        tokio::select! {
            _ = sent => panic!("nobody has released it"),
            _ = waiting.began.recv() => {}
        }
        connection.abort();
        drop(connection.await);
        drop(sender);
        // The server has one thread: by now it has seen that the first connection is closed.
        let (mut sender, _connection) = http2::connect(&server).await;
        let other = sender.send_request(http2::request(&server, "/none", CALLER)).await.unwrap();
        assert_eq!(other.status().as_u16(), 404);
        waiting.release.send(()).unwrap();

        let spans = tracing.ended(2 * (i + 1)).await;
        let found = spans.iter().filter(|span| span.name == format!("GET {path}"));
        assert_eq!(
            found.map(|span| tree(std::slice::from_ref(span))).collect::<String>(),
            expected
        );
    }
}
