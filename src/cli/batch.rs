//! Spans that are sent together.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::vec;

use opentelemetry_sdk::trace::SpanData;

use crate::import;

/// Spans that wait to be sent.
#[derive(Default)]
pub(super) struct Waiting {
    // Blocks of a million spans are left where they are, and taken from the front.
    blocks: VecDeque<(vec::IntoIter<SpanData>, Rc<str>)>,
    len: usize,
}

impl Waiting {
    /// Adds the spans of one block, the root first.
    pub(super) fn add(&mut self, spans: Vec<SpanData>) {
        let place: Rc<str> = match spans.first().and_then(import::place) {
            Some((file, line)) => format!("{file}:{line}").into(),
            None => "a place that is not known".into(),
        };
        self.len += spans.len();
        self.blocks.push_back((spans.into_iter(), place));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes the first spans out, or all if there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Batch {
        let mut batch = Batch { spans: Vec::new(), places: Vec::new() };
        while batch.spans.len() < count
            && let Some((block, place)) = self.blocks.front_mut()
        {
            batch.spans.extend(block.take(count - batch.spans.len()));
            batch.places.resize(batch.spans.len(), Rc::clone(place));
            if block.len() == 0 {
                self.blocks.pop_front();
            }
        }
        self.len -= batch.spans.len();
        batch
    }
}

/// Spans that are sent together, and the `file:line` where the block of each begins.
pub(super) struct Batch {
    spans: Vec<SpanData>,
    places: Vec<Rc<str>>,
}

impl Batch {
    pub(super) fn spans(&self) -> &[SpanData] {
        &self.spans
    }

    pub(super) fn into_spans(self) -> Vec<SpanData> {
        self.spans
    }

    /// Where the block of the span at this position begins.
    pub(super) fn place(&self, position: usize) -> &str {
        &self.places[position]
    }

    /// Where the blocks of some of them begin.
    pub(super) fn places(&self, part: &Range<usize>) -> String {
        let places = &self.places[part.clone()];
        match (places.first(), places.last()) {
            (Some(first), Some(last)) if first == last => format!("of {first}"),
            (Some(first), Some(last)) => format!("among {first} to {last}"),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;
    use opentelemetry_sdk::trace::SpanData;

    use super::*;
    use crate::import::{Importer, Options, Problem, Receiver};

    /// The spans of a block that is on this line, with so many nested traces.
    fn block(line: i64, nested: usize) -> Vec<SpanData> {
        struct Taken(Vec<SpanData>);
        impl Receiver for Taken {
            fn spans(&mut self, spans: Vec<SpanData>) -> std::io::Result<()> {
                self.0 = spans;
                Ok(())
            }

            fn problem(&mut self, problem: &Problem) -> std::io::Result<()> {
                panic!("{problem}")
            }
        }
        let mut log = "Trace[1]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n".to_owned();
        log += &"Trace[1]: [\"n\" 5ms (11:12:14.000)]\n".repeat(nested);
        log += "Trace[1]: [5ms] [5ms] END\n";
        let (mut importer, mut taken) = (Importer::new(Options::default()), Taken(Vec::new()));
        importer.read("log", &mut log.as_bytes(), &mut taken).unwrap();
        let mut spans = taken.0;
        let place = &mut spans[0].attributes;
        place.retain(|attribute| attribute.key.as_str() != "log.file.line");
        place.push(KeyValue::new("log.file.line", line));
        spans
    }

    #[test]
    fn spans_are_taken_in_their_order_with_their_places() {
        let mut waiting = Waiting::default();
        assert!(waiting.take(1).spans().is_empty());
        waiting.add(block(1, 4));
        waiting.add(Vec::new());
        waiting.add(block(8, 0));
        waiting.add(block(9, 1));
        let mut taken = Vec::new();
        while waiting.len() > 0 {
            let before = waiting.len();
            let batch = waiting.take(3);
            assert_eq!(batch.spans().len(), before.min(3));
            assert_eq!(waiting.len(), before - batch.spans().len());
            let names = batch.spans().iter().map(|span| span.name.clone());
            let places = (0..batch.spans().len()).map(|at| batch.place(at).to_owned());
            taken.extend(names.zip(places).map(|(name, place)| format!("{name} {place}")));
        }
        let expected = [
            "x log:1", "n log:1", "n log:1", "n log:1", "n log:1", "x log:8", "x log:9", "n log:9",
        ];
        assert_eq!(taken, expected);
    }

    #[test]
    fn what_is_taken_of_a_large_block_moves_nothing_else() {
        let mut waiting = Waiting::default();
        waiting.add(block(1, 2_000));
        let first = waiting.blocks[0].0.as_slice().as_ptr();
        let taken = waiting.take(512);
        assert_eq!(taken.places(&(0..512)), "of log:1");
        let rest = waiting.blocks[0].0.as_slice();
        assert_eq!((rest.len(), rest.as_ptr()), (2_001 - 512, first.wrapping_add(512)));
    }
}
