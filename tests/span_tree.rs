//! The tree that the examples print.

mod support;
#[path = "../examples/support/tree.rs"]
mod tree;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, TraceId};

use support::otlp_receiver::{
    ReceivedEvent, ReceivedLink, ReceivedSpan, Scope, SpanKind, Status, StatusCode, Value,
};
use tree::{SpanTree, human};

#[test]
fn a_trace_over_two_processes_prints_as_one_tree() {
    let mut root = span(1, None, "POST /orders", "shop", 0, 4_200);
    root.kind = SpanKind::Server;
    root.attributes = vec![
        ("http.request.method".into(), Value::String("POST".into())),
        ("http.response.status_code".into(), Value::Int(201)),
        ("code.line.number".into(), Value::Int(12)),
    ];
    let mut client = span(2, Some(1), "POST", "shop", 31, 2_900);
    client.kind = SpanKind::Client;
    let mut server = span(3, Some(2), "POST /pay", "bank", 512, 1_100);
    server.kind = SpanKind::Server;
    let mut storage = span(4, Some(1), "storage.create", "shop", 3_100, 1_000);
    storage.status = Status { code: StatusCode::Error, message: "disk full".into() };
    storage.events.push(ReceivedEvent {
        name: "encoded".into(),
        time: at(3_200),
        attributes: vec![("bytes".into(), Value::Int(812))],
        dropped_attributes: 0,
    });

    // Children end, and so arrive, before their parents.
    let printed = print(&[server, client, storage, root]);
    let expected = "\
trace 0000000000000000000000000000000a: 4 spans, 2 processes, 4.2 ms

                   kind          start   duration  process
POST /orders       SERVER           +0     4.2 ms  shop  http.response.status_code=201
├─ POST            CLIENT     +31.0 µs     2.9 ms  shop
│  └─ POST /pay    SERVER    +512.0 µs     1.1 ms  bank
└─ storage.create  INTERNAL    +3.1 ms     1.0 ms  shop  ERROR: disk full
      · +100.0 µs  encoded  bytes=812
";
    assert_eq!(printed, expected, "\n{printed}");
}

#[test]
fn events_of_a_span_with_children_hang_on_its_branch() {
    let mut root = span(1, None, "root", "p", 0, 10);
    root.events.push(ReceivedEvent {
        name: "first".into(),
        time: at(1),
        attributes: Vec::new(),
        dropped_attributes: 0,
    });
    let mut child = span(2, Some(1), "child", "p", 5, 1);
    for (trace, span) in [(10, 1), (11, 7)] {
        child.links.push(ReceivedLink {
            trace_id: TraceId::from(trace),
            span_id: SpanId::from(span),
            trace_state: String::new(),
            flags: 0,
            attributes: Vec::new(),
        });
    }
    let printed = print(&[child, root]);
    let lines: Vec<&str> = printed.lines().skip(3).collect();
    assert!(lines[0].starts_with("root"), "{printed}");
    assert_eq!(lines[1], "│  · +1.0 µs  first");
    assert!(lines[2].starts_with("└─ child"), "{printed}");
    assert_eq!(lines[3], "      ~ linked to span 0000000000000001 in this trace");
    assert_eq!(
        lines[4],
        "      ~ linked to span 0000000000000007 in trace 0000000000000000000000000000000b"
    );
}

#[test]
fn siblings_are_ordered_by_start_then_by_arrival() {
    let spans = [
        span(4, Some(1), "late", "p", 9, 1),
        span(3, Some(1), "tie, first to arrive", "p", 5, 1),
        span(2, Some(1), "tie, second to arrive", "p", 5, 1),
        span(1, None, "root", "p", 0, 10),
    ];
    assert_eq!(
        names(&print(&spans)),
        ["root", "├─ tie, first to arrive", "├─ tie, second to arrive", "└─ late"]
    );
}

#[test]
fn spans_without_their_parent_are_shown_as_orphans_with_their_descendants() {
    let spans = [
        span(1, None, "root", "p", 0, 10),
        span(3, Some(99), "lost", "q", 1, 5),
        span(4, Some(3), "child of lost", "q", 2, 1),
    ];
    let printed = print(&spans);
    assert_eq!(
        names(&printed),
        ["root", "orphan: parent 0000000000000063 was not received", "lost", "└─ child of lost"]
    );
}

#[test]
fn every_span_is_printed_once_even_where_parents_lead_in_a_circle() {
    let spans = [
        span(1, Some(1), "own parent", "p", 0, 1),
        span(2, Some(3), "circle a", "p", 1, 1),
        span(3, Some(2), "circle b", "p", 2, 1),
    ];
    let printed = print(&spans);
    assert_eq!(
        names(&printed),
        [
            "orphan: its parents lead in a circle",
            "own parent",
            "orphan: its parents lead in a circle",
            "circle a",
            "└─ circle b"
        ]
    );
}

#[test]
fn traces_are_kept_apart_in_the_order_they_started() {
    let mut other = span(1, None, "other", "p", 0, 1);
    other.trace_id = TraceId::from(1);
    let trees = SpanTree::all(&[span(1, None, "later", "p", 5, 1), other]);
    let printed: Vec<String> = trees.iter().map(SpanTree::to_string).collect();
    assert_eq!(printed.len(), 2);
    assert!(printed[0].contains("other") && printed[1].contains("later"), "{printed:?}");
    assert!(printed[0].contains(": 1 span, 1 process, 1.0 µs"), "{}", printed[0]);
}

#[test]
fn a_value_cannot_break_the_line() {
    let mut root = span(1, None, "root", "p", 0, 1);
    root.attributes.push(("long".into(), Value::String("line\nbreak ".repeat(50))));
    let printed = print(&[root]);
    assert_eq!(printed.lines().count(), 4, "{printed}");
    assert!(printed.ends_with("…\n"), "{printed}");
}

#[test]
fn durations_read_well() {
    let cases = [
        (0, "0"),
        (999, "999 ns"),
        (1_000, "1.0 µs"),
        (1_234_567, "1.2 ms"),
        (59_900_000_000, "59.90 s"),
    ];
    for (nanos, text) in cases {
        assert_eq!(human(Duration::from_nanos(nanos)), text);
    }
}

fn print(spans: &[ReceivedSpan]) -> String {
    let trees = SpanTree::all(spans);
    assert_eq!(trees.len(), 1);
    trees[0].to_string()
}

/// The first column below the table's head, whole lines for orphans.
fn names(printed: &str) -> Vec<&str> {
    printed
        .lines()
        .skip(3)
        .map(
            |line| if line.starts_with("orphan") { line } else { line.split("  ").next().unwrap() },
        )
        .collect()
}

/// A span of trace 10 that starts so many microseconds after it.
fn span(
    id: u64,
    parent: Option<u64>,
    name: &str,
    process: &str,
    start: u64,
    micros: u64,
) -> ReceivedSpan {
    ReceivedSpan {
        trace_id: TraceId::from(10),
        span_id: SpanId::from(id),
        parent_span_id: parent.map(SpanId::from),
        trace_state: String::new(),
        flags: 1,
        name: name.to_owned(),
        kind: SpanKind::Internal,
        start: at(start),
        end: at(start + micros),
        attributes: Vec::new(),
        dropped_attributes: 0,
        events: Vec::new(),
        dropped_events: 0,
        links: Vec::new(),
        dropped_links: 0,
        status: Status { code: StatusCode::Unset, message: String::new() },
        resource: Arc::new(vec![("service.name".into(), Value::String(process.to_owned()))]),
        scope: Arc::new(Scope {
            name: String::new(),
            version: String::new(),
            schema_url: String::new(),
            attributes: Vec::new(),
        }),
    }
}

fn at(micros: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_micros(micros)
}
