//! Spans as JSON on standard output, one object a line.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use opentelemetry::trace::{Event, Link, Status};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use serde_json::{Map, Value as Json, json};

/// Prints each span as one JSON object on a line of its own.
///
/// For a first look, for pipes (`jq`), and for services whose standard output is collected. Times
/// are nanoseconds since the Unix epoch, ids are in hexadecimal, and attributes are an object; keys
/// may be added in minor releases.
///
/// # Examples
///
/// ```
/// let (layer, guard) =
///     spanbridge::layer().with_exporter(spanbridge::StdoutExporter::new()).build();
/// # drop((layer, guard));
/// ```
pub struct StdoutExporter {
    writer: Arc<Mutex<dyn Write + Send>>,
    resource: Json,
}

impl StdoutExporter {
    /// Prints on standard output.
    pub fn new() -> Self {
        Self::with_writer(io::stdout())
    }

    /// Prints on `writer` instead.
    pub fn with_writer(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Arc::new(Mutex::new(writer)), resource: Json::Object(Map::new()) }
    }

    fn print(&self, batch: &[SpanData]) -> io::Result<()> {
        let mut lines = Vec::new();
        for span in batch {
            serde_json::to_writer(&mut lines, &to_json(span, &self.resource))?;
            lines.push(b'\n');
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(&lines)?;
        writer.flush()
    }
}

impl Default for StdoutExporter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StdoutExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdoutExporter").field("resource", &self.resource).finish_non_exhaustive()
    }
}

impl SpanExporter for StdoutExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.print(&batch).map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        let attributes = resource.iter().map(|(key, value)| (key.to_string(), value_json(value)));
        self.resource = Json::Object(attributes.collect());
    }
}

fn to_json(span: &SpanData, resource: &Json) -> Json {
    let mut object = json!({
        "traceId": span.span_context.trace_id().to_string(),
        "spanId": span.span_context.span_id().to_string(),
        "flags": span.span_context.trace_flags().to_u8(),
        "name": span.name,
        "kind": format!("{:?}", span.span_kind).to_lowercase(),
        "startTimeUnixNano": nanos(span.start_time),
        "endTimeUnixNano": nanos(span.end_time),
        "attributes": attributes(&span.attributes),
        "resource": resource,
    });
    let mut add = |key: &str, value: Json| object[key] = value;
    if span.parent_span_id != opentelemetry::SpanId::INVALID {
        add("parentSpanId", span.parent_span_id.to_string().into());
    }
    let trace_state = span.span_context.trace_state().header();
    if !trace_state.is_empty() {
        add("traceState", trace_state.into());
    }
    if span.dropped_attributes_count > 0 {
        add("droppedAttributesCount", span.dropped_attributes_count.into());
    }
    if !span.events.events.is_empty() {
        add("events", span.events.events.iter().map(event).collect());
    }
    if span.events.dropped_count > 0 {
        add("droppedEventsCount", span.events.dropped_count.into());
    }
    if !span.links.links.is_empty() {
        add("links", span.links.links.iter().map(link).collect());
    }
    if span.links.dropped_count > 0 {
        add("droppedLinksCount", span.links.dropped_count.into());
    }
    match &span.status {
        Status::Unset => {}
        Status::Ok => add("status", json!({"code": "ok"})),
        Status::Error { description } if description.is_empty() => {
            add("status", json!({"code": "error"}));
        }
        Status::Error { description } => {
            add("status", json!({"code": "error", "description": description}));
        }
    }
    object
}

fn event(event: &Event) -> Json {
    let mut object = json!({
        "name": event.name,
        "timeUnixNano": nanos(event.timestamp),
        "attributes": attributes(&event.attributes),
    });
    if event.dropped_attributes_count > 0 {
        object["droppedAttributesCount"] = event.dropped_attributes_count.into();
    }
    object
}

fn link(link: &Link) -> Json {
    let mut object = json!({
        "traceId": link.span_context.trace_id().to_string(),
        "spanId": link.span_context.span_id().to_string(),
        "attributes": attributes(&link.attributes),
    });
    let trace_state = link.span_context.trace_state().header();
    if !trace_state.is_empty() {
        object["traceState"] = trace_state.into();
    }
    if link.dropped_attributes_count > 0 {
        object["droppedAttributesCount"] = link.dropped_attributes_count.into();
    }
    object
}

fn attributes(attributes: &[KeyValue]) -> Json {
    let pairs = attributes.iter().map(|kv| (kv.key.to_string(), value_json(&kv.value)));
    Json::Object(pairs.collect())
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        // JSON has no word for them, so they are text.
        Value::F64(value) if !value.is_finite() => value.to_string().into(),
        Value::F64(value) => (*value).into(),
        Value::String(value) => value.as_str().into(),
        Value::Array(Array::Bool(values)) => values.clone().into(),
        Value::Array(Array::I64(values)) => values.clone().into(),
        Value::Array(Array::F64(values)) => {
            values.iter().map(|value| value_json(&Value::F64(*value))).collect()
        }
        Value::Array(Array::String(values)) => values.iter().map(|value| value.as_str()).collect(),
        other => other.to_string().into(),
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
