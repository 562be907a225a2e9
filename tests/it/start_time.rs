//! Requests that were received before the middleware saw them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::{HttpResponse, web};
use opentelemetry_sdk::trace::SpanData;
use spanbridge::ServerTracing;
use spanbridge::metrics::ServerMetrics;
use spanbridge::server::TrustedProxies;

use crate::http::{CALLER, CALLER_TRACE, TestServer, send};
use crate::meter::Meter;
use crate::support::{Setup, Tracing};

/// What the span and the measurement of one request are, which is said to have waited that long.
async fn one(setup: Setup, proxies: &[&'static str], head: &str) -> (SpanData, f64) {
    let (tracing, meter) = (Tracing::new(setup), Meter::new());
    let proxies = TrustedProxies::from_networks(proxies.iter().copied()).unwrap();
    let middleware = ServerTracing::new()
        .with_metrics(ServerMetrics::new(&meter.provider))
        .with_start_time(move |request| proxies.request_start(request));
    let server = TestServer::start(&tracing, middleware, |app| {
        app.route("/x", web::get().to(HttpResponse::Ok));
    });
    send(&server, &format!("GET /x HTTP/1.1\nHost: h\ntraceparent: {CALLER}\n{head}"));
    let [span] = &tracing.ended(1).await[..] else { panic!("{setup:?}: one span") };
    (span.clone(), meter.seconds("http.server.request.duration"))
}

#[actix_web::test]
async fn span_and_duration_begin_when_the_request_was_received() {
    const WAITED: Duration = Duration::from_secs(500);
    for setup in [Setup::Ours, Setup::OursBesideAnother, Setup::OursBehindReload, Setup::Theirs] {
        let before = SystemTime::now();
        let received = before - WAITED;
        let micros = received.duration_since(UNIX_EPOCH).unwrap().as_micros();
        let received = UNIX_EPOCH + Duration::from_micros(micros as u64);
        let head = format!("X-Request-Start: t={micros}");

        let (span, seconds) = one(setup, &["127.0.0.1"], &head).await;
        let waited = span.end_time.duration_since(received).unwrap().as_secs_f64();
        // Each end is read from a clock of its own.
        assert!((seconds - waited).abs() < 5.0, "{setup:?}: {seconds} {waited}");
        assert!(seconds >= WAITED.as_secs_f64(), "{setup:?}: {seconds}");
        assert_eq!(span.span_context.trace_id().to_string(), CALLER_TRACE, "{setup:?}");
        match setup {
            Setup::Theirs => assert!(span.start_time >= before, "it cannot be told"),
            _ => assert_eq!(span.start_time, received, "{setup:?}"),
        }

        let (span, seconds) = one(setup, &["10.0.0.0/8"], &head).await;
        assert!(seconds < WAITED.as_secs_f64(), "{setup:?}: {seconds}");
        assert!(span.start_time > received + WAITED / 2, "{setup:?}");
    }
}

#[actix_web::test]
async fn time_in_the_future_is_not_believed() {
    let later = SystemTime::now() + Duration::from_secs(500);
    let head = format!("X-Request-Start: {}", later.duration_since(UNIX_EPOCH).unwrap().as_secs());
    let (span, seconds) = one(Setup::Ours, &["127.0.0.1"], &head).await;
    assert!(span.start_time < later && span.end_time < later, "{span:?}");
    assert!((0.0..250.0).contains(&seconds), "{seconds}");
}
