//! A tree that was slow -> text.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::limiter::Limiter;
use super::output::{Output, Printing, SlowSpan};
use super::recording::{Item, Node, Recording};
use super::stats::Counters;
use super::values::Fields;
use crate::legacy::text::{self, Nanos, Style};

/// What the first line tells beside the span's own fields, where there is something to tell.
#[derive(Clone, Copy, Debug, Default)]
struct Remarks {
    /// Spans, events and values of this tree that did not fit.
    not_recorded: u64,
    /// Slow trees since the last print that the rate limit held back.
    suppressed: u64,
    /// Trees since the last print that were not watched.
    unwatched: u64,
}

/// Prints slow trees, as often as it may.
#[derive(Debug)]
pub(super) struct Printer {
    counters: Arc<Counters>,
    /// Held for an addition or two.
    limiter: Mutex<Limiter>,
    output: Output,
    style: Style,
    /// How many of the unwatched trees have been told of.
    told_unwatched: AtomicU64,
}

impl Printer {
    pub(super) fn new(limiter: Limiter, output: Output, style: Style) -> Self {
        let (counters, told_unwatched) = (Arc::default(), AtomicU64::new(0));
        Self { counters, limiter: Mutex::new(limiter), output, style, told_unwatched }
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(super) fn print(&self, recording: &Recording, now: Duration) {
        // An output that closes a slow tree itself is not called again for it.
        let Some(_printing) = Printing::begin() else { return self.suppress() };
        let admitted = self.limiter.lock().unwrap_or_else(PoisonError::into_inner).admit(now);
        let Some(suppressed) = admitted else { return self.suppress() };
        let unwatched = self.counters.unwatched.load(Ordering::Relaxed);
        let told = self.told_unwatched.swap(unwatched, Ordering::Relaxed);
        let remarks = Remarks {
            not_recorded: recording.lost,
            suppressed,
            unwatched: unwatched.saturating_sub(told),
        };
        print(recording, remarks, &self.style, |slow| {
            let is_out = self.output.put(slow);
            let counter = if is_out { &self.counters.printed } else { &self.counters.failed };
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }

    fn suppress(&self) {
        self.counters.suppressed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls `sink` with each operation to be printed: the root if it was slow, else the topmost slow
/// spans below it.
fn print(
    recording: &Recording,
    mut remarks: Remarks,
    style: &Style,
    mut sink: impl FnMut(&SlowSpan<'_>),
) {
    let mut to_do = vec![Recording::ROOT];
    while let Some(at) = to_do.pop() {
        let Some(node) = recording.node(at) else { continue };
        if node.is_slow() {
            // What is to be told is told once.
            let remarks = std::mem::take(&mut remarks);
            Block { recording, root: at, remarks, style }.print(node, &mut sink);
        } else {
            to_do.extend(node.items.iter().rev().filter_map(Item::span));
        }
    }
}

/// One operation on its way to text.
struct Block<'a> {
    recording: &'a Recording,
    root: usize,
    remarks: Remarks,
    style: &'a Style,
}

impl<'a> Block<'a> {
    fn print(&self, slow: &'a Node, sink: &mut impl FnMut(&SlowSpan<'_>)) {
        let heading = Heading { fields: &slow.fields, remarks: self.remarks };
        let (mut tree, parents) = self.tree();
        if let Some(root) = tree.nodes.first_mut() {
            root.fields = text::Fields(heading.is_worth_it().then_some(&heading));
        }
        if self.style.verbosity < 4 {
            hide_quick(&mut tree, &parents);
        }
        tree.print(self.style, number, |block| {
            sink(&SlowSpan {
                metadata: slow.metadata,
                name: &slow.name,
                started: self.recording.wall + self.since_start(slow.start),
                duration: slow.took().unwrap_or_default(),
                threshold: slow.threshold.unwrap_or_default(),
                text: &block.text,
            });
        });
    }

    /// The text's tree, and the parent of each of its nodes.
    fn tree(&self) -> (text::Tree<'a>, Vec<usize>) {
        let mut tree = text::Tree { epoch: self.recording.wall, now: 0, nodes: Vec::new() };
        let mut parents = vec![0];
        // Breadth first, so that a nested span's index is known where its parent's items are made.
        let mut order = vec![self.root];
        while let Some(node) = order.get(tree.nodes.len()).map(|&at| self.recording.node(at)) {
            let at = tree.nodes.len();
            let Some(node) = node else { break };
            let items = node.items.iter().map(|item| match item {
                Item::Event { name, fields, at, is_kept } => text::Item::Step {
                    name,
                    fields: shown(fields),
                    at: self.nanos(*at),
                    is_kept: *is_kept,
                },
                Item::Span(span) => {
                    order.push(*span);
                    parents.push(at);
                    text::Item::Nested(order.len() - 1)
                }
            });
            let items = items.collect();
            tree.nodes.push(text::Node {
                name: &node.name,
                fields: shown(&node.fields),
                start: self.nanos(node.start),
                end: node.end.map(|end| self.nanos(end)),
                threshold: node.threshold,
                is_dropped: false,
                is_hidden: false,
                ids: None,
                items,
            });
            tree.now = tree.now.max(node.end.map_or(0, |end| self.nanos(end)));
        }
        (tree, parents)
    }

    fn since_start(&self, moment: Duration) -> Duration {
        let root = self.recording.node(Recording::ROOT);
        moment.saturating_sub(root.map_or(moment, |root| root.start))
    }

    fn nanos(&self, moment: Duration) -> Nanos {
        Nanos::try_from(self.since_start(moment).as_nanos()).unwrap_or(Nanos::MAX)
    }
}

/// A nested span without a threshold of its own is shown if it took its share of the threshold
/// above it, as an event is, or if a span or a kept event within it is shown.
fn hide_quick(tree: &mut text::Tree<'_>, parents: &[usize]) {
    // The share that applies to what is within each span.
    let mut shares: Vec<Nanos> = Vec::with_capacity(tree.nodes.len());
    for (node, &parent) in tree.nodes.iter().zip(parents) {
        let inherited = shares.get(parent).copied();
        shares.push(tree.step_threshold(node).or(inherited).unwrap_or_default());
    }
    let mut is_shown = vec![false; tree.nodes.len()];
    for at in (1..tree.nodes.len()).rev() {
        let (node, parent) = (&tree.nodes[at], parents[at]);
        is_shown[at] |= node.keeps_step();
        is_shown[at] |= match (node.threshold, node.end) {
            (_, None) => true,
            (Some(_), Some(_)) => node.is_slow(),
            (None, Some(end)) => end - node.start >= shares[parent],
        };
        is_shown[parent] |= is_shown[at];
    }
    // The text knows what to make of those with a threshold. Those that are not shown count all the
    // same: for the others' share, and as what the next step comes after.
    for (node, is_shown) in tree.nodes.iter_mut().zip(is_shown).skip(1) {
        node.is_hidden = !is_shown && node.threshold.is_none();
    }
}

fn shown(fields: &Fields) -> text::Fields<'_> {
    text::Fields((!fields.is_empty()).then_some(fields))
}

/// Tells blocks apart, and nothing else.
fn number() -> u32 {
    (RandomState::new().hash_one(0) >> 33) as u32
}

/// The fields of a block's first line.
struct Heading<'a> {
    fields: &'a Fields,
    remarks: Remarks,
}

impl Heading<'_> {
    fn remarks(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Remarks { not_recorded, suppressed, unwatched } = self.remarks;
        [
            ("slow.not_recorded", not_recorded),
            ("slow.suppressed_trees", suppressed),
            ("slow.unwatched_trees", unwatched),
        ]
        .into_iter()
        .filter(|&(_, count)| count > 0)
    }

    fn is_worth_it(&self) -> bool {
        !self.fields.is_empty() || self.remarks().next().is_some()
    }
}

impl fmt::Display for Heading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields.fmt(f)?;
        let mut comma = if self.fields.is_empty() { "" } else { "," };
        for (name, count) in self.remarks() {
            write!(f, "{comma}{name}:{count}")?;
            comma = ",";
        }
        Ok(())
    }
}
