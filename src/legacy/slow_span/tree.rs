//! One open span tree: what is remembered of it until its root ends, within bounds.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tracing::Metadata;

use super::stats::Counters;
use super::values::{Fields, Value};

/// How much is remembered of one tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    /// Spans and events together.
    pub(super) items: usize,
}

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
    pub(super) fn add_span(&self, parent: usize, node: Node) -> Result<usize, Node> {
        match self.lock().as_mut() {
            Some(recording) => recording.add_span(parent, node),
            None => Err(node),
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
}

impl Place {
    pub(super) fn new(tree: Option<Arc<Tree>>, node: usize) -> Self {
        Self { tree, node, last_exit: AtomicU64::new(0) }
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

/// A span.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Cow<'static, str>,
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) fields: Fields,
    pub(super) start: Duration,
    /// `None` while it is open.
    pub(super) end: Option<Duration>,
    pub(super) threshold: Option<Duration>,
    pub(super) items: Vec<Item>,
    parent: usize,
}

/// What happens within a span.
#[derive(Debug)]
pub(super) enum Item {
    /// A kept one, such as an error, is shown however little time it took.
    Event {
        name: Cow<'static, str>,
        fields: Fields,
        at: Duration,
        is_kept: bool,
    },
    Span(usize),
}

impl Node {
    pub(super) fn new(
        metadata: &'static Metadata<'static>,
        name: Option<Box<str>>,
        fields: Fields,
        threshold: Option<Duration>,
        start: Duration,
    ) -> Self {
        let name = or_callsites(name, metadata);
        let (items, parent) = (Vec::new(), 0);
        Self { name, metadata, fields, start, end: None, threshold, items, parent }
    }

    /// Whether it has ended, and took at least as long as its threshold, if it has one.
    pub(super) fn is_slow(&self) -> bool {
        self.threshold.is_some_and(|threshold| self.took().is_some_and(|took| took >= threshold))
    }

    pub(super) fn took(&self) -> Option<Duration> {
        self.end.map(|end| end.saturating_sub(self.start))
    }

    fn is_forgettable(&self, quick: Duration) -> bool {
        let is_kept = |item: &Item| matches!(item, Item::Event { is_kept: true, .. });
        self.took().is_some_and(|took| took < quick)
            && !self.is_slow()
            && !self.items.iter().any(is_kept)
    }

    fn bytes(&self) -> usize {
        size_of::<Option<Self>>() + size_of::<Item>() + heap_bytes(&self.name, &self.fields)
    }
}

impl Item {
    pub(super) fn span(&self) -> Option<usize> {
        match self {
            Self::Event { .. } => None,
            Self::Span(at) => Some(*at),
        }
    }

    /// The place of a nested span in its parent's list was counted with the span.
    fn bytes(&self) -> usize {
        match self {
            Self::Event { name, fields, .. } => size_of::<Self>() + heap_bytes(name, fields),
            Self::Span(_) => 0,
        }
    }
}

/// The name, or the callsite's where there is none.
pub(super) fn or_callsites(
    name: Option<Box<str>>,
    metadata: &'static Metadata<'static>,
) -> Cow<'static, str> {
    match name {
        Some(name) => Cow::Owned(name.into()),
        None => Cow::Borrowed(metadata.name()),
    }
}

/// Also counts a name that is the callsite's own, which is short.
fn heap_bytes(name: &str, fields: &Fields) -> usize {
    name.len() + fields.heap_bytes()
}

/// The spans and events of a tree. The root is node 0.
#[derive(Debug)]
pub(super) struct Recording {
    /// The wall clock's time when the root started.
    pub(super) wall: SystemTime,
    /// How many spans, events and late values were not kept.
    pub(super) lost: u64,
    /// Whether a span has been slow.
    pub(super) has_slow: bool,
    nodes: Vec<Option<Node>>,
    free: Vec<usize>,
    limits: Limits,
    bytes: usize,
    items: usize,
    /// Spans that can make room: they are over, and were quick.
    quick: usize,
}

impl Recording {
    pub(super) const ROOT: usize = 0;

    /// What is over within this part of the root's threshold may be forgotten where room is
    /// needed: its share of the threshold would never be that small.
    const QUICK: u32 = 1_000;

    fn new(root: Node, limits: Limits, wall: SystemTime) -> Self {
        let bytes = root.bytes();
        Self {
            wall,
            lost: 0,
            has_slow: false,
            nodes: vec![Some(root)],
            free: Vec::new(),
            limits,
            bytes,
            items: 1,
            quick: 0,
        }
    }

    pub(super) fn node(&self, at: usize) -> Option<&Node> {
        self.nodes.get(at)?.as_ref()
    }

    /// Adds a span below `parent` and says where it is, or counts it as lost and gives it back.
    pub(super) fn add_span(&mut self, parent: usize, mut node: Node) -> Result<usize, Node> {
        let bytes = node.bytes();
        if self.node(parent).is_none() || !self.make_room(bytes) {
            self.lost += 1;
            return Err(node);
        }
        node.parent = parent;
        let at = self.free.pop().unwrap_or(self.nodes.len());
        match self.nodes.get_mut(at) {
            Some(slot) => *slot = Some(node),
            None => self.nodes.push(Some(node)),
        }
        self.add_item(parent, Item::Span(at), bytes);
        Ok(at)
    }

    /// Adds an event to the span `at`, or counts it as lost.
    pub(super) fn add_event(&mut self, at: usize, event: Item) {
        let bytes = event.bytes();
        if self.node(at).is_none() || !self.make_room(bytes) {
            self.lost += 1;
            return;
        }
        self.add_item(at, event, bytes);
    }

    /// Sets fields that came later than the span.
    pub(super) fn update(
        &mut self,
        at: usize,
        fields: Fields,
        name: Option<Box<str>>,
        threshold: Option<Duration>,
    ) {
        let Some(mut node) = self.nodes.get_mut(at).and_then(Option::take) else { return };
        self.bytes -= node.bytes();
        node.threshold = threshold.or(node.threshold);
        if let Some(name) = name {
            if self.has_bytes(node.bytes() + name.len()) {
                node.name = Cow::Owned(name.into());
            } else {
                self.lost += 1;
            }
        }
        for (name, value) in fields {
            let bytes = size_of::<(&str, Value)>() + value.heap_bytes();
            if self.has_bytes(node.bytes() + bytes) {
                node.fields.set(name, value);
            } else {
                self.lost += 1;
            }
        }
        self.bytes += node.bytes();
        self.nodes[at] = Some(node);
    }

    /// Notes that the span `at` follows from the one named; the first such note stays.
    pub(super) fn follow(&mut self, at: usize, name: &str) {
        const FIELD: &str = "follows_from";
        let has_one = self.node(at).is_none_or(|node| node.fields.has(FIELD));
        if !has_one {
            let mut fields = Fields::default();
            fields.set(FIELD, Value::Text(name.into()));
            self.update(at, fields, None, None);
        }
    }

    /// Ends the span `at`.
    pub(super) fn end(&mut self, at: usize, end: Duration) {
        let quick = self.quick_limit();
        let Some(node) = self.nodes.get_mut(at).and_then(Option::as_mut) else { return };
        node.end = Some(end);
        self.has_slow |= node.is_slow();
        if at != Self::ROOT && node.is_forgettable(quick) {
            self.quick += 1;
        }
    }

    fn add_item(&mut self, at: usize, item: Item, bytes: usize) {
        if let Some(node) = self.nodes.get_mut(at).and_then(Option::as_mut) {
            node.items.push(item);
            self.bytes += bytes;
            self.items += 1;
        }
    }

    fn has_bytes(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.limits.bytes
    }

    fn make_room(&mut self, bytes: usize) -> bool {
        let has_room = |this: &Self| this.items < this.limits.items && this.has_bytes(bytes);
        if !has_room(self) && self.quick > 0 {
            self.forget_quick();
        }
        has_room(self)
    }

    fn quick_limit(&self) -> Duration {
        let root = self.node(Self::ROOT).and_then(|root| root.threshold);
        root.unwrap_or_default() / Self::QUICK
    }

    /// Forgets what ended quickly, and all below it, to make room for what follows.
    fn forget_quick(&mut self) {
        self.quick = 0;
        let limit = self.quick_limit();
        for at in 1..self.nodes.len() {
            // Checked one by one: what was within a quick one has gone with it.
            let is_quick = self.node(at).is_some_and(|node| node.is_forgettable(limit));
            if is_quick {
                self.forget(at, limit);
            }
        }
    }

    fn forget(&mut self, at: usize, limit: Duration) {
        let mut below = vec![at];
        let mut next = 0;
        while let Some(node) = below.get(next).and_then(|&at| self.node(at)) {
            // One that must stay keeps all above it.
            if !node.is_forgettable(limit) {
                return;
            }
            below.extend(node.items.iter().filter_map(Item::span));
            next += 1;
        }
        let parent = self.node(at).map_or(Self::ROOT, |node| node.parent);
        if let Some(parent) = self.nodes.get_mut(parent).and_then(Option::as_mut) {
            // Mostly among the last.
            let place = parent.items.iter().rposition(|item| item.span() == Some(at));
            place.map(|place| parent.items.remove(place));
        }
        for at in below {
            let Some(node) = self.nodes.get_mut(at).and_then(Option::take) else { continue };
            let events = node.items.iter().filter(|item| item.span().is_none()).count();
            let bytes = node.bytes() + node.items.iter().map(Item::bytes).sum::<usize>();
            self.lost += 1 + events as u64;
            self.items -= 1 + events;
            self.bytes -= bytes;
            self.free.push(at);
        }
    }
}
