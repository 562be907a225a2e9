//! What is remembered of a span tree until its root ends, within bounds.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use tracing::Metadata;

use super::values::{Fields, Value};

/// How much is remembered of one tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    /// Spans and events together.
    pub(super) items: usize,
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

    pub(super) fn new(root: Node, limits: Limits, wall: SystemTime) -> Self {
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
    pub(super) fn add_span(&mut self, parent: usize, mut node: Node) -> Result<usize, Box<Node>> {
        let bytes = node.bytes();
        if self.node(parent).is_none() || !self.make_room(bytes) {
            self.lost += 1;
            return Err(Box::new(node));
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

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Open { text: usize, threshold: Option<u64> },
        Event { text: usize, is_kept: bool },
        Record { key: usize, text: usize },
        Close { after: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..80usize, proptest::option::of(0..4u64))
                .prop_map(|(text, threshold)| Step::Open { text, threshold }),
            4 => (0..80usize, proptest::bool::weighted(0.1))
                .prop_map(|(text, is_kept)| Step::Event { text, is_kept }),
            1 => (0..3usize, 0..80usize).prop_map(|(key, text)| Step::Record { key, text }),
            3 => (0..3u64).prop_map(|after| Step::Close { after }),
        ]
    }

    fn fields(key: usize, text: usize) -> Fields {
        let mut fields = Fields::default();
        fields.set(["a", "b", "c"][key], Value::Text("x".repeat(text).into()));
        fields
    }

    fn node(text: usize, threshold: Option<u64>, now: u64) -> Node {
        static METADATA: OnceLock<&'static Metadata<'static>> = OnceLock::new();
        let metadata = METADATA.get_or_init(|| {
            tracing::subscriber::with_default(tracing_subscriber::registry(), || {
                tracing::info_span!("span").metadata().unwrap()
            })
        });
        let threshold = threshold.map(Duration::from_millis);
        Node::new(metadata, None, fields(0, text), threshold, Duration::from_millis(now))
    }

    /// Counted anew: items and bytes of what can be reached from the root.
    fn recount(recording: &Recording) -> (usize, usize) {
        let (mut items, mut bytes) = (0, 0);
        let mut to_do = vec![Recording::ROOT];
        while let Some(at) = to_do.pop() {
            let node = recording.node(at).expect("what is nested is there");
            let events = node.items.iter().filter(|item| item.span().is_none()).count();
            items += 1 + events;
            bytes += node.bytes() + node.items.iter().map(Item::bytes).sum::<usize>();
            to_do.extend(node.items.iter().filter_map(Item::span));
        }
        (items, bytes)
    }

    proptest! {
        #[test]
        fn accounts_add_up_whatever_happens(
            steps in proptest::collection::vec(step(), 0..200),
            items in 1..30usize,
            bytes in 500..8_000usize,
        ) {
            let limits = Limits { bytes, items };
            // What took less than 2 ms is quick.
            let root = node(0, Some(2_000), 0);
            let mut recording = Recording::new(root, limits, SystemTime::UNIX_EPOCH);
            let mut open = vec![Recording::ROOT];
            let (mut now, mut added, mut late) = (0, 1, 0);
            let mut kept = 0;
            for (number, step) in steps.into_iter().enumerate() {
                let current = *open.last().unwrap();
                match step {
                    Step::Open { text, threshold } => {
                        added += 1;
                        if let Ok(at) = recording.add_span(current, node(text, threshold, now)) {
                            open.push(at);
                        }
                    }
                    Step::Event { text, is_kept } => {
                        added += 1;
                        let at = Duration::from_millis(now) + Duration::from_nanos(number as u64);
                        let (name, fields) = (Cow::Borrowed("event"), fields(1, text));
                        recording.add_event(current, Item::Event { name, fields, at, is_kept });
                        let last = recording.node(current).and_then(|node| node.items.last());
                        let is_it = matches!(last, Some(Item::Event { at: last, .. }) if *last == at);
                        kept += usize::from(is_kept && is_it);
                    }
                    Step::Record { key, text } => {
                        let lost = recording.lost;
                        recording.update(current, fields(key, text), None, None);
                        late += recording.lost - lost;
                    }
                    Step::Close { after } => {
                        now += after;
                        if open.len() > 1 {
                            recording.end(current, Duration::from_millis(now));
                            open.pop();
                        }
                    }
                }
                let (items, bytes) = recount(&recording);
                prop_assert_eq!((recording.items, recording.bytes), (items, bytes));
                prop_assert!(items <= limits.items);
                prop_assert!(bytes <= limits.bytes);
                prop_assert_eq!(recording.lost, added - items as u64 + late);
                let nodes = recording.nodes.iter().flatten().flat_map(|node| &node.items);
                let is_kept = |item: &&Item| matches!(item, Item::Event { is_kept: true, .. });
                prop_assert_eq!(nodes.filter(is_kept).count(), kept);
                for &at in &open {
                    prop_assert!(recording.node(at).is_some(), "an open span was forgotten");
                }
            }
        }
    }
}
