//! Which blocks are there again, as in files that overlap.

use std::collections::{HashMap, VecDeque};

use opentelemetry::{SpanId, TraceId};

/// The blocks that were imported last, to tell those that are there twice. A limited number: ids do
/// not change, so that one which is sent twice does no harm.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<Root>,
    sent: HashMap<Root, Sent>,
}

/// The ids of a block's root.
pub(super) type Root = (TraceId, SpanId);

/// What of a block's text is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) is_whole: bool,
    /// A hash of what the block says: an operation that is logged again has the same ids, and took
    /// longer.
    pub(super) content: u64,
    /// Between the first and the last.
    pub(super) lines: usize,
}

/// What was sent of one root.
#[derive(Debug, Default)]
struct Sent {
    /// The contents of whole blocks.
    whole: Vec<u64>,
    /// The lines of the longest that was not whole.
    lines: Option<usize>,
}

const MAX_RECENT: usize = 1 << 16;
/// So often is one operation told apart from itself.
const MAX_WHOLE: usize = 16;

impl Recent {
    /// False if all of it was there: the same block, or of one that is not whole no more than was
    /// sent, which it would take the place of.
    pub(super) fn insert(&mut self, root: Root, copy: Copy) -> bool {
        let sent = self.sent.entry(root).or_insert_with(|| {
            self.order.push_back(root);
            Sent::default()
        });
        let is_new = if copy.is_whole {
            !sent.whole.contains(&copy.content)
        } else {
            sent.whole.is_empty() && sent.lines.is_none_or(|lines| lines < copy.lines)
        };
        if is_new && copy.is_whole {
            sent.whole.truncate(MAX_WHOLE - 1);
            sent.whole.push(copy.content);
        } else if is_new {
            sent.lines = Some(copy.lines);
        }
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.sent.remove(&oldest);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(number: u128) -> Root {
        (TraceId::from(number), SpanId::from(1))
    }

    fn whole(content: u64) -> Copy {
        Copy { is_whole: true, content, lines: 9 }
    }

    fn part(content: u64, lines: usize) -> Copy {
        Copy { is_whole: false, content, lines }
    }

    #[test]
    fn what_says_no_more_than_was_sent_is_left_out() {
        let mut recent = Recent::default();
        let mut insert = |copy| recent.insert(root(1), copy);
        assert!(insert(part(10, 3)));
        assert!(!insert(part(10, 3)), "the same part");
        assert!(!insert(part(11, 2)), "a shorter part");
        assert!(insert(part(12, 4)), "a longer part");
        assert!(insert(whole(20)));
        assert!(!insert(whole(20)), "the same block");
        assert!(!insert(part(12, 8)), "a part of what was sent whole");
        assert!(insert(whole(21)), "the operation is logged again, and took longer");
        assert!(recent.insert(root(2), part(10, 3)), "another operation");
    }

    #[test]
    fn a_limited_number_is_remembered() {
        let mut recent = Recent::default();
        let all = 0..MAX_RECENT as u128 + 1;
        assert!(all.clone().all(|number| recent.insert(root(number), whole(1))));
        assert_eq!((recent.order.len(), recent.sent.len()), (MAX_RECENT, MAX_RECENT));
        assert!(!recent.insert(root(1), whole(1)));
        assert!(recent.insert(root(0), whole(1)), "it is the oldest");
        for content in 2..100 {
            assert!(recent.insert(root(5), whole(content)));
        }
        assert_eq!(recent.sent[&root(5)].whole.len(), MAX_WHOLE);
    }
}
