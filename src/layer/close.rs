//! How a span ends: out of its slot, into a chunk.

use std::sync::Arc;

use crate::layer::engine::Engine;
use crate::layer::record::{Side, Slot, State};
use crate::layer::slots::At;
use crate::layer::thread::{Local, with_known, with_local};

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
        let Some(at) = self.table.remove(id) else {
            with_known(self, |local| local.forget_unrecorded(id));
            return;
        };
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
                self.hand_over.write_out(&local.shared, id, metadata, &mut body, end, &mut left.1);
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
                self.hand_over.write_out_without_thread(id, metadata, &mut body, end, &mut left.1);
            }
            _ => {}
        }
        left.0 = body.clear();
        slot.retire();
        drop(body);
        self.give_back(std::iter::once(at));
        Closed::Done
    }
}
