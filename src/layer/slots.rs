//! The pool of slots: bounded, made as they are needed, shared out to threads in batches.

use std::sync::OnceLock;

use crate::layer::record::Slot;
use crate::layer::sync::Mutex;

/// Slots in segments that are made when they are needed and never freed before the engine.
#[derive(Debug)]
pub(super) struct Slots {
    segments: Box<[OnceLock<Box<[Slot]>>]>,
    pool: Mutex<Pool>,
    max: u32,
    /// Slots that a thread takes from the pool, or gives back, in one go.
    batch: usize,
}

#[derive(Debug, Default)]
struct Pool {
    free: Vec<u32>,
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
            max,
            // A small limit must not be eaten up by what idle threads keep.
            batch: (max_live / 1024).clamp(1, MAX_SLOT_BATCH),
        }
    }

    /// How many slots a thread takes or gives back at a time.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> &Slot {
        let segment = self.segments[at as usize / SEGMENT]
            .get_or_init(|| std::iter::repeat_with(Slot::default).take(SEGMENT).collect());
        &segment[at as usize % SEGMENT]
    }

    /// Moves free slots to `free`; none where all are in use.
    pub(super) fn refill(&self, free: &mut Vec<u32>) {
        let mut pool = self.pool.lock();
        let from = pool.free.len().saturating_sub(self.batch);
        free.extend(pool.free.drain(from..));
        if free.is_empty() {
            let end = self.max.min(pool.next + self.batch as u32);
            free.extend((pool.next..end).rev());
            pool.next = end;
        }
    }

    pub(super) fn give_back(&self, slots: impl Iterator<Item = u32>) {
        self.pool.lock().free.extend(slots);
    }
}
