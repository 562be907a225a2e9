//! Spans of one trace as text for people.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use opentelemetry::trace::Event;
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

use super::printable::Printable;

/// Prints the spans of one block, as a [`Receiver`](super::Receiver) is given them: one line a span
/// with its start or its distance from its root's, and its duration; children and events (`*`)
/// indented and in the order of time. What a terminal would obey is escaped.
///
/// ```text
/// 2021-11-23T11:36:52.195Z List 576ms {url="/api"}
///   * +576ms Listing from storage done {spanbridge.step.duration_ms=576}
/// ```
pub fn tree(spans: &[SpanData]) -> String {
    let mut out = String::new();
    let Some(root) = spans.first() else { return out };
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    let positions: HashMap<_, _> =
        spans.iter().enumerate().map(|(at, span)| (span.span_context.span_id(), at)).collect();
    for (at, span) in spans.iter().enumerate().skip(1) {
        let parent = positions.get(&span.parent_span_id).copied().filter(|parent| *parent < at);
        children[parent.unwrap_or(0)].push(at);
    }
    let mut to_do = vec![(Line::Span(0), 0)];
    while let Some((line, depth)) = to_do.pop() {
        out.extend(std::iter::repeat_n("  ", depth.min(MAX_INDENT)));
        match line {
            Line::Event(event) => {
                let _ =
                    write!(out, "* {} {}", offset(root, event.timestamp), Printable(&event.name));
                attributes(&mut out, &event.attributes);
            }
            Line::Span(at) => {
                let span = &spans[at];
                let start =
                    if at == 0 { date(span.start_time) } else { offset(root, span.start_time) };
                let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
                let _ = write!(out, "{start} {} {}", Printable(&span.name), short(took));
                attributes(&mut out, &span.attributes);
                let spans_inside =
                    children[at].iter().map(|child| (spans[*child].start_time, Line::Span(*child)));
                let events = &span.events.events;
                let mut inside: Vec<_> =
                    events.iter().map(|event| (event.timestamp, Line::Event(event))).collect();
                inside.extend(spans_inside);
                inside.sort_by_key(|(time, _)| *time);
                to_do.extend(inside.into_iter().rev().map(|(_, line)| (line, depth + 1)));
            }
        }
        out.push('\n');
    }
    out
}

/// Deeper levels are not indented further: a log can nest deeper than is of use to anyone.
const MAX_INDENT: usize = 64;

/// What is left to print; the last is printed next.
enum Line<'a> {
    Event(&'a Event),
    /// By its index.
    Span(usize),
}

fn date(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "?".to_owned(), |time| format!("{time:.3}"))
}

fn offset(root: &SpanData, time: SystemTime) -> String {
    match time.duration_since(root.start_time) {
        Ok(after) => format!("+{}", short(after)),
        Err(before) => format!("-{}", short(before.duration())),
    }
}

/// A duration with as many digits as are of use.
pub(crate) fn short(duration: Duration) -> String {
    match duration.as_nanos() {
        0..1_000_000 => format!("{}µs", duration.as_micros()),
        1_000_000..1_000_000_000 => format!("{}ms", duration.as_millis()),
        _ => format!("{:.3}s", duration.as_secs_f64()),
    }
}

fn attributes(out: &mut String, attributes: &[KeyValue]) {
    let mut separator = " {";
    for attribute in attributes {
        out.push_str(separator);
        separator = ", ";
        let _ = write!(out, "{}=", Printable(attribute.key.as_str()));
        let _ = match &attribute.value {
            Value::String(text) => write!(out, "{:?}", text.as_str()),
            value => write!(out, "{}", Printable(&value.to_string())),
        };
    }
    if separator != " {" {
        out.push('}');
    }
}
