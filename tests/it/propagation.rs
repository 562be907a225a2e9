//! What headers carry from one process through the next.

use actix_web::web;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{Link, SpanId, SpanKind, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};
use spanbridge::{ServerTracing, SpanExt as _};
use tracing::{Instrument as _, Span};

use crate::http::{CALLER_SPAN, CALLER_TRACE, TestServer, caller, client, echo_server, send, text};
use crate::support::{Hidden, Setup, Tracing};

/// The value of `user` in the current context.
fn user() -> String {
    Context::map_current(|cx| {
        cx.baggage().get("user").map_or_else(|| "nobody".to_owned(), ToString::to_string)
    })
}

/// A server that says who the user is, and what reaches `callee` from three places: the handler, a
/// task that it waits for, and one of which only the span is known.
fn baggage_server(tracing: &Tracing, callee: &TestServer) -> TestServer {
    let url = callee.url("/echo");
    TestServer::start(tracing, ServerTracing::new(), move |app| {
        let url = url.clone();
        app.route(
            "/handler",
            web::get().to({
                let url = url.clone();
                move || {
                    let url = url.clone();
                    async move {
                        let before = user();
                        let arrived = text(client().get(url)).await;
                        format!("{before} {} {arrived}", user())
                    }
                }
            }),
        )
        .route(
            "/task",
            web::get().to(move || {
                let url = url.clone();
                async move {
                    // Nothing is attached in the task but its span.
                    let span = tracing::info_span!("background");
                    let task = async move {
                        let known = Span::current().context();
                        let known = known.baggage().get("user").map(ToString::to_string);
                        format!("{known:?} {}", text(client().get(url)).await)
                    };
                    tokio::task::spawn_local(task.instrument(span)).await.unwrap()
                }
            }),
        );
    })
}

const BAGGAGE: &str = "baggage: user=anne%20marie;secret,region=eu";

#[actix_web::test]
async fn baggage_reaches_the_handler_and_the_next_service() {
    let mut all: Vec<_> = Tracing::each().map(|(s, t)| (format!("{s:?}"), t)).collect();
    all.extend(Tracing::each_unsampled().map(|(s, t)| (format!("{s:?} unsampled"), t)));
    all.push(("no layer".to_owned(), Tracing::none()));
    for setup in [Setup::Ours, Setup::Theirs] {
        for hidden in Hidden::ALL {
            let name = |target| format!("{setup:?} {hidden:?} {target}");
            for target in ["spanbridge", "spanbridge::server", "spanbridge::client"] {
                all.push((name(target), Tracing::without_target(target, setup, hidden)));
            }
        }
    }
    let echo = echo_server(&Tracing::none());
    for (name, tracing) in all {
        let server = baggage_server(&tracing, &echo);
        for flags in ["00", "01"] {
            let parent = format!("traceparent: 00-{CALLER_TRACE}-{CALLER_SPAN}-{flags}");
            for head in [BAGGAGE.to_owned(), format!("{BAGGAGE}\n{parent}")] {
                let said = send(&server, &format!("GET /handler HTTP/1.1\nHost: h\n{head}"));
                let said = said.split_once("\r\n\r\n").unwrap().1;
                assert!(said.starts_with("anne marie anne marie "), "{name}: {said}");
                assert!(said.ends_with(&format!("{BAGGAGE}\n")), "{name}: {said}");
            }
        }
    }
}

#[actix_web::test]
async fn baggage_follows_the_span_into_a_task() {
    let all = Tracing::each().map(|(s, t)| (format!("{s:?}"), t));
    let all = all.chain(Tracing::each_unsampled().map(|(s, t)| (format!("{s:?} unsampled"), t)));
    let echo = echo_server(&Tracing::none());
    for (name, tracing) in all {
        let server = baggage_server(&tracing, &echo);
        for flags in ["00", "01"] {
            let parent = format!("traceparent: 00-{CALLER_TRACE}-{CALLER_SPAN}-{flags}");
            let said = send(&server, &format!("GET /task HTTP/1.1\nHost: h\n{parent}\n{BAGGAGE}"));
            let said = said.split_once("\r\n\r\n").unwrap().1;
            assert!(said.starts_with("Some(\"anne marie\") "), "{name}: {said}");
            assert!(said.contains(&format!("traceparent: 00-{CALLER_TRACE}-")), "{name}: {said}");
            assert!(said.ends_with(&format!("-{flags}\n{BAGGAGE}\n")), "{name}: {said}");
        }
    }
}

#[actix_web::test]
async fn tracestate_and_the_random_flag_travel_byte_exact() {
    // Two lines become one; the spaces inside a value stay, those around a member go.
    let sent =
        "tracestate: rojo=00f067aa0ba902b7,1a@2b@c= x y \ntracestate: t_e-n*t/a@sys=!\"#$%&'";
    let arrives = "tracestate: rojo=00f067aa0ba902b7,1a@2b@c= x y,t_e-n*t/a@sys=!\"#$%&'\n";
    let mut all: Vec<_> = Tracing::each().map(|(s, t)| (format!("{s:?}"), t)).collect();
    all.push(("no layer".to_owned(), Tracing::none()));
    for (name, tracing) in all {
        let echo = echo_server(&Tracing::none());
        let server = caller(&tracing, ServerTracing::new(), &echo);
        for flags in ["00", "01", "02", "03"] {
            let parent = format!("traceparent: 00-{CALLER_TRACE}-{CALLER_SPAN}-{flags}");
            let said = send(&server, &format!("GET /call HTTP/1.1\nHost: h\n{parent}\n{sent}"));
            let arrived = said.split_once("\r\n\r\n").unwrap().1;
            let (parent, state) = arrived.split_at(arrived.find('\n').unwrap() + 1);
            let begin = format!("traceparent: 00-{CALLER_TRACE}-");
            assert!(parent.starts_with(&begin), "{name} {flags}: {arrived}");
            assert!(parent.ends_with(&format!("-{flags}\n")), "{name} {flags}: {arrived}");
            assert_eq!(state, arrives, "{name} {flags}");
        }
    }
}

#[actix_web::test]
async fn tracestate_of_one_trace_is_not_sent_with_another() {
    // 1. A caller sends tracestate and baggage.
    // 2. The handler starts a trace of its own, and makes a request within.
    for (setup, tracing) in Tracing::each() {
        let echo = echo_server(&Tracing::none());
        let url = echo.url("/echo");
        let server = TestServer::start(&tracing, ServerTracing::new(), move |app| {
            let url = url.clone();
            let call = move || {
                let sent = tracing::info_span!(parent: None, "job")
                    .in_scope(|| client().get(url.clone()).send());
                async move { sent.await.unwrap().body().await.unwrap() }
            };
            app.route("/call", web::get().to(call));
        });
        let parent = format!("traceparent: 00-{CALLER_TRACE}-{CALLER_SPAN}-01");
        for head in
            [format!("{parent}\ntracestate: a=1"), format!("{parent}\ntracestate: a=1\n{BAGGAGE}")]
        {
            let said = send(&server, &format!("GET /call HTTP/1.1\nHost: h\n{head}"));
            let arrived = said.split_once("\r\n\r\n").unwrap().1;
            assert!(arrived.starts_with("traceparent: 00-"), "{setup:?}: {arrived}");
            assert!(!arrived.contains(CALLER_TRACE), "{setup:?}: {arrived}");
            assert!(!arrived.contains("tracestate"), "{setup:?}: {arrived}");
            // The context that tracing-opentelemetry makes current for a root span has no baggage.
            let is_theirs = matches!(setup, Setup::Both | Setup::Theirs);
            let has_baggage = head.contains(BAGGAGE) && !is_theirs;
            assert_eq!(arrived.contains(BAGGAGE), has_baggage, "{setup:?}: {arrived}");
        }
    }
}

/// Samples all, and says so in the trace state.
#[derive(Clone, Debug)]
struct Stating;

impl ShouldSample for Stating {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let received = parent.map(|cx| cx.span().span_context().trace_state().clone());
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: received.unwrap_or_default().insert("s", "1").unwrap(),
        }
    }
}

#[actix_web::test]
async fn trace_state_of_a_sampler_is_sent_whatever_else_is_carried() {
    let parent = format!("traceparent: 00-{CALLER_TRACE}-{CALLER_SPAN}-01");
    let echo = echo_server(&Tracing::none());
    for setup in Setup::RECORDING {
        let tracing = Tracing::with_sampler(setup, Stating);
        let server = caller(&tracing, ServerTracing::new(), &echo);
        for sent in [
            parent.clone(),
            format!("{parent}\ntracestate: a=1"),
            format!("{parent}\n{BAGGAGE}"),
            format!("{parent}\ntracestate: a=1\n{BAGGAGE}"),
        ] {
            let said = send(&server, &format!("GET /call HTTP/1.1\nHost: h\n{sent}"));
            let state = if sent.contains("a=1") { "s=1,a=1" } else { "s=1" };
            let line = format!("\ntracestate: {state}\n");
            assert!(said.contains(&line), "{setup:?} {sent}: {said}");
            assert_eq!(said.contains(BAGGAGE), sent.contains(BAGGAGE), "{setup:?} {sent}: {said}");
        }
    }
}

/// Headers that the W3C harness sends to see a new trace started.
fn invalid_parents() -> Vec<String> {
    let (trace, span) = (CALLER_TRACE, CALLER_SPAN);
    let valid = format!("00-{trace}-{span}-01");
    let mut all: Vec<_> = [
        format!("{valid}."),
        format!("{valid}-extra"),
        format!("cc-{trace}-{span}-01.extra"),
        format!("ff-{trace}-{span}-01"),
        format!(".0-{trace}-{span}-01"),
        format!("0.-{trace}-{span}-01"),
        format!("000-{trace}-{span}-01"),
        format!("0-{trace}-{span}-01"),
        format!("00-00000000000000000000000000000000-{span}-01"),
        format!("00-.{}-{span}-01", &trace[1..]),
        format!("00-{trace}0-{span}-01"),
        format!("00-{}-{span}-01", &trace[1..]),
        format!("00-{trace}-0000000000000000-01"),
        format!("00-{trace}-.{}-01", &span[1..]),
        format!("00-{trace}-{span}0-01"),
        format!("00-{trace}-{}-01", &span[1..]),
        format!("00-{trace}-{span}-.1"),
        format!("00-{trace}-{span}-001"),
        format!("00-{trace}-{span}-1"),
        format!("00-{}-{span}-01", trace.to_uppercase()),
        String::new(),
    ]
    .map(|value| format!("traceparent: {value}"))
    .into();
    all.push(format!("traceparent: {valid}\ntraceparent: {valid}"));
    all.push(format!("traceparent: {valid}\ntraceparent: 00-{span}{span}-{span}-01"));
    all.push(format!("trace-parent: {valid}"));
    all.push(format!("trace.parent: {valid}"));
    all
}

#[actix_web::test]
async fn invalid_parent_starts_a_new_trace() {
    for (setup, tracing) in Tracing::each() {
        let echo = echo_server(&Tracing::none());
        let server = caller(&tracing, ServerTracing::new(), &echo);
        for (sent, invalid) in invalid_parents().iter().enumerate() {
            let head =
                format!("GET /call HTTP/1.1\nHost: h\n{invalid}\ntracestate: a=1\n{BAGGAGE}");
            let said = send(&server, &head);

            let spans = tracing.ended(2 * (sent + 1)).await;
            let arrived = said.split_once("\r\n\r\n").unwrap().1;
            // The client's span in the server's new trace, no state, but the baggage.
            let [client, server] = [1, 2].map(|back| &spans[spans.len() - back]);
            let (trace, id) = (client.span_context.trace_id(), client.span_context.span_id());
            let flags = client.span_context.trace_flags().to_u8();
            let expected = format!("traceparent: 00-{trace}-{id}-{flags:02x}\n{BAGGAGE}\n");
            assert_eq!(arrived, expected, "{setup:?} {invalid}");
            assert_eq!(server.parent_span_id, SpanId::INVALID, "{setup:?} {invalid}");
            assert_ne!(trace.to_string().as_str(), CALLER_TRACE, "{setup:?} {invalid}");
        }
    }
}

#[actix_web::test]
async fn invalid_parent_is_not_passed_on_where_there_are_no_spans() {
    let echo = echo_server(&Tracing::none());
    let server = caller(&Tracing::none(), ServerTracing::new(), &echo);
    for invalid in invalid_parents() {
        let head = format!("GET /call HTTP/1.1\nHost: h\n{invalid}\ntracestate: a=1\n{BAGGAGE}");
        let said = send(&server, &head);
        assert!(said.ends_with(&format!("\r\n\r\n{BAGGAGE}\n")), "{invalid}: {said}");
    }
}

#[actix_web::test]
async fn each_call_of_a_handler_has_a_parent_of_its_own() {
    for (setup, tracing) in Tracing::each() {
        let echo = echo_server(&Tracing::none());
        let url = echo.url("/echo");
        let server = TestServer::start(&tracing, ServerTracing::new(), move |app| {
            let url = url.clone();
            app.default_service(web::to(move || {
                let url = url.clone();
                async move {
                    let mut arrived = String::new();
                    for _ in 0..3 {
                        arrived += &text(client().get(&url)).await;
                    }
                    arrived
                }
            }));
        });
        for name in ["traceparent", "TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
            let parent = format!("{name}: \t 00-{CALLER_TRACE}-{CALLER_SPAN}-01 \t");
            let said = send(&server, &format!("GET / HTTP/1.1\nHost: h\n{parent}"));
            let arrived = said.split_once("\r\n\r\n").unwrap().1;
            let mut ids: Vec<_> = arrived.lines().map(|line| &line[..67]).collect();
            assert!(
                ids.iter().all(|id| id[16..].starts_with(CALLER_TRACE)),
                "{setup:?}: {arrived}"
            );
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 3, "{setup:?}: {arrived}");
            assert!(!arrived.contains(CALLER_SPAN), "{setup:?}: {arrived}");
        }
    }
}
