//! Records of JSON loggers and collectors.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::marker;
use super::text::Nanos;
use super::time;
use super::unwrap::Layer;

/// Keys under which loggers and collectors put the text, in the order of preference.
const TEXT_KEYS: [&str; 8] =
    ["log", "msg", "message", "MESSAGE", "textPayload", "body", "line", "_raw"];
const TIME_KEYS: [&str; 5] = ["time", "ts", "timestamp", "@timestamp", "__REALTIME_TIMESTAMP"];
const SOURCE_KEYS: [&str; 5] =
    ["stream", "_HOSTNAME", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "_PID"];

/// Texts of a record are compared with each other up to this many bytes.
const MAX_COMPARED: usize = 64 << 20;

/// Docker splits lines that are longer, and ends all parts but the last without a line break.
const DOCKERS_PART: usize = 16 << 10;

/// What a record says. Where the text of a block is in values besides the usual one, it is in
/// [`Layer::others`], so that it does not matter what a logger calls it.
pub(super) fn json(text: &str) -> Layer<'_> {
    let broken = || Layer { is_broken: true, ..Layer::of(text, None, "") };
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else { return broken() };
    // Some collectors keep the record one level further down.
    let nested = object.values().filter_map(Value::as_object);
    let objects: Vec<_> = std::iter::once(&object).chain(nested).collect();
    let find = |is_wanted: fn(&str) -> bool| {
        objects.iter().find_map(|inner| Some((*inner, message(inner, is_wanted)?)))
    };
    let found = find(marker::may_be_in).or_else(|| find(|_| true));
    let (inner, message) = found.unwrap_or((&object, String::new()));
    let mut others = Vec::new();
    let mut budget = MAX_COMPARED;
    for (key, value) in &object {
        find_others(key, value, &message, &mut others, &mut budget);
    }
    let at = [inner, &object]
        .into_iter()
        .find_map(|object| TIME_KEYS.iter().find_map(|key| object.get(*key).and_then(moment)));
    let source: Vec<_> =
        SOURCE_KEYS.iter().filter_map(|key| object.get(*key).and_then(Value::as_str)).collect();
    let is_partial = is_part(inner, &message);
    let message = message.strip_suffix('\n').map(str::to_owned).unwrap_or(message);
    Layer {
        text: Cow::Owned(message),
        at,
        source: Cow::Owned(source.join(" ")),
        is_partial,
        is_broken: false,
        others,
    }
}

/// Whether the next record of the stream goes on with the line.
fn is_part(object: &Map<String, Value>, message: &str) -> bool {
    match object.get("logtag").and_then(Value::as_str) {
        // As in a container runtime's own files.
        Some(tags) => tags.split(':').next() == Some("P"),
        // Docker's parts are as long as can be; what is shorter has lost its line break elsewhere.
        None => {
            object.contains_key("log")
                && object.contains_key("stream")
                && !message.ends_with('\n')
                && message.len() >= DOCKERS_PART
        }
    }
}

/// The text of a record, if it is wanted.
fn message(object: &Map<String, Value>, is_wanted: fn(&str) -> bool) -> Option<String> {
    TEXT_KEYS.iter().find_map(|key| {
        let text = match object.get(*key)? {
            Value::String(text) => text.clone(),
            // journald writes bytes where the text is not UTF-8 or has control characters.
            Value::Array(bytes) => {
                let bytes: Option<Vec<u8>> = bytes
                    .iter()
                    .map(|byte| byte.as_u64().and_then(|byte| byte.try_into().ok()))
                    .collect();
                String::from_utf8_lossy(&bytes?).into_owned()
            }
            _ => return None,
        };
        is_wanted(&text).then_some(text)
    })
}

/// Texts in which a block may be, with their keys, unless they say what was found before. What is
/// compared for that comes off the `budget`; without any left all are taken for new.
fn find_others(
    key: &str,
    value: &Value,
    message: &str,
    others: &mut Vec<(String, String)>,
    budget: &mut usize,
) {
    match value {
        Value::String(text) => {
            let Some(at) = marker::from_first(text) else { return };
            // Collectors add copies, with and without wrappings.
            let mut is_known = |known: &str| {
                *budget = budget.saturating_sub(known.len() + 1);
                *budget == 0 || known.contains(at)
            };
            let is_copy = is_known(message) || others.iter().any(|(_, other)| is_known(other));
            if !is_copy || *budget == 0 {
                others.push((key.to_owned(), text.clone()));
            }
        }
        Value::Array(values) => {
            values.iter().for_each(|value| find_others(key, value, message, others, budget));
        }
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| find_others(key, value, message, others, budget));
        }
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

/// A time as JSON loggers have it: text, or a number of seconds, milli-, micro- or nanoseconds.
fn moment(value: &Value) -> Option<Nanos> {
    let number = match value {
        Value::String(text) => match time::rfc3339(text) {
            Some(at) => return Some(at),
            None => text.parse::<f64>().ok()?,
        },
        number => number.as_f64()?,
    };
    let scale = match number {
        1e8..1e11 => 1e9,
        1e11..1e14 => 1e6,
        1e14..1e17 => 1e3,
        1e17..9e18 => 1.0,
        _ => return None,
    };
    // In range, as just checked. A number of this size is exact to the microsecond at best.
    Some((number * scale / 1e3).round() as Nanos * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(record: &str) -> Vec<String> {
        let layer = json(record);
        let first = (!layer.text.is_empty()).then(|| layer.text.clone().into_owned());
        first.into_iter().chain(layer.others.into_iter().map(|(_, text)| text)).collect()
    }

    #[test]
    fn a_block_is_found_under_any_key() {
        for (record, expected) in [
            (r#"{"event":"Trace[1]: x"}"#, &["Trace[1]: x"][..]),
            (r#"{"msg":"slow","trace":"Trace[1]: x"}"#, &["slow", "Trace[1]: x"]),
            (r#"{"log":"slow","message":"Trace[1]: x"}"#, &["Trace[1]: x"]),
            (
                r#"{"a":{"b":{"c":["Trace[1]: x","y","Trace[1]: z"]}}}"#,
                &["Trace[1]: x", "Trace[1]: z"],
            ),
            (r#"{"line":"Trace \"List\" (started x):","v":1}"#, &["Trace \"List\" (started x):"]),
            (r#"{"msg":"x","stack":"Traceback"}"#, &["x"]),
        ] {
            assert_eq!(texts(record), expected, "{record}");
        }
    }

    #[test]
    fn copies_of_a_block_are_not_other_blocks() {
        let record = r#"{"message":"Trace[1]: x","event":{"original":"I0322 a.go:1] Trace[1]: x\n"},"_raw":"Trace[1]: x"}"#;
        assert_eq!(texts(record), ["Trace[1]: x"]);
    }

    #[test]
    fn very_many_texts_take_no_longer_than_they_are() {
        // In full it would be 20 billion comparisons.
        let values: Vec<_> = (0..200_000).map(|n| format!("\"Trace[{n}]: x\"")).collect();
        let found = texts(&format!("{{\"a\":[{}]}}", values.join(",")));
        assert_eq!(found.len(), values.len());
    }

    #[test]
    fn a_part_of_a_line_is_told_by_its_tag_or_its_size() {
        let long = "x".repeat(DOCKERS_PART);
        for (record, expected) in [
            (format!(r#"{{"log":"{long}","stream":"stderr"}}"#), true),
            (format!(r#"{{"log":"{long}\n","stream":"stderr"}}"#), false),
            (format!(r#"{{"log":"{long}","stream":"stderr","logtag":"F"}}"#), false),
            (format!(r#"{{"log":"{long}"}}"#), false),
            (r#"{"log":"Tra","stream":"stderr"}"#.to_owned(), false),
            (r#"{"log":"Tra","stream":"stderr","logtag":"P"}"#.to_owned(), true),
            (r#"{"message":"Tra\n","logtag":"P:x"}"#.to_owned(), true),
        ] {
            let end = record.len().saturating_sub(40);
            assert_eq!(json(&record).is_partial, expected, "{}", &record[end..]);
        }
    }
}
