//! Received spans as JSON, one object a line.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value as Json, json};

use crate::support::otlp_receiver::{Attribute, ReceivedSpan, Value};

/// Everything that a reader of traces needs, under OTLP's JSON names but for two: `service`, and
/// attributes as a plain object.
pub(crate) fn to_json(span: &ReceivedSpan) -> Json {
    let events = span.events.iter().map(|event| {
        json!({
            "name": event.name,
            "timeUnixNano": unix_nanos(event.time),
            "attributes": attributes(&event.attributes),
        })
    });
    let links = span.links.iter().map(|link| {
        json!({
            "traceId": link.trace_id.to_string(),
            "spanId": link.span_id.to_string(),
            "attributes": attributes(&link.attributes),
        })
    });
    json!({
        "traceId": span.trace_id.to_string(),
        "spanId": span.span_id.to_string(),
        "parentSpanId": span.parent_span_id.map(|id| id.to_string()),
        "name": span.name,
        "kind": span.kind.as_str_name(),
        "service": span.service_name(),
        "startTimeUnixNano": unix_nanos(span.start),
        "endTimeUnixNano": unix_nanos(span.end),
        "attributes": attributes(&span.attributes),
        "events": events.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "status": {"code": span.status.code.as_str_name(), "message": span.status.message},
        "resource": attributes(&span.resource),
    })
}

fn attributes(attributes: &[Attribute]) -> Json {
    let entries = attributes.iter().map(|(key, value)| (key.clone(), plain(value)));
    Json::Object(entries.collect::<Map<_, _>>())
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Bool(value) => json!(value),
        Value::Bytes(_) => json!(value.to_string()),
        Value::Double(value) => json!(value),
        Value::Empty => Json::Null,
        Value::Int(value) => json!(value),
        Value::Map(entries) => attributes(entries),
        Value::String(value) => json!(value),
    }
}

fn unix_nanos(time: SystemTime) -> u64 {
    let nanos = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
