//! Trees of timed operations -> text, byte for byte as `k8s.io/utils/trace` hands it to klog.
//!
//! Nothing here knows where a tree comes from or where its text goes: [`Tree::print`] takes one, and
//! calls back with each block. A block is what one record of a log holds; the log's own header
//! comes before it (`klog.rs`).
//!
//! ```text
//! Trace[1234567890]: "List" url:/api/v1/pods (22-Nov-2025 07:30:00.123) (total time: 726ms):
//! Trace[1234567890]: ["List etcd3" key:/pods,limit:0 605ms (07:30:00.143)
//! Trace[1234567890]:  ---"range done" count:3 600ms (07:30:00.743)]
//! Trace[1234567890]: ---"Writing http response done" 100ms (07:30:00.848)
//! Trace[1234567890]: [726ms] [726ms] END
//! ```
//!
//! # Rules
//!
//! * An operation is *slow* if it has ended, and it has no threshold, or took at least that long.
//! * A slow root is printed. Below one that is not, the topmost slow operations are each printed
//!   as a block of their own, but for those that ended because they were dropped.
//! * Within a block a nested operation is shown if it is slow; below one that is not, the topmost
//!   slow ones take its place. At verbosity 4 all are shown. One with a step that is kept, such as
//!   an error, is shown however fast it was.
//! * A step is shown if it took its share of its operation's threshold ([`Tree::step_threshold`]),
//!   or if no threshold applies, or at verbosity 4.
//! * Below verbosity 2 nothing is printed.
//!
//! # What differs from upstream
//!
//! Unless [`Style::is_exact`]: a nested operation's time ends when it ended, where upstream's runs
//! on until the text is written; and one that has not ended is shown and says so.

use std::fmt::{self, Display};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, TraceId};

use crate::legacy::go::Zone;
use crate::legacy::writer::Writer;

/// A moment, in nanoseconds since the tree's epoch.
pub(crate) type Nanos = i64;

/// A root operation and all below it. The root is the first node.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    /// The wall clock's time at moment 0.
    pub(crate) epoch: SystemTime,
    /// When the text is written.
    pub(crate) now: Nanos,
    pub(crate) nodes: Vec<Node<'a>>,
}

/// A timed operation.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) name: &'a str,
    pub(crate) fields: Fields<'a>,
    pub(crate) start: Nanos,
    /// `None` while it is not finished.
    pub(crate) end: Option<Nanos>,
    /// It is slow if it takes at least this long; always, where there is none or it is zero.
    pub(crate) threshold: Option<Duration>,
    /// It ended because it was dropped, so that nobody asked for a block of its own.
    pub(crate) is_dropped: bool,
    /// Not shown within another's block, whatever took how long.
    pub(crate) is_hidden: bool,
    /// The span that stands for it in the distributed trace.
    pub(crate) ids: Option<(TraceId, SpanId)>,
    /// In the order in which they were added.
    pub(crate) items: Vec<Item<'a>>,
}

/// What happens within an operation.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// Index of an operation within this one. Each is nested in one other, and comes after that.
    Nested(usize),
    /// A phase that ended at `at`; it began where the item before it ended.
    /// One that is kept, such as an error, is shown with its operation however short the phase was.
    Step { name: &'a str, fields: Fields<'a>, at: Nanos, is_kept: bool },
}

/// Pairs `key:value` with commas between, not escaped. Nothing is formatted that is not printed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fields<'a>(pub(crate) Option<&'a dyn Display>);

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(fields) => write!(f, "{fields}"),
            None => Ok(()),
        }
    }
}

/// Below it nothing is printed.
const LEAST_VERBOSITY: u8 = 2;

/// How a tree is printed.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    /// klog's `-v`: nothing below 2, everything within a slow operation from 4 on.
    pub(crate) verbosity: u8,
    /// As upstream does it, mistakes included.
    pub(crate) is_exact: bool,
    pub(crate) zone: Zone,
    /// Whether `trace_id` and `span_id` are the last fields of a block's first line.
    pub(crate) has_ids: bool,
}

impl Style {
    /// Whether anything is ever printed.
    pub(crate) fn prints(&self) -> bool {
        self.verbosity >= LEAST_VERBOSITY
    }

    /// The same at a verbosity at which what is slow is printed.
    pub(super) fn that_prints(self) -> Self {
        Self { verbosity: self.verbosity.max(LEAST_VERBOSITY), ..self }
    }
}

impl Default for Style {
    fn default() -> Self {
        Self { verbosity: 2, is_exact: false, zone: Zone::Local, has_ids: false }
    }
}

/// One record for the log.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    /// The operation whose block it is: the root, or one below it.
    pub(crate) node: &'a Node<'a>,
    /// Where it is among the tree's.
    pub(crate) index: usize,
    /// Several lines, the last with its newline.
    pub(crate) text: String,
}

impl<'a> Tree<'a> {
    /// The wall clock's time at `at`.
    pub(crate) fn wall(&self, at: Nanos) -> SystemTime {
        let since = Duration::from_nanos(at.unsigned_abs());
        let time =
            if at < 0 { self.epoch.checked_sub(since) } else { self.epoch.checked_add(since) };
        time.unwrap_or(self.epoch)
    }

    /// Prints what is slow enough. `number` gives each block the number that its lines begin with,
    /// below 2^31.
    pub(crate) fn print(
        &'a self,
        style: &Style,
        mut number: impl FnMut() -> u32,
        mut sink: impl FnMut(Block<'a>),
    ) {
        if !style.prints() {
            return;
        }
        // No recursion: how deep a tree is must not be limited by a thread's stack.
        let mut to_do = vec![0];
        while let Some(at) = to_do.pop() {
            let Some(node) = self.nodes.get(at) else { continue };
            if node.is_slow() && !node.is_dropped {
                sink(Block {
                    node,
                    index: at,
                    text: Writer::new(self, style, number()).block(node),
                });
            } else {
                to_do.extend(node.nested().rev());
            }
        }
    }

    /// A step's share of its operation's threshold: what is left after the thresholds of nested
    /// operations, but a quarter at least, spread over all that has no threshold of its own,
    /// the time after the last item included. `None`: every step is shown.
    pub(crate) fn step_threshold(&self, node: &Node<'_>) -> Option<Nanos> {
        let threshold = nanos(node.threshold?);
        let all = node.items.len() as i128 + 1;
        let (mut left, mut parts) = (threshold, all);
        for nested in node.nested().filter_map(|at| self.nodes.get(at)) {
            if let Some(threshold) = nested.threshold {
                left -= nanos(threshold);
                parts -= 1;
            }
        }
        let quarter = threshold / 4;
        if left < quarter {
            (left, parts) = (quarter, all);
        }
        Some(Nanos::try_from(left / parts.max(1)).unwrap_or(Nanos::MAX))
    }
}

impl Node<'_> {
    /// Whether it has ended, and took at least as long as its threshold, if it has one.
    pub(crate) fn is_slow(&self) -> bool {
        let Some(end) = self.end else { return false };
        let threshold = self.threshold.map_or(0, nanos);
        threshold == 0 || between(self.start, end) >= threshold
    }

    /// Whether one of its own steps must be shown.
    pub(super) fn keeps_step(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Step { is_kept: true, .. }))
    }

    fn nested(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.items.iter().filter_map(|item| match item {
            Item::Nested(at) => Some(*at),
            Item::Step { .. } => None,
        })
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

pub(super) fn between(start: Nanos, end: Nanos) -> i128 {
    i128::from(end) - i128::from(start)
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
