//! What other programs put around a line: container runtimes, journald, JSON loggers.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::json::{is_object, json};
use super::marker;
use super::source::{self, Stream};
use super::text::Nanos;
use super::time;

/// What was logged, without its wrappings.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record<'a> {
    /// One line, or several where the wrapping can hold them.
    pub(super) text: Cow<'a, str>,
    /// When the wrapping says that it was logged.
    pub(super) at: Option<Nanos>,
    /// Tells apart what wrote to the same file: processes, standard output and error.
    pub(super) stream: Stream,
    /// The runtime has split a long line; the next record of the stream continues it.
    pub(super) is_partial: bool,
    /// Why what is in it cannot be told.
    pub(super) flaw: Option<Flaw>,
    /// More texts in which a block may be.
    pub(super) others: Vec<Other>,
    /// The outermost.
    pub(super) wrapping: Wrapping,
    /// How many there were.
    pub(super) depth: usize,
}

/// What a line is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// As containerd and CRI-O do it.
    Cri,
    Json,
    /// It begins with what journald, syslog and others print.
    Line,
    None,
}

/// Why a wrapping cannot be taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It looks like JSON and is not.
    Broken,
    /// It would take too much memory.
    TooMuch,
    /// A block is in it, and in no value: in a key.
    Hidden,
}

/// A text besides the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Other {
    /// A hash of the key that it is under.
    pub(super) key: u64,
    pub(super) text: String,
}

/// JSON in a runtime's line in journald's is three.
const MAX_WRAPPINGS: usize = 4;
/// What names the writer of a JSON record before it is no longer.
const MAX_PREFIX: usize = 256;

pub(super) fn unwrap(line: &str) -> Record<'_> {
    unwrap_to(line, MAX_WRAPPINGS)
}

/// Takes no more than so many wrappings off.
pub(super) fn unwrap_to(line: &str, max_depth: usize) -> Record<'_> {
    let mut stream = DefaultHasher::new();
    let mut is_known = false;
    let mut record = Record {
        text: Cow::Borrowed(line.strip_suffix('\r').unwrap_or(line)),
        at: None,
        stream: None,
        is_partial: false,
        flaw: None,
        others: Vec::new(),
        wrapping: Wrapping::None,
        depth: 0,
    };
    for _ in 0..max_depth {
        let layer = match &record.text {
            Cow::Borrowed(text) => peel(text),
            Cow::Owned(text) => peel(text).map(Layer::into_owned),
        };
        let Some(layer) = layer else { break };
        if record.wrapping == Wrapping::None {
            record.wrapping = match &*layer.source {
                _ if is_object(&record.text) => Wrapping::Json,
                "stderr" | "stdout" => Wrapping::Cri,
                _ => Wrapping::Line,
            };
        }
        record.depth += 1;
        record.at = layer.at.or(record.at);
        record.is_partial |= layer.is_partial;
        record.flaw = record.flaw.or(layer.flaw);
        if !layer.source.is_empty() {
            layer.source.hash(&mut stream);
            is_known = true;
        }
        record.text = layer.text;
        record.others.extend(layer.others);
        // Half of a JSON object is none yet.
        if layer.flaw.is_some() || layer.is_partial {
            break;
        }
    }
    record.stream = is_known.then(|| stream.finish());
    record
}

/// The text with the line breaks that rsyslog has written as `#012`, if a block is in it.
pub(super) fn with_line_breaks(text: &str) -> Cow<'_, str> {
    if memchr::memmem::find(text.as_bytes(), b"#012Trace[").is_some() {
        return Cow::Owned(text.replace("#012", "\n"));
    }
    Cow::Borrowed(text)
}

/// A line without what others leave at its end: half of a line break, and colours set back.
pub(super) fn without_end(line: &str) -> &str {
    let mut line = line.strip_suffix('\r').unwrap_or(line);
    // An escape ends as one that sets colours or clears the line.
    while line.ends_with(['m', 'K'])
        && let Some((before, escape)) = line.rsplit_once("\x1b[")
        && escape[..escape.len() - 1].bytes().all(|byte| byte.is_ascii_digit() || byte == b';')
    {
        line = before;
    }
    line
}

/// One wrapping and what is in it.
pub(super) struct Layer<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) at: Option<Nanos>,
    pub(super) source: Cow<'a, str>,
    pub(super) is_partial: bool,
    pub(super) flaw: Option<Flaw>,
    pub(super) others: Vec<Other>,
}

impl<'a> Layer<'a> {
    pub(super) fn of(text: &'a str, at: Option<Nanos>, source: &'a str) -> Self {
        let (text, source) = (Cow::Borrowed(text), Cow::Borrowed(source));
        Self { text, at, source, is_partial: false, flaw: None, others: Vec::new() }
    }

    fn into_owned(self) -> Layer<'static> {
        Layer {
            text: Cow::Owned(self.text.into_owned()),
            source: Cow::Owned(self.source.into_owned()),
            at: self.at,
            is_partial: self.is_partial,
            flaw: self.flaw,
            others: self.others,
        }
    }
}

fn peel(text: &str) -> Option<Layer<'_>> {
    if is_object(text) {
        return json(text);
    }
    if text.contains('\n') {
        return None;
    }
    stamped(text).or_else(|| syslog(text)).or_else(|| prefixed(text))
}

/// A log's record as JSON, after what tells who wrote it: `[pod/web-0/app] {...}`, as kubectl prints
/// Docker's, or time, tag and record with tabs between them, as Fluentd's files have them.
fn prefixed(text: &str) -> Option<Layer<'_>> {
    let (prefix, record) = text.split_at(text.find("{\"").filter(|at| *at <= MAX_PREFIX)?);
    let is_prefix = prefix.ends_with([' ', '\t'])
        && !prefix.contains('"')
        && !marker::may_be_in(prefix)
        && record.trim_end().ends_with('}');
    let layer = is_prefix.then(|| json(record))?.filter(|layer| layer.flaw.is_none())?;
    let is_log = layer.at.is_some()
        || !layer.source.is_empty()
        || !layer.others.is_empty()
        || marker::may_be_in(&layer.text);
    let source = format!("{} {}", source::shape(prefix), layer.source);
    is_log.then(|| Layer { source: source.trim().to_owned().into(), ..layer })
}

/// A line that begins with an unambiguous time: a container runtime's (`T stderr F text`),
/// `journalctl -o short-iso` (`T host unit[1]: text`), or `kubectl logs --timestamps` (`T text`,
/// where the time has up to nine digits after the point, or ends in `Z`, as journald's never has).
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
    let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let is_journald = matches!(digits, 0 | 6) && !time.ends_with('Z');
    Some(match host_and_unit(rest).filter(|_| is_journald) {
        Some((source, text)) => Layer::of(text, at, source),
        None => Layer::of(rest, at, ""),
    })
}

/// Whether this may be a container runtime's line, as far as it goes: no text is in it.
pub(super) fn begins_as_cri(line: &str) -> bool {
    let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
    let is_time = |byte: u8| byte.is_ascii_digit() || b"-:TZ.+".contains(&byte);
    let is_whole = |whole: &str| whole.starts_with(rest);
    line.starts_with(|c: char| c.is_ascii_digit())
        && time.bytes().all(is_time)
        && ["stderr", "stdout"].into_iter().any(is_whole)
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
        assert!(unwrap(r#"{"log":"Tra","stream":"stderr","logtag":"P"}"#).is_partial);
        assert!(!unwrap(r#"{"log":"Tra","stream":"stderr"}"#).is_partial);
    }

    #[test]
    fn streams_are_told_apart() {
        let stream = |line| unwrap(line).stream;
        let apiserver = stream("Mar 22 23:02:24 node k3s[1]: x");
        assert!(apiserver.is_some());
        assert_eq!(stream("2021-03-22T23:02:24Z x"), None);
        assert_eq!(apiserver, stream("Mar 22 23:02:25 node k3s[1]: y"));
        assert_ne!(apiserver, stream("Mar 22 23:02:24 node k3s[2]: x"));
        assert_ne!(
            stream("2021-03-22T23:02:24Z stderr F x"),
            stream("2021-03-22T23:02:24Z stdout F x")
        );
    }

    #[test]
    fn what_others_leave_at_a_lines_end_comes_off() {
        for (line, expected) in [
            ("x\r", "x"),
            ("x\u{1b}[0m\r", "x"),
            ("\u{1b}[36mx\u{1b}[0;1m\u{1b}[K", "\u{1b}[36mx"),
            ("5ms", "5ms"),
            ("\u{1b}[0mx 5m", "\u{1b}[0mx 5m"),
            ("\u{1b}[m", ""),
        ] {
            assert_eq!(without_end(line), expected, "{line:?}");
        }
    }

    #[test]
    fn broken_json_says_so() {
        assert_eq!(unwrap(r#"{"log":"Trace[1]: x"#).flaw, Some(Flaw::Broken));
        assert_eq!(unwrap("[1]").flaw, None);
    }
}
