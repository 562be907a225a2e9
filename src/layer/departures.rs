//! Exits on threads that had not entered the span: what a guard does that is held across an
//! `.await`, or sent to another thread. The entry, elsewhere, is over then, and must make nobody its
//! child.

use std::collections::HashMap;

use crate::layer::slots::At;
use crate::layer::sync::{AtomicU64, AtomicUsize, Mutex, Ordering};

/// Departures of one span that are remembered until their entries are found stale.
const KEPT: usize = 64;

/// A span that a thread has entered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entered {
    pub(super) id: u64,
    /// `None` where this layer has no record of the span.
    pub(super) slot: Option<At>,
    /// How many [`Departures`] there had been by then.
    pub(super) departures: u64,
}

/// A span that this layer has a record of, on whichever thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) id: u64,
    pub(super) slot: At,
}

impl Entered {
    #[inline]
    pub(super) fn found(self) -> Option<Found> {
        self.slot.map(|slot| Found { id: self.id, slot })
    }
}

/// By span, with or without a record. Empty where no guard travels, so that all but one load is cold.
#[derive(Debug, Default)]
pub(super) struct Departures {
    /// How many there have been, of any span: an entry is over only by a departure after it.
    count: AtomicU64,
    /// Their numbers, by the tracing id of a span that is open.
    open: Mutex<HashMap<u64, Vec<u64>>>,
    /// How many spans that are, so that who closes another takes no lock: mostly none.
    open_len: AtomicUsize,
}

impl Departures {
    /// What an entry that is made now remembers.
    #[inline]
    pub(super) fn so_far(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// The span was exited where it had not been entered.
    #[cold]
    pub(super) fn add(&self, id: u64) {
        let mut open = self.open.lock();
        let number = self.count.load(Ordering::Relaxed) + 1;
        let departures = open.entry(id).or_default();
        if departures.len() < KEPT {
            departures.push(number);
        }
        self.open_len.store(open.len(), Ordering::Release);
        self.count.store(number, Ordering::Release);
    }

    /// Whether an entry that a thread still has is over by a departure since it was made; each ends
    /// one entry.
    #[inline]
    pub(super) fn took(&self, entered: &mut Entered) -> bool {
        entered.departures != self.so_far() && self.take(entered)
    }

    #[cold]
    fn take(&self, entered: &mut Entered) -> bool {
        let mut open = self.open.lock();
        if let Some(departures) = open.get_mut(&entered.id)
            && let Some(at) = departures.iter().position(|number| *number > entered.departures)
        {
            departures.remove(at);
            if departures.is_empty() {
                open.remove(&entered.id);
                self.open_len.store(open.len(), Ordering::Release);
            }
            return true;
        }
        // None until now: the next look is a cheap one again.
        entered.departures = self.count.load(Ordering::Relaxed);
        false
    }

    /// The span is closed; nobody can have it entered any more.
    #[inline]
    pub(super) fn forget(&self, id: u64) {
        if self.open_len.load(Ordering::Acquire) != 0 {
            self.forget_any(id);
        }
    }

    #[cold]
    fn forget_any(&self, id: u64) {
        let mut open = self.open.lock();
        open.remove(&id);
        self.open_len.store(open.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(departures: &Departures, id: u64) -> Entered {
        Entered { id, slot: None, departures: departures.so_far() }
    }

    #[test]
    fn a_departure_ends_one_entry_of_its_span_made_before_it() {
        let departures = Departures::default();
        let (mut first, mut second, mut other) =
            (entered(&departures, 1), entered(&departures, 1), entered(&departures, 2));
        departures.add(1);
        let mut later = entered(&departures, 1);
        assert!(!departures.took(&mut later) && !departures.took(&mut other));
        assert!(departures.took(&mut first));
        assert!(!departures.took(&mut second), "one departure ends one entry");
    }

    #[test]
    fn an_entry_that_was_found_to_stand_can_still_be_ended() {
        let departures = Departures::default();
        let mut entry = entered(&departures, 1);
        departures.add(2);
        assert!(!departures.took(&mut entry));
        departures.add(1);
        assert!(departures.took(&mut entry));
    }

    #[test]
    fn nothing_is_kept_of_closed_spans_or_beyond_a_limit() {
        let departures = Departures::default();
        let mut entry = entered(&departures, 1);
        for _ in 0..10 * KEPT {
            departures.add(1);
        }
        assert_eq!(departures.open.lock()[&1].len(), KEPT);
        departures.forget(1);
        assert!(departures.open.lock().is_empty() && !departures.took(&mut entry));
        // Nothing is looked for where nothing is open: this would wait for the lock for ever.
        let open = departures.open.lock();
        departures.forget(2);
        drop(open);
    }
}
