//! Metrics of incoming and outgoing requests.

use std::io::Write as _;

use actix_web::{HttpResponse, web};
use awc::Client;
use opentelemetry::KeyValue;
use spanbridge::client::RequestTracing;
use spanbridge::metrics::{ClientMetrics, ServerMetrics};
use spanbridge::server::{MetricLabels, TrustedProxies};
use spanbridge::{ClientTracing, ServerTracing};
use tokio::sync::mpsc;

use crate::http::{TestServer, connect, echo_server, send};
use crate::meter::Meter;
use crate::support::{Setup, Tracing, attribute};

const DURATION: &str = "http.server.request.duration";
const ACTIVE: &str = "http.server.active_requests";

#[actix_web::test]
async fn requests_are_measured_in_every_setup() {
    for setup in Setup::RECORDING.into_iter().chain([Setup::Nothing]) {
        let tracing = Tracing::new(setup);
        let meter = Meter::new();
        let metrics = ServerMetrics::new(&meter.provider).with_active_requests().with_body_sizes();
        let middleware = ServerTracing::new()
            .with_metrics(metrics)
            .filter(|request| request.path() != "/healthz");
        let server = TestServer::start(&tracing, middleware, |app| {
            app.route(
                "/x/{id}",
                web::get().to(|labels: MetricLabels| async move {
                    labels.add(KeyValue::new("tier", "gold"));
                    "hello"
                }),
            )
            .route("/healthz", web::get().to(HttpResponse::Ok))
            .route("/500", web::get().to(HttpResponse::InternalServerError));
        });

        for request in ["GET /x/1", "GET /x/2", "BREW /none", "GET /healthz", "GET /500"] {
            let length = if request == "GET /x/2" { "\nContent-Length: 7" } else { "" };
            let body = if length.is_empty() { "" } else { "1234567" };
            let mut socket = connect(&server);
            let head = format!("{request} HTTP/1.1\nHost: h\nConnection: close{length}\n\n");
            write!(socket, "{}{body}", head.replace('\n', "\r\n")).unwrap();
            std::io::Read::read_to_end(&mut socket, &mut Vec::new()).unwrap();
        }

        let base = |method: &str, status: u16| {
            format!("http.request.method={method} http.response.status_code={status}")
        };
        let tail = "network.protocol.version=1.1";
        let expected = [
            format!(
                "error.type=500 {} http.route=/500 {tail} url.scheme=http x1",
                base("GET", 500)
            ),
            format!("{} http.route=/healthz {tail} url.scheme=http x1", base("GET", 200)),
            format!(
                "{} http.route=/x/{{id}} {tail} tier=gold url.scheme=http x2",
                base("GET", 200)
            ),
            format!("{} {tail} url.scheme=http x1", base("_OTHER", 404)),
        ];
        assert_eq!(meter.durations(DURATION), expected, "{setup:?}");
        let (active, mut keys) = meter.active(ACTIVE).unwrap();
        keys.sort();
        keys.dedup();
        assert_eq!((active, keys.join(" ")), (0, "http.request.method url.scheme".into()));
        assert_eq!(meter.sizes("http.server.response.body.size"), Some(10), "{setup:?}");
        assert_eq!(meter.sizes("http.server.request.body.size"), Some(7), "{setup:?}");
    }
}

#[actix_web::test]
async fn only_durations_are_measured_by_default() {
    let (tracing, meter) = (Tracing::ours(), Meter::new());
    let middleware = ServerTracing::new().with_metrics(ServerMetrics::new(&meter.provider));
    let server = TestServer::start(&tracing, middleware, |_| {});
    send(&server, "GET /none HTTP/1.1\nHost: h");
    tracing.ended(1).await;
    assert_eq!(meter.durations(DURATION).len(), 1);
    assert_eq!(meter.active(ACTIVE), None);
    assert_eq!(meter.sizes("http.server.response.body.size"), None);
}

fn panics() -> HttpResponse {
    panic!("the test wants the handler to panic")
}

#[actix_web::test]
async fn active_requests_do_not_leak() {
    // A request that waits, whose client then leaves; one that panics; one that is answered.
    for setup in [Setup::Ours, Setup::Nothing] {
        let (tracing, meter) = (Tracing::new(setup), Meter::new());
        let metrics = ServerMetrics::new(&meter.provider).with_active_requests();
        let middleware = ServerTracing::new()
            .with_metrics(metrics)
            .with_trusted_proxies(TrustedProxies::from_networks(["127.0.0.1"]).unwrap());
        let (begin, mut began) = mpsc::unbounded_channel();
        let server = TestServer::start(&tracing, middleware, move |app| {
            let begin = begin.clone();
            app.route(
                "/wait",
                web::get().to(move || {
                    begin.send(()).unwrap();
                    std::future::pending::<HttpResponse>()
                }),
            )
            .route("/panic", web::get().to(|| async { panics() }))
            .route("/x", web::get().to(HttpResponse::Ok));
        });

        let mut socket = connect(&server);
        socket.write_all(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        began.recv().await.unwrap();
        assert_eq!(meter.active(ACTIVE).unwrap().0, 1, "{setup:?}");
        send(&server, "GET /panic HTTP/1.1\nHost: h");
        send(&server, "GET /x HTTP/1.1\nHost: h\nX-Forwarded-Proto: https");
        assert_eq!(meter.active(ACTIVE).unwrap().0, 1, "{setup:?}");
        drop(socket);
        // The server has one thread, and looks at what has left before it answers again; not in
        // any order, though, so that this may take more than one request.
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while meter.active(ACTIVE).unwrap().0 != 0 {
            assert!(std::time::Instant::now() < patience, "{setup:?}: a request has leaked");
            send(&server, "GET /x HTTP/1.1\nHost: h");
        }

        let lines = meter.durations(DURATION);
        for expected in ["error.type=client_disconnect", "error.type=panic", "url.scheme=https"] {
            assert!(lines.iter().any(|line| line.contains(expected)), "{setup:?}: {lines:?}");
        }
    }
}

#[actix_web::test]
async fn outgoing_requests_are_measured() {
    for setup in Setup::RECORDING.into_iter().chain([Setup::Nothing]) {
        let (tracing, meter) = (Tracing::new(setup), Meter::new());
        let _default = tracing.install();
        let server = echo_server(&Tracing::none());
        let hook = ClientTracing::new().with_metrics(ClientMetrics::new(&meter.provider));
        let client = Client::builder().wrap(hook).finish();
        for path in ["/echo", "/none"] {
            drop(client.get(server.url(path)).send().await.unwrap());
        }
        drop(client.get("http://127.0.0.1:1/").send().await);

        let port = server.address.port();
        let expected = [
            "error.type=404 http.request.method=GET http.response.status_code=404 \
             network.protocol.version=1.1 server.address=127.0.0.1"
                .to_owned()
                + &format!(" server.port={port} x1"),
            "error.type=connect_refused http.request.method=GET server.address=127.0.0.1 \
             server.port=1 x1"
                .to_owned(),
            format!(
                "http.request.method=GET http.response.status_code=200 \
                 network.protocol.version=1.1 server.address=127.0.0.1 server.port={port} x1"
            ),
        ];
        assert_eq!(meter.durations("http.client.request.duration"), expected, "{setup:?}");
    }
}

#[actix_web::test]
async fn outgoing_requests_are_measured_in_more_detail_on_request() {
    const ACTIVE: &str = "http.client.active_requests";
    for setup in [Setup::Ours, Setup::Theirs, Setup::Nothing] {
        for on_duration in [false, true] {
            let (tracing, meter) = (Tracing::new(setup), Meter::new());
            let _default = tracing.install();
            let (begin, mut began) = mpsc::unbounded_channel();
            let server = TestServer::start(&Tracing::none(), ServerTracing::new(), move |app| {
                let begin = begin.clone();
                app.route("/x/{id}", web::post().to(|| async { "hello" })).route(
                    "/wait",
                    web::get().to(move || {
                        begin.send(()).unwrap();
                        std::future::pending::<HttpResponse>()
                    }),
                );
            });
            let metrics =
                ClientMetrics::new(&meter.provider).with_active_requests().with_body_sizes();
            let metrics = if on_duration { metrics.with_url_template() } else { metrics };
            let client =
                Client::builder().wrap(ClientTracing::new().with_metrics(metrics)).finish();

            let sent = RequestTracing::new()
                .with_url_template("/x/{id}")
                .scope(|| client.post(server.url("/x/1")).send_body("1234567"));
            let mut response = sent.await.unwrap();
            assert_eq!(meter.active(ACTIVE).unwrap().0, 0, "{setup:?}: the head is there");
            assert_eq!(meter.sizes("http.client.response.body.size"), None, "{setup:?}");
            assert_eq!(response.body().await.unwrap(), "hello");
            assert_eq!(meter.sizes("http.client.request.body.size"), Some(7), "{setup:?}");
            assert_eq!(meter.sizes("http.client.response.body.size"), Some(5), "{setup:?}");

            let mut sent = RequestTracing::new()
                .with_url_template("/wait")
                .scope(|| client.get(server.url("/wait")).send());
            tokio::select! {
                _ = &mut sent => panic!("{setup:?}: nobody answers"),
                _ = began.recv() => {}
            }
            assert_eq!(meter.active(ACTIVE).unwrap().0, 1, "{setup:?}");
            drop(sent);
            let (active, mut keys) = meter.active(ACTIVE).unwrap();
            keys.sort();
            keys.dedup();
            let expected = "http.request.method server.address server.port url.template";
            assert_eq!((active, keys.join(" ").as_str()), (0, expected), "{setup:?}");

            let lines = meter.durations("http.client.request.duration");
            assert_eq!(lines.len(), 2, "{setup:?}: {lines:?}");
            for line in &lines {
                assert_eq!(line.contains("url.template="), on_duration, "{setup:?}: {line}");
                assert!(!line.contains("error.type"), "{setup:?}: {line}");
            }
        }
    }
}

#[actix_web::test]
async fn redirect_beyond_the_limit_is_measured_as_a_failure() {
    let server = TestServer::start(&Tracing::none(), ServerTracing::new(), |app| {
        let around =
            || async { HttpResponse::Found().insert_header(("location", "/x")).body("go") };
        app.route("/x", web::get().to(around));
    });
    for setup in [Setup::Ours, Setup::Theirs, Setup::Nothing] {
        for (has_sizes, until_body_end) in [(false, false), (true, false), (false, true)] {
            let (tracing, meter) = (Tracing::new(setup), Meter::new());
            let _default = tracing.install();
            let metrics = ClientMetrics::new(&meter.provider).with_active_requests();
            let metrics = if has_sizes { metrics.with_body_sizes() } else { metrics };
            let hook =
                ClientTracing::new().with_metrics(metrics).with_end_at_body_end(until_body_end);
            let client = Client::builder().max_redirects(2).wrap(hook).finish();
            let mut response = client.get(server.url("/x")).send().await.unwrap();
            assert_eq!(response.body().await.unwrap(), "go");
            drop(response);

            let context = format!("{setup:?} {has_sizes} {until_body_end}");
            let tail = format!(
                "http.request.method=GET http.response.status_code=302 \
                 network.protocol.version=1.1 server.address=127.0.0.1 server.port={}",
                server.address.port()
            );
            let expected =
                [format!("error.type=too_many_redirects {tail} x1"), format!("{tail} x2")];
            assert_eq!(meter.durations("http.client.request.duration"), expected, "{context}");
            assert_eq!(meter.active("http.client.active_requests").unwrap().0, 0, "{context}");
            if has_sizes {
                // Of the others nobody has read the bodies.
                assert_eq!(meter.sizes("http.client.response.body.size"), Some(2), "{context}");
            }
        }
    }
}

#[actix_web::test]
async fn bodies_that_come_in_chunks_are_counted() {
    for setup in [Setup::Ours, Setup::Theirs] {
        for reads in [true, false] {
            let (tracing, meter) = (Tracing::new(setup), Meter::new());
            let middleware = ServerTracing::new()
                .with_metrics(ServerMetrics::new(&meter.provider).with_body_sizes())
                .with_body_sizes(true);
            let server = TestServer::start(&tracing, middleware, move |app| {
                app.route(
                    "/x",
                    web::post().to(move |body: web::Payload| async move {
                        let body = if reads { body.to_bytes().await.unwrap() } else { "".into() };
                        HttpResponse::Ok().body(body)
                    }),
                );
            });
            let mut socket = connect(&server);
            let head = "POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";
            write!(socket, "{head}5\r\nhello\r\n2\r\n, \r\n0\r\n\r\n").unwrap();
            let mut said = String::new();
            std::io::Read::read_to_string(&mut socket, &mut said).unwrap();
            assert_eq!(said.ends_with("\r\n\r\nhello, "), reads, "{setup:?}: {said}");

            let spans = tracing.ended(1).await;
            let size = if reads { 7 } else { 0 };
            let found = attribute(&spans[0], "http.request.body.size");
            assert_eq!(found, Some(&size.into()), "{setup:?} {reads}");
            let measured = meter.sizes("http.server.request.body.size");
            assert_eq!(measured, Some(size as u64), "{setup:?} {reads}");
        }
    }
}
