//! The works on fastrace, with its reporter for OpenTelemetry.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use fastrace::collector::{Config, SpanContext};
use fastrace::local::LocalSpan;
use fastrace::{Event, Span};
use fastrace_opentelemetry::OpenTelemetryReporter;
use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;

use crate::shared::sink::Sink;
use crate::shared::spans;
use crate::shared::stack::{Outcome, Running, Stack};
use crate::shared::work::{EVENTS_A_SPAN, Op, SPANS_A_BATCH, Work};

pub(crate) const FASTRACE: Stack = Stack {
    name: "fastrace",
    set_up: |_| {
        let sink = Sink::default();
        fastrace::set_reporter(reporter(sink.clone()), Config::default());
        let finish = move || {
            fastrace::flush();
            Outcome { records: true, exported: sink.count(), dropped: None }
        };
        Running { op, finish: Box::new(finish) }
    },
};

pub(crate) fn reporter(
    exporter: impl opentelemetry_sdk::trace::SpanExporter + 'static,
) -> OpenTelemetryReporter {
    let resource = Resource::builder().with_service_name("bench").build();
    let scope = InstrumentationScope::builder("bench").build();
    OpenTelemetryReporter::new(exporter, Cow::Owned(resource), scope)
}

type Property = (&'static str, Cow<'static, str>);

fn op(work: Work) -> Option<Op> {
    let op: Op = match work {
        Work::Span => Box::new(|n| spans::repeat(n, || in_and_out(&root("work")))),
        Work::Span8 => Box::new(|n| {
            spans::repeat(n, || in_and_out(&root("work").with_properties(properties_8)))
        }),
        Work::Span9 => Box::new(|n| {
            spans::repeat(n, || {
                let load = || ("load", black_box(0.5_f64).to_string());
                let span = root("work").with_properties(properties_8).with_property(load);
                in_and_out(&span);
            })
        }),
        Work::Child8 => Box::new(|n| {
            let parent = root("parent");
            let _entered = parent.set_local_parent();
            spans::repeat(n, || {
                let _child =
                    LocalSpan::enter_with_local_parent("work").with_properties(properties_8);
                black_box(());
            })
        }),
        Work::EnterExit => Box::new(|n| {
            let span = root("work");
            spans::repeat(n, || in_and_out(&span))
        }),
        Work::Event => Box::new(events),
        Work::Records => Box::new(records),
        // They have no levels.
        Work::Disabled8 | Work::Trace => return None,
        Work::Request => {
            let headers = spans::incoming(true);
            let mut outgoing = HeaderMap::new();
            Box::new(move |n| spans::repeat(n, || request(&headers, &mut outgoing)))
        }
    };
    Some(op)
}

fn request(headers: &HeaderMap, outgoing: &mut HeaderMap) {
    let parent = headers
        .get("traceparent")
        .and_then(|value| SpanContext::decode_w3c_traceparent(value.to_str().ok()?))
        .unwrap_or_else(SpanContext::random);
    request_within(&server_span(parent), |client| {
        let value = client.encode_w3c_traceparent();
        let value = HeaderValue::from_str(&value).expect("is ASCII");
        outgoing.insert(HeaderName::from_static("traceparent"), value);
        black_box(&outgoing);
    });
}

/// As `shared::spans::request_within` does.
fn request_within(server: &Span, inject: impl FnOnce(&SpanContext)) {
    {
        let _entered = server.set_local_parent();
        let client =
            LocalSpan::enter_with_local_parent("POST").with_properties(|| -> [Property; 5] {
                [
                    ("span.kind", "client".into()),
                    ("http.request.method", "POST".into()),
                    ("server.address", "webhook.default.svc".into()),
                    ("server.port", 443_i64.to_string().into()),
                    ("url.full", "https://webhook.default.svc/admit".into()),
                ]
            });
        if let Some(context) = SpanContext::current_local_parent() {
            inject(&context);
        }
        let _client = client.with_property(|| ("http.response.status_code", 200_i64.to_string()));
    }
    server.add_property(|| ("http.response.status_code", 200_i64.to_string()));
}

/// So many spans, as `shared::spans` makes them.
pub(crate) fn pairs(count: u64) {
    for _ in 0..count / 2 {
        request_within(&server_span(SpanContext::random()), |_| ());
    }
}

fn root(name: &'static str) -> Span {
    Span::root(name, SpanContext::random())
}

fn in_and_out(span: &Span) {
    let _entered = span.set_local_parent();
    black_box(());
}

fn properties_8() -> [Property; 8] {
    [
        ("http.request.method", "GET".into()),
        ("url.path", black_box("/api/v1/pods").into()),
        ("server.address", black_box("localhost").into()),
        ("network.protocol.version", "1.1".into()),
        ("server.port", black_box(8080_i64).to_string().into()),
        ("http.response.status_code", black_box(200_i64).to_string().into()),
        ("http.response.body.size", black_box(1_234_u64).to_string().into()),
        ("cached", black_box(false).to_string().into()),
    ]
}

fn server_span(parent: SpanContext) -> Span {
    Span::root("GET /api/v1/namespaces/{namespace}/pods", parent).with_properties(
        || -> [Property; 10] {
            [
                ("span.kind", "server".into()),
                ("http.request.method", "GET".into()),
                ("url.path", "/api/v1/namespaces/default/pods".into()),
                ("url.scheme", "http".into()),
                ("server.address", "localhost".into()),
                ("server.port", 8080_i64.to_string().into()),
                ("network.peer.address", "127.0.0.1".into()),
                ("network.peer.port", 54_321_i64.to_string().into()),
                ("network.protocol.version", "1.1".into()),
                ("user_agent.original", "bench/1.0".into()),
            ]
        },
    )
}

fn events(iterations: u64) -> Duration {
    let mut time = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let span = root("work");
        let _entered = span.set_local_parent();
        let some = left.min(EVENTS_A_SPAN);
        time += spans::repeat(some, || {
            LocalSpan::add_event(Event::new("read").with_properties(|| -> [Property; 2] {
                [("rows", black_box(3_i64).to_string().into()), ("table", "pods".into())]
            }));
        });
        left -= some;
    }
    time
}

fn records(iterations: u64) -> Duration {
    let mut time = Duration::ZERO;
    let mut left = iterations;
    let mut roots = Vec::with_capacity(SPANS_A_BATCH as usize);
    while left > 0 {
        let some = left.min(SPANS_A_BATCH);
        roots.extend((0..some).map(|_| root("work")));
        let start = Instant::now();
        for span in &roots {
            for text in ["a", "b", "c", "d"] {
                span.add_property(|| (text, black_box("localhost")));
            }
            for number in ["e", "f", "g", "h"] {
                span.add_property(|| (number, black_box(200_i64).to_string()));
            }
        }
        time += start.elapsed();
        roots.clear();
        left -= some;
    }
    time
}
