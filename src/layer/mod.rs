//! The subscriber layer: the hot path, and the only place where `unsafe` may stand.
//!
//! See `ARCHITECTURE.md` for how a span travels from here to the exporter.

mod builder;
mod clock;
mod context;
mod departures;
pub(crate) mod encoding;
mod engine;
mod lookup;
mod record;
#[cfg(feature = "tracing-opentelemetry")]
mod renamed;
mod sampling;
mod side;
mod slots;
mod sync;
mod table;
mod thread;
mod visit;

use std::sync::Arc;

use opentelemetry::Context as OtelContext;
use opentelemetry::trace::{Link, TraceContextExt as _, TraceState};
use parking_lot::MutexGuard;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

#[cfg(test)]
pub(crate) use self::builder::without_worker;
pub use self::builder::{LayerBuilder, layer};
pub(crate) use self::clock::Calibration;
pub use self::context::SetParentError;
pub(crate) use self::engine::{Engine, Limits};
pub(crate) use self::lookup::{
    carried_by, context_of, for_each_engine_of, is_recording, is_served, set_parent,
};
pub(crate) use self::record::{Body, Identity, Parent, Side};
#[cfg(feature = "tracing-opentelemetry")]
pub(crate) use self::renamed::{is_renamed, mark_renamed};
pub(crate) use self::thread::{suppress_this_thread, with_pending_parent};

use self::departures::Entered;
use self::encoding::Attributes as Encoded;
use self::record::{Slot, State};
use self::thread::{Local, Pending, Taken, ThreadState, with_local, with_thread};
use self::visit::{Encoder, Formatted, Plain};
use crate::propagation::Carried;

/// A `tracing-subscriber` [`Layer`] that turns every span into an OpenTelemetry span.
///
/// Made by [`spanbridge::layer()`](layer()). It works on the
/// [`Registry`](tracing_subscriber::Registry) and on whatever wraps it, alone or beside other
/// layers, per-layer filters and `reload`.
///
/// # Performance
///
/// No lock is shared between threads that create and close spans, and in steady state nothing is
/// allocated for a span whose values are numbers and short text. A span that is not sampled keeps
/// its ids and nothing else; its descendants keep nothing.
#[derive(Debug)]
pub struct BridgeLayer {
    engine: Arc<Engine>,
}

/// How a new span begins, as far as its thread alone can tell.
enum Begin {
    /// With nothing: it is not recorded.
    Ignored,
    /// As a child of this identity, which lives in a slot under an id.
    Child { identity: Identity, parent: Entered, taken: Taken },
    /// As a child of a span that has no identity yet.
    Undecided(Entered),
    /// Without a parent here, in a trace of its own unless another process has its parent.
    Entry { pending: Pending, taken: Taken, trace_id: u128 },
    /// Where the parent is, if there is one, only the registry knows.
    Unknown,
}

impl BridgeLayer {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.engine.max_level && self.engine.is_open()
    }

    /// Explicit parent, else the thread's current span, as far as the thread knows them.
    #[inline]
    fn begin(&self, thread: &ThreadState, local: &mut Local, attrs: &Attributes<'_>) -> Begin {
        let engine = &self.engine;
        if thread.is_asking() {
            return Begin::Ignored;
        }
        let pending = thread.pending.get();
        // Without a caller and a parent that is named, it is a root: what this thread has entered
        // is another request's.
        let takes_pending =
            pending.is_set && (pending.parent.is_some() || attrs.parent().is_none());
        if takes_pending || attrs.is_root() {
            let pending = if takes_pending { pending } else { Pending::NONE };
            return self.begin_entry(thread, local, pending);
        }
        let found = match attrs.parent() {
            Some(parent) => {
                let id = parent.into_u64();
                engine.table.get(id).map(|slot| Entered::open(id, slot))
            }
            None => local.current(engine).filter(|top| top.slot != Entered::NO_SLOT),
        };
        match found {
            Some(parent) => self.begin_child(thread, local, parent),
            None => Begin::Unknown,
        }
    }

    #[inline]
    fn begin_child(&self, thread: &ThreadState, local: &mut Local, parent: Entered) -> Begin {
        let slot = self.engine.slot(parent.slot);
        let Some(identity) = slot.settle(parent.id) else {
            return Begin::Undecided(parent);
        };
        if thread.pending.get().is_set {
            thread.take_pending();
        }
        if !identity.is_sampled() {
            return Begin::Ignored;
        }
        let Some(taken) = local.take(&self.engine) else { return Begin::Ignored };
        local.shared.counters.started.increment();
        Begin::Child { identity, parent, taken }
    }

    #[inline]
    fn begin_entry(&self, thread: &ThreadState, local: &mut Local, pending: Pending) -> Begin {
        let Some(taken) = local.take(&self.engine) else { return Begin::Ignored };
        if pending.is_set {
            thread.take_pending();
        }
        Begin::Entry { pending, taken, trace_id: local.trace_id() }
    }

    /// The nearest ancestor with a record here; a span without one is skipped.
    #[cold]
    fn search<S>(&self, attrs: &Attributes<'_>, id: &Id, ctx: &Context<'_, S>) -> Option<Entered>
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
    fn left_elsewhere<S>(&self, ctx: &Context<'_, S>) -> Option<u64>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let current = ctx.current_span().id().map(Id::into_u64)?;
        let is_here = with_local(&self.engine, |local| local.has_entered(current));
        (is_here == Some(false)).then_some(current)
    }

    /// The first span with a record here, from `span` on up. What was `left` on another thread is
    /// nobody's parent here, nor is what that is in.
    fn nearest<'a, S>(
        &self,
        mut span: Option<tracing_subscriber::registry::SpanRef<'a, S>>,
        left: Option<u64>,
    ) -> Option<Entered>
    where
        S: LookupSpan<'a>,
    {
        while let Some(ancestor) = span {
            let id = ancestor.id().into_u64();
            if left == Some(id) {
                return None;
            }
            if let Some(slot) = self.engine.table.get(id) {
                return Some(Entered::open(id, slot));
            }
            span = ancestor.parent();
        }
        None
    }

    /// The body of a span that starts now, in a slot that nobody else knows yet.
    fn prepare<'a>(
        &self,
        slot: &'a Slot,
        attrs: &Attributes<'_>,
        thread: u32,
    ) -> MutexGuard<'a, Body> {
        let mut body = slot.prepare();
        body.metadata = Some(attrs.metadata());
        body.thread = thread;
        body.start = self.engine.clock.now();
        body
    }

    fn start_child(
        &self,
        attrs: &Attributes<'_>,
        id: u64,
        identity: Identity,
        parent: Entered,
        taken: Taken,
    ) {
        let engine = &self.engine;
        let mut own = Identity { span_id: taken.span_id, ..identity };
        if !engine.has_own_ids() {
            own.span_id = engine.fresh_ids().span_id;
        }
        let slot = engine.slot(taken.slot);
        let mut body = self.prepare(slot, attrs, taken.thread);
        body.parent = Parent {
            trace_id: identity.trace_id,
            span_id: identity.span_id,
            flags: identity.flags,
            is_remote: false,
        };
        if identity.has_entries
            && let Some(parent) = engine.slot(parent.slot).lock_if(parent.id)
        {
            body.side().entries = parent.entries();
        }
        slot.decide(own, State::Recording);
        self.publish(attrs, id, taken.slot, body, true);
    }

    fn start_entry(
        &self,
        attrs: &Attributes<'_>,
        id: u64,
        pending: Pending,
        taken: Taken,
        trace_id: u128,
    ) {
        let engine = &self.engine;
        let slot = engine.slot(taken.slot);
        let mut body = self.prepare(slot, attrs, taken.thread);
        if pending.is_set {
            let is_remote = pending.parent.is_some();
            context::adopt(&mut body, pending.carried(), is_remote);
        } else if !attrs.is_root() {
            context::adopt_current(&mut body);
        }
        let mut is_wanted = true;
        if engine.has_own_ids() || pending.is_set {
            let parent = body.parent;
            let fresh = if engine.has_own_ids() {
                Identity::of_fresh_ids(trace_id, taken.span_id)
            } else {
                engine.fresh_ids()
            };
            let trace_id = if parent.is_some() { parent.trace_id } else { fresh.trace_id };
            let flags = parent.is_some().then_some(parent.flags);
            // A parent that was given with the span is final, so that an unsampled span is spared
            // the cost of its values. Others may be given one yet, under which it is sampled after
            // all; what is sampled by now starts again then.
            let decision = engine.quick_decision(flags, trace_id);
            if let Some(is_sampled) = decision.filter(|is_sampled| *is_sampled || pending.is_set) {
                engine.decide(slot, &mut body, Identity { trace_id, ..fresh }, is_sampled);
                engine.count_decision(is_sampled);
                is_wanted = is_sampled;
            }
        }
        self.publish(attrs, id, taken.slot, body, is_wanted);
    }

    /// Fills the body with the values that a span is made with, if they are wanted, and lets the
    /// slot be found.
    #[inline]
    fn publish(
        &self,
        attrs: &Attributes<'_>,
        id: u64,
        at: u32,
        mut body: MutexGuard<'_, Body>,
        is_wanted: bool,
    ) {
        let engine = &self.engine;
        if is_wanted {
            attrs.record(&mut Encoder {
                attributes: &mut body.attributes,
                limits: engine.limits.values,
            });
        }
        drop(body);
        engine.slot(at).publish(id);
        engine.table.insert(id, at);
    }

    /// Values encoded into the thread's scratch, outside any lock, and what `f` does with them.
    fn with_encoded(&self, encode: impl FnOnce(&mut Encoder<'_>), f: impl FnOnce(&Encoded)) {
        let taken = with_local(&self.engine, |local| std::mem::take(&mut local.scratch));
        let Some(mut scratch) = taken else { return };
        encode(&mut Encoder { attributes: &mut scratch, limits: self.engine.limits.values });
        f(&scratch);
        scratch.clear();
        with_local(&self.engine, |local| local.scratch = scratch);
    }

    fn finish(&self, id: u64) {
        let engine = &self.engine;
        engine.departures.forget(id);
        let Some(at) = engine.table.remove(id) else { return };
        let slot = engine.slot(at);
        loop {
            let Some(body) = slot.lock_if(id) else { return };
            // Under the lock, under which a parent is set.
            if let Some(identity) = slot.identity() {
                // A parent that a spawned child keeps open ends when it was left last.
                let end = slot.last_exit().unwrap_or_else(|| engine.clock.now());
                return engine.close((id, identity), (at, slot), body, end);
            }
            drop(body);
            if engine.resolve(slot, id).is_none() {
                return;
            }
        }
    }
}

impl Drop for BridgeLayer {
    fn drop(&mut self) {
        self.engine.unregister();
    }
}

impl<S> Layer<S> for BridgeLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.engine.registered(dispatch);
    }

    fn on_new_span(&self, attrs: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if !self.wants(attrs.metadata()) {
            return;
        }
        let engine = &self.engine;
        let begin = with_thread(engine, |thread, local| self.begin(thread, local, attrs));
        let mut begin = begin.unwrap_or(Begin::Ignored);
        let found = match begin {
            Begin::Unknown => Some(self.search(attrs, id, &ctx)),
            Begin::Undecided(parent) => Some(Some(parent)),
            _ => None,
        };
        if let Some(found) = found {
            // Outside, since it may ask a sampler. `None` where the parent is closed by now.
            if let Some(parent) = found
                && engine.resolve(engine.slot(parent.slot), parent.id).is_none()
            {
                return;
            }
            let again = with_thread(engine, |thread, local| match found {
                Some(parent) => self.begin_child(thread, local, parent),
                None => self.begin_entry(thread, local, Pending::NONE),
            });
            begin = again.unwrap_or(Begin::Ignored);
        }
        let id = id.into_u64();
        match begin {
            Begin::Child { identity, parent, taken } => {
                self.start_child(attrs, id, identity, parent, taken);
            }
            Begin::Entry { pending, taken, trace_id } => {
                self.start_entry(attrs, id, pending, taken, trace_id);
            }
            Begin::Ignored | Begin::Undecided(_) | Begin::Unknown => {}
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let id = id.into_u64();
        let Some((_, slot)) = self.engine.find(id) else { return };
        if slot.state() == State::NotSampled {
            return;
        }
        let limits = self.engine.limits.values;
        // Numbers and text go straight in; what is formatted runs foreign code, and so unlocked.
        let is_complete = match slot.lock_if(id) {
            Some(mut body) => {
                let encoder = Encoder { attributes: &mut body.attributes, limits };
                let mut plain = Plain { encoder, is_complete: true };
                values.record(&mut plain);
                plain.is_complete
            }
            None => return,
        };
        if is_complete {
            return;
        }
        self.with_encoded(
            |encoder| values.record(&mut Formatted(encoder)),
            |encoded| {
                if let Some(mut body) = slot.lock_if(id) {
                    body.attributes.append(encoded, limits);
                }
            },
        );
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        let engine = &self.engine;
        let (id, follows) = (id.into_u64(), follows.into_u64());
        let Some((_, slot)) = engine.find(id) else { return };
        let followed = match engine.find(follows) {
            Some((_, slot)) => engine.resolve(slot, follows),
            None => engine.recently_closed(follows),
        };
        if let Some(identity) = followed {
            let context = context::span_context(identity, TraceState::NONE);
            engine.add_link(slot, id, Link::with_context(context));
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let engine = &self.engine;
        if event.is_root() || !self.wants(event.metadata()) {
            return;
        }
        // `None` where nothing is recorded; an empty stack is not the end of the search, since a
        // span that a filter hides from this layer may be entered.
        let known = with_thread(engine, |thread, local| match event.parent() {
            _ if thread.is_asking() => None,
            Some(parent) => {
                let id = parent.into_u64();
                Some(engine.table.get(id).map(|slot| Entered::open(id, slot)))
            }
            None => Some(local.current(engine)),
        });
        let Some(known) = known.flatten() else { return };
        let found = match known {
            Some(found) if found.slot != Entered::NO_SLOT => found,
            _ => {
                let left = match event.parent() {
                    Some(_) => None,
                    None if ctx.current_span().id().is_none() => return,
                    None => self.left_elsewhere(&ctx),
                };
                match self.nearest(ctx.event_span(event), left) {
                    Some(found) => found,
                    None => return,
                }
            }
        };
        let Entered { id, slot: at, .. } = found;
        let slot = engine.slot(at);
        if slot.state() == State::NotSampled {
            return;
        }
        let now = engine.clock.now();
        self.with_encoded(
            |encoder| event.record(encoder),
            |encoded| {
                if let Some(mut body) = slot.lock_if(id) {
                    let has_room = body.event_count() < engine.limits.events as usize;
                    if has_room && body.attributes.event(now, encoded, engine.limits.values) {
                        body.events.push(event.metadata());
                    } else {
                        body.dropped_events = body.dropped_events.saturating_add(1);
                    }
                }
            },
        );
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        let engine = &self.engine;
        let id = id.into_u64();
        let at = engine.table.get(id).unwrap_or(Entered::NO_SLOT);
        let departures = engine.departures.so_far();
        with_local(engine, |local| local.stack.push(Entered { id, slot: at, departures }));
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let engine = &self.engine;
        let id = id.into_u64();
        let entered = match with_local(engine, |local| local.exit(id)) {
            Some(None) => {
                engine.departures.add(id);
                None
            }
            // Or nothing is known of this thread: the exporter's, or one that is about to end.
            entered => entered.flatten(),
        };
        let slot = match entered {
            Some(Entered { slot: Entered::NO_SLOT, .. }) => return,
            Some(entered) if !engine.slot(entered.slot).is(id) => return,
            Some(entered) => engine.slot(entered.slot),
            None => match engine.find(id) {
                Some((_, slot)) => slot,
                None => return,
            },
        };
        slot.exit(engine.clock.now());
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.finish(id.into_u64());
    }
}

/// The current OpenTelemetry context, where it has something to follow.
fn current_otel_context() -> Option<OtelContext> {
    OtelContext::map_current(|cx| {
        (cx.has_active_span() || Carried::has_entries(cx)).then(|| cx.clone())
    })
}
