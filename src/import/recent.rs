//! Which blocks are there again, as in files that overlap.

use std::collections::{HashSet, VecDeque};

use opentelemetry::{SpanId, TraceId};

/// The blocks that were imported last, to tell those that are there twice. A limited number: ids do
/// not change, so that one which is sent twice does no harm.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<(TraceId, SpanId)>,
    set: HashSet<(TraceId, SpanId)>,
}

const MAX_RECENT: usize = 1 << 16;

impl Recent {
    /// False if they were there.
    pub(super) fn insert(&mut self, ids: (TraceId, SpanId)) -> bool {
        if !self.set.insert(ids) {
            return false;
        }
        self.order.push_back(ids);
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }
}
