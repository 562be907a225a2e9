//! Many requests on one worker: each keeps to its own parent.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use actix_web::{HttpResponse, web};
use awc::Client;
use futures_util::future::join_all;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::SpanData;
use spanbridge::ServerTracing;
use tokio::sync::{Barrier, Semaphore, mpsc};
use tracing::Instrument as _;

use crate::http::{TestServer, client, connect, echo_server, text};
use crate::support::{Tracing, attribute, tree};

/// Trace id and span id of caller number `n`, each of them `n`.
fn traceparent(n: usize) -> String {
    format!("00-{n:032x}-{n:016x}-01")
}

/// Whether the span is the server's of a request that said it came from caller `n`.
fn is_called_by(span: &SpanData, n: usize) -> bool {
    span.span_context.trace_id() == TraceId::from(n as u128)
        && span.parent_span_id == SpanId::from(n as u64)
}

fn path(span: &SpanData) -> &str {
    match attribute(span, "url.path") {
        Some(opentelemetry::Value::String(path)) => path.as_str(),
        other => panic!("{other:?} is no path"),
    }
}

/// Reads one response of a kept connection: its body.
fn read_response(socket: &mut BufReader<TcpStream>) -> String {
    let mut length = 0;
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

#[actix_web::test]
async fn requests_on_one_connection_have_their_own_parents() {
    const REQUESTS: usize = 30;
    for (setup, tracing) in Tracing::each() {
        let server = TestServer::start(&tracing, ServerTracing::new(), |app| {
            app.default_service(web::to(|| async {
                tracing::info_span!("work").in_scope(|| ());
                // Pipelined requests wait for each other here.
                actix_web::rt::task::yield_now().await;
                HttpResponse::Ok().body("x")
            }));
        });
        // Every other request comes without a parent.
        let request = |n: usize| match n % 2 {
            0 => format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n"),
            _ => format!("GET /{n} HTTP/1.1\r\nHost: h\r\ntraceparent: {}\r\n\r\n", traceparent(n)),
        };

        // The first half one after the other, the second all at once.
        let mut socket = BufReader::new(connect(&server));
        for n in 1..=REQUESTS / 2 {
            socket.get_mut().write_all(request(n).as_bytes()).unwrap();
            assert_eq!(read_response(&mut socket), "x", "{setup:?}");
        }
        let rest: String = (REQUESTS / 2 + 1..=REQUESTS).map(request).collect();
        socket.get_mut().write_all(rest.as_bytes()).unwrap();
        for _ in REQUESTS / 2..REQUESTS {
            assert_eq!(read_response(&mut socket), "x", "{setup:?}");
        }

        let spans = tracing.ended(2 * REQUESTS).await;
        let mut traces = HashSet::new();
        for pair in spans.chunks_exact(2) {
            let [server, work] = pair else { unreachable!("two at a time") };
            let n = path(server)[1..].parse().unwrap();
            let is_root = server.parent_span_id == SpanId::INVALID;
            assert!(if n % 2 == 0 { is_root } else { is_called_by(server, n) }, "{setup:?} {n}");
            assert_eq!(work.parent_span_id, server.span_context.span_id(), "{setup:?} {n}");
            traces.insert(server.span_context.trace_id());
        }
        assert_eq!(traces.len(), REQUESTS, "{setup:?}");
    }
}

#[actix_web::test]
async fn concurrent_requests_never_mix() {
    // 1. All handlers have begun, each in spans of its own, before one goes on.
    // 2. Each calls another service. 3. All wait for each other again.
    const REQUESTS: usize = 50;
    for (setup, tracing) in Tracing::each() {
        let echo = echo_server(&Tracing::none());
        let url = echo.url("/echo");
        let barrier = web::Data::new(Barrier::new(REQUESTS));
        let server = TestServer::start(&tracing, ServerTracing::new(), move |app| {
            let url = url.clone();
            app.app_data(barrier.clone()).route(
                "/{n}",
                web::get().to(move |n: web::Path<i64>, barrier: web::Data<Barrier>| {
                    let url = url.clone();
                    let work = tracing::info_span!("work", n = *n);
                    async move {
                        barrier.wait().await;
                        let arrived = text(client().get(url)).await;
                        tracing::info_span!("late", n = *n).in_scope(|| ());
                        barrier.wait().await;
                        arrived
                    }
                    .instrument(work)
                }),
            );
        });

        let client = Client::new();
        let answers = join_all((1..=REQUESTS).map(|n| {
            let request = client.get(server.url(&format!("/{n}")));
            text(request.insert_header(("traceparent", traceparent(n))))
        }))
        .await;

        let spans = tracing.ended(4 * REQUESTS).await;
        let by_id: HashMap<_, _> =
            spans.iter().map(|span| (span.span_context.span_id(), span)).collect();
        for (n, arrived) in (1..).zip(&answers) {
            let id = arrived.split('-').nth(2).unwrap();
            let client = by_id[&SpanId::from_hex(id).unwrap()];
            let work = by_id[&client.parent_span_id];
            assert_eq!((&*client.name, &*work.name), ("GET", "work"), "{setup:?} {n}");
            assert_eq!(attribute(work, "n"), Some(&(n as i64).into()), "{setup:?} {n}");
            let server = by_id[&work.parent_span_id];
            assert_eq!(path(server), format!("/{n}"), "{setup:?}");
            assert!(is_called_by(server, n), "{setup:?} {n}");
            assert!(arrived.starts_with(&format!("traceparent: {}", &traceparent(n)[..36])));
        }
        for late in spans.iter().filter(|span| span.name == "late") {
            let work = by_id[&late.parent_span_id];
            assert_eq!(attribute(work, "n"), attribute(late, "n"), "{setup:?}");
        }
    }
}

/// A server with one handler that holds the guard of a span across an await until `release` has a
/// permit, and says when it does.
fn guard_server(
    tracing: &Tracing,
    url: String,
) -> (TestServer, mpsc::UnboundedReceiver<()>, Arc<Semaphore>) {
    let (held, is_held) = mpsc::unbounded_channel();
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let server = TestServer::start(tracing, ServerTracing::new(), move |app| {
        let (held, gate, url) = (held.clone(), Arc::clone(&gate), url.clone());
        app.route(
            "/hold",
            web::get().to(move || {
                let (held, gate) = (held.clone(), Arc::clone(&gate));
                async move {
                    let _guard = tracing::info_span!("held").entered();
                    held.send(()).unwrap();
                    gate.acquire().await.unwrap().forget();
                    tracing::info_span!("released").in_scope(|| ());
                    "done"
                }
            }),
        )
        .route(
            "/other",
            web::get().to(move || {
                let url = url.clone();
                async move {
                    tracing::info_span!("before").in_scope(|| ());
                    let arrived = text(client().get(url)).await;
                    tracing::info_span!("after").in_scope(|| ());
                    arrived
                }
            }),
        );
    });
    (server, is_held, release)
}

const OTHER: &str =
    "server GET /other 200\n  internal before\n  client GET 200\n  internal after\n";

#[actix_web::test]
async fn guard_held_across_an_await_stays_in_its_request() {
    // 1. A handler enters a span, and waits without leaving it.
    // 2. Others come on the same worker, with a parent and without.
    // 3. The first goes on and ends. 4. Another one comes.
    for (setup, tracing) in Tracing::each() {
        let echo = echo_server(&Tracing::none());
        let (server, mut is_held, release) = guard_server(&tracing, echo.url("/echo"));
        let other = || Client::new().get(server.url("/other"));

        let holding = actix_web::rt::spawn(text(Client::new().get(server.url("/hold"))));
        is_held.recv().await.unwrap();
        let arrived = text(other().insert_header(("traceparent", traceparent(7)))).await;
        assert!(arrived.starts_with(&format!("traceparent: {}", &traceparent(7)[..36])));
        let spans = tracing.ended(4).await;
        assert_eq!(tree(&spans), OTHER, "{setup:?}");
        assert!(is_called_by(&spans[0], 7), "{setup:?}");
        for more in 2..=3 {
            text(other()).await;
            let spans = tracing.ended(4 * more).await;
            assert_eq!(tree(&spans), OTHER.repeat(more), "{setup:?}");
            assert_eq!(spans[4 * (more - 1)].parent_span_id, SpanId::INVALID, "{setup:?}");
        }

        release.add_permits(1);
        assert_eq!(holding.await.unwrap(), "done", "{setup:?}");
        let spans = tracing.ended(15).await;
        let released = spans.iter().find(|span| span.name == "released").unwrap();
        let of_holder = |name| {
            let span = spans.iter().find(|span| span.name == name).unwrap();
            span.span_context.trace_id() == released.span_context.trace_id()
        };
        assert!(of_holder("GET /hold") && of_holder("held"), "{setup:?}:\n{}", tree(&spans));

        text(other()).await;
        let spans = tracing.ended(19).await;
        assert_eq!(tree(&spans[15..]), OTHER, "{setup:?}");
        let traces: HashSet<_> = spans.iter().map(|span| span.span_context.trace_id()).collect();
        assert_eq!(traces.len(), 5, "{setup:?}");
    }
}
