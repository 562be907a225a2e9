//! The callsites of random programs.

use std::error::Error;
use std::fmt;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId};
use opentelemetry::{Context, KeyValue};
use tracing::field::{Empty, debug};
use tracing::span::Id;
use tracing::{Span, error, error_span, info, info_span, warn};

use crate::program::{EventKind, Site, Value};

/// A parent as `tracing`'s macros are told: none said, or a root, or a span.
pub(crate) type Explicit = Option<Option<Id>>;

/// Contexts of other processes: sampled, not sampled, with trace state.
pub(crate) const REMOTES: u8 = 3;

pub(crate) fn remote(number: u8) -> SpanContext {
    let number = number % REMOTES;
    let state = if number == 2 { "a=1,b=2" } else { "" };
    SpanContext::new(
        TraceId::from(0x1000 + u128::from(number)),
        SpanId::from(0x100 + u64::from(number)),
        TraceFlags::new(u8::from(number != 1)),
        true,
        state.parse().unwrap(),
    )
}

pub(crate) fn remote_context(number: u8) -> Context {
    Context::new().with_remote_span_context(remote(number))
}

/// An error with so many sources.
#[derive(Debug)]
struct Failure(Option<Box<Self>>);

impl Failure {
    fn with_sources(sources: u8) -> Self {
        Self(sources.checked_sub(1).map(|left| Box::new(Self::with_sources(left))))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "failed because of another" } else { "failed first" })
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}

/// The values that a span is made with, the last one of each kind.
#[derive(Default)]
struct Initial<'a> {
    bool: Option<bool>,
    debug: Option<Option<i8>>,
    error: Option<Failure>,
    float: Option<f64>,
    int: Option<i64>,
    kind: Option<&'a str>,
    name: Option<&'a str>,
    status_code: Option<&'a str>,
    status_description: Option<&'a str>,
    text: Option<&'a str>,
    unsigned: Option<u64>,
    wide: Option<i128>,
}

impl<'a> Initial<'a> {
    fn new(values: &'a [Value]) -> Self {
        let mut initial = Self::default();
        for value in values {
            match value {
                Value::Bool(value) => initial.bool = Some(*value),
                Value::Debug(value) => initial.debug = Some(*value),
                Value::Error(sources) => initial.error = Some(Failure::with_sources(*sources)),
                Value::Float(value) => initial.float = Some(*value),
                Value::Int(value) => initial.int = Some(*value),
                Value::Kind(kind) => initial.kind = Some(kind),
                Value::Name(name) => initial.name = Some(name),
                Value::StatusCode(code) => initial.status_code = Some(code),
                Value::StatusDescription(text) => initial.status_description = Some(text),
                Value::Text(text) => initial.text = Some(text),
                Value::Unsigned(value) => initial.unsigned = Some(*value),
                Value::Wide(value) => initial.wide = Some(*value),
            }
        }
        initial
    }
}

/// A span with the number `n`. Every way to make one stands on the same line, which it tells.
pub(crate) fn new_span(site: Site, explicit: Explicit, n: i64, values: &[Value]) -> Span {
    macro_rules! span {
        ($macro:ident, $name:literal, $initial:ident) => {
            match explicit {
                None => span!(@ $macro, $name, $initial,),
                Some(parent) => span!(@ $macro, $name, $initial, parent: parent,),
            }
        };
        (@ $macro:ident, $name:literal, $initial:ident, $($parent:tt)*) => {
            $macro!(
                $($parent)*
                $name,
                n,
                b = $initial.bool,
                d = $initial.debug.map(debug),
                e = $initial.error.as_ref().map(|error| error as &(dyn Error + 'static)),
                f = $initial.float,
                i = $initial.int,
                s = $initial.text,
                u = $initial.unsigned,
                w = $initial.wide,
                never = Empty,
                otel.kind = $initial.kind,
                otel.name = $initial.name,
                otel.status_code = $initial.status_code,
                otel.status_description = $initial.status_description,
            )
        };
    }
    let initial = Initial::new(values);
    match site {
        Site::Failure => span!(error_span, "failure", initial),
        Site::Request => span!(info_span, "request", initial),
    }
}

pub(crate) fn record(span: &Span, value: &Value) {
    match value {
        Value::Bool(value) => span.record("b", *value),
        Value::Debug(value) => span.record("d", debug(value)),
        Value::Error(sources) => {
            let error = Failure::with_sources(*sources);
            span.record("e", &error as &(dyn Error + 'static))
        }
        Value::Float(value) => span.record("f", *value),
        Value::Int(value) => span.record("i", *value),
        Value::Kind(kind) => span.record("otel.kind", *kind),
        Value::Name(name) => span.record("otel.name", name.as_str()),
        Value::StatusCode(code) => span.record("otel.status_code", *code),
        Value::StatusDescription(text) => span.record("otel.status_description", text.as_str()),
        Value::Text(text) => span.record("s", text.as_str()),
        Value::Unsigned(value) => span.record("u", *value),
        Value::Wide(value) => span.record("w", *value),
    };
}

pub(crate) fn event(kind: &EventKind, explicit: Explicit) {
    macro_rules! event {
        ($macro:ident, $($rest:tt)*) => {
            match explicit {
                None => $macro!($($rest)*),
                Some(parent) => $macro!(parent: parent, $($rest)*),
            }
        };
    }
    match kind {
        EventKind::Caused(sources) => {
            let error = Failure::with_sources(*sources);
            let error = &error as &(dyn Error + 'static);
            event!(warn, e = error, "caused");
        }
        EventKind::Failed => event!(error, "failed"),
        EventKind::Plain(i, text) => event!(info, i, s = %text, "plain {i}"),
        EventKind::Returned(text) => event!(error, error = %text),
        EventKind::ReturnedText(text) => event!(info, error = text.as_str()),
        EventKind::Unnamed(b) => event!(info, b = *b),
    }
}

pub(crate) fn attributes(pairs: &[(&'static str, i64)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect()
}
