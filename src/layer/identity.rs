//! Who a span is, for the rest of its trace: the decision about it, its ids, and what it passes on.

use std::sync::Arc;

use opentelemetry::trace::TraceContextExt as _;

use crate::export::decode::snapshot;
use crate::layer::engine::Engine;
use crate::layer::record::{Body, Identity, SAMPLED, Slot, State};
use crate::layer::sampling::Question;
use crate::layer::side::shorten;
use crate::layer::thread::{asking, ids_without_thread, with_local};
use crate::propagation::{Carried, RawTraceState, TraceParent};

impl Engine {
    /// The span's identity, decided now if it was not before, and from now on final: who learns it
    /// passes it on. `None` if the slot is another span's.
    pub(super) fn resolve(self: &Arc<Self>, slot: &Slot, id: u64) -> Option<Identity> {
        match slot.settle(id) {
            Some(identity) => Some(identity),
            None => self.resolve_pending(slot, id),
        }
    }

    #[cold]
    fn resolve_pending(self: &Arc<Self>, slot: &Slot, id: u64) -> Option<Identity> {
        loop {
            // Ids before the lock: a generator may be foreign code.
            let fresh =
                if slot.state() == State::Pending { self.fresh_ids() } else { Identity::NONE };
            let mut body = slot.lock_if(id)?;
            if let Some(identity) = slot.settle(id) {
                return Some(identity);
            }
            if fresh.span_id == 0 {
                continue;
            }
            let parent = body.head.parent;
            let trace_id = if parent.is_some() { parent.trace_id } else { fresh.trace_id };
            let identity = Identity { trace_id, ..fresh };
            let flags = parent.is_some().then_some(parent.flags);
            if let Some(is_sampled) = self.quick_decision(flags, trace_id) {
                let identity = self.decide(slot, &mut body, identity, is_sampled);
                self.count_decision(is_sampled);
                slot.settle(id);
                return Some(identity);
            }
            // The sampler is foreign code: it is asked while nothing is locked.
            let snapshot = snapshot(&body, &self.limits);
            let context = parent.is_some().then(|| parent_context(&body));
            drop(body);
            let decision = self.decider.ask(&Question {
                parent: context.as_ref(),
                trace_id: trace_id.into(),
                name: &snapshot.name,
                kind: &snapshot.kind,
                attributes: &snapshot.attributes,
                links: &snapshot.links,
            });
            let mut body = slot.lock_if(id)?;
            if slot.state() != State::Pending || body.head.parent != parent {
                // Another thread was quicker, or has moved the span meanwhile: look again.
                continue;
            }
            if decision.is_sampled {
                for mut attribute in decision.attributes {
                    shorten([&mut attribute], self.limits.values.length);
                    body.attributes.side_attribute();
                    body.side().attributes.push(attribute);
                }
            }
            if let Some(state) = decision.trace_state {
                let entries = body.entries().unwrap_or_default();
                if let Some(changed) = RawTraceState::changed(&entries, &state) {
                    body.side().entries = Some(entries.with_value(changed));
                }
            }
            let identity = self.decide(slot, &mut body, identity, decision.is_sampled);
            self.count_decision(decision.is_sampled);
            slot.settle(id);
            return Some(identity);
        }
    }

    /// Decides on an entry span whose body the caller has locked. Counting is up to the caller.
    #[inline]
    pub(super) fn decide(
        &self,
        slot: &Slot,
        body: &mut Body,
        identity: Identity,
        is_sampled: bool,
    ) -> Identity {
        let has_entries = body.side.as_ref().is_some_and(|side| side.entries.is_some());
        let identity = identity.decided(body.head.parent, is_sampled, has_entries);
        body.head.identity = identity;
        slot.decide(identity, State::decided(is_sampled));
        if !is_sampled {
            body.attributes.clear();
            body.events.clear();
        }
        identity
    }

    /// Ids for a span, and the flags that go with how they were made.
    pub(super) fn fresh_ids(self: &Arc<Self>) -> Identity {
        if let Some(generator) = &self.id_generator {
            let ids = asking(|| (generator.new_trace_id(), generator.new_span_id()));
            if let Some((trace_id, span_id)) = ids {
                return Identity {
                    trace_id: u128::from_be_bytes(trace_id.to_bytes()).max(1),
                    span_id: u64::from_be_bytes(span_id.to_bytes()).max(1),
                    flags: 0,
                    has_entries: false,
                };
            }
        }
        let (trace_id, span_id) = with_local(self, |local| (local.trace_id(), local.span_id()))
            .unwrap_or_else(ids_without_thread);
        Identity::of_fresh_ids(trace_id, span_id)
    }

    #[inline]
    pub(super) fn has_own_ids(&self) -> bool {
        self.id_generator.is_none()
    }

    /// Whether an entry span with this parent is sure to be turned down, whatever it records.
    #[inline]
    pub(super) fn quick_decision(&self, parent_flags: Option<u8>, trace_id: u128) -> Option<bool> {
        self.decider.quick(parent_flags.map(|flags| flags & SAMPLED != 0), trace_id.into())
    }

    /// What a request made from within the span carries.
    pub(super) fn carried_by(self: &Arc<Self>, slot: &Slot, id: u64) -> Option<Carried> {
        let identity = self.resolve(slot, id)?;
        if !identity.has_entries {
            return Some(identity.into());
        }
        let entries = slot.lock_if(id)?.entries();
        Some(Carried { parent: Some(TraceParent::from(identity)), entries })
    }
}

impl From<Identity> for Carried {
    fn from(identity: Identity) -> Self {
        Self { parent: Some(identity.into()), entries: None }
    }
}

/// The parent as a sampler sees it.
fn parent_context(body: &Body) -> opentelemetry::Context {
    let cx = body.entries().unwrap_or_default();
    let trace_state = RawTraceState::of(&cx);
    cx.with_remote_span_context(opentelemetry::trace::SpanContext::new(
        body.head.parent.trace_id.into(),
        body.head.parent.span_id.into(),
        opentelemetry::TraceFlags::new(body.head.parent.flags),
        body.head.parent.is_remote,
        trace_state,
    ))
}
