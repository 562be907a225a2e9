//! The registry of semantic conventions, as far as it is about HTTP: whatever a test records has to
//! be in it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use opentelemetry::trace::SpanKind;
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

const ATTRIBUTES: &str = include_str!("../conformance/semconv-1.42.0.tsv");
const METRICS: &str = include_str!("../conformance/metrics-1.42.0.tsv");

/// An attribute of HTTP spans.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) r#type: &'static str,
    pub(crate) stability: &'static str,
    pub(crate) server: &'static str,
    pub(crate) client: &'static str,
    /// Why it is not recorded; `-` if it is.
    pub(crate) why_not: &'static str,
}

impl Attribute {
    pub(crate) fn level(&self, kind: &SpanKind) -> &'static str {
        if *kind == SpanKind::Server { self.server } else { self.client }
    }
}

/// An HTTP metric.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) instrument: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) stability: &'static str,
    pub(crate) level: &'static str,
    /// The requirement level of each.
    pub(crate) attributes: BTreeMap<&'static str, &'static str>,
    /// Why it is not measured; `-` if it is.
    pub(crate) why_not: &'static str,
}

pub(crate) static SPAN_ATTRIBUTES: LazyLock<BTreeMap<&str, Attribute>> = LazyLock::new(|| {
    rows(ATTRIBUTES, |[name, r#type, stability, server, client, why_not]| {
        (name, Attribute { r#type, stability, server, client, why_not })
    })
});

pub(crate) static HTTP_METRICS: LazyLock<BTreeMap<&str, Metric>> = LazyLock::new(|| {
    rows(METRICS, |[name, instrument, unit, stability, level, attributes, why_not]| {
        let attributes = attributes.split(' ').map(|attribute| match attribute.split_once(':') {
            Some((name, level)) => (name, level),
            None => panic!("{attribute} of {name} has no level"),
        });
        let attributes = attributes.collect();
        (name, Metric { instrument, unit, stability, level, attributes, why_not })
    })
});

fn rows<R, const COLUMNS: usize>(
    table: &'static str,
    read: impl Fn([&'static str; COLUMNS]) -> (&'static str, R),
) -> BTreeMap<&'static str, R> {
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let columns: Vec<_> = row.split('\t').collect();
        read(columns.try_into().unwrap_or_else(|_| panic!("{row:?} has not {COLUMNS} columns")))
    })
    .collect()
}

/// What the tests record on requests themselves.
const OF_THE_TESTS: [&str; 10] = [
    "amount",
    "answer",
    "key",
    "ok",
    "order.id",
    "order.kind",
    "path.length",
    "region",
    "tier",
    "to",
];

/// What layers add to each span, and the conventions know apart from HTTP.
const OF_LAYERS: [&str; 6] = ["busy_ns", "code.", "idle_ns", "level", "target", "thread."];

/// The registry's name for a key: that of a header is a prefix.
pub(crate) fn name_of(key: &str) -> &str {
    for prefix in ["http.request.header.", "http.response.header."] {
        if key.starts_with(prefix) {
            return &key[..prefix.len()];
        }
    }
    key
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::I64(_) => "int",
        Value::Array(Array::String(_)) => "string[]",
        _ => "of no type of the registry",
    }
}

/// Every attribute of a request's span is one of the registry's, of its type, and every one that is
/// required is there.
pub(crate) fn check_span(span: &SpanData) {
    if !matches!(span.span_kind, SpanKind::Client | SpanKind::Server) {
        return;
    }
    for KeyValue { key, value, .. } in &span.attributes {
        let name = name_of(key.as_str());
        let Some(row) = SPAN_ATTRIBUTES.get(name) else {
            let is_known = OF_THE_TESTS.contains(&name)
                || OF_LAYERS.iter().any(|known| name.starts_with(known));
            assert!(is_known, "{key} is not in the registry");
            continue;
        };
        assert_eq!(type_of(value), row.r#type, "{key}={value}");
        assert_ne!(row.level(&span.span_kind), "-", "{key} on {:?}", span.span_kind);
        assert_eq!(row.why_not, "-", "{key} is recorded");
    }
    for (name, row) in SPAN_ATTRIBUTES.iter() {
        let is_there = || span.attributes.iter().any(|kv| kv.key.as_str() == *name);
        assert!(row.level(&span.span_kind) != "required" || is_there(), "{name} is missing");
    }
}

/// The same for a measurement.
pub(crate) fn check_measurement(name: &str, attributes: &[KeyValue]) {
    let metric = HTTP_METRICS.get(name).unwrap_or_else(|| panic!("{name} is not in the registry"));
    assert_eq!(metric.why_not, "-", "{name} is measured");
    for KeyValue { key, value, .. } in attributes {
        if !metric.attributes.contains_key(key.as_str()) {
            assert!(OF_THE_TESTS.contains(&key.as_str()), "{name} has {key}");
            continue;
        }
        let row = &SPAN_ATTRIBUTES[key.as_str()];
        assert_eq!(type_of(value), row.r#type, "{name}: {key}={value}");
    }
    for (key, _) in metric.attributes.iter().filter(|(_, level)| **level == "required") {
        assert!(attributes.iter().any(|kv| kv.key.as_str() == *key), "{name} has no {key}");
    }
}
