//! For random trees of traces: the text that `legacy` prints, read back, is the same trees, as far
//! as thresholds let them be printed.

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
    end: End,
}

#[derive(Clone, Debug)]
enum Part {
    Step { name: String, fields: String, is_kept: bool },
    Nested(Trace),
}

/// How a trace ends: logged with a threshold or without, dropped, or not before all is printed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Dropped,
    Logged(Option<i64>),
    Never,
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

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        1 => Just(End::Dropped),
        1 => Just(End::Never),
        3 => Just(End::Logged(None)),
        1 => Just(End::Logged(Some(0))),
        5 => delta().prop_map(|threshold| End::Logged(Some(threshold))),
    ]
}

fn trace() -> impl Strategy<Value = Trace> {
    let step = || {
        (name(), fields(), proptest::bool::weighted(0.1))
            .prop_map(|(name, fields, is_kept)| Part::Step { name, fields, is_kept })
    };
    let with = |items: BoxedStrategy<Vec<(i64, Part)>>| {
        (name(), fields(), items, delta(), end())
            .prop_map(|(name, fields, items, tail, end)| Trace { name, fields, items, tail, end })
    };
    let leaf = with(vec((delta(), step()), 0..4).boxed());
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let part = prop_oneof![step(), inner.prop_map(Part::Nested)];
        with(vec((delta(), part), 0..5).boxed()).boxed()
    })
}

/// Puts a trace on the clock, as nodes of the printer's tree. Returns its index.
fn place<'a>(
    trace: &'a Trace,
    is_exact: bool,
    clock: &mut i64,
    nodes: &mut Vec<Node<'a>>,
) -> usize {
    let index = nodes.len();
    let fields = |text: &'a String| Fields((!text.is_empty()).then_some(text));
    nodes.push(Node {
        name: &trace.name,
        fields: fields(&trace.fields),
        start: *clock,
        end: None,
        threshold: None,
        is_dropped: false,
        is_hidden: false,
        ids: None,
        items: Vec::new(),
    });
    for (delta, part) in &trace.items {
        *clock += delta;
        let item = match part {
            Part::Step { name, fields: text, is_kept } => {
                // Upstream has no errors in its text.
                let is_kept = *is_kept && !is_exact;
                Item::Step { name, fields: fields(text), at: *clock, is_kept }
            }
            Part::Nested(nested) => Item::Nested(place(nested, is_exact, clock, nodes)),
        };
        nodes[index].items.push(item);
    }
    *clock += trace.tail;
    let node = &mut nodes[index];
    match trace.end {
        // Upstream knows no such end.
        End::Dropped if is_exact => {}
        End::Dropped => (node.end, node.is_dropped) = (Some(*clock), true),
        End::Logged(threshold) => {
            node.end = Some(*clock);
            let threshold = threshold.map(i64::unsigned_abs);
            node.threshold = threshold.map(Duration::from_nanos);
        }
        End::Never => {}
    }
    index
}

/// What must be printed of a tree, by the rules as upstream's code has them.
struct Rules<'a> {
    tree: &'a Tree<'a>,
    verbosity: u8,
    is_exact: bool,
}

/// A trace that is printed, and what of it is.
struct Shown<'a> {
    node: &'a Node<'a>,
    steps: Vec<(&'a str, Fields<'a>, i64)>,
    nested: Vec<Self>,
}

impl<'a> Rules<'a> {
    /// The blocks: the topmost traces that are slow.
    fn blocks(&self, index: usize, blocks: &mut Vec<Shown<'a>>) {
        let node = &self.tree.nodes[index];
        if self.is_slow(node) && !node.is_dropped {
            blocks.push(self.shown(node, None));
            return;
        }
        for item in &node.items {
            if let Item::Nested(nested) = item {
                self.blocks(*nested, blocks);
            }
        }
    }

    fn is_slow(&self, node: &Node<'_>) -> bool {
        let threshold = node.threshold.unwrap_or_default().as_nanos() as i64;
        node.end.is_some_and(|end| threshold == 0 || end - node.start >= threshold)
    }

    fn shown(&self, node: &'a Node<'a>, outer_share: Option<i64>) -> Shown<'a> {
        let mut shown = Shown { node, steps: Vec::new(), nested: Vec::new() };
        let share = self.share(node).or(outer_share);
        let mut before = node.start;
        for item in &node.items {
            match item {
                Item::Step { name, fields, at, is_kept } => {
                    let is_long = share.is_none_or(|share| at - before >= share);
                    if is_long || *is_kept || self.verbosity >= 4 {
                        shown.steps.push((*name, *fields, *at));
                    }
                    before = *at;
                }
                Item::Nested(nested) => {
                    let nested = &self.tree.nodes[*nested];
                    self.nest(nested, share, &mut shown.nested);
                    before = nested.end.unwrap_or(nested.start);
                }
            }
        }
        shown
    }

    /// A nested trace that is printed, or those in it that take its place.
    fn nest(&self, node: &'a Node<'a>, share: Option<i64>, to: &mut Vec<Shown<'a>>) {
        let has_kept =
            node.items.iter().any(|item| matches!(item, Item::Step { is_kept: true, .. }));
        let is_corrected = !self.is_exact && (node.end.is_none() || has_kept);
        if self.is_slow(node) || self.verbosity >= 4 || is_corrected {
            to.push(self.shown(node, share));
            return;
        }
        for item in &node.items {
            if let Item::Nested(nested) = item {
                self.nest(&self.tree.nodes[*nested], share, to);
            }
        }
    }

    /// A step's share of the threshold, if there is one.
    fn share(&self, node: &Node<'_>) -> Option<i64> {
        let threshold = node.threshold?.as_nanos() as i64;
        let all = node.items.len() as i64 + 1;
        let of_nested = node.items.iter().filter_map(|item| match item {
            Item::Nested(nested) => self.tree.nodes[*nested].threshold,
            Item::Step { .. } => None,
        });
        let of_nested: Vec<_> = of_nested.map(|threshold| threshold.as_nanos() as i64).collect();
        let left = threshold - of_nested.iter().sum::<i64>();
        Some(match left < threshold / 4 {
            true => threshold / 4 / all,
            false => left / (all - of_nested.len() as i64),
        })
    }
}

impl Shown<'_> {
    /// One span a line, with times in whole milliseconds since the Unix epoch, which is what is
    /// printed.
    fn print(&self, epoch: i64, depth: usize, out: &mut String) {
        let millis = |at: i64| (epoch + at).div_euclid(MILLI);
        let Node { name, fields, start, .. } = self.node;
        let _ = writeln!(out, "{:depth$}{name:?} {} at {}", "", pairs(*fields), millis(*start));
        for (name, fields, at) in &self.steps {
            let _ = writeln!(out, "{:depth$} * {name:?} {} at {}", "", pairs(*fields), millis(*at));
        }
        self.nested.iter().for_each(|nested| nested.print(epoch, depth + 1, out));
    }

    /// All, in the order in which they begin.
    fn nodes(&self) -> Vec<&Node<'_>> {
        let nested = self.nested.iter().flat_map(Shown::nodes);
        [self.node].into_iter().chain(nested).collect()
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
    /// What no format is known for.
    Prefix,
}

impl Wrapping {
    /// As it is written then, in nanoseconds since 1970.
    fn wrap(self, text: &str, written: i64) -> String {
        let written = jiff::Timestamp::from_nanosecond(written.into()).expect("of this century");
        let mut out = String::new();
        for (number, line) in text.lines().enumerate() {
            let _ = match self {
                Self::Klog if number == 0 => {
                    let time = written.strftime("%m%d %H:%M:%S%.6f");
                    writeln!(out, "I{time}       1 trace.go:236] {line}")
                }
                Self::None | Self::Klog => writeln!(out, "{line}"),
                Self::Cri => writeln!(out, "2025-01-01T00:00:00.5Z stderr F {line}"),
                Self::Docker => {
                    let line = serde_json::Value::from(format!("{line}\n"));
                    writeln!(out, "{{\"log\":{line},\"stream\":\"stderr\"}}")
                }
                Self::Journald => writeln!(out, "Jan  1 00:00:00 node k3s[1]: {line}"),
                Self::Prefix => writeln!(out, "[pod/web-1/app] 00:00:{number:02}.5 | {line}"),
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
        verbosity in 2..6_u8,
        epoch in 315_532_800_000_000_000_i64..4_000_000_000_000_000_000,
        number in 0..1_u32 << 31,
        is_exact: bool,
        has_ids: bool,
        wrapping in prop_oneof![
            Just(Wrapping::None), Just(Wrapping::Klog), Just(Wrapping::Cri),
            Just(Wrapping::Docker), Just(Wrapping::Journald), Just(Wrapping::Prefix),
        ],
    ) {
        let (mut clock, mut nodes) = (0, Vec::new());
        place(&root, is_exact, &mut clock, &mut nodes);
        // Longer ones have the same times of day twice.
        prop_assume!(clock < 12 * 3_600_000 * MILLI);
        let ids = (TraceId::from(7), SpanId::from(11));
        nodes[0].ids = Some(ids);
        let at = UNIX_EPOCH + Duration::from_nanos(epoch.unsigned_abs());
        let tree = Tree { epoch: at, now: clock, nodes };
        let style = Style { verbosity, is_exact, zone: Zone::Utc, has_ids };
        let (mut log, mut next) = (String::new(), number);
        let count = || {
            let number = next;
            next = (next + 1) & 0x7fff_ffff;
            number
        };
        let mut blocks = Vec::new();
        Rules { tree: &tree, verbosity, is_exact }.blocks(0, &mut blocks);
        let mut ends = blocks.iter().filter_map(|block| block.node.end);
        tree.print(&style, count, |block| {
            log += &wrapping.wrap(&block.text, epoch + ends.next().unwrap_or_default());
        });

        let options = Options::default().with_time_zone(super::TimeZone::UTC);
        let (mut importer, mut spans) = (Importer::new(options), Spans::default());
        let read = importer.read("log", &mut log.as_bytes(), &mut spans);
        let finished = read.and_then(|()| importer.finish(&mut spans).map(drop));
        prop_assert!(finished.is_ok(), "{finished:?}\n{log}");

        let (mut want, mut have) = (String::new(), String::new());
        blocks.iter().for_each(|block| block.print(epoch, 0, &mut want));
        spans.0.iter().for_each(|spans| found(spans, 0, 0, &mut have));
        prop_assert_eq!(&have, &want, "{}", log);

        for (at, (block, spans)) in blocks.iter().zip(&spans.0).enumerate() {
            let root = &spans[0];
            let number = (i64::from(number) + at as i64) & 0x7fff_ffff;
            let number_found = root.attributes.iter().find(|kv| kv.key.as_str() == NUMBER);
            prop_assert_eq!(number_found.map(|kv| kv.value.clone()), Some(number.into()));
            let context = &root.span_context;
            let has_its_own = (context.trace_id(), context.span_id()) == ids;
            prop_assert_eq!(has_its_own, has_ids && block.node.ids.is_some());
            let took = root.end_time.duration_since(root.start_time).unwrap().as_nanos() as i64;
            prop_assert_eq!(block.node.end, Some(block.node.start + took));
            check_ends(block, &tree, epoch, spans, is_exact, &log)?;
        }
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
    block: &Shown<'_>,
    tree: &Tree<'_>,
    epoch: i64,
    spans: &[SpanData],
    is_exact: bool,
    log: &str,
) -> Result<(), TestCaseError> {
    // Both are in the order in which they begin.
    for (node, span) in block.nodes().into_iter().zip(spans).skip(1) {
        let end = span.end_time.duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as i64;
        // Upstream does not say that one has not ended, so it is no longer than its block.
        let unfinished = if is_exact { block.node.end.unwrap_or(tree.now) } else { tree.now };
        let late = end - (epoch + node.end.unwrap_or(unfinished));
        prop_assert!(late > -3 * MILLI, "{:?} ends {late} ns late:\n{}", node.name, log);
        if !is_exact {
            prop_assert!(late < 3 * MILLI, "{:?} ends {late} ns late:\n{}", node.name, log);
        }
    }
    Ok(())
}
