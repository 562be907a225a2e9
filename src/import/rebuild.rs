//! A block -> spans, with the times at which things happened.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::block::{Block, excerpt};
use super::check::{self, HALF_A_DAY, SLACK};
use super::ids::Ids;
use super::line::{First, Item, ItemKind, Start};
use super::printable::Printable;
use super::problem::ProblemKind;
use super::shape::{self, Entry, Node, Step, Tree};
use super::text::{self, MILLISECOND, Nanos, SECOND};
use super::time::{Change, TimeOfDay};

/// Of the root: the number in `Trace[n]`.
pub(super) const NUMBER: &str = "spanbridge.trace_number";
/// Of the root: where the block is.
const FILE: &str = "log.file.path";
const LINE: &str = "log.file.line";
/// Of the root: parts of the block are missing, cannot be read, or contradict others.
pub(super) const INCOMPLETE: &str = "spanbridge.incomplete";
/// Of the root: lines of other blocks stood between those of this one.
const INTERLEAVED: &str = "spanbridge.interleaved";
/// Of spans and events: the log leaves their time open, and it was worked out from others.
pub(super) const ESTIMATED: &str = "spanbridge.estimated";
/// Of a nested span: it had not ended when the block was written.
const UNFINISHED: &str = "spanbridge.unfinished";
/// Of an event: how long the step took that ended then.
const STEP_DURATION: &str = "spanbridge.step.duration_ms";

static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder("spanbridge::import")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
});

/// When a block's root began, on the clocks that its times of day were read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct RootStart {
    pub(super) local: Nanos,
    /// How far those clocks are ahead of UTC.
    pub(super) offset: Nanos,
    pub(super) is_estimated: bool,
    /// They were set while the block lasted, and the log goes on with that.
    pub(super) change: Option<Change>,
}

/// A block as spans.
pub(super) struct Rebuilt {
    /// The root first, and parents before children.
    pub(super) spans: Vec<SpanData>,
    /// What is wrong with the block as a whole, and is not told yet.
    pub(super) flaw: Option<(ProblemKind, String)>,
}

pub(super) fn spans(block: &Block, first: &First, start: RootStart) -> Rebuilt {
    let total = total(block, first);
    let mut tree = shape::tree(first, &block.items);
    let end = start.local.saturating_add(total);
    Times { start: start.local, end, change: start.change }.set(&mut tree, &block.items);
    let flaw = if first.start == Start::Damaged {
        let message = format!("the start cannot be read: {}", excerpt(&first.start_text));
        Some((ProblemKind::Damaged, message))
    } else if block.is_incomplete {
        None
    } else if tree.has_gap {
        let message = format!("lines of {:?} are missing, as its brackets show", first.name);
        Some((ProblemKind::Damaged, message))
    } else {
        let what = check::contradiction(block, first, &tree, start);
        what.map(|what| (ProblemKind::Contradictory, format!("{:?}: {what}", first.name)))
    };
    let Tree { nodes, .. } = tree;

    let mut fields = text::fields(&first.fields);
    let ids = Ids::of(block, &mut fields);
    let mut fields = Some(fields);
    let mut span_ids: Vec<SpanId> = Vec::with_capacity(nodes.len());
    let mut spans = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let (parent, id) = match node.parent {
            None => (SpanId::INVALID, ids.span_id),
            Some((parent, position)) => {
                let parent = span_ids.get(parent).copied().unwrap_or(SpanId::INVALID);
                (parent, Ids::child(ids.trace_id, parent, position))
            }
        };
        span_ids.push(id);
        let pairs = match node.parent {
            None => fields.take().unwrap_or_default(),
            Some(_) => text::fields(node.fields),
        };
        let mut attributes: Vec<_> = pairs.into_iter().map(attribute).collect();
        if node.parent.is_none() {
            attributes.extend(block.number.map(|number| KeyValue::new(NUMBER, i64::from(number))));
            attributes.push(KeyValue::new(FILE, block.place.file.to_string()));
            attributes
                .push(KeyValue::new(LINE, i64::try_from(block.place.line).unwrap_or(i64::MAX)));
            if block.is_incomplete || flaw.is_some() {
                attributes.push(KeyValue::new(INCOMPLETE, true));
            }
            if block.is_interleaved {
                attributes.push(KeyValue::new(INTERLEAVED, true));
            }
        }
        if node.is_estimated || (node.parent.is_none() && start.is_estimated) {
            attributes.push(KeyValue::new(ESTIMATED, true));
        }
        if node.is_unfinished {
            attributes.push(KeyValue::new(UNFINISHED, true));
        }
        let mut events = SpanEvents::default();
        events.events = node.steps.iter().map(|step| event(step, start.offset)).collect();
        let flags = TraceFlags::SAMPLED;
        spans.push(SpanData {
            span_context: SpanContext::new(ids.trace_id, id, flags, false, TraceState::default()),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: Cow::Owned(node.name.to_owned()),
            start_time: system_time(node.start.saturating_sub(start.offset)),
            end_time: system_time(node.end.saturating_sub(start.offset)),
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: SCOPE.clone(),
        });
    }
    Rebuilt { spans, flaw }
}

/// Whether its times are ones that formats for spans have: they count from 1970 on.
pub(super) fn can_be_told(span: &SpanData) -> bool {
    let mut events = span.events.events.iter();
    span.start_time >= SystemTime::UNIX_EPOCH
        && events.all(|event| event.timestamp >= SystemTime::UNIX_EPOCH)
}

/// A hash of what tells blocks of one root apart: how long it took, as far as all formats print
/// that, and what happened.
pub(super) fn content(block: &Block, first: &First) -> u64 {
    let mut hasher = DefaultHasher::new();
    (total(block, first) / MILLISECOND).hash(&mut hasher);
    for Item { name, fields, kind } in &block.items {
        let (is_step, took) = match kind {
            ItemKind::Elapsed { took, .. } => (true, took),
            ItemKind::Clock { is_nested, took, .. } => (!is_nested, took),
        };
        (name, fields, is_step, took).hash(&mut hasher);
    }
    hasher.finish()
}

/// The file and line where the block begins that this is the root of.
pub(crate) fn place(root: &SpanData) -> Option<(String, Value)> {
    let value = |key| {
        let attribute = root.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        attribute.map(|attribute| attribute.value.clone())
    };
    (root.parent_span_id == SpanId::INVALID).then_some(())?;
    Some((Printable(&value(FILE)?.as_str()).to_string(), value(LINE)?))
}

/// How long the whole took, as exactly as the block says it.
pub(super) fn total(block: &Block, first: &First) -> Nanos {
    let last_item = || {
        let elapsed = block.items.iter().filter_map(|item| match item.kind {
            ItemKind::Elapsed { since_start, .. } => Some(since_start),
            ItemKind::Clock { .. } => None,
        });
        elapsed.max()
    };
    // In the oldest format, without a last line, this is only known to have taken that long.
    block.end.or(first.total).or_else(last_item).unwrap_or(0).max(0)
}

fn event(step: &Step<'_>, offset: Nanos) -> Event {
    let Item { name, fields, .. } = step.item;
    let mut attributes: Vec<_> = text::fields(fields).into_iter().map(attribute).collect();
    attributes.push(KeyValue::new(STEP_DURATION, step.item.took() as f64 / 1e6));
    if step.is_estimated {
        attributes.push(KeyValue::new(ESTIMATED, true));
    }
    Event::new(name.clone(), system_time(step.at.saturating_sub(offset)), attributes, 0)
}

/// Whole numbers and truth values are ones, as in a span made live; all else is text.
fn attribute((key, value): (String, String)) -> KeyValue {
    let typed: Value = match value.as_str() {
        "true" => true.into(),
        "false" => false.into(),
        text => match text.parse::<i64>() {
            // `007` and `+7` are text.
            Ok(number) if number.to_string() == text => number.into(),
            _ => value.into(),
        },
    };
    KeyValue::new(key, typed)
}

fn system_time(at: Nanos) -> SystemTime {
    let since = Duration::from_nanos(at.unsigned_abs());
    if at < 0 { SystemTime::UNIX_EPOCH - since } else { SystemTime::UNIX_EPOCH + since }
}

/// When the root began and ended, by clocks that were not set in between.
struct Times {
    start: Nanos,
    end: Nanos,
    change: Option<Change>,
}

impl Times {
    fn set(&self, tree: &mut Tree<'_>, items: &[Item]) {
        self.set_starts(tree, items);
        let starts: Vec<_> = tree.entries.iter().map(|entry| entry.time(tree)).collect();
        self.set_ends(&mut tree.nodes, items, &starts);
    }

    /// Whether the block is from one of the versions that printed zeros for seconds: all seconds
    /// are zero, and times would be outside of the block if that were true.
    fn lacks_seconds(&self, items: &[Item]) -> bool {
        let clocks = || items.iter().filter_map(clock);
        clocks().all(TimeOfDay::has_zero_seconds)
            && clocks().any(|at| {
                let from = self.start.saturating_sub(SECOND);
                let at = match self.change {
                    Some(change) => at.on_or_after_with(from, change),
                    None => at.on_or_after(from),
                };
                at > self.end.saturating_add(SLACK)
            })
    }

    /// Steps and the beginnings of nested traces, in the order in which they are printed.
    fn set_starts(&self, tree: &mut Tree<'_>, items: &[Item]) {
        if let Some(root) = tree.nodes.first_mut() {
            (root.start, root.end) = (self.start, self.end);
        }
        let lacks_seconds = self.lacks_seconds(items);
        let is_long = self.end.saturating_sub(self.start) > HALF_A_DAY;
        // When the item before, in the same trace, is known to have been over.
        let mut last = vec![self.start; tree.nodes.len()];
        for (entry, item) in tree.entries.iter().zip(items) {
            let before = last[entry.owner];
            let (at, is_estimated) = match (item.kind, self.change) {
                (ItemKind::Elapsed { since_start, .. }, _) => {
                    (self.start.saturating_add(since_start), false)
                }
                (ItemKind::Clock { at, took, .. }, _) if lacks_seconds => {
                    let took = if entry.is_nested { 0 } else { took.max(0) };
                    let over = before.saturating_add(took).saturating_sub(SLACK);
                    (at.with_any_second(over), true)
                }
                (ItemKind::Clock { at, took, .. }, Some(change)) => {
                    // Of a time that clocks show twice, a step's length tells which it is.
                    let took = if entry.is_nested { 0 } else { took.max(0) };
                    let from = before.saturating_add(took).saturating_sub(SECOND);
                    (at.on_or_after_with(from, change), false)
                }
                // In order, but for what a clock may have been set back.
                (ItemKind::Clock { at, .. }, None) if is_long => {
                    (at.on_or_after(before.saturating_sub(SECOND)), false)
                }
                (ItemKind::Clock { at, .. }, None) => {
                    (at.on_or_after(self.start.saturating_sub(SECOND)), false)
                }
            };
            last[entry.owner] = at;
            if entry.is_nested {
                last[entry.index] = at;
                let nested = &mut tree.nodes[entry.index];
                (nested.start, nested.is_estimated) = (at, is_estimated);
            } else {
                let step = &mut tree.nodes[entry.owner].steps[entry.index];
                (step.at, step.is_estimated) = (at, is_estimated);
            }
        }
    }

    /// The ends of nested traces. Upstream prints for all of them how long it was until the block
    /// was written. A step that follows one then tells when that was over: the step began there.
    fn set_ends(&self, nodes: &mut [Node<'_>], items: &[Item], times: &[Nanos]) {
        for node in nodes.iter_mut().skip(1) {
            node.end = node.start.saturating_add(node.took.max(0));
        }
        let ends = || nodes.iter().skip(1).map(|node| node.end);
        let (first, last) = (ends().min().unwrap_or(0), ends().max().unwrap_or(0));
        let run_on = last.saturating_sub(first) <= SLACK && first >= self.end.saturating_sub(SLACK);
        // The latest moment at which something is known to have happened in each.
        let mut latest: Vec<Nanos> = nodes
            .iter()
            .map(|node| node.steps.iter().map(|step| step.at).max().unwrap_or(node.start))
            .collect();
        // Children come after their parents, so their ends are known first.
        for index in (1..nodes.len()).rev() {
            let node = &mut nodes[index];
            if run_on && !node.is_unfinished {
                let began = node
                    .following_step
                    .and_then(|at| Some(times.get(at)?.saturating_sub(items.get(at)?.took())));
                // After an unfinished trace a step counts from where that began.
                let is_end = |at: &Nanos| {
                    at.saturating_add(SLACK) < node.end
                        && at.saturating_add(MILLISECOND) >= latest[index]
                        && *at > node.start.saturating_add(MILLISECOND)
                };
                let end = began.filter(is_end).unwrap_or(node.end);
                let end = end.min(self.end.max(latest[index]));
                node.is_estimated |= end.saturating_add(SLACK) < node.end;
                node.end = end;
            } else if node.end > self.end && node.end.saturating_sub(self.end) <= SLACK {
                // By no more than what was cut off when times were printed.
                node.end = self.end;
            }
            node.end = node.end.max(node.start);
            let end = node.end;
            if let Some((parent, _)) = node.parent {
                latest[parent] = latest[parent].max(end);
            }
        }
    }
}

impl Entry {
    /// When the step ended, or the nested trace began.
    pub(super) fn time(self, tree: &Tree<'_>) -> Nanos {
        if self.is_nested {
            tree.nodes[self.index].start
        } else {
            tree.nodes[self.owner].steps[self.index].at
        }
    }
}

fn clock(item: &Item) -> Option<TimeOfDay> {
    match item.kind {
        ItemKind::Clock { at, .. } => Some(at),
        ItemKind::Elapsed { .. } => None,
    }
}
