//! Spans as the Collector's file exporter writes them: OTLP in its JSON encoding.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use serde_json::Value as Json;

#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// Empty for a root.
    pub(crate) parent_span_id: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) events: Vec<String>,
    start: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Client,
    Internal,
    Server,
    /// Any other number of the protocol.
    Other(u8),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("CLIENT"),
            Self::Internal => f.write_str("INTERNAL"),
            Self::Server => f.write_str("SERVER"),
            Self::Other(number) => write!(f, "kind {number}"),
        }
    }
}

/// An attribute value. The type is part of it: `"200"` is not `200`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    String(String),
    /// A double, an array or any other value, as the protocol wraps it.
    Other(Json),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "{value:?}"),
            Self::Other(value) => write!(f, "{value}"),
        }
    }
}

/// Reads one line, which is one export request.
pub(crate) fn parse(line: &str) -> Vec<Span> {
    let request: wire::Request =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("not OTLP: {error}: {line}"));
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let service = match attributes(resource_spans.resource.attributes).remove("service.name") {
            Some(Value::String(name)) => name,
            other => panic!("service.name is {other:?}: {line}"),
        };
        let of_resource = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(of_resource.map(|span| Span {
            service: service.clone(),
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_span_id: span.parent_span_id,
            name: span.name,
            kind: match span.kind {
                1 => Kind::Internal,
                2 => Kind::Server,
                3 => Kind::Client,
                other => Kind::Other(other),
            },
            attributes: attributes(span.attributes),
            events: span.events.into_iter().map(|event| event.name).collect(),
            start: span.start_time_unix_nano.parse().expect("a time is a decimal number"),
        }));
    }
    spans
}

fn attributes(pairs: Vec<wire::KeyValue>) -> BTreeMap<String, Value> {
    pairs
        .into_iter()
        .map(|wire::KeyValue { key, value }| {
            let int = value["intValue"].as_str().and_then(|digits| digits.parse().ok());
            let value = match (&value["stringValue"], &value["boolValue"], int) {
                (Json::String(text), ..) => Value::String(text.clone()),
                (_, Json::Bool(value), _) => Value::Bool(*value),
                (.., Some(number)) => Value::Int(number),
                _ => Value::Other(value),
            };
            (key, value)
        })
        .collect()
}

/// All spans, a tree for each trace, oldest first, for messages.
pub(crate) fn tree(spans: &[Span]) -> String {
    let mut spans: Vec<&Span> = spans.iter().collect();
    spans.sort_by_key(|span| span.start);
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    for first in &spans {
        if !seen.insert(&first.trace_id) {
            continue;
        }
        let trace: Vec<&Span> =
            spans.iter().filter(|span| span.trace_id == first.trace_id).copied().collect();
        writeln!(text, "trace {}", first.trace_id).expect("a String takes all that is written");
        for root in &trace {
            if !trace.iter().any(|span| span.span_id == root.parent_span_id) {
                branch(&mut text, root, &trace, 1);
            }
        }
    }
    if text.is_empty() { "no spans\n".to_owned() } else { text }
}

fn branch(text: &mut String, span: &Span, trace: &[&Span], depth: usize) {
    let indent = "  ".repeat(depth);
    let orphan = if depth == 1 && !span.parent_span_id.is_empty() {
        format!(" (parent {})", span.parent_span_id)
    } else {
        String::new()
    };
    let mut line = |what: fmt::Arguments<'_>| {
        writeln!(text, "{indent}{what}").expect("a String takes all that is written");
    };
    line(format_args!("{} {} `{}`{orphan}", span.service, span.kind, span.name));
    for (key, value) in &span.attributes {
        line(format_args!("  | {key} = {value}"));
    }
    for event in &span.events {
        line(format_args!("  | event {event:?}"));
    }
    for child in trace.iter().filter(|child| child.parent_span_id == span.span_id) {
        branch(text, child, trace, depth + 1);
    }
}

/// The parts of an export request that the tests look at.
mod wire {
    use serde::Deserialize;
    use serde_json::Value as Json;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Request {
        pub(super) resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct ResourceSpans {
        pub(super) resource: Resource,
        #[serde(default)]
        pub(super) scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Deserialize)]
    pub(super) struct Resource {
        #[serde(default)]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Deserialize)]
    pub(super) struct ScopeSpans {
        #[serde(default)]
        pub(super) spans: Vec<Span>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Span {
        pub(super) trace_id: String,
        pub(super) span_id: String,
        #[serde(default)]
        pub(super) parent_span_id: String,
        #[serde(default)]
        pub(super) name: String,
        #[serde(default)]
        pub(super) kind: u8,
        pub(super) start_time_unix_nano: String,
        #[serde(default)]
        pub(super) attributes: Vec<KeyValue>,
        #[serde(default)]
        pub(super) events: Vec<Event>,
    }

    #[derive(Deserialize)]
    pub(super) struct Event {
        pub(super) name: String,
    }

    #[derive(Deserialize)]
    pub(super) struct KeyValue {
        pub(super) key: String,
        #[serde(default)]
        pub(super) value: Json,
    }
}
