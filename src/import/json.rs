//! Records of JSON loggers and collectors.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use memchr::{memchr, memchr2};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::marker;
use super::text::Nanos;
use super::time;
use super::unwrap::{Flaw, Layer, Other};

/// Keys under which loggers and collectors put the text, in the order of preference.
const TEXT_KEYS: [&str; 8] =
    ["log", "msg", "message", "MESSAGE", "textPayload", "body", "line", "_raw"];
const TIME_KEYS: [&str; 5] = ["time", "ts", "timestamp", "@timestamp", "__REALTIME_TIMESTAMP"];
/// Keys that tell writers apart, at the top or in one of [`SOURCE_OBJECTS`].
const SOURCE_KEYS: [&str; 14] = [
    "stream",
    "_HOSTNAME",
    "SYSLOG_IDENTIFIER",
    "_SYSTEMD_UNIT",
    "_PID",
    "namespace_name",
    "namespace",
    "pod_name",
    "pod",
    "container_name",
    "container_id",
    "container",
    "hostname",
    "host",
];
const SOURCE_OBJECTS: [&str; 3] = ["/kubernetes", "/docker", "/resource/labels"];

/// Texts of a record are compared with each other up to this many bytes.
const MAX_COMPARED: usize = 64 << 20;

/// The values of a record take no more memory than about this, but for what their texts are.
const MAX_WEIGHT: usize = 32 << 20;
/// What a value takes, and the tree that the keys of an object are in, in bytes.
const VALUE: usize = 64;
const KEYS: usize = 1024;

/// Docker splits lines that are longer, and ends all parts but the last without a line break.
const DOCKERS_PART: usize = 16 << 10;

/// Whether this begins as an object: names may be in braces, too, such as Prometheus' labels.
pub(super) fn is_object(text: &str) -> bool {
    let inside = text.strip_prefix('{').map(str::trim_start);
    inside.is_some_and(|inside| inside.is_empty() || inside.starts_with(['"', '}']))
}

/// Where the object ends that the text begins with, if something else follows it.
pub(super) fn end_of_first(text: &str) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next().filter(|_| is_object(text))?.ok()?;
    Some(values.byte_offset()).filter(|end| !text[*end..].trim_start().is_empty())
}

/// What a record says, if anything. Where the text of a block is in values besides the usual one, it
/// is in [`Layer::others`], so that it does not matter what a logger calls it.
pub(super) fn json(text: &str) -> Option<Layer<'_>> {
    let flawed = |flaw| Some(Layer { flaw: Some(flaw), ..Layer::of(text, None, "") });
    if is_too_much(text) {
        return flawed(Flaw::TooMuch);
    }
    // A record may be one of a list, line by line.
    let text = text.trim_end().strip_suffix("},").map_or(text, |record| &text[..=record.len()]);
    let Ok(record) = serde_json::from_str::<Value>(text) else { return flawed(Flaw::Broken) };
    let Some(object) = record.as_object() else { return flawed(Flaw::Broken) };
    // Some collectors keep the record one level further down.
    let nested = object.values().filter_map(Value::as_object);
    let objects: Vec<_> = std::iter::once(object).chain(nested).collect();
    let find = |is_wanted: fn(&str) -> bool| {
        objects.iter().find_map(|inner| Some((*inner, message(inner, is_wanted)?)))
    };
    let found = find(marker::may_be_in).or_else(|| find(|_| true));
    let is_said = found.is_some();
    let (inner, message) = found.unwrap_or((object, String::new()));
    let others = others(text, &message);
    let at = [inner, object]
        .into_iter()
        .find_map(|object| TIME_KEYS.iter().find_map(|key| object.get(*key).and_then(moment)));
    let source = source(&record);
    let is_partial = is_part(inner, &message);
    let is_found = marker::may_be_in(&message) || !others.is_empty();
    let flaw = (!is_found && marker::find(text).is_some()).then_some(Flaw::Hidden);
    if flaw.is_some() {
        return flawed(Flaw::Hidden);
    }
    let message = message.strip_suffix('\n').map(str::to_owned).unwrap_or(message);
    let (text, source) = (Cow::Owned(message), Cow::Owned(source));
    let layer = Layer { text, at, source, is_partial, flaw: None, others };
    (is_said || !layer.others.is_empty()).then_some(layer)
}

/// Who wrote the record, as far as it says that.
fn source(record: &Value) -> String {
    let nested = SOURCE_OBJECTS.iter().filter_map(|path| record.pointer(path));
    let objects = std::iter::once(record).chain(nested);
    let words = objects.flat_map(|object| {
        SOURCE_KEYS.iter().filter_map(|key| object.get(key).and_then(Value::as_str))
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a record has so many values that memory would not stay flat: an object of three
/// characters takes some hundred times as much.
fn is_too_much(text: &str) -> bool {
    // Most records are so short that this need not be asked.
    if text.len() / 8 * KEYS <= MAX_WEIGHT {
        return false;
    }
    let (mut rest, mut weight) = (text.as_bytes(), 0);
    loop {
        let string = memchr(b'"', rest).unwrap_or(rest.len());
        let values = rest[..string].iter().map(|byte| match byte {
            b'{' => KEYS,
            b',' | b'[' => VALUE,
            _ => 0,
        });
        weight += values.sum::<usize>();
        if weight > MAX_WEIGHT || string == rest.len() {
            return weight > MAX_WEIGHT;
        }
        rest = after_string(&rest[string + 1..]);
    }
}

/// What follows the quote that ends a string.
fn after_string(mut text: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', text) {
        if text[at] == b'"' {
            return &text[at + 1..];
        }
        text = text.get(at + 2..).unwrap_or_default();
    }
    &[]
}

fn hash(key: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
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

/// Texts in which a block may be, with hashes of their keys, unless they say what was found before.
fn others(record: &str, message: &str) -> Vec<Other> {
    if marker::words_in(record) <= marker::words_in(message) {
        return Vec::new();
    }
    let mut texts = Vec::new();
    let mut all = serde_json::Deserializer::from_str(record);
    // It has been read before.
    let _ = Texts { key: 0, found: &mut texts }.deserialize(&mut all);
    let mut others: Vec<Other> = Vec::new();
    // What is compared comes off this; without any left all are taken for new.
    let mut budget = MAX_COMPARED;
    for other in texts {
        let Some(at) = marker::from_first(&other.text) else { continue };
        // Collectors add copies, with and without wrappings.
        let mut is_known = |known: &str| {
            budget = budget.saturating_sub(known.len() + 1);
            budget == 0 || known.contains(at)
        };
        let is_copy = is_known(message) || others.iter().any(|other| is_known(&other.text));
        if !is_copy || budget == 0 {
            others.push(other);
        }
    }
    others
}

/// Collects all texts in which a block may be, also those under a key that comes again.
struct Texts<'a> {
    key: u64,
    found: &'a mut Vec<Other>,
}

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if marker::may_be_in(text) {
            self.found.push(Other { key: self.key, text: text.to_owned() });
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let (key, found) = (self.key, self.found);
        while values.next_element_seed(Texts { key, found: &mut *found })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        while let Some(key) = pairs.next_key::<String>()? {
            pairs.next_value_seed(Texts { key: hash(&key), found: &mut *self.found })?;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
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
        let layer = json(record).expect(record);
        let first = (!layer.text.is_empty()).then(|| layer.text.clone().into_owned());
        first.into_iter().chain(layer.others.into_iter().map(|other| other.text)).collect()
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
    fn the_first_of_several_records_ends_where_another_begins() {
        for (text, expected) in [
            (r#"{"a":{}} {"b":1}"#, Some(8)),
            (r#"{"a":{}}x"#, Some(8)),
            (r#"{"a":{}}  "#, None),
            (r#"{"a":{"#, None),
            (r#"{a="b"}{"#, None),
            ("1 2", None),
        ] {
            assert_eq!(end_of_first(text), expected, "{text}");
        }
        // The blanks at the end are looked at once, not for each record.
        let line = "{}".repeat(20_000) + &" ".repeat(8 << 20);
        let (start, mut rest) = (std::time::Instant::now(), &*line);
        while let Some(end) = end_of_first(rest) {
            rest = &rest[end..];
        }
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    #[test]
    fn very_many_texts_take_no_longer_than_they_are() {
        // In full it would be 20 billion comparisons.
        let values: Vec<_> = (0..200_000).map(|n| format!("\"Trace[{n}]: x\"")).collect();
        let found = texts(&format!("{{\"a\":[{}]}}", values.join(",")));
        assert_eq!(found.len(), values.len());
    }

    #[test]
    fn many_values_under_a_long_key_do_not_repeat_it() {
        // In full it would be 100 GB.
        let key = "k".repeat(1 << 20);
        let values = vec!["\"Trace[1]: x\"".to_owned(); 100_000].join(",");
        let text = format!("{{\"{key}\":[{values}]}}");
        assert_eq!(json(&text).unwrap().others.len(), 1);
        let values: Vec<_> = (0..100_000).map(|n| format!("\"Trace[{n}]: x\"")).collect();
        let text = format!("{{\"{key}\":[{}]}}", values.join(","));
        assert_eq!(json(&text).unwrap().others.len(), 100_000);
    }

    #[test]
    fn a_record_of_very_many_values_is_not_read() {
        for (value, count) in
            [("{}", 100_000), ("[]", 300_000), ("0", 600_000), ("{\"a\":0}", 40_000)]
        {
            let values = vec![value; count].join(",");
            let flaw = |text: &str| json(text).and_then(|layer| layer.flaw);
            assert_eq!(flaw(&format!("{{\"a\":[{values}]}}")), Some(Flaw::TooMuch), "{value}");
            let values = vec![value; 1_000].join(",");
            let long = "x".repeat(1 << 20);
            assert_eq!(flaw(&format!("{{\"a\":[{values}],\"b\":\"{long}\"}}")), None, "{value}");
        }
        // What is in a text is none: here its quotes and backslashes are escaped.
        let text = serde_json::json!({ "msg": "{\\\",[".repeat(300_000) }).to_string();
        assert_eq!(json(&text).unwrap().flaw, None);
        // Nor is anything left of one that does not end.
        assert_eq!(
            json(&format!("{{\"msg\":\"{}", "{\\".repeat(1 << 20))).unwrap().flaw,
            Some(Flaw::Broken)
        );
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
            assert_eq!(json(&record).unwrap().is_partial, expected, "{}", &record[end..]);
        }
    }
}
