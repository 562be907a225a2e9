//! The works by the OpenTelemetry API on its SDK, with no `tracing` in between.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use actix_web::http::header::HeaderMap;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator as _};
use opentelemetry::trace::{
    SpanBuilder, SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use spanbridge::propagation::{HeaderExtractor, HeaderInjector};

use crate::shared::sink::Sink;
use crate::shared::spans;
use crate::shared::stack::{Outcome, Running, Stack};
use crate::shared::work::{EVENTS_A_SPAN, Op, SPANS_A_BATCH, Work};

pub(crate) const SDK: Stack = Stack {
    name: "OpenTelemetry SDK",
    set_up: |_| {
        let sink = Sink::default();
        let provider = SdkTracerProvider::builder().with_batch_exporter(sink.clone()).build();
        use_tracer(provider.tracer("bench"));
        let finish = move || {
            let _ = provider.force_flush();
            Outcome { records: true, exported: sink.count(), dropped: None }
        };
        Running { op, finish: Box::new(finish) }
    },
};

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

pub(crate) fn use_tracer(tracer: SdkTracer) {
    assert!(TRACER.set(tracer).is_ok(), "a process has one stack");
}

fn tracer() -> &'static SdkTracer {
    TRACER.get().expect("set up before")
}

fn op(work: Work) -> Option<Op> {
    let tracer = tracer();
    let op: Op = match work {
        Work::Span => Box::new(|n| spans::repeat(n, || in_and_out(SpanBuilder::from_name("work")))),
        Work::Span8 => Box::new(|n| spans::repeat(n, || in_and_out(with(attributes_8())))),
        Work::Span9 => Box::new(|n| {
            spans::repeat(n, || {
                let mut attributes = attributes_8();
                attributes.push(KeyValue::new("load", black_box(0.5_f64)));
                in_and_out(with(attributes));
            })
        }),
        Work::Child8 => Box::new(|n| {
            let _parent = start(SpanBuilder::from_name("parent")).attach();
            spans::repeat(n, || in_and_out(with(attributes_8())))
        }),
        Work::EnterExit => Box::new(|n| {
            let cx = start(SpanBuilder::from_name("work"));
            spans::repeat(n, || {
                let _entered = cx.clone().attach();
                black_box(());
            })
        }),
        Work::Event => Box::new(events),
        Work::Records => Box::new(records),
        // They have no levels.
        Work::Disabled8 | Work::Trace => return None,
        Work::Request => {
            let propagator = propagator();
            let headers = spans::incoming(true);
            let mut outgoing = HeaderMap::new();
            Box::new(move |n| {
                spans::repeat(n, || {
                    let parent = propagator.extract(&HeaderExtractor(&headers));
                    let server = tracer.build_with_context(server_span(), &parent);
                    request_within(parent.with_span(server), |client| {
                        propagator.inject_context(client, &mut HeaderInjector(&mut outgoing));
                        black_box(&outgoing);
                    });
                })
            })
        }
    };
    Some(op)
}

fn propagator() -> TextMapCompositePropagator {
    TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ])
}

/// As `shared::spans::request_within` does.
fn request_within(server: Context, inject: impl FnOnce(&Context)) {
    let _server = server.clone().attach();
    let client = start(client_span());
    inject(&client);
    {
        let _client = client.clone().attach();
        black_box(());
    }
    client.span().set_attribute(KeyValue::new("http.response.status_code", 200_i64));
    drop(client);
    server.span().set_attribute(KeyValue::new("http.response.status_code", 200_i64));
}

/// So many spans, as `shared::spans` makes them.
pub(crate) fn pairs(count: u64) {
    for _ in 0..count / 2 {
        request_within(start(server_span()), |_| ());
    }
}

fn start(builder: SpanBuilder) -> Context {
    Context::current_with_span(tracer().build(builder))
}

fn in_and_out(builder: SpanBuilder) {
    let _entered = start(builder).attach();
    black_box(());
}

fn with(attributes: Vec<KeyValue>) -> SpanBuilder {
    SpanBuilder::from_name("work").with_attributes(attributes)
}

fn attributes_8() -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(9);
    attributes.extend([
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("url.path", black_box("/api/v1/pods")),
        KeyValue::new("server.address", black_box("localhost")),
        KeyValue::new("network.protocol.version", "1.1"),
        KeyValue::new("server.port", black_box(8080_i64)),
        KeyValue::new("http.response.status_code", black_box(200_i64)),
        KeyValue::new("http.response.body.size", black_box(1_234_i64)),
        KeyValue::new("cached", black_box(false)),
    ]);
    attributes
}

fn server_span() -> SpanBuilder {
    SpanBuilder::from_name("GET /api/v1/namespaces/{namespace}/pods")
        .with_kind(SpanKind::Server)
        .with_attributes(vec![
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("url.path", "/api/v1/namespaces/default/pods"),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("server.address", "localhost"),
            KeyValue::new("server.port", 8080_i64),
            KeyValue::new("network.peer.address", "127.0.0.1"),
            KeyValue::new("network.peer.port", 54_321_i64),
            KeyValue::new("network.protocol.version", "1.1"),
            KeyValue::new("user_agent.original", "bench/1.0"),
        ])
}

fn client_span() -> SpanBuilder {
    SpanBuilder::from_name("POST").with_kind(SpanKind::Client).with_attributes(vec![
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("server.address", "webhook.default.svc"),
        KeyValue::new("server.port", 443_i64),
        KeyValue::new("url.full", "https://webhook.default.svc/admit"),
    ])
}

fn events(iterations: u64) -> Duration {
    let mut time = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let cx = start(SpanBuilder::from_name("work"));
        let some = left.min(EVENTS_A_SPAN);
        time += spans::repeat(some, || {
            let fields =
                vec![KeyValue::new("rows", black_box(3_i64)), KeyValue::new("table", "pods")];
            cx.span().add_event("read", fields);
        });
        left -= some;
    }
    time
}

fn records(iterations: u64) -> Duration {
    let mut time = Duration::ZERO;
    let mut left = iterations;
    let mut contexts = Vec::with_capacity(SPANS_A_BATCH as usize);
    while left > 0 {
        let some = left.min(SPANS_A_BATCH);
        contexts.extend((0..some).map(|_| start(SpanBuilder::from_name("work"))));
        let start = Instant::now();
        for cx in &contexts {
            for text in ["a", "b", "c", "d"] {
                cx.span().set_attribute(KeyValue::new(text, black_box("localhost")));
            }
            for number in ["e", "f", "g", "h"] {
                cx.span().set_attribute(KeyValue::new(number, black_box(200_i64)));
            }
        }
        time += start.elapsed();
        contexts.clear();
        left -= some;
    }
    time
}
