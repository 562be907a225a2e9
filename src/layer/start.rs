//! How a span begins: its parent, its slot, its identity, and the values that it is made with.

use std::sync::Arc;

use opentelemetry::Context as OtelContext;
use parking_lot::MutexGuard;
use tracing::span::{Attributes, Id};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::departures::{Entered, Found};
use super::engine::Engine;
use super::record::{Body, Head, Identity, Parent, Slot, State};
use super::slots::At;
use super::thread::{Given, Local, ThreadState, with_local, with_thread};
use super::visit::Encoder;
use super::{BridgeLayer, context};
use crate::propagation::Carried;

/// How a new span begins, as far as its thread alone can tell.
enum Begun<'a> {
    /// With nothing: it is not recorded.
    Ignored,
    Started(Start<'a>),
    /// As a child of a span that has no identity yet.
    Undecided(Found),
    /// Where the parent is, if there is one, only the registry knows.
    Unknown,
}

/// A span in a slot that nobody else knows yet.
struct Start<'a> {
    at: At,
    body: MutexGuard<'a, Body>,
    next: Next,
}

/// What is still to be done. A whole word: one that is written in part and read whole is waited for.
#[repr(usize)]
enum Next {
    /// The values that the span is made with are wanted.
    Record,
    /// They are not: it is not sampled.
    Skip,
    /// A generator of the user's has the ids of this child, or entry whose parent is final or not.
    IdentifyChild,
    IdentifyEntry,
    IdentifyFinalEntry,
}

impl BridgeLayer {
    #[inline]
    pub(super) fn start<S>(&self, attrs: &Attributes<'_>, id: &Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let engine = &self.engine;
        // Written in place: it is not small enough to be handed from call to call for nothing.
        let mut begun = Begun::Ignored;
        let new = id.into_u64();
        with_thread(engine, |thread, local| begun = begin(engine, thread, local, attrs, new));
        if let Begun::Undecided(_) | Begun::Unknown = begun {
            begun = self.begin_with_registry(attrs, id, ctx, &begun);
        }
        if let Begun::Started(start) = begun {
            engine.publish(attrs, new, start);
        }
    }

    fn begin_with_registry<S>(
        &self,
        attrs: &Attributes<'_>,
        id: &Id,
        ctx: &Context<'_, S>,
        begun: &Begun<'_>,
    ) -> Begun<'_>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let engine = &self.engine;
        let found = match begun {
            Begun::Undecided(parent) => Some(*parent),
            _ => self.search(attrs, id, ctx),
        };
        // Outside of the thread's state, since it may ask a sampler. `None` where the parent is
        // closed by now.
        if let Some(parent) = found
            && engine.resolve(engine.slot(parent.slot), parent.id).is_none()
        {
            return Begun::Ignored;
        }
        let mut begun = Begun::Ignored;
        with_thread(engine, |thread, local| {
            begun = match found {
                Some(parent) => {
                    begin_child(engine, thread, local, (attrs.metadata(), id.into_u64()), parent)
                }
                None => begin_entry(engine, local, attrs, None),
            };
        });
        begun
    }

    /// The nearest ancestor with a record here; a span without one is skipped.
    fn search<S>(&self, attrs: &Attributes<'_>, id: &Id, ctx: &Context<'_, S>) -> Option<Found>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut left = None;
        if attrs.is_contextual() {
            ctx.current_span().id()?;
            left = self.left_elsewhere(ctx);
        }
        self.nearest(ctx.span(id).and_then(|span| span.parent()), left)
    }

    /// The registry's current span, if it is not on our own stack: then it was left on another
    /// thread, or a filter hides it from us.
    pub(super) fn left_elsewhere<S>(&self, ctx: &Context<'_, S>) -> Option<u64>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let current = ctx.current_span().id().map(Id::into_u64)?;
        let is_here = with_local(&self.engine, |local| local.has_entered(current));
        (is_here == Some(false)).then_some(current)
    }

    /// The first span with a record here, from `span` on up. What was `left` on another thread is
    /// nobody's parent here, nor is what that is in.
    pub(super) fn nearest<'a, S>(
        &self,
        mut span: Option<SpanRef<'a, S>>,
        left: Option<u64>,
    ) -> Option<Found>
    where
        S: LookupSpan<'a>,
    {
        while let Some(ancestor) = span {
            let id = ancestor.id().into_u64();
            if left == Some(id) {
                return None;
            }
            if let Some(slot) = self.engine.table.get(id) {
                return Some(Found { id, slot });
            }
            span = ancestor.parent();
        }
        None
    }
}

/// Explicit parent, else the thread's current span, as far as the thread knows them.
#[inline]
fn begin<'a>(
    engine: &'a Engine,
    thread: &ThreadState,
    local: &mut Local,
    attrs: &Attributes<'_>,
    id: u64,
) -> Begun<'a> {
    if thread.is_asking() {
        return Begun::Ignored;
    }
    if let Some(given) = thread.given() {
        // Without a caller and a parent that is named, it is a root: what this thread has entered
        // is another request's.
        if given.carried.parent.is_some() || attrs.parent().is_none() {
            return begin_entry(engine, local, attrs, Some(given));
        }
    }
    if attrs.is_root() {
        return begin_entry(engine, local, attrs, None);
    }
    let found = match attrs.parent() {
        Some(parent) => {
            let id = parent.into_u64();
            engine.table.get(id).map(|slot| Found { id, slot })
        }
        None => local.current(engine).and_then(Entered::found),
    };
    match found {
        Some(parent) => begin_child(engine, thread, local, (attrs.metadata(), id), parent),
        None => Begun::Unknown,
    }
}

#[inline]
fn begin_child<'a>(
    engine: &'a Engine,
    thread: &ThreadState,
    local: &mut Local,
    (metadata, id): (&'static Metadata<'static>, u64),
    parent: Found,
) -> Begun<'a> {
    let parent_slot = engine.slot(parent.slot);
    let Some(identity) = parent_slot.settle(parent.id) else {
        return Begun::Undecided(parent);
    };
    if let Some(given) = thread.given() {
        given.take();
    }
    if !identity.is_sampled() {
        local.unrecorded = Some((id, parent));
        return Begun::Ignored;
    }
    let Some(at) = local.take(engine) else { return Begun::Ignored };
    local.shared.counters.started.increment();
    let slot = engine.slot(at);
    let parent_context = Parent {
        trace_id: identity.trace_id,
        span_id: identity.span_id,
        flags: identity.flags,
        is_remote: false,
    };
    let own = Identity { span_id: local.span_id(), ..identity };
    let mut body = prepare(engine, slot, local, metadata, (own, parent_context));
    if identity.has_entries {
        copy_entries(&mut body, parent_slot, parent.id);
    }
    let next = if engine.has_own_ids() {
        slot.decide(own, State::Recording);
        Next::Record
    } else {
        Next::IdentifyChild
    };
    Begun::Started(Start { at, body, next })
}

/// Without a parent here, in a trace of its own unless another process has its parent.
#[inline]
fn begin_entry<'a>(
    engine: &'a Engine,
    local: &mut Local,
    attrs: &Attributes<'_>,
    given: Option<&Given<'_>>,
) -> Begun<'a> {
    // Each way by itself: what two ways bring is not put in one place first.
    if let Some(given) = given {
        let Carried { parent, entries } = given.carried;
        let parent = Parent::remote(*parent);
        // It cannot be replaced.
        let begun = begin_in(engine, local, attrs.metadata(), parent, entries.as_ref(), true);
        if let Begun::Started(_) = begun {
            given.take();
        }
        return begun;
    }
    if attrs.is_root() {
        return begin_in(engine, local, attrs.metadata(), Parent::default(), None, false);
    }
    let (parent, entries) = context::current_parent();
    begin_in(engine, local, attrs.metadata(), parent, entries.as_ref(), false)
}

/// The first span here of the trace that `parent` is in, or of one of its own.
#[inline]
fn begin_in<'a>(
    engine: &'a Engine,
    local: &mut Local,
    metadata: &'static Metadata<'static>,
    parent: Parent,
    entries: Option<&OtelContext>,
    is_final: bool,
) -> Begun<'a> {
    let Some(at) = local.take(engine) else { return Begun::Ignored };
    let slot = engine.slot(at);
    let mut identity = Identity::NONE;
    let mut state = State::Pending;
    let mut next = if is_final { Next::IdentifyFinalEntry } else { Next::IdentifyEntry };
    if engine.has_own_ids() {
        let trace_id = if parent.is_some() { parent.trace_id } else { local.trace_id() };
        let fresh = Identity::of_fresh_ids(trace_id, local.span_id());
        next = Next::Record;
        if let Some(is_sampled) = engine.decide_at_start(parent, trace_id, is_final) {
            identity = fresh.decided(parent, is_sampled, entries.is_some());
            state = State::decided(is_sampled);
            local.shared.counters.decided(is_sampled);
            if !is_sampled {
                next = Next::Skip;
            }
        }
    }
    let mut body = prepare(engine, slot, local, metadata, (identity, parent));
    if let Some(entries) = entries {
        body.side().entries = Some(entries.clone());
    }
    if state != State::Pending {
        slot.decide(identity, state);
    }
    Begun::Started(Start { at, body, next })
}

/// The body of a span that starts now.
#[inline]
fn prepare<'a>(
    engine: &Engine,
    slot: &'a Slot,
    local: &Local,
    metadata: &'static Metadata<'static>,
    (identity, parent): (Identity, Parent),
) -> MutexGuard<'a, Body> {
    let mut body = slot.prepare();
    body.metadata = Some(metadata);
    body.head = Head {
        identity,
        parent,
        start: engine.clock.now(),
        thread: local.number,
        dropped_events: 0,
        dropped_links: 0,
    };
    body
}

#[cold]
fn copy_entries(body: &mut Body, parent: &Slot, id: u64) {
    if let Some(parent) = parent.lock_if(id) {
        body.side().entries = parent.entries();
    }
}

impl Engine {
    /// The decision on an entry, if that can be taken by now.
    ///
    /// A parent that is final decides, so that an unsampled span is spared the cost of its values.
    /// Others may be given one yet, under which they are sampled after all; what is sampled by now
    /// starts again then.
    #[inline]
    fn decide_at_start(&self, parent: Parent, trace_id: u128, is_final: bool) -> Option<bool> {
        let flags = parent.is_some().then_some(parent.flags);
        self.quick_decision(flags, trace_id).filter(|is_sampled| *is_sampled || is_final)
    }

    /// Asks the user's generator for the ids of a span that nobody else knows yet, unlocked. True
    /// where the values that the span is made with are wanted.
    #[cold]
    fn identify(self: &Arc<Self>, start: &mut Start<'_>) -> bool {
        let slot = self.slot(start.at);
        match start.next {
            // The ids of an entry that can still be moved are made when they are needed.
            Next::Record | Next::IdentifyEntry => true,
            Next::Skip => false,
            Next::IdentifyChild => {
                let fresh = MutexGuard::unlocked(&mut start.body, || self.fresh_ids());
                start.body.head.identity.span_id = fresh.span_id;
                slot.decide(start.body.head.identity, State::Recording);
                true
            }
            Next::IdentifyFinalEntry => {
                let mut fresh = MutexGuard::unlocked(&mut start.body, || self.fresh_ids());
                let parent = start.body.head.parent;
                if parent.is_some() {
                    fresh.trace_id = parent.trace_id;
                }
                let decided = self.decide_at_start(parent, fresh.trace_id, true);
                if let Some(is_sampled) = decided {
                    self.decide(slot, &mut start.body, fresh, is_sampled);
                    self.count_decision(is_sampled);
                }
                decided.unwrap_or(true)
            }
        }
    }

    /// Fills the body with the values that a span is made with, if they are wanted, and lets the
    /// slot be found.
    #[inline]
    fn publish(self: &Arc<Self>, attrs: &Attributes<'_>, id: u64, mut start: Start<'_>) {
        let is_wanted = match start.next {
            Next::Record => true,
            Next::Skip => false,
            _ => self.identify(&mut start),
        };
        let Start { at, mut body, .. } = start;
        if is_wanted {
            let limits = self.limits.values;
            attrs.record(&mut Encoder { attributes: &mut body.attributes, limits });
        }
        drop(body);
        self.slot(at).publish(id);
        self.table.insert(id, at);
    }
}
