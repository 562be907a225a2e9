//! Which blocks are there again, as in files that overlap.

use std::collections::{HashSet, VecDeque};

use opentelemetry::{SpanId, TraceId};

/// The blocks that were imported last, to tell those that are there twice. A limited number: ids do
/// not change, so that one which is sent twice does no harm.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<Key>,
    set: HashSet<Key>,
}

/// The ids of a block's root, and a hash of what the block says: an operation that is logged again
/// has the same ids, and took longer.
pub(super) type Key = (TraceId, SpanId, u64);

const MAX_RECENT: usize = 1 << 16;

impl Recent {
    /// False if they were there.
    pub(super) fn insert(&mut self, key: Key) -> bool {
        if !self.set.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }
}
