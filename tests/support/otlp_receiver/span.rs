//! A span as it arrived, flattened: resource and scope are on each one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{self as common, any_value};
use opentelemetry_proto::tonic::trace::v1 as proto;
pub(crate) use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
pub(crate) use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

/// One span of one export request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReceivedSpan {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// `None` for the root of a trace.
    pub(crate) parent_span_id: Option<SpanId>,
    pub(crate) trace_state: String,
    /// The W3C flags in the low byte, and what OTLP adds above it.
    pub(crate) flags: u32,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) start: SystemTime,
    pub(crate) end: SystemTime,
    /// In the order they were sent; a duplicate key is kept.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) dropped_attributes: u32,
    pub(crate) events: Vec<ReceivedEvent>,
    pub(crate) dropped_events: u32,
    pub(crate) links: Vec<ReceivedLink>,
    pub(crate) dropped_links: u32,
    pub(crate) status: Status,
    /// The attributes of the resource: who sent it.
    pub(crate) resource: Arc<Vec<Attribute>>,
    pub(crate) scope: Arc<Scope>,
}

/// A key and its value.
pub(crate) type Attribute = (String, Value);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReceivedEvent {
    pub(crate) name: String,
    pub(crate) time: SystemTime,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) dropped_attributes: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReceivedLink {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) trace_state: String,
    pub(crate) flags: u32,
    pub(crate) attributes: Vec<Attribute>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) code: StatusCode,
    pub(crate) message: String,
}

/// The instrumentation scope.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) schema_url: String,
    pub(crate) attributes: Vec<Attribute>,
}

/// An attribute's value. Compares with the plain Rust type: `*value == 404`, `*value == "GET"`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Array(Vec<Self>),
    Bool(bool),
    Bytes(Vec<u8>),
    Double(f64),
    Empty,
    Int(i64),
    Map(Vec<(String, Self)>),
    String(String),
}

impl ReceivedSpan {
    /// The first attribute with this key.
    pub(crate) fn attribute(&self, key: &str) -> Option<&Value> {
        find(&self.attributes, key)
    }

    /// `service.name` of the resource, or nothing.
    pub(crate) fn service_name(&self) -> &str {
        match find(&self.resource, "service.name") {
            Some(Value::String(name)) => name,
            _ => "",
        }
    }

    /// From start to end; zero if it ends before it starts.
    pub(crate) fn duration(&self) -> Duration {
        self.end.duration_since(self.start).unwrap_or_default()
    }

    /// The event of this name.
    pub(crate) fn event(&self, name: &str) -> Option<&ReceivedEvent> {
        self.events.iter().find(|event| event.name == name)
    }
}

impl ReceivedEvent {
    /// The first attribute with this key.
    pub(crate) fn attribute(&self, key: &str) -> Option<&Value> {
        find(&self.attributes, key)
    }
}

fn find<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|(k, _)| k == key).map(|(_, value)| value)
}

/// All spans of a request, in order.
///
/// # Errors
///
/// Fails, and names the span, where the protocol is broken: ids that are zero or of the wrong
/// length, kinds and status codes that do not exist.
pub(super) fn flatten(request: ExportTraceServiceRequest) -> Result<Vec<ReceivedSpan>, String> {
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = resource_spans.resource.unwrap_or_default();
        let resource = Arc::new(attributes(resource.attributes));
        for scope_spans in resource_spans.scope_spans {
            let scope = scope_spans.scope.unwrap_or_default();
            let scope = Arc::new(Scope {
                name: scope.name,
                version: scope.version,
                schema_url: scope_spans.schema_url,
                attributes: attributes(scope.attributes),
            });
            for span in scope_spans.spans {
                let name = span.name.clone();
                let span = convert(span, Arc::clone(&resource), Arc::clone(&scope));
                spans.push(span.map_err(|reason| format!("span {name:?}: {reason}"))?);
            }
        }
    }
    Ok(spans)
}

fn convert(
    span: proto::Span,
    resource: Arc<Vec<Attribute>>,
    scope: Arc<Scope>,
) -> Result<ReceivedSpan, String> {
    let parent = &span.parent_span_id;
    let status = span.status.unwrap_or_default();
    Ok(ReceivedSpan {
        trace_id: trace_id(&span.trace_id)?,
        span_id: span_id(&span.span_id)?,
        parent_span_id: if parent.is_empty() { None } else { Some(span_id(parent)?) },
        trace_state: span.trace_state,
        flags: span.flags,
        kind: SpanKind::try_from(span.kind).map_err(|err| err.to_string())?,
        name: span.name,
        start: time(span.start_time_unix_nano),
        end: time(span.end_time_unix_nano),
        attributes: attributes(span.attributes),
        dropped_attributes: span.dropped_attributes_count,
        events: span
            .events
            .into_iter()
            .map(|event| ReceivedEvent {
                name: event.name,
                time: time(event.time_unix_nano),
                attributes: attributes(event.attributes),
                dropped_attributes: event.dropped_attributes_count,
            })
            .collect(),
        dropped_events: span.dropped_events_count,
        links: span.links.into_iter().map(link).collect::<Result<_, _>>()?,
        dropped_links: span.dropped_links_count,
        status: Status {
            code: StatusCode::try_from(status.code).map_err(|err| err.to_string())?,
            message: status.message,
        },
        resource,
        scope,
    })
}

fn link(link: proto::span::Link) -> Result<ReceivedLink, String> {
    Ok(ReceivedLink {
        trace_id: trace_id(&link.trace_id)?,
        span_id: span_id(&link.span_id)?,
        trace_state: link.trace_state,
        flags: link.flags,
        attributes: attributes(link.attributes),
    })
}

fn trace_id(bytes: &[u8]) -> Result<TraceId, String> {
    match bytes.try_into().map(TraceId::from_bytes) {
        Ok(id) if id != TraceId::INVALID => Ok(id),
        _ => Err(format!("invalid trace id {bytes:02x?}")),
    }
}

fn span_id(bytes: &[u8]) -> Result<SpanId, String> {
    match bytes.try_into().map(SpanId::from_bytes) {
        Ok(id) if id != SpanId::INVALID => Ok(id),
        _ => Err(format!("invalid span id {bytes:02x?}")),
    }
}

fn time(unix_nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_nanos)
}

fn attributes(attributes: Vec<common::KeyValue>) -> Vec<Attribute> {
    attributes.into_iter().map(|kv| (kv.key, Value::from(kv.value))).collect()
}

impl From<Option<common::AnyValue>> for Value {
    fn from(value: Option<common::AnyValue>) -> Self {
        match value.and_then(|value| value.value) {
            None => Self::Empty,
            Some(any_value::Value::ArrayValue(array)) => {
                Self::Array(array.values.into_iter().map(|v| Self::from(Some(v))).collect())
            }
            Some(any_value::Value::BoolValue(value)) => Self::Bool(value),
            Some(any_value::Value::BytesValue(value)) => Self::Bytes(value),
            Some(any_value::Value::DoubleValue(value)) => Self::Double(value),
            Some(any_value::Value::IntValue(value)) => Self::Int(value),
            Some(any_value::Value::KvlistValue(list)) => Self::Map(attributes(list.values)),
            Some(any_value::Value::StringValue(value)) => Self::String(value),
            // Of the profiles signal: an index into a dictionary that traces do not have.
            Some(any_value::Value::StringValueStrindex(_)) => Self::Empty,
        }
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        matches!(self, Self::String(value) if value == other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl PartialEq<i64> for Value {
    fn eq(&self, other: &i64) -> bool {
        matches!(self, Self::Int(value) if value == other)
    }
}

impl PartialEq<bool> for Value {
    fn eq(&self, other: &bool) -> bool {
        matches!(self, Self::Bool(value) if value == other)
    }
}

impl PartialEq<f64> for Value {
    fn eq(&self, other: &f64) -> bool {
        matches!(self, Self::Double(value) if value == other)
    }
}

/// Strings as they are; everything else in JSON's notation, bytes in hexadecimal.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Array(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "," })?;
                    value.fmt_nested(f)?;
                }
                f.write_str("]")
            }
            Self::Bool(value) => write!(f, "{value}"),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Double(value) => write!(f, "{value}"),
            Self::Empty => f.write_str("null"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Map(entries) => {
                f.write_str("{")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key:?}:", if i == 0 { "" } else { "," })?;
                    value.fmt_nested(f)?;
                }
                f.write_str("}")
            }
            Self::String(value) => f.write_str(value),
        }
    }
}

impl Value {
    fn fmt_nested(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(value) => write!(f, "{value:?}"),
            other => write!(f, "{other}"),
        }
    }
}
