//! An open span tree, shared by the spans that belong to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::recording::{Limits, Node, Recording};
use super::stats::{Counters, Unwatched};

/// An open tree, shared by the spans that belong to it.
#[derive(Debug)]
pub(super) struct Tree {
    /// `None` once the root has ended. Held for a few lines, while no code of the user's runs.
    recording: Mutex<Option<Recording>>,
    counters: Arc<Counters>,
}

impl Tree {
    /// A tree of the one span `root`, or `None` where as many as `max_trees` are open.
    pub(super) fn plant(
        root: Node,
        limits: Limits,
        wall: SystemTime,
        max_trees: usize,
        counters: &Arc<Counters>,
    ) -> Option<Self> {
        if !counters.open_tree(max_trees) {
            return None;
        }
        let recording = Recording::new(root, limits, wall);
        Some(Self { recording: Mutex::new(Some(recording)), counters: Arc::clone(counters) })
    }

    /// Runs `f` unless the root has ended.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Recording) -> R) -> Option<R> {
        self.lock().as_mut().map(f)
    }

    /// Adds a span below `parent`, or gives it back if it does not fit or the root has ended.
    pub(super) fn add_span(&self, parent: usize, node: Node) -> Result<usize, Box<Node>> {
        match self.lock().as_mut() {
            Some(recording) => recording.add_span(parent, node),
            None => Err(Box::new(node)),
        }
    }

    /// What was recorded, once.
    pub(super) fn uproot(&self) -> Option<Recording> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Recording>> {
        // Nothing under the lock leaves a tree half changed.
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.counters.close_tree();
    }
}

/// A span's place in its tree, kept with the span.
#[derive(Debug)]
pub(super) struct Place {
    /// `None` for a root that is not watched because too many trees are open.
    pub(super) tree: Option<Arc<Tree>>,
    pub(super) node: usize,
    /// When the span was last left, in nanoseconds; zero if it never was.
    last_exit: AtomicU64,
    _unwatched: Option<Unwatched>,
}

impl Place {
    pub(super) fn new(tree: Arc<Tree>, node: usize) -> Self {
        Self { tree: Some(tree), node, last_exit: AtomicU64::new(0), _unwatched: None }
    }

    /// That of a root which is not watched.
    pub(super) fn unwatched(counters: &Arc<Counters>) -> Self {
        Self {
            tree: None,
            node: Recording::ROOT,
            last_exit: AtomicU64::new(0),
            _unwatched: Some(Unwatched::new(counters)),
        }
    }

    /// Threads may leave one span at the same time; the last of them counts.
    pub(super) fn left(&self, now: Duration) {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(1);
        // Closing is ordered after this by the count of the span's handles.
        self.last_exit.fetch_max(nanos, Ordering::Relaxed);
    }

    pub(super) fn last_exit(&self) -> Option<Duration> {
        let nanos = self.last_exit.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }
}
