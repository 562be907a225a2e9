//! What must hold for any bytes that a log may be made of.

use std::collections::BTreeMap;
use std::io::{self, Read};

use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;

use crate::import::{Importer, Options, Problem, ProblemKind, Receiver};

/// So few that limits are met.
const MAX_OPEN_BLOCKS: usize = 4;

/// What an importer has found.
#[derive(Debug, Default, PartialEq)]
struct Found {
    bytes: u64,
    blocks: u64,
    duplicates: u64,
    /// A line for each span.
    spans: Vec<String>,
    events: u64,
    problems: Vec<(ProblemKind, String)>,
}

impl Receiver for Found {
    fn spans(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
        self.blocks += 1;
        for (at, span) in spans.iter().enumerate() {
            let context = &span.span_context;
            let (root, before) = (&spans[0].span_context, &spans[..at]);
            assert!(context.is_valid() && context.trace_id() == root.trace_id(), "{spans:?}");
            assert!(span.start_time <= span.end_time, "{span:?}");
            if at == 0 {
                assert_eq!(span.parent_span_id, SpanId::INVALID);
            } else {
                let is_parent =
                    |other: &SpanData| other.span_context.span_id() == span.parent_span_id;
                assert!(before.iter().any(is_parent), "{spans:?}");
            }
            self.events += span.events.events.len() as u64;
            self.spans.push(format!("{:?} {} {:?}", span.name, context.span_id(), span.start_time));
        }
        Ok(())
    }

    fn problem(&mut self, problem: &Problem) -> io::Result<()> {
        assert_eq!(problem.file(), "log");
        self.problems.push((problem.kind(), problem.to_string()));
        Ok(())
    }
}

/// Every byte is counted, and so is all that is found; what begins a block becomes spans, or is
/// told of. Neither how the log is read nor its encoding makes a difference.
pub fn import(data: &[u8]) {
    let found = read(&mut &*data);
    let text = String::from_utf8_lossy(data);
    let is_packed = data.starts_with(&[0x1f, 0x8b]);
    // What may be UTF-16 or UTF-32 has a byte of zero or 0xff at its beginning.
    let is_utf8 = !data.iter().take(8).any(|byte| matches!(byte, 0 | 0xfe | 0xff));
    if is_packed || !is_utf8 {
        return;
    }
    let mark = if data.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
    assert_eq!(found.bytes, data.len() as u64 - mark);
    // Where there is JSON a line may be the rest of one that a runtime has split.
    if !text.contains('{') {
        let begun = text.lines().filter(|line| begins_block(line)).count();
        let accounted = found.blocks + found.duplicates + found.problems.len() as u64;
        assert!(begun as u64 <= accounted, "{begun} blocks begin: {found:?}");
    }

    assert_eq!(read(&mut Trickle(data)), found);
    if mark == 0 {
        let utf16 = "\u{feff}".encode_utf16().chain(text.encode_utf16());
        let utf16: Vec<u8> = utf16.flat_map(u16::to_be_bytes).collect();
        let bytes = text.len() as u64;
        assert_eq!(read(&mut &*utf16), Found { bytes, ..found });
    }
}

fn read(input: &mut dyn Read) -> Found {
    let mut found = Found::default();
    let mut importer = Importer::new(Options::default().with_max_open_blocks(MAX_OPEN_BLOCKS));
    importer.read("log", input, &mut found).expect("the receiver does not fail");
    let summary = importer.finish(&mut found).expect("the receiver does not fail");
    assert_eq!(summary.blocks(), found.blocks);
    assert_eq!(summary.spans(), found.spans.len() as u64);
    assert_eq!(summary.events(), found.events);
    let mut problems = BTreeMap::new();
    for (kind, _) in &found.problems {
        *problems.entry(*kind).or_insert(0) += 1;
    }
    assert!(summary.problems().eq(problems));
    (found.bytes, found.duplicates) = (summary.bytes(), summary.duplicates());
    found
}

/// A few bytes at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(7);
        self.0.read(&mut buffer[..len])
    }
}

/// Whether this can be nothing but a block's first line.
fn begins_block(line: &str) -> bool {
    let parts = || {
        let (number, rest) = line.strip_prefix("Trace[")?.split_once("]: \"")?;
        let (name, rest) = rest.split_once("\" (10-Mar-2025 11:12:14.863) (total time: ")?;
        let took = rest.strip_suffix("ms):")?;
        Some((number, name, took))
    };
    let is_number = |text: &str| {
        (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    parts().is_some_and(|(number, name, took)| {
        is_number(number) && is_number(took) && name.bytes().all(|byte| byte.is_ascii_alphabetic())
    })
}
