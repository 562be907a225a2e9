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
    root_end: Option<End>,
    /// Of nested traces. One that ends again still has one.
    ends: Vec<End>,
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

/// What can happen in a trace, besides that it ends.
#[derive(Clone, Debug)]
pub(super) enum What {
    Nest {
        name: Cow<'static, str>,
        fields: FieldList,
        /// The position of its end among [`Entries::ends`].
        end: Option<u32>,
    },
    Step {
        name: Cow<'static, str>,
        fields: FieldList,
        is_kept: bool,
    },
}

/// The last end of a trace, with what was given at any.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) at: Instant,
    pub(super) threshold: Option<Duration>,
    pub(super) span: Option<SpanContext>,
    /// False where it only was dropped.
    pub(super) is_logged: bool,
}

impl End {
    /// Its last end counts; a threshold given before stands where none is given now, and a span ends
    /// only once.
    fn update(&mut self, again: Self) {
        self.at = again.at;
        self.threshold = again.threshold.or(self.threshold);
        self.span = again.span.or_else(|| self.span.take());
        self.is_logged |= again.is_logged;
    }
}

/// Number of the root. The number of another trace is the place of its entry in the list, from 1.
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
        let what = What::Nest { name, fields, end: None };
        if !self.add(&mut entries, Entry { node, at, what }) {
            return LEFT_OUT;
        }
        u32::try_from(entries.list.len()).unwrap_or(LEFT_OUT)
    }

    /// Adds a step. One that `is_kept` is printed with its operation, however short it was.
    pub(super) fn step(
        &self,
        node: u32,
        name: Cow<'static, str>,
        fields: FieldList,
        is_kept: bool,
    ) {
        let what = What::Step { name, fields, is_kept };
        let mut entries = self.entries();
        // Under the lock, so that of two steps the one that comes after is the later one.
        let at = clock::now();
        self.add(&mut entries, Entry { node, at, what });
    }

    /// Whether something more that happens in `node` is kept. What is not counts as left out.
    pub(super) fn has_room(&self, node: u32) -> bool {
        let mut entries = self.entries();
        let has_room = !self.leaves_out(&entries, node);
        entries.left_out += usize::from(!has_room);
        has_room
    }

    /// Ends a trace that began at `start`, or moves its end if it has one.
    pub(super) fn end(&self, node: u32, start: Instant, end: End) {
        let took = end.at.saturating_duration_since(start);
        let is_slow = end.is_logged && took >= end.threshold.unwrap_or_default();
        let mut entries = self.entries();
        let Entries { list, root_end, ends, has_slow_nested, .. } = &mut *entries;
        if node == ROOT {
            match root_end {
                Some(before) => before.update(end),
                None => *root_end = Some(end),
            }
            return;
        }
        let entry = list.get_mut(node as usize - 1).map(|entry| &mut entry.what);
        let Some(What::Nest { end: position, .. }) = entry else { return };
        *has_slow_nested |= is_slow;
        match position.and_then(|position| ends.get_mut(position as usize)) {
            Some(before) => before.update(end),
            None => {
                *position = u32::try_from(ends.len()).ok();
                ends.push(end);
            }
        }
    }

    /// What there is to print, if there may be anything: a copy, so that nobody who goes on
    /// recording waits until it is written.
    pub(super) fn snapshot(&self) -> Option<Snapshot<'_>> {
        let entries = self.entries();
        if !entries.has_slow_nested && !self.is_slow(&entries) {
            return None;
        }
        let Entries { list, root_end, ends, left_out, .. } = &*entries;
        let (list, root_end, ends) = (list.clone(), root_end.clone(), ends.clone());
        let left_out = *left_out;
        drop(entries);
        let note = (left_out > 0)
            .then(|| format!("{left_out} more left out: a trace keeps {MAX_ENTRIES}"));
        Some(Snapshot { root: self, list, root_end, ends, note, taken: clock::now() })
    }

    /// Whether the root was slow when it ended last.
    fn is_slow(&self, entries: &Entries) -> bool {
        entries.root_end.as_ref().is_some_and(|end| {
            end.at.saturating_duration_since(self.start) >= end.threshold.unwrap_or_default()
        })
    }

    fn add(&self, entries: &mut Entries, entry: Entry) -> bool {
        if self.leaves_out(entries, entry.node) {
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

    fn leaves_out(&self, entries: &Entries, node: u32) -> bool {
        let is_full = entries.list.len() >= MAX_ENTRIES && !self.is_unlimited;
        node == LEFT_OUT || is_full
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
    root_end: Option<End>,
    ends: Vec<End>,
    note: Option<String>,
    taken: Instant,
}

impl Snapshot<'_> {
    /// The tree that the entries make.
    pub(super) fn tree(&self) -> Tree<'_> {
        let root = self.root;
        let mut nodes = vec![self.node(&root.name, &root.fields, 0, self.root_end.as_ref())];
        for (of, at, what) in self.entries() {
            let item = match what {
                What::Nest { name, fields, end } => {
                    let end = end.and_then(|position| self.ends.get(position as usize));
                    nodes.push(self.node(name, fields, at, end));
                    Item::Nested(nodes.len() - 1)
                }
                What::Step { name, fields, is_kept } => {
                    let (fields, is_kept) = (fields.as_text(), *is_kept);
                    Item::Step { name, fields, at, is_kept }
                }
            };
            nodes[of].items.push(item);
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

    /// What happened, with the index of the node in which it did, and when. Each
    /// [nested](What::Nest) trace is the next node; the root is the first.
    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, Nanos, &What)> {
        let mut places = vec![0];
        let mut nodes = 1;
        self.list.iter().map(move |entry| {
            let of = places[entry.node as usize];
            places.push(nodes);
            nodes += usize::from(matches!(entry.what, What::Nest { .. }));
            (of, self.nanos(entry.at), &entry.what)
        })
    }

    /// The fields that the root was started with.
    pub(super) fn root_fields(&self) -> &FieldList {
        &self.root.fields
    }

    /// The context of the span whose id is `span_id`, if it was not sampled.
    pub(super) fn unsampled(&self, span_id: SpanId) -> Option<&SpanContext> {
        let spans = self.root_end.iter().chain(&self.ends).filter_map(|end| end.span.as_ref());
        spans.into_iter().find(|span| span.span_id() == span_id && !span.is_sampled())
    }

    fn node<'a>(
        &self,
        name: &'a str,
        fields: &'a FieldList,
        start: Nanos,
        end: Option<&End>,
    ) -> Node<'a> {
        let span = end.and_then(|end| end.span.as_ref());
        Node {
            name,
            fields: fields.as_text(),
            start,
            end: end.map(|end| self.nanos(end.at)),
            threshold: end.and_then(|end| end.threshold),
            is_dropped: end.is_some_and(|end| !end.is_logged),
            is_hidden: false,
            ids: span.map(|span| (span.trace_id(), span.span_id())),
            items: Vec::new(),
        }
    }

    fn nanos(&self, at: Instant) -> Nanos {
        let since = at.saturating_duration_since(self.root.start);
        Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
    }
}
