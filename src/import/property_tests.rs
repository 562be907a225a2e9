//! For random trees of traces: the text that `legacy` prints, read back, is the same tree.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::SpanData;
use proptest::collection::vec;
use proptest::prelude::*;

use super::rebuild::NUMBER;
use super::{Importer, Options, Problem, Receiver};
use crate::legacy::go::Zone;
use crate::legacy::text::{Fields, Item, Node, Style, Tree};

const MILLI: i64 = 1_000_000;

/// A trace as it is made up: with times between things, and not yet on a clock.
#[derive(Clone, Debug)]
struct Trace {
    name: String,
    fields: String,
    items: Vec<(i64, Part)>,
    /// From the last item to the end.
    tail: i64,
    is_finished: bool,
}

#[derive(Clone, Debug)]
enum Part {
    Step(String, String),
    Nested(Trace),
}

/// Any text: names are escaped.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-Za-z*.:/ ]{0,12}",
        1 => r#"[\[\]"\\(){}:,\n\t\r\x00 aé😀\u{301}\u{200b}-]{0,8}"#,
    ]
}

/// Fields are not escaped, so what looks like another field in a value is one. All else is kept:
/// blanks, brackets, parentheses and line breaks among them.
fn fields() -> impl Strategy<Value = String> {
    let key = "[a-z][a-z0-9_-]{0,6}";
    let value = prop_oneof![
        // After a comma, `name://` is taken for a URL.
        "([A-Za-z0-9 ()\\[\\]<>*;=._:\"-][A-Za-z0-9 /()\\[\\]<>*;=._:\"-]{0,11})?",
        "-?[0-9]{1,5}",
        Just("application/json, */*".to_owned()),
        "[a-z]{1,3}\n[a-z \n]{0,5}[a-z]",
    ];
    let pairs = vec((key, value).prop_map(|(key, value)| format!("{key}:{value}")), 0..4);
    pairs.prop_map(|pairs| pairs.join(","))
}

fn delta() -> impl Strategy<Value = i64> {
    prop_oneof![
        0..10 * MILLI,
        0..5_000 * MILLI,
        0..600_000 * MILLI,
        (0..50_i64).prop_map(|n| n * MILLI)
    ]
}

fn trace() -> impl Strategy<Value = Trace> {
    let step = || (name(), fields()).prop_map(|(name, fields)| Part::Step(name, fields));
    let with = |items: BoxedStrategy<Vec<(i64, Part)>>| {
        (name(), fields(), items, delta(), proptest::bool::weighted(0.8)).prop_map(
            |(name, fields, items, tail, is_finished)| Trace {
                name,
                fields,
                items,
                tail,
                is_finished,
            },
        )
    };
    let leaf = with(vec((delta(), step()), 0..4).boxed());
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let part = prop_oneof![step(), inner.prop_map(Part::Nested)];
        with(vec((delta(), part), 0..5).boxed()).boxed()
    })
}

/// Puts a trace on the clock, as nodes of the printer's tree. Returns its index.
fn place<'a>(trace: &'a Trace, clock: &mut i64, nodes: &mut Vec<Node<'a>>) -> usize {
    let index = nodes.len();
    let fields = |text: &'a String| Fields((!text.is_empty()).then_some(text));
    nodes.push(Node {
        name: &trace.name,
        fields: fields(&trace.fields),
        start: *clock,
        end: None,
        threshold: None,
        is_dropped: false,
        ids: None,
        items: Vec::new(),
    });
    for (delta, part) in &trace.items {
        *clock += delta;
        let item = match part {
            Part::Step(name, text) => {
                Item::Step { name, fields: fields(text), at: *clock, is_kept: false }
            }
            Part::Nested(nested) => Item::Nested(place(nested, clock, nodes)),
        };
        nodes[index].items.push(item);
    }
    *clock += trace.tail;
    nodes[index].end = trace.is_finished.then_some(*clock);
    index
}

/// One span a line, with times in whole milliseconds since the Unix epoch, which is what is printed.
fn expected(tree: &Tree<'_>, epoch: i64, index: usize, depth: usize, out: &mut String) {
    let node = &tree.nodes[index];
    let start = (epoch + node.start).div_euclid(MILLI);
    let _ = writeln!(out, "{:depth$}{:?} {} at {start}", "", node.name, pairs(node.fields));
    for item in &node.items {
        if let Item::Step { name, fields, at, .. } = item {
            let at = (epoch + at).div_euclid(MILLI);
            let _ = writeln!(out, "{:depth$} * {name:?} {} at {at}", "", pairs(*fields));
        }
    }
    for item in &node.items {
        if let Item::Nested(nested) = item {
            expected(tree, epoch, *nested, depth + 1, out);
        }
    }
}

fn pairs(fields: Fields<'_>) -> String {
    let text = fields.0.map(ToString::to_string).unwrap_or_default();
    // Keys have no colon, and a comma only comes before one or before a blank.
    let mut pairs: Vec<String> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        match pairs.last_mut() {
            Some(last) if part.starts_with(' ') || !part.contains(':') => last.extend([",", part]),
            _ => pairs.push(part.to_owned()),
        }
    }
    format!("{pairs:?}")
}

fn found(spans: &[SpanData], index: usize, depth: usize, out: &mut String) {
    let millis =
        |time: SystemTime| time.duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let pairs = |attributes: &[opentelemetry::KeyValue]| {
        let own = attributes.iter().filter(|kv| {
            !kv.key.as_str().starts_with("spanbridge.") && !kv.key.as_str().starts_with("log.file.")
        });
        format!("{:?}", own.map(|kv| format!("{}:{}", kv.key, kv.value)).collect::<Vec<_>>())
    };
    let span = &spans[index];
    let start = millis(span.start_time);
    let _ = writeln!(out, "{:depth$}{:?} {} at {start}", "", span.name, pairs(&span.attributes));
    for event in &span.events.events {
        let at = millis(event.timestamp);
        let _ =
            writeln!(out, "{:depth$} * {:?} {} at {at}", "", event.name, pairs(&event.attributes));
    }
    for (child, span) in spans.iter().enumerate() {
        if span.parent_span_id == spans[index].span_context.span_id() {
            found(spans, child, depth + 1, out);
        }
    }
}

/// What a runtime or journal puts around each line.
#[derive(Clone, Copy, Debug)]
enum Wrapping {
    None,
    Klog,
    Cri,
    Docker,
    Journald,
}

impl Wrapping {
    fn wrap(self, text: &str) -> String {
        let mut out = String::new();
        for (number, line) in text.lines().enumerate() {
            let _ = match self {
                Self::Klog if number == 0 => {
                    writeln!(out, "I0101 00:00:00.000000       1 trace.go:236] {line}")
                }
                Self::None | Self::Klog => writeln!(out, "{line}"),
                Self::Cri => writeln!(out, "2025-01-01T00:00:00.5Z stderr F {line}"),
                Self::Docker => {
                    let line = serde_json::Value::from(format!("{line}\n"));
                    writeln!(out, "{{\"log\":{line},\"stream\":\"stderr\"}}")
                }
                Self::Journald => writeln!(out, "Jan  1 00:00:00 node k3s[1]: {line}"),
            };
        }
        out
    }
}

#[derive(Default)]
struct Spans(Vec<Vec<SpanData>>);

impl Receiver for Spans {
    fn spans(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
        self.0.push(spans);
        Ok(())
    }

    fn problem(&mut self, problem: &Problem) -> io::Result<()> {
        Err(io::Error::other(problem.to_string()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn printed_text_read_back_is_the_same_tree(
        root in trace(),
        epoch in 315_532_800_000_000_000_i64..4_000_000_000_000_000_000,
        number in 0..1_u32 << 31,
        is_exact: bool,
        has_ids: bool,
        wrapping in prop_oneof![
            Just(Wrapping::None), Just(Wrapping::Klog), Just(Wrapping::Cri),
            Just(Wrapping::Docker), Just(Wrapping::Journald),
        ],
    ) {
        let root = Trace { is_finished: true, ..root };
        let (mut clock, mut nodes) = (0, Vec::new());
        place(&root, &mut clock, &mut nodes);
        // Longer ones have the same times of day twice.
        prop_assume!(clock < 12 * 3_600_000 * MILLI);
        let ids = (TraceId::from(7), SpanId::from(11));
        nodes[0].ids = Some(ids);
        let at = UNIX_EPOCH + Duration::from_nanos(epoch.unsigned_abs());
        let tree = Tree { epoch: at, now: clock, nodes };
        // At verbosity 4 all is printed.
        let style = Style { verbosity: 4, is_exact, zone: Zone::Utc, has_ids };
        let mut text = String::new();
        tree.print(&style, || number, |block| text.push_str(&block.text));

        let log = wrapping.wrap(&text);
        let options = Options::default().with_time_zone(super::TimeZone::UTC);
        let (mut importer, mut spans) = (Importer::new(options), Spans::default());
        let read = importer.read("log", &mut log.as_bytes(), &mut spans);
        let finished = read.and_then(|()| importer.finish(&mut spans).map(drop));
        prop_assert!(finished.is_ok(), "{finished:?}\n{log}");
        prop_assert_eq!(spans.0.len(), 1, "{}", log);
        let spans = &spans.0[0];

        let (mut want, mut have) = (String::new(), String::new());
        expected(&tree, epoch, 0, 0, &mut want);
        found(spans, 0, 0, &mut have);
        prop_assert_eq!(&have, &want, "{}", log);

        let root_span = &spans[0];
        let number_found = root_span.attributes.iter().find(|kv| kv.key.as_str() == NUMBER);
        prop_assert_eq!(number_found.map(|kv| kv.value.clone()), Some(i64::from(number).into()));
        let context = &root_span.span_context;
        prop_assert_eq!((context.trace_id(), context.span_id()) == ids, has_ids);
        let took = root_span.end_time.duration_since(root_span.start_time).unwrap();
        prop_assert_eq!(took, Duration::from_nanos(clock.unsigned_abs()));
        check_ends(&tree, epoch, spans, is_exact, &log)?;
    }
}

/// What looks like a line of a block, in any format, with times that nobody has seen.
fn line() -> impl Strategy<Value = String> {
    let took = prop_oneof![
        Just("300000000000ms".to_owned()),
        Just("-87000h".to_owned()),
        (0..1_000_u32).prop_map(|n| format!("{n}ms")),
        "-?[0-9]{1,17}(ns|µs|ms|s|m|h)",
    ];
    let clock = prop_oneof![
        Just("11:12:00.000".to_owned()),
        "[01][0-9]:[0-5][0-9]:00\\.[0-9]{3}",
        "[01][0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{3}",
    ];
    let date =
        (1690..2260_i32, clock.clone()).prop_map(|(year, clock)| format!("10-Mar-{year} {clock}"));
    let number = "(Trace\\[[12]\\]: ){1}";
    (number, 0..8_u8, took.clone(), took, clock, date, 0..4_usize).prop_map(
        |(number, kind, took, other, clock, date, depth)| {
            let blanks = " ".repeat(depth);
            match kind {
                0 => format!("{number}\"x\" ({date}) (total time: {took}):"),
                1 => format!(
                    "{number}\"x\" (started: 2016-03-31 {clock} +0200 CEST) (total time: {took}):"
                ),
                2 => format!("{number}{blanks}[\"n\" {took} ({clock})"),
                3 => format!("{number}{blanks}[\"n\" {took} ({clock})]"),
                4 => format!("{number}[{took}] [{other}] x"),
                5 => format!("{number}[{took}] [{other}] END"),
                _ => format!("{number}{blanks}---\"x\" {took} ({clock})"),
            }
        },
    )
}

/// Takes whatever it is given, as the command does.
struct Anything;

impl Receiver for Anything {
    fn spans(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
        assert!(spans.iter().all(|span| span.start_time >= UNIX_EPOCH));
        let _ = super::tree(&spans);
        Ok(())
    }

    fn problem(&mut self, problem: &Problem) -> io::Result<()> {
        let _ = problem.to_string();
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn times_that_cannot_be_do_no_harm(lines in vec(line(), 0..60)) {
        let log = format!(
            "Trace[1]: \"x\" (10-Mar-2021 11:12:14.000) (total time: 500ms):\n{}\n",
            lines.join("\n")
        );
        let mut importer = Importer::new(Options::default());
        importer.read("log", &mut log.as_bytes(), &mut Anything).unwrap();
        importer.finish(&mut Anything).unwrap();
    }
}

#[test]
fn steps_that_take_centuries_do_not_overflow() {
    let mut log = String::from("Trace[1]: \"x\" (10-Mar-2021 11:12:14.000) (total time: 500ms):\n");
    for _ in 0..40 {
        log.push_str("Trace[1]: ---\"x\" 300000000000ms (11:12:00.000)\n");
    }
    let mut importer = Importer::new(Options::default());
    importer.read("log", &mut log.as_bytes(), &mut Anything).unwrap();
    assert_eq!(importer.finish(&mut Anything).unwrap().events(), 40);
}

#[test]
fn what_began_before_1970_is_a_problem_and_not_at_its_beginning() {
    let log = "Trace[1]: \"x\" (10-Mar-1969 11:12:14.000) (total time: 5ms):\n\
               Trace[1]: [5ms] [5ms] END\n";
    let mut importer = Importer::new(Options::default());
    let read = importer.read("log", &mut log.as_bytes(), &mut Spans::default());
    let error = read.unwrap_err().to_string();
    assert!(error.contains("log:1: \"x\" began before 1970"), "{error}");
}

/// Ends of nested traces are right to the milliseconds that printing cuts off; upstream's text does
/// not always tell, but it never hides time that was spent.
fn check_ends(
    tree: &Tree<'_>,
    epoch: i64,
    spans: &[SpanData],
    is_exact: bool,
    log: &str,
) -> Result<(), TestCaseError> {
    // Both are in the order in which they begin.
    for (node, span) in tree.nodes.iter().zip(spans).skip(1) {
        let end = span.end_time.duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as i64;
        let late = end - (epoch + node.end.unwrap_or(tree.now));
        prop_assert!(late > -3 * MILLI, "{:?} ends {late} ns late:\n{}", node.name, log);
        if !is_exact {
            prop_assert!(late < 3 * MILLI, "{:?} ends {late} ns late:\n{}", node.name, log);
        }
    }
    Ok(())
}
