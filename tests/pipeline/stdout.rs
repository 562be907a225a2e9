//! The JSON that `StdoutExporter` prints, field by field.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use serde_json::{Value as Json, json};
use spanbridge::{FlushError, StdoutExporter};
use tracing::{info, info_span};

use crate::harness::{LONG, Pipeline};

/// A writer that the test can read.
#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    /// One object for each line; the last line is ended too.
    fn lines(&self) -> Vec<Json> {
        let bytes = self.0.lock().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

fn at(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn context(span_id: u64, flags: u8, state: &str) -> SpanContext {
    SpanContext::new(
        TraceId::from(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        SpanId::from(span_id),
        TraceFlags::new(flags),
        false,
        state.parse::<TraceState>().unwrap(),
    )
}

/// A span with nothing but what every span has.
fn plain() -> SpanData {
    SpanData {
        span_context: context(0xb7ad_6b71_6920_3331, 1, ""),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "plain".into(),
        start_time: at(1_700_000_000_000_000_001),
        end_time: at(1_700_000_000_000_000_999),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

fn full() -> SpanData {
    let mut event = Event::new(
        "happened",
        at(1_700_000_000_000_000_500),
        vec![KeyValue::new("n", 1), KeyValue::new("what", "a \"quote\"\nand a line")],
        0,
    );
    event.dropped_attributes_count = 7;
    let mut events = SpanEvents::default();
    events.events = vec![event, Event::with_name("bare")];
    events.events[1].timestamp = at(5);
    events.dropped_count = 8;
    let mut links = SpanLinks::default();
    links.links = vec![
        Link::new(context(2, 0, ""), vec![KeyValue::new("why", "followed")], 9),
        Link::with_context(context(3, 1, "a=1")),
    ];
    links.dropped_count = 10;
    let floats = vec![1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    SpanData {
        span_context: context(0xb7ad_6b71_6920_3331, 3, "vendor=v1,other=v2"),
        parent_span_id: SpanId::from(0x10),
        span_kind: SpanKind::Server,
        name: "full \u{1f980}".into(),
        attributes: vec![
            KeyValue::new("yes", true),
            KeyValue::new("int", i64::MIN),
            KeyValue::new("float", 0.25),
            KeyValue::new("whole", 2.0),
            KeyValue::new("nan", f64::NAN),
            KeyValue::new("inf", f64::NEG_INFINITY),
            KeyValue::new("text", "\u{0}\t\\"),
            KeyValue::new("bools", Value::Array(Array::Bool(vec![true, false]))),
            KeyValue::new("ints", Value::Array(Array::I64(vec![1, i64::MAX]))),
            KeyValue::new("floats", Value::Array(Array::F64(floats))),
            KeyValue::new("texts", Value::Array(Array::String(vec!["a".into(), "b".into()]))),
            KeyValue::new("none", Value::Array(Array::I64(Vec::new()))),
        ],
        dropped_attributes_count: 11,
        events,
        links,
        status: Status::error("it broke"),
        ..plain()
    }
}

async fn printed(spans: Vec<SpanData>) -> Vec<Json> {
    let output = Output::default();
    let mut exporter = StdoutExporter::with_writer(output.clone());
    exporter.set_resource(
        &Resource::builder_empty()
            .with_service_name("api")
            .with_attribute(KeyValue::new("n", 3))
            .build(),
    );
    exporter.export(spans).await.unwrap();
    output.lines()
}

#[tokio::test]
async fn every_field_of_a_span_is_printed() {
    let expected = json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "parentSpanId": "0000000000000010",
        "flags": 3,
        "traceState": "vendor=v1,other=v2",
        "name": "full \u{1f980}",
        "kind": "server",
        "startTimeUnixNano": 1_700_000_000_000_000_001_u64,
        "endTimeUnixNano": 1_700_000_000_000_000_999_u64,
        "attributes": {
            "yes": true,
            "int": i64::MIN,
            "float": 0.25,
            "whole": 2.0,
            "nan": "NaN",
            "inf": "-inf",
            "text": "\u{0}\t\\",
            "bools": [true, false],
            "ints": [1, i64::MAX],
            "floats": [1.5, "NaN", "inf", "-inf"],
            "texts": ["a", "b"],
            "none": [],
        },
        "droppedAttributesCount": 11,
        "events": [
            {
                "name": "happened",
                "timeUnixNano": 1_700_000_000_000_000_500_u64,
                "attributes": {"n": 1, "what": "a \"quote\"\nand a line"},
                "droppedAttributesCount": 7,
            },
            {"name": "bare", "timeUnixNano": 5, "attributes": {}},
        ],
        "droppedEventsCount": 8,
        "links": [
            {
                "traceId": "0af7651916cd43dd8448eb211c80319c",
                "spanId": "0000000000000002",
                "attributes": {"why": "followed"},
                "droppedAttributesCount": 9,
            },
            {
                "traceId": "0af7651916cd43dd8448eb211c80319c",
                "spanId": "0000000000000003",
                "traceState": "a=1",
                "attributes": {},
            },
        ],
        "droppedLinksCount": 10,
        "status": {"code": "error", "description": "it broke"},
        "resource": {"service.name": "api", "n": 3},
    });
    assert_eq!(printed(vec![full()]).await, [expected]);
}

#[tokio::test]
async fn what_a_span_does_not_have_is_left_out() {
    let expected = json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "flags": 1,
        "name": "plain",
        "kind": "internal",
        "startTimeUnixNano": 1_700_000_000_000_000_001_u64,
        "endTimeUnixNano": 1_700_000_000_000_000_999_u64,
        "attributes": {},
        "resource": {"service.name": "api", "n": 3},
    });
    assert_eq!(printed(vec![plain()]).await, [expected]);
}

#[tokio::test]
async fn kinds_and_status_are_words() {
    let kinds = [
        (SpanKind::Client, "client"),
        (SpanKind::Consumer, "consumer"),
        (SpanKind::Internal, "internal"),
        (SpanKind::Producer, "producer"),
        (SpanKind::Server, "server"),
    ];
    for (span_kind, word) in kinds {
        assert_eq!(printed(vec![SpanData { span_kind, ..plain() }]).await[0]["kind"], word);
    }
    let ok = SpanData { status: Status::Ok, ..plain() };
    let failed = SpanData { status: Status::error(""), ..plain() };
    let lines = printed(vec![ok, failed]).await;
    assert_eq!(lines[0]["status"], json!({"code": "ok"}));
    assert_eq!(lines[1]["status"], json!({"code": "error"}));
}

#[tokio::test]
async fn a_time_before_1970_is_zero() {
    let start_time = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let lines = printed(vec![SpanData { start_time, ..plain() }]).await;
    assert_eq!(lines[0]["startTimeUnixNano"], 0);
}

#[test]
fn spans_of_the_layer_are_printed_one_a_line() {
    let output = Output::default();
    let pipeline = Pipeline::new(
        spanbridge::layer()
            .with_exporter(StdoutExporter::with_writer(output.clone()))
            .with_resource(Resource::builder_empty().with_service_name("shop").build()),
    );
    pipeline.run(|| {
        let parent = info_span!("parent", items = 2_u64).entered();
        info_span!("child").in_scope(|| info!(ratio = f64::NAN, "read\nlines"));
        drop(parent);
    });
    pipeline.guard.force_flush(LONG).unwrap();
    let lines = output.lines();
    let [child, parent] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&child["name"], &parent["name"]), (&json!("child"), &json!("parent")));
    assert_eq!(child["parentSpanId"], parent["spanId"]);
    assert_eq!(child["traceId"], parent["traceId"]);
    assert_eq!(parent["attributes"]["items"], 2);
    assert_eq!(child["events"][0]["name"], "read\nlines");
    assert_eq!(child["events"][0]["attributes"]["ratio"], "NaN");
    assert_eq!(parent["resource"], json!({"service.name": "shop"}));
    assert!(parent["startTimeUnixNano"].as_u64() <= child["startTimeUnixNano"].as_u64());
    assert!(child["startTimeUnixNano"].as_u64() <= child["endTimeUnixNano"].as_u64());
}

#[test]
fn a_writer_that_fails_costs_the_spans_and_is_told_of() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let pipeline = Pipeline::with(StdoutExporter::with_writer(Closed));
    pipeline.close_spans(2);
    assert_eq!(pipeline.guard.force_flush(LONG), Err(FlushError::ExportFailed));
    assert_eq!(pipeline.stats().dropped().export_failed(), 2);
}
