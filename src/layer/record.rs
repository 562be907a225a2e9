//! One live span's record: what is known of it while it is open.
//!
//! A [`Slot`] is never freed, only reused. Its id tells whose it is now; everything a thread may
//! read through an id that went stale meanwhile is atomic, and the [`Body`] is read only under its
//! lock after a look at the id.

use std::time::SystemTime;

use opentelemetry::trace::{Event, Link};
use opentelemetry::{Context, KeyValue};
use tracing::Metadata;

use crate::layer::encoding::Attributes;
use crate::layer::sync::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering, fence,
};
use crate::propagation::TraceParent;

/// Bit 0 of the trace flags.
pub(super) const SAMPLED: u8 = 1;
/// Bit 1 of the trace flags: the trace id is random (W3C Trace Context level 2, section 3.2.2.5.2).
pub(super) const RANDOM: u8 = 2;

/// What the rest of the trace needs to know of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) flags: u8,
    /// Whether values (baggage, raw tracestate) travel with the trace, at the record's side.
    pub(crate) has_entries: bool,
}

impl Identity {
    /// A span's that starts a trace of its own, if nothing else is known.
    pub(super) fn of_fresh_ids(trace_id: u128, span_id: u64) -> Self {
        Self { trace_id, span_id, flags: RANDOM, has_entries: false }
    }

    /// The same once it is decided on. The random bit of a parent, and so of its trace, is passed on as
    /// it came; fresh ids bring their own.
    #[inline]
    pub(super) fn decided(self, parent: Parent, is_sampled: bool, has_entries: bool) -> Self {
        let random = if parent.is_some() { parent.flags } else { self.flags } & RANDOM;
        Self { flags: random | u8::from(is_sampled), has_entries, ..self }
    }

    /// No span's identity.
    pub(crate) const NONE: Self = Self { trace_id: 0, span_id: 0, flags: 0, has_entries: false };

    #[inline]
    pub(crate) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl From<Identity> for TraceParent {
    fn from(identity: Identity) -> Self {
        Self {
            trace_id: identity.trace_id.into(),
            span_id: identity.span_id.into(),
            flags: opentelemetry::TraceFlags::new(identity.flags),
        }
    }
}

/// Where a span stands with its sampling decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum State {
    /// Entry span whose parent may still be set; no ids yet.
    Pending = 0,
    NotSampled = 1,
    /// Decided, but nobody has seen the ids: they go again if the parent is set.
    Recording = 2,
    /// As `Recording`, with ids that somebody has seen, so that they can no longer change.
    Settled = 3,
}

impl State {
    const MASK: u32 = 3;

    #[inline]
    fn of(word: u32) -> Self {
        match word & Self::MASK {
            3 => Self::Settled,
            2 => Self::Recording,
            1 => Self::NotSampled,
            _ => Self::Pending,
        }
    }

    /// That of a span that is decided on, and whose ids nobody has seen.
    #[inline]
    pub(super) fn decided(is_sampled: bool) -> Self {
        if is_sampled { Self::Recording } else { Self::NotSampled }
    }

    /// The word that says so of the same owner as `word`.
    #[inline]
    fn in_place_of(self, word: u32) -> u32 {
        (word & !Self::MASK) | self as u32
    }
}

/// Apart, so that who was first does not look.
#[cold]
fn is_settled(word: u32) -> bool {
    State::of(word) == State::Settled
}

/// A place for one live span.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    /// The tracing id of the span that lives here, 0 while there is none.
    id: AtomicU64,
    /// A [`State`] in the two low bits, above them a number that changes with the slot's owner: who
    /// exchanges one state for another with a stale id finds another number.
    state: AtomicU32,
    flags: AtomicU8,
    has_entries: AtomicBool,
    span_id: AtomicU64,
    trace_high: AtomicU64,
    trace_low: AtomicU64,
    last_exit: AtomicU64,
    body: Mutex<Body>,
}

/// What only the holder of the slot's lock sees.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) metadata: Option<&'static Metadata<'static>>,
    pub(crate) head: Head,
    pub(crate) attributes: Attributes,
    /// Metadata of the events, in the order in which they stand in `attributes`.
    pub(crate) events: Vec<&'static Metadata<'static>>,
    pub(crate) side: Option<Box<Side>>,
}

/// What is copied in one go from a span's slot to the chunk that it leaves with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    /// The span's own, good once it is decided on.
    pub(crate) identity: Identity,
    pub(crate) parent: Parent,
    pub(crate) start: u64,
    /// Number of the thread that created the span.
    pub(crate) thread: u32,
    pub(crate) dropped_events: u32,
    pub(crate) dropped_links: u32,
}

/// The parent's span context, with ids of zero where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) flags: u8,
    pub(crate) is_remote: bool,
}

impl Parent {
    /// The span of another process, if there is one.
    #[inline]
    pub(super) fn remote(parent: Option<TraceParent>) -> Self {
        parent.map_or_else(Self::default, |parent| Self {
            trace_id: u128::from_be_bytes(parent.trace_id.to_bytes()),
            span_id: u64::from_be_bytes(parent.span_id.to_bytes()),
            flags: parent.flags.to_u8(),
            is_remote: true,
        })
    }

    #[inline]
    pub(crate) fn is_some(&self) -> bool {
        self.trace_id != 0
    }
}

/// What few spans have, and what does not fit into bytes.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// Values (baggage, raw tracestate) that travel with the trace.
    pub(crate) entries: Option<Context>,
    pub(crate) links: Vec<Link>,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) events: Vec<Event>,
    /// What links, attributes and events take, as far as it counts.
    pub(super) bytes: usize,
    /// In place of when the span was created.
    pub(crate) start: Option<SystemTime>,
    /// In place of when it was closed, or left for the last time.
    pub(crate) end: Option<SystemTime>,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            id: AtomicU64::new(0),
            state: AtomicU32::new(State::Pending as u32),
            flags: AtomicU8::new(0),
            has_entries: AtomicBool::new(false),
            span_id: AtomicU64::new(0),
            trace_high: AtomicU64::new(0),
            trace_low: AtomicU64::new(0),
            last_exit: AtomicU64::new(0),
            body: Mutex::default(),
        }
    }
}

impl Slot {
    /// The body of a slot that has no span yet; only its next owner calls this.
    #[inline]
    pub(super) fn prepare(&self) -> MutexGuard<'_, Body> {
        // What is written below must not be seen before the id that `retire` took away is gone.
        fence(Ordering::Release);
        self.last_exit.store(0, Ordering::Relaxed);
        let next_owner = (self.state.load(Ordering::Relaxed) | State::MASK).wrapping_add(1);
        self.state.store(next_owner | State::Pending as u32, Ordering::Relaxed);
        self.lock()
    }

    /// Makes the slot `id`'s.
    #[inline]
    pub(super) fn publish(&self, id: u64) {
        self.id.store(id, Ordering::Release);
    }

    /// Ends the span's life here. What is left in the body is cleared by [`Body::clear`].
    #[inline]
    pub(super) fn retire(&self) {
        self.id.store(0, Ordering::Release);
    }

    /// The span's body, unless the slot is another span's by now.
    #[inline]
    pub(super) fn lock_if(&self, id: u64) -> Option<MutexGuard<'_, Body>> {
        let body = self.lock();
        self.is(id).then_some(body)
    }

    #[inline]
    pub(super) fn is(&self, id: u64) -> bool {
        // What was read before this must not have been read after.
        fence(Ordering::Acquire);
        self.id.load(Ordering::Acquire) == id
    }

    /// Records the decision, for who has no lock. The caller holds the body's lock, or nobody else knows the slot yet.
    #[inline]
    pub(super) fn decide(&self, identity: Identity, state: State) {
        self.span_id.store(identity.span_id, Ordering::Relaxed);
        self.trace_high.store((identity.trace_id >> 64) as u64, Ordering::Relaxed);
        self.trace_low.store(identity.trace_id as u64, Ordering::Relaxed);
        self.flags.store(identity.flags, Ordering::Relaxed);
        self.has_entries.store(identity.has_entries, Ordering::Relaxed);
        let before = self.state.load(Ordering::Relaxed);
        self.state.store(state.in_place_of(before), Ordering::Release);
    }

    /// Takes the decision back, unless the ids were seen already. The caller holds the body's lock.
    pub(super) fn undecide(&self) -> bool {
        let before = self.state.load(Ordering::Acquire);
        State::of(before) == State::Recording
            && self
                .state
                .compare_exchange(
                    before,
                    State::Pending.in_place_of(before),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// The identity of span `id`, final from now on, if it is decided and the span lives here.
    #[inline]
    pub(super) fn settle(&self, id: u64) -> Option<Identity> {
        let before = self.state.load(Ordering::Acquire);
        let is_final = match State::of(before) {
            // The state was read while the slot was `id`'s, or this fails.
            State::Recording => self.is(id) && self.settle_from(before),
            state => state != State::Pending,
        };
        if !is_final {
            return None;
        }
        let identity = self.read();
        self.is(id).then_some(identity)
    }

    /// Makes final what was decided in state `before`. False where that is taken back meanwhile, or
    /// the span is gone.
    #[inline]
    fn settle_from(&self, before: u32) -> bool {
        let settled = State::Settled.in_place_of(before);
        match self.state.compare_exchange(before, settled, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(now) => is_settled(now),
        }
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        State::of(self.state.load(Ordering::Acquire))
    }

    /// The span's identity once it is decided. Good only if [`is`](Self::is) still holds after.
    #[inline]
    pub(super) fn read(&self) -> Identity {
        let high = self.trace_high.load(Ordering::Relaxed);
        let low = self.trace_low.load(Ordering::Relaxed);
        Identity {
            trace_id: (u128::from(high) << 64) | u128::from(low),
            span_id: self.span_id.load(Ordering::Relaxed),
            flags: self.flags.load(Ordering::Relaxed),
            has_entries: self.has_entries.load(Ordering::Relaxed),
        }
    }

    #[inline]
    pub(super) fn exit(&self, now: u64) {
        self.last_exit.store(now, Ordering::Relaxed);
    }

    /// When the span was left last, if it was ever entered.
    #[inline]
    pub(super) fn last_exit(&self) -> Option<u64> {
        let ticks = self.last_exit.load(Ordering::Relaxed);
        (ticks != 0).then_some(ticks)
    }

    /// The lock knows no poison: a panic while it was held (in a value's `Debug`) leaves a body that
    /// is still whole, since lengths are written after what they count.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Body> {
        self.body.lock()
    }
}

impl Body {
    /// Empties the body for the next span, which brings its own head; buffers of an ordinary size are kept. What was at its
    /// side is the caller's, to drop where nothing is locked.
    #[inline]
    #[must_use]
    pub(super) fn clear(&mut self) -> Option<Box<Side>> {
        self.metadata = None;
        self.attributes.clear();
        self.events.clear();
        if self.events.capacity() > KEPT_EVENTS {
            self.events.shrink_to(KEPT_EVENTS);
        }
        self.side.take()
    }

    /// Events held, those of the OpenTelemetry API included.
    pub(super) fn event_count(&self) -> usize {
        self.events.len() + self.side.as_ref().map_or(0, |side| side.events.len())
    }

    /// What travels with the trace.
    #[cold]
    pub(super) fn entries(&self) -> Option<Context> {
        self.side.as_ref().and_then(|side| side.entries.clone())
    }

    pub(super) fn side(&mut self) -> &mut Side {
        self.side.get_or_insert_default()
    }
}

/// Room for this many events stays with a slot between spans.
const KEPT_EVENTS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_settles_nobody() {
        let slot = Slot::default();
        let own = |id, state| {
            drop(slot.prepare());
            slot.decide(Identity::of_fresh_ids(1, id), state);
            slot.publish(id);
        };
        own(7, State::Recording);
        slot.retire();
        own(8, State::Recording);
        assert_eq!(slot.settle(7), None);
        assert_eq!(slot.state(), State::Recording);
        assert!(slot.undecide(), "nobody has seen the ids of 8");
        slot.decide(Identity::of_fresh_ids(1, 8), State::Recording);
        assert_eq!(slot.settle(8).map(|identity| identity.span_id), Some(8));
        assert!(!slot.undecide());
    }

    #[test]
    fn the_word_of_a_state_changes_with_the_owner() {
        let slot = Slot::default();
        drop(slot.prepare());
        slot.decide(Identity::NONE, State::Settled);
        let before = slot.state.load(Ordering::Relaxed);
        slot.retire();
        drop(slot.prepare());
        slot.decide(Identity::NONE, State::Settled);
        assert_eq!(slot.state(), State::Settled);
        assert_ne!(slot.state.load(Ordering::Relaxed), before);
    }
}
