//! The subscriber layer: the hot path, and the only place where `unsafe` may stand.
//!
//! See `ARCHITECTURE.md` for how a span travels from here to the exporter.

mod buffer;
mod builder;
mod clock;
mod close;
mod context;
mod departures;
pub(crate) mod encoded;
mod encoding;
mod engine;
mod hand_over;
#[cfg(any(feature = "actix-web", feature = "awc"))]
mod header;
mod identity;
mod lookup;
mod outbound;
mod prefetch;
mod record;
#[cfg(feature = "tracing-opentelemetry")]
mod renamed;
mod sampling;
mod side;
mod slots;
mod start;
mod sync;
mod table;
mod thread;
mod visit;

use std::panic::catch_unwind;
use std::sync::Arc;

use opentelemetry::Context as OtelContext;
use opentelemetry::trace::{Link, TraceContextExt as _, TraceState};
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
pub(crate) use self::hand_over::HandOver;
#[cfg(any(feature = "actix-web", feature = "awc"))]
pub(crate) use self::header::header_value;
pub(crate) use self::lookup::{
    carried_by, context_of, for_each_engine_of, give_to_each_engine_of, is_recording, is_served,
    lone_ids, set_parent,
};
pub(crate) use self::record::{Body, Head, Side};
#[cfg(feature = "tracing-opentelemetry")]
pub(crate) use self::renamed::{is_renamed, mark_renamed};
pub(crate) use self::thread::{suppress_this_thread, with_given_parent};

use self::departures::{Entered, Found};
use self::encoding::Attributes as Encoded;
use self::record::State;
use self::thread::{with_local, with_thread};
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
/// allocated for a span whose values are numbers and short text, with up to 32 events and 4 KiB of
/// values. A span that is not sampled keeps its ids and nothing else; its descendants keep nothing.
/// Where `reload` hides the layer, and where two of them sit on one registry, what looks for the layer
/// from outside (`SpanExt`, headers of outgoing requests) takes a lock that all threads share.
#[derive(Debug)]
pub struct BridgeLayer {
    engine: Arc<Engine>,
}

impl BridgeLayer {
    #[inline]
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.engine.max_level && self.engine.is_open()
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
        self.start(attrs, id, &ctx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let id = id.into_u64();
        let Some(slot) = self.engine.find(id) else { return };
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
        let Some(slot) = engine.find(id) else { return };
        let followed = match engine.find(follows) {
            Some(slot) => engine.resolve(slot, follows),
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
                Some(engine.table.get(id).map(|slot| Found { id, slot }))
            }
            None => Some(local.current(engine).and_then(Entered::found)),
        });
        let Some(known) = known.flatten() else { return };
        let found = match known {
            Some(found) => found,
            None => {
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
        let Found { id, slot } = found;
        let slot = engine.slot(slot);
        if slot.state() == State::NotSampled {
            return;
        }
        let now = engine.clock.now();
        self.with_encoded(
            |encoder| event.record(encoder),
            |encoded| {
                let Some(mut body) = slot.lock_if(id) else { return };
                let has_room = body.event_count() < engine.limits.events as usize;
                if has_room && body.attributes.event(now, encoded, engine.limits.values) {
                    body.events.push(event.metadata());
                } else {
                    body.head.dropped_events = body.head.dropped_events.saturating_add(1);
                    drop(body);
                    engine.keep_outcome(id, event.metadata(), encoded.bytes());
                }
            },
        );
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        let engine = &self.engine;
        let id = id.into_u64();
        let slot = engine.table.get(id);
        let departures = engine.departures.so_far();
        with_local(engine, |local| local.stack.push(Entered { id, slot, departures }));
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let engine = &self.engine;
        let id = id.into_u64();
        let slot = match with_local(engine, |local| local.exit(engine, id)) {
            Some(Some(entered)) => entered.slot,
            Some(None) => {
                engine.departures.add(id);
                engine.table.get(id)
            }
            // Nothing is known of this thread: the exporter's, or one that is about to end.
            None => engine.table.get(id),
        };
        if let Some(slot) = slot.map(|slot| engine.slot(slot))
            && slot.is(id)
        {
            slot.exit(engine.clock.now());
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.engine.finish(id.into_u64());
    }
}

/// The current OpenTelemetry context, where it has something to follow.
///
/// `None` where it is gone, which panics: a destructor makes a span while its thread ends.
fn current_otel_context() -> Option<OtelContext> {
    let current = || {
        OtelContext::map_current(|cx| {
            (cx.has_active_span() || Carried::has_entries(cx)).then(|| cx.clone())
        })
    };
    catch_unwind(current).unwrap_or(None)
}
