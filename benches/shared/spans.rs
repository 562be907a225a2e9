//! The works as spans of `tracing`, for every stack that is a subscriber or layer of it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use tracing::{Span, debug_span, info_span};

use super::work::{EVENTS_A_SPAN, SPANS_A_BATCH, Work};

/// All works but the request, which propagates as each stack does.
pub(crate) fn work(work: Work, iterations: u64) -> Duration {
    match work {
        Work::Span => repeat(iterations, || in_and_out(info_span!("work"))),
        Work::Span8 => repeat(iterations, || in_and_out(span_8())),
        Work::Span9 => repeat(iterations, || in_and_out(span_9())),
        Work::Child8 => {
            let _parent = info_span!("parent").entered();
            repeat(iterations, || in_and_out(span_8()))
        }
        Work::Disabled8 => {
            assert!(disabled_8().is_disabled(), "its level is not turned off");
            repeat(iterations, || in_and_out(black_box(disabled_8())))
        }
        Work::EnterExit => {
            let span = info_span!("work");
            repeat(iterations, || span.in_scope(|| black_box(())))
        }
        Work::Event => events(iterations),
        Work::Records => records(iterations),
        Work::Request => unreachable!("a request is made by its stack"),
        Work::Trace => repeat(iterations, list),
    }
}

/// The time of so many calls.
pub(crate) fn repeat(iterations: u64, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..iterations {
        call();
    }
    start.elapsed()
}

fn in_and_out(span: Span) {
    span.in_scope(|| black_box(()));
}

/// By one macro of `tracing`, which says the level.
macro_rules! with_8 {
    ($span:ident) => {
        $span!(
            "work",
            http.request.method = "GET",
            url.path = black_box("/api/v1/pods"),
            server.address = black_box("localhost"),
            network.protocol.version = "1.1",
            server.port = black_box(8080_i64),
            http.response.status_code = black_box(200_i64),
            http.response.body.size = black_box(1_234_u64),
            cached = black_box(false),
        )
    };
}

fn span_8() -> Span {
    with_8!(info_span)
}

/// Of a level that is turned off.
fn disabled_8() -> Span {
    with_8!(debug_span)
}

fn span_9() -> Span {
    info_span!(
        "work",
        http.request.method = "GET",
        url.path = black_box("/api/v1/pods"),
        server.address = black_box("localhost"),
        network.protocol.version = "1.1",
        server.port = black_box(8080_i64),
        http.response.status_code = black_box(200_i64),
        http.response.body.size = black_box(1_234_u64),
        cached = black_box(false),
        load = black_box(0.5_f64),
    )
}

fn events(iterations: u64) -> Duration {
    let mut time = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let _span = info_span!("work").entered();
        let some = left.min(EVENTS_A_SPAN);
        time += repeat(some, || tracing::info!(rows = black_box(3_i64), table = "pods", "read"));
        left -= some;
    }
    time
}

/// What `trace::operation` is about, as a span: its steps are events.
fn list() {
    let span = info_span!("List", url = black_box("/api/v1/pods"), limit = 500_i64);
    let _entered = span.enter();
    tracing::info!(count = black_box(3_i64), "listed from storage");
    tracing::info!("encoded");
}

fn records(iterations: u64) -> Duration {
    use tracing::field::Empty;

    let mut time = Duration::ZERO;
    let mut left = iterations;
    // Used again and again: what it allocates is nobody's whom this measures.
    let mut spans = Vec::with_capacity(SPANS_A_BATCH as usize);
    while left > 0 {
        let some = left.min(SPANS_A_BATCH);
        spans.extend((0..some).map(|_| {
            info_span!(
                "work",
                a = Empty,
                b = Empty,
                c = Empty,
                d = Empty,
                e = Empty,
                f = Empty,
                g = Empty,
                h = Empty
            )
        }));
        let start = Instant::now();
        for span in &spans {
            for text in ["a", "b", "c", "d"] {
                span.record(text, black_box("localhost"));
            }
            for number in ["e", "f", "g", "h"] {
                span.record(number, black_box(200_i64));
            }
        }
        time += start.elapsed();
        spans.clear();
        left -= some;
    }
    time
}

/// The headers of a request; its caller records, or not.
pub(crate) fn incoming(sampled: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let parent = traceparent(sampled);
    headers.insert(HeaderName::from_static("traceparent"), parent.parse().expect("is ASCII"));
    headers.insert(HeaderName::from_static("host"), HeaderValue::from_static("localhost:8080"));
    headers.insert(HeaderName::from_static("user-agent"), HeaderValue::from_static("bench/1.0"));
    headers
}

/// What the caller of a request sends.
pub(crate) fn traceparent(sampled: bool) -> String {
    format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{:02x}", u8::from(sampled))
}

/// What an instrumentation of a server makes, with the values that it has at its start.
pub(crate) fn server_span() -> Span {
    info_span!(
        "HTTP request",
        otel.kind = "server",
        otel.name = "GET /api/v1/namespaces/{namespace}/pods",
        http.request.method = "GET",
        url.path = "/api/v1/namespaces/default/pods",
        url.scheme = "http",
        server.address = "localhost",
        server.port = 8080_i64,
        network.peer.address = "127.0.0.1",
        network.peer.port = 54_321_i64,
        network.protocol.version = "1.1",
        user_agent.original = "bench/1.0",
        http.response.status_code = tracing::field::Empty,
    )
}

/// What an instrumentation of a client makes.
pub(crate) fn client_span() -> Span {
    info_span!(
        "HTTP request",
        otel.kind = "client",
        otel.name = "POST",
        http.request.method = "POST",
        server.address = "webhook.default.svc",
        server.port = 443_i64,
        url.full = "https://webhook.default.svc/admit",
        http.response.status_code = tracing::field::Empty,
    )
}

/// What a request does between extract and the end; `inject` gets the client's span.
pub(crate) fn request_within(server: &Span, inject: impl FnOnce(&Span)) {
    server.in_scope(|| {
        let client = client_span();
        inject(&client);
        client.in_scope(|| black_box(()));
        client.record("http.response.status_code", 200_i64);
    });
    server.record("http.response.status_code", 200_i64);
}
