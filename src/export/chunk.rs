//! What a thread hands over: closed spans as compact records, in one block of memory.

use tracing::Metadata;

use crate::layer::{Head, Side};

/// A closed span but for its values, which stand in the chunk's bytes.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(crate) struct SpanRecord {
    /// The span's id in `tracing`.
    pub(crate) id: u64,
    pub(crate) metadata: &'static Metadata<'static>,
    pub(crate) head: Head,
    pub(crate) end: u64,
    /// How many of the chunk's bytes are this span's.
    pub(crate) bytes: u32,
    /// How many of the chunk's event metadata are this span's.
    pub(crate) events: u32,
    pub(crate) dropped_attributes: u32,
    pub(crate) side: Option<Box<Side>>,
}

/// Closed spans in the order of closing. Emptied and used again rather than freed.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) spans: Vec<SpanRecord>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) events: Vec<&'static Metadata<'static>>,
}

/// A chunk is handed over when it has this many bytes...
const FULL_BYTES: usize = 32 * 1024;
/// ...and keeps no more than this for its next use.
const KEPT_BYTES: usize = 2 * FULL_BYTES;

impl Chunk {
    /// An empty chunk with room for `spans` of them.
    pub(crate) fn with_capacity(spans: usize) -> Self {
        Self {
            spans: Vec::with_capacity(spans),
            bytes: Vec::with_capacity(FULL_BYTES + FULL_BYTES / 4),
            events: Vec::with_capacity(spans),
        }
    }

    pub(crate) fn is_full(&self, spans: usize) -> bool {
        self.spans.len() >= spans || self.bytes.len() >= FULL_BYTES
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether `other` fits in without new memory.
    pub(crate) fn has_room_for(&self, other: &Self) -> bool {
        self.spans.capacity() - self.spans.len() >= other.spans.len()
            && self.bytes.capacity() - self.bytes.len() >= other.bytes.len()
            && self.events.capacity() - self.events.len() >= other.events.len()
    }

    /// Moves what is in `other` to the end of this chunk.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.spans.append(&mut other.spans);
        self.bytes.append(&mut other.bytes);
        self.events.append(&mut other.events);
    }

    pub(crate) fn clear(&mut self) {
        self.spans.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.events.clear();
    }
}
