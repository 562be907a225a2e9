//! The subscriber layer: the hot path, and the only place where `unsafe` may stand.
//!
//! See `ARCHITECTURE.md` for how a span travels from here to the exporter.

mod builder;
mod clock;
mod context;
pub(crate) mod encoding;
mod engine;
mod lookup;
mod record;
mod sampling;
mod slots;
mod table;
mod thread;
mod visit;

use std::sync::{Arc, MutexGuard};

use opentelemetry::Context as OtelContext;
use opentelemetry::trace::{Link, TraceContextExt as _, TraceState};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

pub use self::builder::{LayerBuilder, layer};
pub(crate) use self::clock::Calibration;
pub use self::context::SetParentError;
pub(crate) use self::engine::{Engine, Limits};
pub(crate) use self::lookup::{carried_by, context_of, for_each_engine, is_served, set_parent};
pub(crate) use self::record::{Body, Identity, Parent, Side};
pub(crate) use self::thread::{suppress_this_thread, with_pending_parent};

use self::encoding::Attributes as Encoded;
use self::record::{Slot, State};
use self::thread::{Entered, is_suppressed, pending_parent, take_pending_parent, with_local};
use self::visit::Encoder;
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

/// The parent that a new span found.
enum Found {
    /// A span of this process that this layer knows.
    Local { slot: u32, id: u64 },
    /// None of those.
    Entry,
}

impl BridgeLayer {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.engine.max_level && self.engine.is_open()
    }

    /// Explicit parent, else the thread's current span; a span without a record here is skipped to
    /// its nearest ancestor with one.
    fn local_parent<S>(&self, attrs: &Attributes<'_>, id: &Id, ctx: &Context<'_, S>) -> Found
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if attrs.is_root() {
            return Found::Entry;
        }
        let engine = &self.engine;
        if let Some(parent) = attrs.parent() {
            let id = parent.into_u64();
            if let Some(slot) = engine.table.get(id) {
                return Found::Local { slot, id };
            }
        } else if let Some(Some(top)) = with_local(engine, |local| local.current(engine))
            && top.slot != Entered::NO_SLOT
        {
            return Found::Local { slot: top.slot, id: top.id };
        }
        let current = attrs.is_contextual().then(|| ctx.current_span().id().map(Id::into_u64));
        self.nearest(ctx.span(id).and_then(|span| span.parent()), current.flatten())
    }

    /// The first span with a record here, from `span` on up. One that is the registry's current
    /// span, and not on our own stack, was left on another thread: it is nobody's parent here.
    fn nearest<'a, S>(
        &self,
        mut span: Option<tracing_subscriber::registry::SpanRef<'a, S>>,
        current: Option<u64>,
    ) -> Found
    where
        S: LookupSpan<'a>,
    {
        while let Some(ancestor) = span {
            let id = ancestor.id().into_u64();
            if let Some(at) = self.engine.table.get(id) {
                return if current == Some(id) {
                    Found::Entry
                } else {
                    Found::Local { slot: at, id }
                };
            }
            span = ancestor.parent();
        }
        Found::Entry
    }

    /// The body of a span that starts now, in a slot that nobody else knows yet.
    fn begin<'a>(
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

    fn start_child(&self, attrs: &Attributes<'_>, id: u64, parent: &Slot, parent_id: u64) {
        let engine = &self.engine;
        let Some(identity) = engine.resolve(parent, parent_id) else { return };
        if !identity.is_sampled() {
            return;
        }
        let mut own = identity;
        if !engine.has_own_ids() {
            own.span_id = engine.fresh_ids().span_id;
        }
        let taken = with_local(engine, |local| {
            if engine.has_own_ids() {
                own.span_id = local.span_id();
            }
            let at = local.free.pop().or_else(|| engine.refill(&mut local.free));
            match at {
                Some(_) => local.shared.counters.started.increment(),
                None => local.shared.counters.no_slot.increment(),
            }
            at.map(|at| (at, local.shared.number))
        });
        let Some(Some((at, thread))) = taken else { return };
        let slot = engine.slot(at);
        let mut body = self.begin(slot, attrs, thread);
        body.parent = Parent {
            trace_id: identity.trace_id,
            span_id: identity.span_id,
            flags: identity.flags,
            is_remote: false,
        };
        if identity.has_entries
            && let Some(parent) = parent.lock_if(parent_id)
            && let Some(side) = &parent.side
        {
            body.side().entries.clone_from(&side.entries);
            body.side().trace_state.clone_from(&side.trace_state);
        }
        slot.decide(own, State::Recording);
        attrs.record(&mut Encoder {
            attributes: &mut body.attributes,
            limits: engine.limits.values,
        });
        drop(body);
        slot.publish(id);
        engine.table.insert(id, at);
    }

    fn start_entry(&self, attrs: &Attributes<'_>, id: u64, pending: Option<Carried>) {
        let engine = &self.engine;
        let taken = with_local(engine, |local| {
            let at = local.free.pop().or_else(|| engine.refill(&mut local.free));
            if at.is_none() {
                local.shared.counters.no_slot.increment();
            }
            at.map(|at| (at, local.shared.number))
        });
        let Some(Some((at, thread))) = taken else { return };
        let slot = engine.slot(at);
        if pending.is_some() {
            take_pending_parent();
        }
        let mut body = self.begin(slot, attrs, thread);
        let is_given = pending.is_some();
        match pending {
            Some(carried) => {
                let is_remote = carried.parent.is_some();
                context::adopt(&mut body, carried, None, is_remote);
            }
            None if !attrs.is_root() => context::adopt_current(&mut body),
            None => {}
        }
        let mut is_wanted = true;
        // A parent that was given with the span is final, so the decision can come first and
        // spare an unsampled span the cost of its values.
        if is_given {
            let fresh = engine.fresh_ids();
            let has_parent = body.parent.is_some();
            let trace_id = if has_parent { body.parent.trace_id } else { fresh.trace_id };
            let flags = has_parent.then_some(body.parent.flags);
            if let Some(is_sampled) = engine.quick_decision(flags, trace_id) {
                engine.decide(slot, &mut body, Identity { trace_id, ..fresh }, is_sampled);
                is_wanted = is_sampled;
            }
        }
        if is_wanted {
            attrs.record(&mut Encoder {
                attributes: &mut body.attributes,
                limits: engine.limits.values,
            });
        }
        drop(body);
        slot.publish(id);
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
        let Some(at) = engine.table.remove(id) else { return };
        let slot = engine.slot(at);
        let identity = engine.resolve(slot, id);
        if let (Some(mut body), Some(identity)) = (slot.lock_if(id), identity) {
            if slot.state() == State::Recording {
                // A parent that a spawned child keeps open ends when it was left last.
                let end = slot.last_exit().unwrap_or_else(|| engine.clock.now());
                engine.close(id, identity, &mut body, end);
            }
            body.clear();
            slot.retire();
        }
        let kept = with_local(engine, |local| engine.release(&mut local.free, at));
        if kept.is_none() {
            engine.release_without_thread(at);
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
        if !self.wants(attrs.metadata()) || is_suppressed() {
            return;
        }
        let pending = pending_parent();
        let found = match &pending {
            // Without a caller and a parent that is named, it is a root: what this thread has
            // entered is another request's.
            Some(carried) if carried.parent.is_some() || attrs.parent().is_none() => Found::Entry,
            _ => self.local_parent(attrs, id, &ctx),
        };
        match found {
            Found::Local { slot, id: parent_id } => {
                if pending.is_some() {
                    take_pending_parent();
                }
                let parent = self.engine.slot(slot);
                self.start_child(attrs, id.into_u64(), parent, parent_id);
            }
            Found::Entry => self.start_entry(attrs, id.into_u64(), pending),
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let id = id.into_u64();
        let Some((_, slot)) = self.engine.find(id) else { return };
        if slot.state() == State::NotSampled {
            return;
        }
        self.with_encoded(
            |encoder| values.record(encoder),
            |encoded| {
                if let Some(mut body) = slot.lock_if(id) {
                    body.attributes.append(encoded, self.engine.limits.values);
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
        if event.is_root() || !self.wants(event.metadata()) || is_suppressed() {
            return;
        }
        let mut found = None;
        if let Some(parent) = event.parent() {
            found = engine.find(parent.into_u64()).map(|(at, _)| (at, parent.into_u64()));
        } else if let Some(current) = with_local(engine, |local| local.current(engine)) {
            match current {
                Some(top) if top.slot != Entered::NO_SLOT => found = Some((top.slot, top.id)),
                Some(_) => {}
                // Nothing of ours is entered here; a filtered span may be.
                None if ctx.current_span().id().is_none() => return,
                None => {}
            }
        }
        let (at, id) = match found {
            Some(found) => found,
            None => {
                let current = ctx.current_span().id().map(Id::into_u64);
                match self.nearest(ctx.event_span(event), current) {
                    Found::Local { slot, id } => (slot, id),
                    Found::Entry => return,
                }
            }
        };
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
        with_local(engine, |local| local.stack.push(Entered { id, slot: at }));
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let engine = &self.engine;
        let id = id.into_u64();
        let entered = with_local(engine, |local| local.exit(id)).flatten();
        let slot = match entered {
            Some(Entered { slot: Entered::NO_SLOT, .. }) => return,
            Some(entered) if !engine.slot(entered.slot).is(id) => return,
            Some(entered) => engine.slot(entered.slot),
            None => match engine.find(id) {
                Some((_, slot)) => {
                    slot.exit_of_another_thread();
                    slot
                }
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
