//! What other programs put around a line: container runtimes, journald, JSON loggers.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use super::text::{self, Nanos};
use super::time::{self, HeaderTime};

/// What was logged, without its wrappings.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record<'a> {
    /// One line, or several where the wrapping can hold them.
    pub(super) text: Cow<'a, str>,
    /// When the wrapping says that it was logged.
    pub(super) at: Option<Nanos>,
    /// Tells apart what wrote to the same file: processes, standard output and error.
    pub(super) stream: u64,
    /// The runtime has split a long line; the next record of the stream continues it.
    pub(super) is_partial: bool,
    /// It looks like JSON and is not.
    pub(super) is_broken: bool,
}

/// JSON in a runtime's line in journald's is three.
const MAX_WRAPPINGS: usize = 4;

pub(super) fn unwrap(line: &str) -> Record<'_> {
    let mut stream = DefaultHasher::new();
    let mut record = Record {
        text: Cow::Borrowed(line.strip_suffix('\r').unwrap_or(line)),
        at: None,
        stream: 0,
        is_partial: false,
        is_broken: false,
    };
    for _ in 0..MAX_WRAPPINGS {
        let layer = match &record.text {
            Cow::Borrowed(text) => peel(text),
            Cow::Owned(text) => peel(text).map(Layer::into_owned),
        };
        let Some(layer) = layer else { break };
        record.at = layer.at.or(record.at);
        record.is_partial |= layer.is_partial;
        record.is_broken |= layer.is_broken;
        if !layer.source.is_empty() {
            layer.source.hash(&mut stream);
        }
        record.text = layer.text;
        // Half of a JSON object is none yet.
        if layer.is_broken || layer.is_partial {
            break;
        }
    }
    record.stream = stream.finish();
    record
}

/// One wrapping and what is in it.
struct Layer<'a> {
    text: Cow<'a, str>,
    at: Option<Nanos>,
    source: Cow<'a, str>,
    is_partial: bool,
    is_broken: bool,
}

impl<'a> Layer<'a> {
    fn of(text: &'a str, at: Option<Nanos>, source: &'a str) -> Self {
        let (text, source) = (Cow::Borrowed(text), Cow::Borrowed(source));
        Self { text, at, source, is_partial: false, is_broken: false }
    }

    fn into_owned(self) -> Layer<'static> {
        Layer {
            text: Cow::Owned(self.text.into_owned()),
            source: Cow::Owned(self.source.into_owned()),
            at: self.at,
            is_partial: self.is_partial,
            is_broken: self.is_broken,
        }
    }
}

fn peel(text: &str) -> Option<Layer<'_>> {
    if text.starts_with('{') {
        return Some(json(text));
    }
    if text.contains('\n') {
        return None;
    }
    stamped(text).or_else(|| syslog(text))
}

/// A line that begins with an unambiguous time: a container runtime's (`T stderr F text`),
/// `journalctl -o short-iso` (`T host unit[1]: text`), or `kubectl logs --timestamps` (`T text`).
fn stamped(text: &str) -> Option<Layer<'_>> {
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let (time, rest) = text.split_once(' ')?;
    let at = Some(time::rfc3339(time)?);
    let mut words = rest.splitn(3, ' ');
    if let (Some(source @ ("stdout" | "stderr")), Some(tags)) = (words.next(), words.next()) {
        let is_partial = match tags.split(':').next() {
            Some("F") => false,
            Some("P") => true,
            _ => return Some(Layer::of(rest, at, "")),
        };
        let text = words.next().unwrap_or("");
        return Some(Layer { is_partial, ..Layer::of(text, at, source) });
    }
    Some(match host_and_unit(rest) {
        Some((source, text)) => Layer::of(text, at, source),
        None => Layer::of(rest, at, ""),
    })
}

/// `Mar 22 23:02:24 host unit[1]: text`, with neither year nor zone.
fn syslog(text: &str) -> Option<Layer<'_>> {
    let month = text.get(..4)?;
    let is_month = month.ends_with(' ') && time::is_month(&month[..3]);
    let day_and_time = text.get(4..)?.trim_start_matches(' ');
    let (day, rest) = day_and_time.split_once(' ').filter(|_| is_month)?;
    let (time, rest) = rest.split_once(' ')?;
    let is_time = day.parse::<u8>().is_ok() && time::is_clock(time);
    let (source, text) = host_and_unit(rest).filter(|_| is_time)?;
    Some(Layer::of(text, None, source))
}

/// Splits `host unit[1]: text`.
fn host_and_unit(text: &str) -> Option<(&str, &str)> {
    let (host, rest) = text.split_once(' ')?;
    let (unit, message) = rest.split_once(": ").or_else(|| Some((rest.strip_suffix(':')?, "")))?;
    let is_word = |word: &str| !word.is_empty() && !word.contains([' ', '"', ':', '{']);
    (is_word(host) && is_word(unit)).then(|| (&text[..host.len() + 1 + unit.len()], message))
}

/// Keys under which loggers and collectors put the text, in the order of preference.
const TEXT_KEYS: [&str; 8] =
    ["log", "msg", "message", "MESSAGE", "textPayload", "body", "line", "_raw"];
const TIME_KEYS: [&str; 5] = ["time", "ts", "timestamp", "@timestamp", "__REALTIME_TIMESTAMP"];
const SOURCE_KEYS: [&str; 5] =
    ["stream", "_HOSTNAME", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "_PID"];

fn json(text: &str) -> Layer<'_> {
    let broken = || Layer { is_broken: true, ..Layer::of(text, None, "") };
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else { return broken() };
    // Some collectors keep the record one level further down.
    let nested = object.values().filter_map(Value::as_object);
    let found =
        std::iter::once(&object).chain(nested).find_map(|object| Some((object, message(object)?)));
    let Some((inner, message)) = found else {
        return Layer::of("", None, "");
    };
    let at = [inner, &object]
        .into_iter()
        .find_map(|object| TIME_KEYS.iter().find_map(|key| object.get(*key).and_then(moment)));
    let source: Vec<_> =
        SOURCE_KEYS.iter().filter_map(|key| object.get(*key).and_then(Value::as_str)).collect();
    // Docker ends each line with its newline, and a part of a line without.
    let is_docker = inner.contains_key("log") && inner.contains_key("stream");
    let is_partial = is_docker && !message.ends_with('\n');
    let message = message.strip_suffix('\n').map(str::to_owned).unwrap_or(message);
    Layer {
        text: Cow::Owned(message),
        at,
        source: Cow::Owned(source.join(" ")),
        is_partial,
        is_broken: false,
    }
}

fn message(object: &Map<String, Value>) -> Option<String> {
    TEXT_KEYS.iter().find_map(|key| match object.get(*key)? {
        Value::String(text) => Some(text.clone()),
        // journald writes bytes where the text is not UTF-8 or has control characters.
        Value::Array(bytes) => {
            let bytes: Option<Vec<u8>> = bytes
                .iter()
                .map(|byte| byte.as_u64().and_then(|byte| byte.try_into().ok()))
                .collect();
            Some(String::from_utf8_lossy(&bytes?).into_owned())
        }
        _ => None,
    })
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

/// A line of a block, or the text in which one begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Marked<'a> {
    /// `None` in the oldest format.
    pub(super) number: Option<u32>,
    /// What follows `Trace[n]: `.
    pub(super) text: &'a str,
    /// The time in klog's header, which only the first line of a block has.
    pub(super) header: Option<HeaderTime>,
    /// What else comes before it on the line, such as the name of a pod.
    pub(super) tag: &'a str,
}

/// Finds `Trace[123]: ` or, at the beginning of a message, `Trace "name" (started `.
pub(super) fn find_marker(line: &str) -> Option<Marked<'_>> {
    line.match_indices("Trace").find_map(|(at, word)| {
        let rest = &line[at + word.len()..];
        let (number, text) = match rest.strip_prefix('[') {
            Some(rest) => {
                // No further than a number is long: a line may be megabytes.
                let digits = rest.bytes().take(20).take_while(u8::is_ascii_digit).count();
                let (number, text) = rest.split_at(digits);
                let text = text.strip_prefix("]:")?;
                (Some(number.parse().ok()?), text.strip_prefix(' ').unwrap_or(text))
            }
            None => {
                let text = rest.strip_prefix(' ')?;
                let (_, after) = text::quoted(text)?;
                after.starts_with(" (started ").then_some((None, text))?
            }
        };
        let (tag, header) = split_header(&line[..at]);
        Some(Marked { number, text, header, tag })
    })
}

/// Splits klog's header, `I0322 23:02:24.357225    4562 trace.go:205] `, off the end.
fn split_header(prefix: &str) -> (&str, Option<HeaderTime>) {
    let Some(inside) = prefix.strip_suffix("] ") else { return (prefix, None) };
    let mut words = inside.rsplit(' ').filter(|word| !word.is_empty());
    let (Some(_place), Some(_pid)) = (words.next(), words.next()) else { return (prefix, None) };
    let (Some(time), Some(date)) = (words.next(), words.next()) else { return (prefix, None) };
    let parsed =
        date.strip_prefix(['I', 'W', 'E', 'F']).and_then(|date| HeaderTime::parse(date, time));
    match (parsed, prefix.find(date)) {
        (Some(header), Some(at)) => (&prefix[..at], Some(header)),
        _ => (prefix, None),
    }
}

/// Turns a message that a logger has quoted, as klog does with those of structured loggers, back
/// into its lines: `I0609 ... x.go:1] "Trace[1]: \"root\" ...\nTrace[1]: ..."`.
pub(super) fn unquote(text: &str) -> Option<String> {
    let at = text.find("\"Trace[")?;
    let (message, _) = text::quoted(&text[at..])?;
    find_marker(&message)?;
    Some(format!("{}{message}", &text[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Nanos = 1_616_454_144_357_225_000;

    fn check<'a>(line: &'a str, text: &str, at: Option<Nanos>) -> Record<'a> {
        let record = unwrap(line);
        assert_eq!((&*record.text, record.at), (text, at), "{line}");
        record
    }

    #[test]
    fn wrappings_come_off() {
        check("Trace[1]: x", "Trace[1]: x", None);
        check("2021-03-22T23:02:24.357225Z stderr F Trace[1]:  x ", "Trace[1]:  x ", Some(AT));
        check(
            "2021-03-23T01:02:24.357225+0200 node k3s[4562]: Trace[1]: x",
            "Trace[1]: x",
            Some(AT),
        );
        check("2021-03-22T23:02:24.357225Z I0322 x", "I0322 x", Some(AT));
        check("Mar  2 23:02:24 node k3s[4562]: Trace[1]: x", "Trace[1]: x", None);
        check("Mar 22 23:02:24.357225 node kube-apiserver: x: y", "x: y", None);
        check(
            r#"{"log":"Trace[1]: x\n","stream":"stderr","time":"2021-03-22T23:02:24.357225Z"}"#,
            "Trace[1]: x",
            Some(AT),
        );
        check(r#"{"ts":1616454144357.225,"msg":"a\nb\n","v":0}"#, "a\nb", Some(AT));
        check(r#"{"__REALTIME_TIMESTAMP":"1616454144357225","MESSAGE":"x"}"#, "x", Some(AT));
        check(r#"{"MESSAGE":[84,114]}"#, "Tr", None);
        check(
            r#"{"timestamp":"2021-03-22T23:02:24.357225Z","jsonPayload":{"message":"x"}}"#,
            "x",
            Some(AT),
        );
        check(r#"2021-03-22T23:02:24.357225Z stderr F {"msg":"x"}"#, "x", Some(AT));
        check("Mar 22 23:02:24 node k3s[1]: {\"msg\":\"x\"}", "x", None);
    }

    #[test]
    fn parts_of_a_line_say_so() {
        assert!(unwrap("2021-03-22T23:02:24Z stderr P Tra").is_partial);
        assert!(!unwrap("2021-03-22T23:02:24Z stderr F:tag ce").is_partial);
        assert!(unwrap(r#"{"log":"Tra","stream":"stderr"}"#).is_partial);
        assert!(!unwrap(r#"{"log":"Tra"}"#).is_partial);
    }

    #[test]
    fn streams_are_told_apart() {
        let stream = |line| unwrap(line).stream;
        let apiserver = stream("Mar 22 23:02:24 node k3s[1]: x");
        assert_eq!(apiserver, stream("Mar 22 23:02:25 node k3s[1]: y"));
        assert_ne!(apiserver, stream("Mar 22 23:02:24 node k3s[2]: x"));
        assert_ne!(
            stream("2021-03-22T23:02:24Z stderr F x"),
            stream("2021-03-22T23:02:24Z stdout F x")
        );
    }

    #[test]
    fn broken_json_says_so() {
        assert!(unwrap(r#"{"log":"Trace[1]: x"#).is_broken);
        assert!(!unwrap("[1]").is_broken);
    }

    #[test]
    fn markers() {
        let found = find_marker("I0322 23:02:24.357225    4562 trace.go:205] Trace[13]: \"Get\" x")
            .unwrap();
        assert_eq!((found.number, found.text, found.tag), (Some(13), "\"Get\" x", ""));
        assert!(found.header.is_some());
        let found = find_marker("pod-a apiserver Trace[13]:  ---\"x\"").unwrap();
        assert_eq!(
            (found.number, found.text, found.tag),
            (Some(13), " ---\"x\"", "pod-a apiserver ")
        );
        let found =
            find_marker("Tracer I0331 10:42:39.1 1 trace.go:57] Trace \"List\" (started x):")
                .unwrap();
        assert_eq!(
            (found.number, found.text, found.tag),
            (None, "\"List\" (started x):", "Tracer ")
        );
        for line in
            ["Traceback", "Trace[x]: y", "Trace[1] y", "Trace \"x\" y", "Trace[99999999999]: x"]
        {
            assert_eq!(find_marker(line), None, "{line}");
        }
    }

    #[test]
    fn quoted_messages_are_unquoted() {
        let line = r#"I0609 16:26:38.981874 1 x.go:1] "Trace[1]: \"root\" (x)\nTrace[1]: y""#;
        let expected = "I0609 16:26:38.981874 1 x.go:1] Trace[1]: \"root\" (x)\nTrace[1]: y";
        assert_eq!(unquote(line).as_deref(), Some(expected));
        assert_eq!(unquote("Trace[1]: \"x\""), None);
    }
}
