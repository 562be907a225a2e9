//! Encoded spans on their way into requests.

#[cfg(feature = "cli")]
use std::ops::Range;

use opentelemetry_sdk::trace::SpanData;

use super::fields::scope_spans;
use super::request::{Envelope, ROOM, Request};
use super::{span_data, wire};

/// Encoded spans, each as a field of its scope, and where each of them ends.
#[derive(Debug, Default)]
pub(crate) struct EncodedSpans {
    /// The spans, behind [`ROOM`] bytes for what a request has before them.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What an empty batch keeps for its next use: more than most batches are.
const KEPT_BYTES: usize = 2 * 1024 * 1024;

impl EncodedSpans {
    /// As any exporter has them.
    pub(super) fn from_span_data(batch: &[SpanData]) -> Self {
        let mut encoded = Self::default();
        for data in batch {
            encoded.push(|out| span_data::encode(out, data, None));
        }
        encoded
    }

    /// One more span, whose fields `write` writes.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.make_room();
        wire::message(&mut self.bytes, scope_spans::SPANS, write);
        self.ends.push(self.bytes.len());
    }

    /// As [`push`](Self::push), but for nothing if `write` gives up.
    #[inline]
    pub(super) fn try_push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> bool {
        self.make_room();
        let start = self.bytes.len();
        let written = wire::message(&mut self.bytes, scope_spans::SPANS, write);
        if written.is_none() {
            self.bytes.truncate(start);
            return false;
        }
        self.ends.push(self.bytes.len());
        true
    }

    #[inline]
    fn make_room(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.resize(ROOM, 0);
        }
    }

    /// Moves the first spans to `batch`, if there are enough for a whole one; or, with `all`, as
    /// many as fit into one. A span that is over `max_bytes` alone goes alone. False if none went.
    ///
    /// What was in `batch` is gone, but its memory is used again.
    pub(crate) fn take_batch(
        &mut self,
        batch: &mut Self,
        max_spans: usize,
        max_bytes: usize,
        all: bool,
    ) -> bool {
        let max_end = max_bytes.saturating_add(ROOM);
        let is_full = self.ends.len() >= max_spans || self.bytes.len() > max_end;
        if self.ends.is_empty() || !(is_full || all) {
            return false;
        }
        let fitting = self.ends.partition_point(|&end| end <= max_end);
        let spans = fitting.clamp(1, max_spans).min(self.ends.len());
        let end = self.ends[spans - 1];
        // Mostly there is little left, so that is what is copied.
        batch.clear();
        batch.make_room();
        batch.bytes.extend_from_slice(&self.bytes[end..]);
        batch.ends.extend(self.ends[spans..].iter().map(|other| other - end + ROOM));
        self.bytes.truncate(end);
        self.ends.truncate(spans);
        std::mem::swap(self, batch);
        true
    }

    /// Lends the bytes to a request, for as long as that is sent.
    pub(super) fn lend(&mut self, envelope: &Envelope) -> Request {
        self.make_room();
        envelope.around(std::mem::take(&mut self.bytes))
    }

    /// Takes the memory back, unless somebody else still has a share in it.
    pub(super) fn give_back(&mut self, lent: Request) {
        if let Some(memory) = lent.into_memory() {
            self.bytes = memory;
        }
    }

    /// A copy of some of them, by their positions.
    #[cfg(feature = "cli")]
    pub(super) fn part(&self, part: &Range<usize>) -> Self {
        let (start, end) = (self.offset(part.start), self.offset(part.end));
        let mut copy = Self::default();
        copy.make_room();
        copy.bytes.extend_from_slice(&self.bytes[start..end]);
        copy.ends.extend(self.ends[part.clone()].iter().map(|other| other - start + ROOM));
        copy
    }

    /// Where the span at this position begins.
    #[cfg(feature = "cli")]
    pub(super) fn offset(&self, position: usize) -> usize {
        if position == 0 { ROOM } else { self.ends[position - 1] }
    }

    /// How many of these, from the first on, take no more than so many bytes.
    #[cfg(feature = "cli")]
    pub(super) fn fitting(&self, part: &Range<usize>, max_bytes: usize) -> usize {
        let limit = self.offset(part.start) + max_bytes;
        self.ends[part.clone()].partition_point(|&end| end <= limit)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.ends.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(ROOM..).unwrap_or_default()
    }
}
