//! Prints a distributed trace as a tree.
//!
//! ```text
//! trace 0000000000000000000000000000000a: 4 spans, 2 processes, 4.2 ms
//!
//!                    kind          start   duration  process
//! POST /orders       SERVER           +0     4.2 ms  shop  http.response.status_code=201
//! ├─ POST            CLIENT     +31.0 µs     2.9 ms  shop
//! │  └─ POST /pay    SERVER    +512.0 µs     1.1 ms  bank
//! └─ storage.create  INTERNAL    +3.1 ms     1.0 ms  shop  ERROR: disk full
//!       · +100.0 µs  encoded  bytes=812
//! ```

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, TraceId};

use crate::support::otlp_receiver::{Attribute, ReceivedSpan, StatusCode};

/// Attributes that say where or how rather than what: too much for a terminal.
const NOT_SHOWN: [&str; 13] = [
    "busy_ns",
    "client.",
    "code.",
    "http.request.method",
    "http.route",
    "idle_ns",
    "level",
    "network.",
    "server.",
    "target",
    "thread.",
    "url.scheme",
    "user_agent.",
];

/// Longer attribute values are cut here.
const VALUE_CHARS: usize = 60;

/// The spans of one trace, ready to print with `{}`.
#[derive(Debug)]
pub(crate) struct SpanTree {
    trace_id: TraceId,
    /// Ordered by start; spans that start together stay in the order they arrived.
    spans: Vec<ReceivedSpan>,
    children: HashMap<SpanId, Vec<usize>>,
    roots: Vec<usize>,
    orphans: Vec<usize>,
}

impl SpanTree {
    /// One tree for each trace among `spans`, in the order the traces started.
    pub(crate) fn all(spans: &[ReceivedSpan]) -> Vec<Self> {
        let mut by_trace: HashMap<TraceId, Vec<ReceivedSpan>> = HashMap::new();
        for span in spans {
            by_trace.entry(span.trace_id).or_default().push(span.clone());
        }
        let mut trees: Vec<Self> =
            by_trace.into_iter().map(|(id, spans)| Self::new(id, spans)).collect();
        trees.sort_by_key(|tree| (tree.start(), tree.trace_id.to_bytes()));
        trees
    }

    fn new(trace_id: TraceId, mut spans: Vec<ReceivedSpan>) -> Self {
        spans.sort_by_key(|span| span.start);
        let known: BTreeSet<[u8; 8]> = spans.iter().map(|span| span.span_id.to_bytes()).collect();
        let mut tree = Self {
            trace_id,
            spans: Vec::new(),
            children: HashMap::new(),
            roots: Vec::new(),
            orphans: Vec::new(),
        };
        for (i, span) in spans.iter().enumerate() {
            match span.parent_span_id {
                None => tree.roots.push(i),
                Some(parent) if known.contains(&parent.to_bytes()) => {
                    tree.children.entry(parent).or_default().push(i);
                }
                Some(_) => tree.orphans.push(i),
            }
        }
        tree.spans = spans;
        tree
    }

    /// When the first span started.
    pub(crate) fn start(&self) -> SystemTime {
        self.spans.first().map_or(SystemTime::UNIX_EPOCH, |span| span.start)
    }

    /// From the first start to the last end.
    pub(crate) fn duration(&self) -> Duration {
        let end = self.spans.iter().map(|span| span.end).max().unwrap_or_else(|| self.start());
        end.duration_since(self.start()).unwrap_or_default()
    }

    fn processes(&self) -> usize {
        self.spans
            .iter()
            .map(|span| &*span.resource)
            .fold(Vec::new(), |mut seen, resource| {
                if !seen.contains(&resource) {
                    seen.push(resource);
                }
                seen
            })
            .len()
    }

    /// Every span as a row with its detail lines, depth first, orphans and their descendants last.
    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        let mut seen = vec![false; self.spans.len()];
        for &root in &self.roots {
            self.walk(root, "", "", None, &mut seen, &mut rows);
        }
        for &orphan in &self.orphans {
            let parent = self.spans[orphan].parent_span_id;
            let why = parent.map(|id| format!("parent {id} was not received"));
            self.walk(orphan, "", "", why, &mut seen, &mut rows);
        }
        // What is left has parents that lead in a circle; a peer with broken ids sends such.
        for i in 0..self.spans.len() {
            if !seen[i] {
                let why = "its parents lead in a circle".to_owned();
                self.walk(i, "", "", Some(why), &mut seen, &mut rows);
            }
        }
        rows
    }

    /// `first` and `rest` are what is drawn left of this span's own line and of the lines below.
    fn walk<'a>(
        &'a self,
        i: usize,
        first: &str,
        rest: &str,
        orphan: Option<String>,
        seen: &mut [bool],
        rows: &mut Vec<Row<'a>>,
    ) {
        if std::mem::replace(&mut seen[i], true) {
            return;
        }
        let span = &self.spans[i];
        let children: Vec<usize> = match self.children.get(&span.span_id) {
            Some(children) => children.iter().copied().filter(|&child| !seen[child]).collect(),
            None => Vec::new(),
        };
        let below = format!("{rest}{}", if children.is_empty() { "   " } else { "│  " });
        let mut details = Vec::new();
        for event in &span.events {
            let offset = event.time.duration_since(span.start).unwrap_or_default();
            let attributes = attributes(&event.attributes);
            details.push(format!("{below}· +{}  {}{attributes}", human(offset), event.name));
        }
        for link in &span.links {
            let of = if link.trace_id == self.trace_id {
                "in this trace".to_owned()
            } else {
                format!("in trace {}", link.trace_id)
            };
            details.push(format!("{below}~ linked to span {} {of}", link.span_id));
        }
        rows.push(Row { label: format!("{first}{}", span.name), span, orphan, details });
        for (n, &child) in children.iter().enumerate() {
            let (first, next) =
                if n + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let (first, next) = (format!("{rest}{first}"), format!("{rest}{next}"));
            self.walk(child, &first, &next, None, seen, rows);
        }
    }
}

struct Row<'a> {
    /// Branches and span name.
    label: String,
    span: &'a ReceivedSpan,
    /// Why this span hangs from no other although it has a parent.
    orphan: Option<String>,
    /// Lines for events and links.
    details: Vec<String>,
}

impl fmt::Display for SpanTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: usize, what: &str| match n {
            1 => format!("1 {what}"),
            n => format!("{n} {what}{}", if what.ends_with('s') { "es" } else { "s" }),
        };
        writeln!(
            f,
            "trace {}: {}, {}, {}\n",
            self.trace_id,
            plural(self.spans.len(), "span"),
            plural(self.processes(), "process"),
            human(self.duration()),
        )?;
        let rows = self.rows();
        let width = |text: &str| text.chars().count();
        let labels = rows.iter().map(|row| width(&row.label)).max().unwrap_or_default();
        let process = |row: &Row<'_>| match row.span.service_name() {
            "" => "?".to_owned(),
            name => name.to_owned(),
        };
        let processes = rows.iter().map(|row| width(&process(row))).max().unwrap_or_default();
        let head = format!("{:labels$}  kind          start   duration  process", "");
        writeln!(f, "{head}")?;
        for row in &rows {
            if let Some(why) = &row.orphan {
                writeln!(f, "orphan: {why}")?;
            }
            let offset = row.span.start.duration_since(self.start()).unwrap_or_default();
            let kind = row.span.kind.as_str_name().trim_start_matches("SPAN_KIND_");
            let start = format!("+{}", human(offset));
            let duration = human(row.span.duration());
            let process = process(row);
            let line = format!(
                "{:labels$}  {kind:8} {start:>10} {duration:>10}  {process:processes$}{}{}",
                row.label,
                status(row.span),
                attributes(&row.span.attributes),
            );
            writeln!(f, "{}", line.trim_end())?;
            for detail in &row.details {
                writeln!(f, "{detail}")?;
            }
        }
        Ok(())
    }
}

fn status(span: &ReceivedSpan) -> String {
    match (span.status.code, &*span.status.message) {
        (StatusCode::Unset, _) => String::new(),
        (StatusCode::Ok, _) => "  OK".to_owned(),
        (StatusCode::Error, "") => "  ERROR".to_owned(),
        (StatusCode::Error, message) => format!("  ERROR: {}", clipped(message)),
    }
}

fn attributes(attributes: &[Attribute]) -> String {
    let hidden = |key: &str| {
        NOT_SHOWN.iter().any(|&not| key == not || (not.ends_with('.') && key.starts_with(not)))
    };
    let shown = attributes.iter().filter(|(key, _)| !hidden(key));
    shown.map(|(key, value)| format!("  {key}={}", clipped(&value.to_string()))).collect()
}

/// One line of bounded length, whatever the text holds.
fn clipped(text: &str) -> String {
    let mut chars = text.chars();
    let mut out: String =
        chars.by_ref().take(VALUE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// A duration in the unit that leaves one to three digits before the point.
pub(crate) fn human(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0".to_owned(),
        1..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}
