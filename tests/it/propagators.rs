//! Propagators of users in place of ours, in the middleware and in the hook: B3's, Jaeger's, and
//! several at once.
#![allow(
    deprecated,
    reason = "B3's propagator is in a crate whose exporter is not wanted any more"
)]

use std::collections::HashMap;

use actix_web::{HttpRequest, web};
use awc::Client;
use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{
    Extractor, Injector, TextMapCompositePropagator, TextMapPropagator,
};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::SpanData;
use opentelemetry_zipkin::{B3Encoding, Propagator as B3};
use spanbridge::propagation::{BaggagePropagator, TraceContextPropagator};
use spanbridge::{ClientTracing, ServerTracing, SpanExt as _};

use crate::http::{CALLER, CALLER_SPAN, CALLER_TRACE, TestServer, send, text};
use crate::support::{Setup, Tracing, tree};

/// Jaeger's `uber-trace-id`, as its clients write it: short ids, and a parent that is of no use.
#[derive(Debug)]
struct Jaeger([String; 1]);

impl Jaeger {
    fn new() -> Self {
        Self(["uber-trace-id".to_owned()])
    }
}

impl TextMapPropagator for Jaeger {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        let sc = span.span_context();
        if sc.is_valid() {
            let [trace, id] = [sc.trace_id().to_string(), sc.span_id().to_string()];
            let flags = u8::from(sc.is_sampled());
            injector.set("uber-trace-id", format!("{trace}:{id}:0:{flags}"));
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let parse = || {
            let [trace, id, _, flags] = extractor
                .get("uber-trace-id")?
                .split(':')
                .map(|part| u128::from_str_radix(part, 16).ok())
                .collect::<Option<Vec<_>>>()?
                .try_into()
                .ok()?;
            let flags = TraceFlags::default().with_sampled(flags & 1 == 1);
            let (trace, id) = (TraceId::from(trace), SpanId::from(u64::try_from(id).ok()?));
            Some(SpanContext::new(trace, id, flags, true, TraceState::NONE))
        };
        parse().map_or_else(|| cx.clone(), |sc| cx.with_remote_span_context(sc))
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.0)
    }
}

/// What is in play in one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// The single header wins; the others are sent too, whatever the crate's documentation says.
    B3Single,
    B3Multi,
    Jaeger,
    /// All of these and ours.
    Composite,
}

impl Format {
    const ALL: [Self; 4] = [Self::B3Single, Self::B3Multi, Self::Jaeger, Self::Composite];

    fn propagators(self) -> Vec<Box<dyn TextMapPropagator + Send + Sync>> {
        match self {
            Self::B3Single => vec![Box::new(B3::with_encoding(B3Encoding::SingleHeader))],
            Self::B3Multi => vec![Box::new(B3::new())],
            Self::Jaeger => vec![Box::new(Jaeger::new())],
            Self::Composite => vec![
                Box::new(TraceContextPropagator::new()),
                Box::new(BaggagePropagator::new()),
                Box::new(Jaeger::new()),
                Box::new(B3::with_encoding(B3Encoding::SingleAndMultiHeader)),
            ],
        }
    }

    fn propagator(self) -> TextMapCompositePropagator {
        TextMapCompositePropagator::new(self.propagators())
    }

    fn server(self) -> ServerTracing {
        ServerTracing::new().with_propagator(self.propagator())
    }

    fn client(self) -> Client {
        let hook = ClientTracing::new().with_propagator(self.propagator());
        Client::builder().wrap(hook).finish()
    }

    /// The lines that say so, in the order of [`NAMES`].
    fn lines(self, trace: &str, span: &str, is_sampled: bool) -> String {
        let flag = u8::from(is_sampled);
        let single = format!("b3: {trace}-{span}-{flag}\n");
        let multi = format!("x-b3-sampled: {flag}\nx-b3-spanid: {span}\nx-b3-traceid: {trace}\n");
        let jaeger = format!("uber-trace-id: {trace}:{span}:0:{flag}\n");
        match self {
            Self::B3Single => format!("{single}{multi}"),
            Self::B3Multi => multi,
            Self::Jaeger => jaeger,
            Self::Composite => {
                format!("{single}traceparent: 00-{trace}-{span}-0{flag}\n{jaeger}{multi}")
            }
        }
    }
}

const NAMES: [&str; 9] = [
    "b3",
    "baggage",
    "traceparent",
    "tracestate",
    "uber-trace-id",
    "x-b3-flags",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
];

async fn echo(request: HttpRequest) -> String {
    let lines = NAMES.into_iter().filter_map(|name| Some((name, request.headers().get(name)?)));
    lines.map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect()
}

/// A service that calls one that says what has arrived.
struct Services {
    first: TestServer,
    _second: TestServer,
}

fn services(format: Format, tracing: &Tracing) -> Services {
    let second = TestServer::start(tracing, format.server(), |app| {
        app.route("/echo", web::get().to(echo));
    });
    let url = second.url("/echo");
    let first = TestServer::start(tracing, format.server(), move |app| {
        let url = url.clone();
        // A copy of the request, with all the headers of the caller's.
        let call = move |request: HttpRequest| {
            let sent = format.client().request_from(url.clone(), request.head()).send();
            async move { sent.await.unwrap().body().await.unwrap() }
        };
        app.route("/call", web::get().to(call));
    });
    Services { first, _second: second }
}

impl Services {
    /// What arrives at the second service of a request with these lines.
    fn call(&self, lines: &str) -> String {
        let said = send(&self.first, format!("GET /call HTTP/1.1\nHost: h\n{lines}").trim_end());
        said.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

/// Both servers' spans and the call's between them.
const CHAIN: &str = "server GET /call 200\n  client GET 200\n    server GET /echo 200\n";

fn ids(span: &SpanData) -> (String, String) {
    let sc = &span.span_context;
    (sc.trace_id().to_string(), sc.span_id().to_string())
}

#[actix_web::test]
async fn caller_is_followed_and_told_in_the_same_format() {
    for format in Format::ALL {
        for (setup, tracing) in Tracing::each() {
            let services = services(format, &tracing);

            let arrived = services.call(&format.lines(CALLER_TRACE, CALLER_SPAN, true));

            let spans = tracing.ended(3).await;
            assert_eq!(tree(&spans), CHAIN, "{format:?} {setup:?}");
            assert_eq!(spans[0].parent_span_id.to_string(), CALLER_SPAN, "{format:?} {setup:?}");
            let (trace, client) = ids(&spans[1]);
            assert_eq!(trace, CALLER_TRACE, "{format:?} {setup:?}");
            let expected = format.lines(&trace, &client, true);
            assert_eq!(arrived, expected, "{format:?} {setup:?}");
        }
    }
}

#[actix_web::test]
async fn trace_that_starts_here_is_told_with_its_decision() {
    // Ours says that the ids are random, with a flag that B3 has for something else.
    for format in Format::ALL {
        for (setup, tracing) in Tracing::each() {
            let services = services(format, &tracing);

            let arrived = services.call("");

            let spans = tracing.ended(3).await;
            assert_eq!(tree(&spans), CHAIN, "{format:?} {setup:?}");
            let (trace, client) = ids(&spans[1]);
            let expected = format.lines(&trace, &client, true);
            // The SDK's ids do not say so.
            let expected = match setup {
                Setup::Theirs => expected,
                _ => expected
                    .replace(&format!("{trace}-{client}-01\n"), &format!("{trace}-{client}-03\n")),
            };
            assert_eq!(arrived, expected, "{format:?} {setup:?}");
        }
    }
}

#[actix_web::test]
async fn caller_that_does_not_sample_is_followed() {
    for format in Format::ALL {
        for (setup, tracing) in Tracing::each() {
            let services = services(format, &tracing);

            let arrived = services.call(&format.lines(CALLER_TRACE, CALLER_SPAN, false));

            // Of spans that are not sampled only the id is news.
            let template = format.lines(CALLER_TRACE, &"0".repeat(16), false);
            let shape = |lines: &str| {
                let of_line = |line: &str| line.split(['-', ':']).map(str::len).collect::<Vec<_>>();
                lines.lines().map(of_line).collect::<Vec<_>>()
            };
            assert_eq!(shape(&arrived), shape(&template), "{format:?} {setup:?}: {arrived}");
            assert!(arrived.contains(CALLER_TRACE), "{format:?} {setup:?}: {arrived}");
            assert!(!arrived.contains(CALLER_SPAN), "{format:?} {setup:?}: {arrived}");
            assert_eq!(tracing.tree(), "", "{format:?} {setup:?}");
        }
    }
}

#[actix_web::test]
async fn context_passes_through_where_there_is_no_layer() {
    for format in Format::ALL {
        let services = services(format, &Tracing::none());
        for is_sampled in [true, false] {
            let lines = format.lines(CALLER_TRACE, CALLER_SPAN, is_sampled);
            assert_eq!(services.call(&lines), lines, "{format:?}");
        }
    }
    // A decision that is left to others.
    let services = services(Format::B3Single, &Tracing::none());
    let line = format!("b3: {CALLER_TRACE}-{CALLER_SPAN}\n");
    let others = format!("x-b3-spanid: {CALLER_SPAN}\nx-b3-traceid: {CALLER_TRACE}\n");
    assert_eq!(services.call(&line), format!("{line}{others}"));
}

#[actix_web::test]
async fn headers_of_other_formats_are_not_read() {
    for format in [Format::B3Single, Format::Jaeger] {
        for (setup, tracing) in Tracing::each() {
            let services = services(format, &tracing);

            let arrived = services.call(&format!("traceparent: {CALLER}\nbaggage: a=1"));

            let spans = tracing.ended(3).await;
            assert_eq!(tree(&spans), CHAIN, "{format:?} {setup:?}");
            let (trace, client) = ids(&spans[1]);
            assert_ne!(trace, CALLER_TRACE, "{format:?} {setup:?}");
            // The copied headers are nothing to this propagator.
            let copied = format!("baggage: a=1\ntraceparent: {CALLER}\n");
            let own = format.lines(&trace, &client, true);
            let mut expected: Vec<_> = copied.lines().chain(own.lines()).collect();
            expected.sort_unstable();
            assert_eq!(arrived.lines().collect::<Vec<_>>(), expected, "{format:?} {setup:?}");
        }
    }
}

#[actix_web::test]
async fn baggage_travels_beside_any_format() {
    let both = || {
        TextMapCompositePropagator::new(vec![
            Box::new(B3::with_encoding(B3Encoding::SingleHeader)),
            Box::new(BaggagePropagator::new()),
        ])
    };
    let all = Tracing::each().map(|(setup, tracing)| (format!("{setup:?}"), tracing));
    for (name, tracing) in all.chain([("no layer".to_owned(), Tracing::none())]) {
        let second = TestServer::start(&Tracing::none(), ServerTracing::new(), |app| {
            app.route("/echo", web::get().to(echo));
        });
        let url = second.url("/echo");
        let middleware = ServerTracing::new().with_propagator(both());
        let first = TestServer::start(&tracing, middleware, move |app| {
            let url = url.clone();
            let call = move || {
                let hook = ClientTracing::new().with_propagator(both());
                let request = Client::builder().wrap(hook).finish().get(url.clone());
                async move { text(request).await }
            };
            app.route("/call", web::get().to(call));
        });
        let b3 = format!("b3: {CALLER_TRACE}-{CALLER_SPAN}-1");
        let said =
            send(&first, &format!("GET /call HTTP/1.1\nHost: h\n{b3}\nbaggage: user=a;ttl=5"));
        let arrived = said.split_once("\r\n\r\n").unwrap().1;
        assert!(arrived.starts_with(&format!("b3: {CALLER_TRACE}-")), "{name}: {arrived}");
        assert!(arrived.contains("-1\nbaggage: user=a;ttl=5\n"), "{name}: {arrived}");
    }
}

#[actix_web::test]
async fn context_that_is_injected_by_hand_has_the_random_flag() {
    // 1. A trace starts here, so that its id is random and the flags say so. 2. Code injects the
    // span's context by itself. 3. B3's propagator takes the flag for an open decision, unless it is
    // cleared before.
    let tracing = Tracing::ours();
    let _default = tracing.install();
    let cx = tracing::info_span!("work").context();
    let sc = cx.span().span_context().clone();
    let sampled = sc.trace_flags() & TraceFlags::SAMPLED;
    let cleared = SpanContext::new(
        sc.trace_id(),
        sc.span_id(),
        sampled,
        sc.is_remote(),
        sc.trace_state().clone(),
    );
    let ids = format!("{}-{}", sc.trace_id(), sc.span_id());
    let injected = |propagator: &dyn TextMapPropagator, cx: &Context, name: &str| {
        let mut headers = HashMap::new();
        propagator.inject_context(cx, &mut headers);
        headers.remove(name).unwrap()
    };
    let b3 = B3::with_encoding(B3Encoding::SingleHeader);
    assert_eq!(injected(&b3, &cx, "b3"), ids);
    let plain = cx.with_remote_span_context(cleared);
    assert_eq!(injected(&b3, &plain, "b3"), format!("{ids}-1"));
    let ours = TraceContextPropagator::new();
    assert_eq!(injected(&ours, &cx, "traceparent"), format!("00-{ids}-03"));
}
