//! The OTLP receivers of `tests/support`, driven by the stock SDK and exporter: what other tests
//! and the examples stand on.

mod support;

use std::time::{Duration, Instant};

use opentelemetry::trace::{
    Event, Link, Span as _, SpanContext, SpanId, SpanKind as ApiKind, Status as ApiStatus,
    TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, Value as ApiValue};
use opentelemetry_otlp::{
    Compression, RetryPolicy, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, SdkTracerProvider, SpanData, SpanExporter as _,
};

use support::otlp_receiver::{
    Behaviour, Counts, OtlpReceiver, Protocol, ReceivedSpan, Refusal, SpanKind, StatusCode, Value,
};

const LONG: Duration = Duration::from_secs(20);
const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

#[tokio::test]
async fn every_part_of_a_span_arrives() {
    let sent = one_of_everything();
    for protocol in BOTH {
        let receiver = start(protocol);
        export(&receiver, sent.clone()).await.unwrap();
        let received = receiver.spans();
        assert_eq!(received.len(), sent.len(), "{protocol:?}");
        for (sent, received) in sent.iter().zip(&received) {
            assert_same(sent, received);
        }
        let parent = &received[1];
        assert_eq!(received[0].parent_span_id, Some(parent.span_id));
        assert_eq!(received[0].trace_id, parent.trace_id);
        assert_eq!(received[0].attribute("count"), Some(&Value::Int(3)));
        assert_eq!(received[0].attribute("list").unwrap().to_string(), r#"["a","b"]"#);
        assert_eq!(received[0].event("happened").unwrap().attributes.len(), 1);
        assert_eq!(received[0].links[0].span_id, SpanId::from(7));
    }
}

#[tokio::test]
async fn gzip_is_accepted() {
    for protocol in BOTH {
        let receiver = start(protocol);
        let exporter = exporter(&receiver, Some(Compression::Gzip), LONG);
        exporter.export(one_of_everything()).await.unwrap();
        assert_eq!(receiver.spans().len(), 2);
        let header = match protocol {
            Protocol::Grpc => "grpc-encoding",
            Protocol::Http => "content-encoding",
        };
        assert_eq!(receiver.last_headers()[header], "gzip", "{protocol:?}");
    }
}

#[tokio::test]
async fn counts_tell_accepted_from_refused_and_rejected() {
    for protocol in BOTH {
        let receiver = start(protocol);
        export(&receiver, one_of_everything()).await.unwrap();

        receiver.set_behaviour(Behaviour::Refuse(Refusal::invalid()));
        export(&receiver, one_of_everything()).await.unwrap_err();

        receiver.set_behaviour(Behaviour::PartialSuccess(1));
        export(&receiver, one_of_everything()).await.unwrap();

        receiver.set_behaviour(Behaviour::Accept);
        receiver.keep_spans(false);
        export(&receiver, one_of_everything()).await.unwrap();

        let expected = Counts {
            requests: 4,
            accepted: 3,
            refused: 1,
            malformed: 0,
            spans_offered: 8,
            spans_accepted: 5,
            spans_rejected: 1,
        };
        assert_eq!(receiver.counts(), expected, "{protocol:?}");
        assert_eq!(receiver.spans().len(), 3, "the last two were not to be kept");
    }
}

#[test]
fn a_client_that_retries_gets_through_once_the_refusal_ends() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The exporter looks for a runtime when it is built.
    let _entered = runtime.enter();
    for protocol in BOTH {
        let receiver = start(protocol);
        let refusal = Refusal::throttled().with_retry_after(Duration::from_secs(1));
        receiver.set_behaviour(Behaviour::Refuse(refusal));
        let started = Instant::now();
        let exporter = exporter(&receiver, None, LONG);
        let exported = runtime.spawn(async move { exporter.export(one_of_everything()).await });
        receiver.wait_for_counts(|counts| counts.refused == 1, LONG).unwrap();
        receiver.set_behaviour(Behaviour::Accept);
        runtime.block_on(exported).unwrap().unwrap();
        // The exporter's own first back-off is shorter: the delay was received and kept.
        assert!(started.elapsed() >= Duration::from_secs(1), "{protocol:?}");
        assert_eq!(receiver.counts().spans_accepted, 2);
    }
}

#[tokio::test]
async fn a_hanging_receiver_reads_and_keeps_nothing() {
    for protocol in BOTH {
        let receiver = start(protocol);
        receiver.set_behaviour(Behaviour::Hang);
        let exporter = exporter(&receiver, None, Duration::from_millis(300));
        exporter.export(one_of_everything()).await.unwrap_err();
        let counts = receiver.counts();
        assert_eq!((counts.spans_offered, counts.spans_accepted), (2, 0), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_delay_holds_the_answer_back() {
    for protocol in BOTH {
        let receiver = start(protocol);
        let delay = Duration::from_millis(150);
        receiver.set_behaviour(Behaviour::Delay(delay));
        let started = Instant::now();
        export(&receiver, one_of_everything()).await.unwrap();
        assert!(started.elapsed() >= delay, "{protocol:?}");
        assert_eq!(receiver.spans().len(), 2);
    }
}

#[tokio::test]
async fn a_receiver_dies_half_way_and_comes_back() {
    for protocol in BOTH {
        let receiver = start(protocol);
        receiver.set_behaviour(Behaviour::CloseAfter(2));
        let exporter = exporter(&receiver, None, LONG);
        exporter.export(one_of_everything()).await.unwrap();
        exporter.export(one_of_everything()).await.unwrap();
        exporter.export(one_of_everything()).await.unwrap_err();
        assert_eq!(receiver.counts().spans_accepted, 4, "{protocol:?}");

        receiver.set_behaviour(Behaviour::Accept);
        exporter.export(one_of_everything()).await.unwrap();
        assert_eq!(receiver.counts().spans_accepted, 6, "{protocol:?}");
    }
}

#[tokio::test]
async fn dropping_a_receiver_frees_its_port_and_another_can_take_it() {
    for protocol in BOTH {
        let receiver = start(protocol);
        let addr = receiver.addr();
        let exporter = exporter(&receiver, None, LONG);
        exporter.export(one_of_everything()).await.unwrap();
        drop(receiver);
        exporter.export(one_of_everything()).await.unwrap_err();

        let receiver = OtlpReceiver::start(protocol, addr).unwrap();
        exporter.export(one_of_everything()).await.unwrap();
        assert_eq!(receiver.spans().len(), 2, "{protocol:?}");
    }
}

#[tokio::test]
async fn garbage_is_an_error_for_a_grpc_client() {
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::Garbage);
    export(&receiver, one_of_everything()).await.unwrap_err();
    assert!(receiver.counts().requests >= 1);
    assert_eq!(receiver.counts().spans_offered, 0);
}

#[tokio::test]
async fn what_breaks_the_protocol_is_counted_and_answered_with_an_error() {
    let receiver = OtlpReceiver::http();
    let cases = [
        ("POST", "/v1/traces", "application/x-protobuf", &b"\xff\xff"[..], 400),
        ("POST", "/v1/traces", "application/json", b"{}", 415),
        ("POST", "/v1/metrics", "application/x-protobuf", b"", 404),
        ("GET", "/v1/traces", "application/x-protobuf", b"", 405),
        // One resource, one scope, one span with a trace id of one byte.
        (
            "POST",
            "/v1/traces",
            "application/x-protobuf",
            b"\x0a\x07\x12\x05\x12\x03\x0a\x01\x01",
            400,
        ),
    ];
    for (i, (method, path, content_type, body, status)) in cases.into_iter().enumerate() {
        let answer = raw_request(&receiver, method, path, content_type, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "case {i}: {answer}");
        assert_eq!(receiver.counts().malformed, i as u64 + 1);
    }
    assert_eq!(receiver.counts().accepted, 0);
}

#[test]
fn waiting_from_synchronous_code_reports_what_is_missing() {
    let receiver = OtlpReceiver::grpc();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let endpoint = receiver.endpoint().to_owned();
    let exported = runtime.spawn(async move {
        let exporter = grpc_exporter(endpoint, None, LONG);
        exporter.export(one_of_everything()).await
    });
    assert_eq!(receiver.wait_for(2, LONG).unwrap().len(), 2);
    runtime.block_on(exported).unwrap().unwrap();

    let missing = receiver.wait_for(3, Duration::from_millis(10)).unwrap_err().to_string();
    assert!(missing.contains("spans_accepted: 2"), "{missing}");
    assert!(missing.ends_with("\n  child\n  parent"), "{missing}");

    assert_eq!(receiver.take_spans().len(), 2);
    assert!(receiver.spans().is_empty());
}

fn start(protocol: Protocol) -> OtlpReceiver {
    match protocol {
        Protocol::Grpc => OtlpReceiver::grpc(),
        Protocol::Http => OtlpReceiver::http(),
    }
}

/// A child and its parent, in the order they ended, with everything that a span can have.
fn one_of_everything() -> Vec<SpanData> {
    let memory = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(memory.clone()).build();
    let scope = InstrumentationScope::builder("the.scope")
        .with_version("1.2.3")
        .with_schema_url("https://opentelemetry.io/schemas/1.42.0")
        .with_attributes([KeyValue::new("scope.key", true)])
        .build();
    let tracer = provider.tracer_with_scope(scope);
    let parent = tracer.span_builder("parent").with_kind(ApiKind::Server).start(&tracer);
    let cx = Context::new().with_span(parent);
    let linked = SpanContext::new(
        TraceId::from(5),
        SpanId::from(7),
        TraceFlags::SAMPLED,
        false,
        TraceState::from_key_value([("k", "v")]).unwrap(),
    );
    let mut child = tracer
        .span_builder("child")
        .with_kind(ApiKind::Client)
        .with_attributes([
            KeyValue::new("text", "with \"quotes\""),
            KeyValue::new("count", 3),
            KeyValue::new("ratio", 0.25),
            KeyValue::new("flag", false),
            KeyValue::new("list", ApiValue::Array(Array::String(vec!["a".into(), "b".into()]))),
        ])
        .with_links(vec![Link::new(linked, vec![KeyValue::new("why", "followed")], 0)])
        .start_with_context(&tracer, &cx);
    child.add_event("happened", vec![KeyValue::new("n", 1)]);
    child.set_status(ApiStatus::error("it broke"));
    child.end();
    cx.span().end();
    memory.get_finished_spans().unwrap()
}

/// Compares what left the SDK with what was read from the socket.
fn assert_same(sent: &SpanData, received: &ReceivedSpan) {
    assert_eq!(received.trace_id, sent.span_context.trace_id());
    assert_eq!(received.span_id, sent.span_context.span_id());
    let parent = (sent.parent_span_id != SpanId::INVALID).then_some(sent.parent_span_id);
    assert_eq!(received.parent_span_id, parent);
    assert_eq!(received.name, sent.name);
    let kind = match sent.span_kind {
        ApiKind::Client => SpanKind::Client,
        ApiKind::Server => SpanKind::Server,
        _ => panic!("no such span is sent"),
    };
    assert_eq!(received.kind, kind);
    assert_eq!((received.start, received.end), (sent.start_time, sent.end_time));
    assert_attributes(&sent.attributes, &received.attributes);
    let (events, links) = (&sent.events.events, &sent.links.links);
    assert_eq!((received.events.len(), received.links.len()), (events.len(), links.len()));
    for (Event { name, timestamp, attributes, .. }, event) in events.iter().zip(&received.events) {
        assert_eq!((&*event.name, event.time), (&**name, *timestamp));
        assert_attributes(attributes, &event.attributes);
    }
    for (sent, link) in links.iter().zip(&received.links) {
        assert_eq!(link.trace_id, sent.span_context.trace_id());
        assert_eq!(link.span_id, sent.span_context.span_id());
        assert_eq!(link.trace_state, sent.span_context.trace_state().header());
        assert_attributes(&sent.attributes, &link.attributes);
    }
    let (code, message) = match &sent.status {
        ApiStatus::Error { description } => (StatusCode::Error, &**description),
        ApiStatus::Ok => (StatusCode::Ok, ""),
        ApiStatus::Unset => (StatusCode::Unset, ""),
    };
    assert_eq!((received.status.code, &*received.status.message), (code, message));
    assert_eq!(received.service_name(), "receiver-test");
    assert_eq!(received.scope.name, sent.instrumentation_scope.name());
    assert_eq!(Some(&*received.scope.version), sent.instrumentation_scope.version());
    assert_eq!(Some(&*received.scope.schema_url), sent.instrumentation_scope.schema_url());
    assert_eq!(received.scope.attributes, [("scope.key".to_owned(), Value::Bool(true))]);
}

fn assert_attributes(sent: &[KeyValue], received: &[(String, Value)]) {
    assert_eq!(received.len(), sent.len());
    for (sent, (key, value)) in sent.iter().zip(received) {
        assert_eq!(key, sent.key.as_str());
        let same_type = match sent.value {
            ApiValue::Bool(_) => matches!(value, Value::Bool(_)),
            ApiValue::I64(_) => matches!(value, Value::Int(_)),
            ApiValue::F64(_) => matches!(value, Value::Double(_)),
            ApiValue::String(_) => matches!(value, Value::String(_)),
            ApiValue::Array(_) => matches!(value, Value::Array(_)),
            _ => panic!("no such value is sent"),
        };
        assert!(same_type, "{key}: {value:?}");
        assert_eq!(value.to_string(), sent.value.to_string(), "{key}");
    }
}

async fn export(receiver: &OtlpReceiver, spans: Vec<SpanData>) -> OTelSdkResult {
    exporter(receiver, None, LONG).export(spans).await
}

fn exporter(
    receiver: &OtlpReceiver,
    compression: Option<Compression>,
    timeout: Duration,
) -> opentelemetry_otlp::SpanExporter {
    if receiver.traces_endpoint() == receiver.endpoint() {
        return grpc_exporter(receiver.endpoint().to_owned(), compression, timeout);
    }
    let mut builder = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(receiver.traces_endpoint())
        .with_timeout(timeout)
        .with_retry_policy(quick_retries());
    if let Some(compression) = compression {
        builder = builder.with_compression(compression);
    }
    with_resource(builder.build().unwrap())
}

fn grpc_exporter(
    endpoint: String,
    compression: Option<Compression>,
    timeout: Duration,
) -> opentelemetry_otlp::SpanExporter {
    let mut builder = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(timeout)
        .with_retry_policy(quick_retries());
    if let Some(compression) = compression {
        builder = builder.with_compression(compression);
    }
    with_resource(builder.build().unwrap())
}

fn quick_retries() -> RetryPolicy {
    RetryPolicy::default().with_max_retries(2).with_initial_delay(Duration::from_millis(1))
}

fn with_resource(
    mut exporter: opentelemetry_otlp::SpanExporter,
) -> opentelemetry_otlp::SpanExporter {
    exporter.set_resource(&Resource::builder_empty().with_service_name("receiver-test").build());
    exporter
}

async fn raw_request(
    receiver: &OtlpReceiver,
    method: &str,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(receiver.addr()).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
