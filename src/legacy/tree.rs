//! What a root trace and all that is nested in it have recorded for the text.
//!
//! One list for all of them, in the order in which things happened, so that recording is to append
//! under one lock that is held for a moment. Who belongs to whom is worked out when something is
//! printed, on a copy.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId};

use crate::legacy::clock;
use crate::legacy::field::FieldList;
use crate::legacy::text::{Fields, Item, Nanos, Node, Tree};

/// Steps and nested traces that one root keeps; what comes after is counted.
const MAX_ENTRIES: usize = 10_000;

/// A root's own name, and everything that happened since it started.
#[derive(Debug)]
pub(super) struct Record {
    name: Cow<'static, str>,
    fields: FieldList,
    start: Instant,
    /// Whether everything is kept, however much it is.
    is_unlimited: bool,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    list: Vec<Entry>,
    last_node: u32,
    /// Whether there may be something to print although the root was fast.
    has_slow_nested: bool,
    left_out: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Number of the trace whose it is.
    node: u32,
    at: Instant,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    End {
        threshold: Option<Duration>,
        span: Option<Box<SpanContext>>,
    },
    /// The next node.
    Nest {
        name: Cow<'static, str>,
        fields: FieldList,
    },
    Step {
        name: Cow<'static, str>,
        fields: FieldList,
        is_kept: bool,
    },
}

/// Number of the root. The others have theirs in the order in which they were added.
pub(super) const ROOT: u32 = 0;
/// Number of a trace that is not kept, nor is anything that happens in it.
const LEFT_OUT: u32 = u32::MAX;

impl Record {
    pub(super) fn new(
        name: Cow<'static, str>,
        fields: FieldList,
        start: Instant,
        is_unlimited: bool,
    ) -> Self {
        Self { name, fields, start, is_unlimited, entries: Mutex::default() }
    }

    /// Adds a trace nested in `node`, and returns its number.
    pub(super) fn nest(
        &self,
        node: u32,
        at: Instant,
        name: Cow<'static, str>,
        fields: FieldList,
    ) -> u32 {
        let mut entries = self.entries();
        if !self.add(&mut entries, Entry { node, at, what: What::Nest { name, fields } }) {
            return LEFT_OUT;
        }
        entries.last_node += 1;
        entries.last_node
    }

    /// Adds a step. One that `is_kept` is printed with its operation, however short it was.
    pub(super) fn step(
        &self,
        node: u32,
        at: Instant,
        name: Cow<'static, str>,
        fields: FieldList,
        is_kept: bool,
    ) {
        let what = What::Step { name, fields, is_kept };
        self.add(&mut self.entries(), Entry { node, at, what });
    }

    /// Ends a trace that began at `start`. Its last end counts; a threshold given before stands
    /// where none is given now.
    pub(super) fn end(
        &self,
        node: u32,
        start: Instant,
        at: Instant,
        threshold: Option<Duration>,
        span: Option<SpanContext>,
    ) {
        if node == LEFT_OUT {
            return;
        }
        let is_slow = at.saturating_duration_since(start) >= threshold.unwrap_or_default();
        let what = What::End { threshold, span: span.map(Box::new) };
        let mut entries = self.entries();
        entries.has_slow_nested |= node != ROOT && is_slow;
        // There is room for it: each trace that is kept has one, mostly.
        entries.list.push(Entry { node, at, what });
    }

    /// What there is to print, if there may be anything: a copy, so that nobody who goes on
    /// recording waits until it is written.
    pub(super) fn snapshot(&self) -> Option<Snapshot<'_>> {
        let entries = self.entries();
        if !entries.has_slow_nested && !self.is_slow(&entries) {
            return None;
        }
        let (list, left_out) = (entries.list.clone(), entries.left_out);
        drop(entries);
        let note = (left_out > 0)
            .then(|| format!("{left_out} more left out: a trace keeps {MAX_ENTRIES}"));
        Some(Snapshot { root: self, list, note, taken: clock::now() })
    }

    /// Whether the root was slow when it ended last.
    fn is_slow(&self, entries: &Entries) -> bool {
        let ends = entries.list.iter().filter(|entry| entry.node == ROOT);
        let (mut end, mut least) = (None, Duration::ZERO);
        for entry in ends {
            if let What::End { threshold, .. } = entry.what {
                end = Some(entry.at);
                least = threshold.unwrap_or(least);
            }
        }
        end.is_some_and(|end| end.saturating_duration_since(self.start) >= least)
    }

    fn add(&self, entries: &mut Entries, entry: Entry) -> bool {
        let is_full = entries.list.len() >= MAX_ENTRIES && !self.is_unlimited;
        if entry.node == LEFT_OUT || is_full {
            entries.left_out += 1;
            return false;
        }
        if entries.list.capacity() == 0 {
            // Most traces have fewer than six.
            entries.list.reserve_exact(6);
        }
        entries.list.push(entry);
        true
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Appending leaves the list whole also where it panics, which is where memory runs out.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A root trace as it was at some moment.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    root: &'a Record,
    list: Vec<Entry>,
    note: Option<String>,
    taken: Instant,
}

impl Snapshot<'_> {
    /// The tree that the entries make.
    pub(super) fn tree(&self) -> Tree<'_> {
        let root = self.root;
        let mut nodes = vec![started(&root.name, &root.fields, 0)];
        for entry in &self.list {
            let (of, next) = (entry.node as usize, nodes.len());
            let at = self.nanos(entry.at);
            match &entry.what {
                What::End { threshold, span } => {
                    let node = &mut nodes[of];
                    node.end = Some(at);
                    node.threshold = threshold.or(node.threshold);
                    // A second end has no span any more.
                    if let Some(span) = span {
                        node.ids = Some((span.trace_id(), span.span_id()));
                    }
                }
                What::Nest { name, fields } => {
                    nodes.push(started(name, fields, at));
                    nodes[of].items.push(Item::Nested(next));
                }
                What::Step { name, fields, is_kept } => {
                    let (fields, is_kept) = (fields.as_text(), *is_kept);
                    nodes[of].items.push(Item::Step { name, fields, at, is_kept });
                }
            }
        }
        if let Some(name) = &self.note {
            let at = nodes[0].end.unwrap_or_default();
            let fields = Fields::default();
            nodes[0].items.push(Item::Step { name, fields, at, is_kept: true });
        }
        let since = self.taken.saturating_duration_since(root.start);
        // One reading of the wall clock for all that is printed, so that a step of it while the
        // trace was running does not show as a duration.
        let epoch = clock::wall().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH);
        Tree { epoch, now: self.nanos(self.taken), nodes }
    }

    /// The context of the span whose id is `span_id`, if it was not sampled.
    pub(super) fn unsampled(&self, span_id: SpanId) -> Option<&SpanContext> {
        self.list.iter().find_map(|entry| match &entry.what {
            What::End { span: Some(span), .. }
                if span.span_id() == span_id && !span.is_sampled() =>
            {
                Some(&**span)
            }
            _ => None,
        })
    }

    fn nanos(&self, at: Instant) -> Nanos {
        let since = at.saturating_duration_since(self.root.start);
        Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
    }
}

/// An operation that nothing is known of but how it started.
fn started<'a>(name: &'a str, fields: &'a FieldList, start: Nanos) -> Node<'a> {
    let fields = fields.as_text();
    Node { name, fields, start, end: None, threshold: None, ids: None, items: Vec::new() }
}
