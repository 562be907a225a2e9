//! What became of the span trees.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts, and nothing that is ordered by them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    live: AtomicUsize,
    /// Roots that are open and not watched.
    open_unwatched: AtomicUsize,
    pub(super) failed: AtomicU64,
    pub(super) printed: AtomicU64,
    pub(super) suppressed: AtomicU64,
    pub(super) unwatched: AtomicU64,
}

impl Counters {
    /// Counts a tree that opens, unless as many as `max` are open.
    pub(super) fn open_tree(&self, max: usize) -> bool {
        let opened = self.live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| {
            (live < max).then_some(live + 1)
        });
        if opened.is_err() {
            self.unwatched.fetch_add(1, Ordering::Relaxed);
        }
        opened.is_ok()
    }

    pub(super) fn close_tree(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Whether any root is open, watched or not.
    pub(super) fn has_roots(&self) -> bool {
        self.live() > 0 || self.open_unwatched.load(Ordering::Relaxed) > 0
    }
}

/// An open root that is not watched, until it is dropped.
#[derive(Debug)]
pub(super) struct Unwatched(Arc<Counters>);

impl Unwatched {
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        counters.open_unwatched.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for Unwatched {
    fn drop(&mut self) {
        self.0.open_unwatched.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a [`SlowSpanLayer`](super::SlowSpanLayer) has done so far. Clones count the same.
///
/// The counts are read one by one, so together they are not the picture of one moment.
#[derive(Clone, Debug)]
pub struct SlowSpanStats(pub(super) Arc<Counters>);

impl SlowSpanStats {
    /// Outputs that failed: a writer's error, a panic in a writer or a callback.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Trees that are open and watched.
    pub fn live(&self) -> usize {
        self.0.live()
    }

    /// Slow operations that were printed.
    pub fn printed(&self) -> u64 {
        self.0.printed.load(Ordering::Relaxed)
    }

    /// Slow trees that were not printed, because of the rate limit, or because it was the output
    /// that closed them.
    pub fn suppressed(&self) -> u64 {
        self.0.suppressed.load(Ordering::Relaxed)
    }

    /// Trees that were not watched, because too many were open when they began.
    pub fn unwatched(&self) -> u64 {
        self.0.unwatched.load(Ordering::Relaxed)
    }
}
