//! A chunk's spans, one by one, each with what is its own of the chunk.

use tracing::Metadata;

use crate::export::chunk::{Chunk, SpanRecord};

/// A closed span with its values and events.
#[derive(Debug)]
pub(crate) struct ClosedSpan<'a> {
    pub(crate) record: SpanRecord,
    /// Its values, encoded.
    pub(crate) bytes: &'a [u8],
    /// The callsites of its events, in the order in which they stand in the bytes.
    pub(crate) events: &'a [&'static Metadata<'static>],
}

impl Chunk {
    /// Takes the spans out, in the order in which they were closed. Bytes stay until the chunk is
    /// cleared.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = ClosedSpan<'_>> {
        let (mut bytes, mut events) = (&*self.bytes, &*self.events);
        self.spans.drain(..).map(move |record| {
            let own_bytes = take(&mut bytes, record.bytes);
            let own_events = take(&mut events, record.events);
            ClosedSpan { record, bytes: own_bytes, events: own_events }
        })
    }
}

/// The first `count`, which every record counts when it is put in.
fn take<'a, T>(rest: &mut &'a [T], count: u32) -> &'a [T] {
    let (own, others) = rest.split_at(count as usize);
    *rest = others;
    own
}
