//! Spans that are sent together.

use std::ops::Range;
use std::rc::Rc;

use opentelemetry_sdk::trace::SpanData;

use crate::import;

/// Spans, and the `file:line` where the block of each begins.
#[derive(Default)]
pub(super) struct Batch {
    spans: Vec<SpanData>,
    places: Vec<Rc<str>>,
}

impl Batch {
    /// Adds the spans of one block, the root first.
    pub(super) fn add(&mut self, spans: Vec<SpanData>) {
        let place: Rc<str> = match spans.first().and_then(import::place) {
            Some((file, line)) => format!("{file}:{line}").into(),
            None => "a place that is not known".into(),
        };
        self.places.extend(spans.iter().map(|_| Rc::clone(&place)));
        self.spans.extend(spans);
    }

    /// Takes the first spans out.
    pub(super) fn take(&mut self, count: usize) -> Self {
        let (spans, places) = (self.spans.split_off(count), self.places.split_off(count));
        std::mem::replace(self, Self { spans, places })
    }

    pub(super) fn spans(&self) -> &[SpanData] {
        &self.spans
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
