//! How a span ends: from its slot into a chunk, and on to the queue.

use std::sync::Arc;

use tracing::Metadata;

use crate::export::chunk::{Chunk, SpanRecord};
use crate::export::stats::DropReason;
use crate::layer::engine::Engine;
use crate::layer::outbound::{Outbound, ThreadShared};
use crate::layer::prefetch;
use crate::layer::record::{Body, Side, Slot, State};
use crate::layer::slots::At;
use crate::layer::thread::{Local, with_local};

/// What is dropped where nothing is locked or borrowed, since it may have a destructor of the user's:
/// what rode along with a span that was not recorded, and with spans that were lost.
type Left = (Option<Box<Side>>, Vec<Side>);

/// What came of closing a span.
enum Closed {
    Done,
    /// It has to be decided on first.
    Undecided,
}

impl Engine {
    #[inline]
    pub(super) fn finish(self: &Arc<Self>, id: u64) {
        self.departures.forget(id);
        let Some(at) = self.table.remove(id) else { return };
        let slot = self.slot(at);
        let mut left = Left::default();
        loop {
            let closed = with_local(self, |local| self.close(local, id, (at, slot), &mut left))
                .unwrap_or_else(|| self.close_without_thread(id, (at, slot), &mut left));
            // To decide may be to ask a sampler, so that is done out here.
            if matches!(closed, Closed::Done) || self.resolve(slot, id).is_none() {
                return;
            }
        }
    }

    /// Ends a span, and puts it into the thread's chunk if it was recorded.
    #[inline]
    fn close(
        &self,
        local: &mut Local,
        id: u64,
        (at, slot): (At, &Slot),
        left: &mut Left,
    ) -> Closed {
        let Some(mut body) = slot.lock_if(id) else { return Closed::Done };
        // Under the lock, under which a parent is set.
        match (slot.state(), body.metadata) {
            (State::Pending, _) => return Closed::Undecided,
            (State::Recording | State::Settled, Some(metadata)) => {
                let end = self.end(slot);
                self.write_out(&local.shared, id, metadata, &mut body, end, &mut left.1);
            }
            _ => {}
        }
        left.0 = body.clear();
        slot.retire();
        drop(body);
        self.release(&mut local.free, at);
        Closed::Done
    }

    /// A parent that a spawned child keeps open ends when it was left last.
    #[inline]
    fn end(&self, slot: &Slot) -> u64 {
        slot.last_exit().unwrap_or_else(|| self.clock.now())
    }

    #[cold]
    fn close_without_thread(&self, id: u64, (at, slot): (At, &Slot), left: &mut Left) -> Closed {
        let Some(mut body) = slot.lock_if(id) else { return Closed::Done };
        match (slot.state(), body.metadata) {
            (State::Pending, _) => return Closed::Undecided,
            (State::Recording | State::Settled, Some(metadata)) => {
                let end = self.end(slot);
                self.write_out_without_thread(id, metadata, &mut body, end, &mut left.1);
            }
            _ => {}
        }
        left.0 = body.clear();
        slot.retire();
        drop(body);
        self.give_back(std::iter::once(at));
        Closed::Done
    }

    fn write_out_without_thread(
        &self,
        id: u64,
        metadata: &'static Metadata<'static>,
        body: &mut Body,
        end: u64,
        lost: &mut Vec<Side>,
    ) {
        let mut chunk = Chunk::default();
        push(&mut chunk, id, metadata, body, end);
        self.count_ended_closed();
        if self.is_open() {
            chunk = self.hand_over(chunk);
        } else {
            self.counts.add_dropped(DropReason::AfterShutdown, 1);
        }
        take_sides(&mut chunk, lost);
    }

    /// Appends a closed span to the thread's chunk, and hands a full one over. What rode along with
    /// spans that were lost goes to `lost`.
    #[inline]
    fn write_out(
        &self,
        shared: &ThreadShared,
        id: u64,
        metadata: &'static Metadata<'static>,
        body: &mut Body,
        end: u64,
        lost: &mut Vec<Side>,
    ) {
        let mut outbound = shared.outbound();
        shared.counters.closed.increment();
        // Looked at under the lock: the last collection takes it after recording has stopped, so
        // nothing is left behind in a chunk that nobody will take.
        if !self.is_open() {
            shared.counters.after_shutdown.increment();
            return;
        }
        push(&mut outbound.chunk, id, metadata, body, end);
        if self.is_full(&outbound.chunk) {
            self.hand_over_full(&mut outbound, lost);
        }
    }

    #[cold]
    fn hand_over_full(&self, outbound: &mut Outbound, lost: &mut Vec<Side>) {
        outbound.remember();
        // The queue's lock nests in the thread's; nobody takes them the other way round.
        let full = std::mem::take(&mut outbound.chunk);
        outbound.chunk = self.hand_over(full);
        take_sides(&mut outbound.chunk, lost);
        outbound.chunk.clear();
        if outbound.chunk.spans.capacity() == 0 {
            outbound.chunk = self.new_chunk();
        }
    }
}

/// What rides along with the spans of a chunk that nobody has taken.
fn take_sides(chunk: &mut Chunk, lost: &mut Vec<Side>) {
    let sides = chunk.spans.iter_mut().filter_map(|span| span.side.take());
    lost.extend(sides.map(|side| *side));
}

#[inline]
fn push(
    chunk: &mut Chunk,
    id: u64,
    metadata: &'static Metadata<'static>,
    body: &mut Body,
    end: u64,
) {
    let bytes = body.attributes.bytes();
    chunk.bytes.extend_from_slice(bytes);
    if !body.events.is_empty() {
        chunk.events.extend_from_slice(&body.events);
    }
    chunk.spans.push(SpanRecord {
        id,
        metadata,
        head: body.head,
        end: end.max(body.head.start),
        bytes: bytes.len() as u32,
        events: body.events.len() as u32,
        dropped_attributes: body.attributes.dropped(),
        side: body.side.take(),
    });
    // Where the next span goes.
    prefetch::for_writing::<4>(chunk.bytes.as_ptr().wrapping_add(chunk.bytes.len()));
    let next = chunk.spans.as_ptr().wrapping_add(chunk.spans.len());
    prefetch::for_writing::<3>(next.cast());
}
