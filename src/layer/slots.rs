//! The pool of slots: bounded, made as they are needed, shared out to threads in batches.

use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::layer::record::Slot;
use crate::layer::sync::{AtomicBool, Mutex, Ordering};

/// Where a slot of a pool is: what its users keep in place of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(NonNull<Slot>);

#[allow(unsafe_code, reason = "an address is not sent by itself")]
// SAFETY: it is the address of what threads share, and gives access only by way of the pool.
unsafe impl Send for At {}

impl At {
    #[inline]
    pub(super) fn from_ptr(slot: *mut Slot) -> Option<Self> {
        NonNull::new(slot).map(Self)
    }

    #[inline]
    pub(super) fn as_ptr(self) -> *mut Slot {
        self.0.as_ptr()
    }
}

/// Slots in segments that are made when they are needed and never freed before the engine.
#[derive(Debug)]
pub(super) struct Slots {
    segments: Box<[OnceLock<Box<[Slot]>>]>,
    pool: Mutex<Pool>,
    /// A hint for who finds no slot, so that threads do not queue up for none. Written under the lock.
    is_used_up: AtomicBool,
    max: u32,
    /// Slots that a thread takes from the pool, or gives back, in one go.
    batch: usize,
}

#[derive(Debug, Default)]
struct Pool {
    free: Vec<At>,
    /// The first slot that was never used.
    next: u32,
}

const SEGMENT: usize = 256;
const MAX_SLOT_BATCH: usize = 32;

impl Slots {
    pub(super) fn new(max_live: usize) -> Self {
        let max = u32::try_from(max_live).unwrap_or(u32::MAX);
        let segments = (max as usize).div_ceil(SEGMENT);
        Self {
            segments: std::iter::repeat_with(OnceLock::new).take(segments).collect(),
            pool: Mutex::default(),
            is_used_up: AtomicBool::new(max == 0),
            max,
            // A small limit must not be eaten up by what idle threads keep.
            batch: (max_live / 1024).clamp(1, MAX_SLOT_BATCH),
        }
    }

    /// How many slots a thread takes or gives back at a time.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// The slot that is there. It must be one of this pool's.
    #[inline]
    #[allow(unsafe_code, reason = "spares the way through the segments at each look")]
    pub(super) fn get(&self, at: At) -> &Slot {
        // SAFETY: only `make` tells where slots are, and the engine, which owns table, pool, and
        // whatever else keeps this, takes it only to the pool that it came from. That has not moved
        // the slot since, lives as long as the borrow of it, and never lends it mutably.
        unsafe { at.0.as_ref() }
    }

    /// Moves free slots to `free`; none where all are in use.
    pub(super) fn refill(&self, free: &mut Vec<At>) {
        if self.is_used_up.load(Ordering::Relaxed) {
            return;
        }
        let mut pool = self.pool.lock();
        let from = pool.free.len().saturating_sub(self.batch);
        free.extend(pool.free.drain(from..));
        if free.is_empty() {
            let end = self.max.min(pool.next + self.batch as u32);
            free.extend((pool.next..end).rev().map(|number| self.make(number as usize)));
            pool.next = end;
        }
        self.is_used_up.store(pool.free.is_empty() && pool.next == self.max, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, slots: impl Iterator<Item = At>) {
        let mut pool = self.pool.lock();
        pool.free.extend(slots);
        if !pool.free.is_empty() {
            self.is_used_up.store(false, Ordering::Relaxed);
        }
    }

    fn make(&self, number: usize) -> At {
        let segment = self.segments[number / SEGMENT].get_or_init(|| {
            let left = self.max as usize - (number - number % SEGMENT);
            std::iter::repeat_with(Slot::default).take(left.min(SEGMENT)).collect()
        });
        At(NonNull::from(&segment[number % SEGMENT]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_the_pool_used_up_does_not_take_its_lock() {
        let slots = Slots::new(2);
        let [mut free, mut more] = [Vec::new(), Vec::new()];
        slots.refill(&mut free);
        slots.refill(&mut more);
        assert_eq!((free.len(), more.len()), (1, 1));
        // 1. All are in use: nobody waits for the lock, which is held here.
        let lock = slots.pool.lock();
        let mut none = Vec::new();
        slots.refill(&mut none);
        assert_eq!(none.len(), 0);
        drop(lock);
        // 2. One comes back, and is had again.
        slots.give_back(free.pop().into_iter());
        slots.refill(&mut none);
        assert_eq!(none.len(), 1);
        slots.give_back(std::iter::empty());
        assert!(slots.is_used_up.load(Ordering::Relaxed));
    }
}
