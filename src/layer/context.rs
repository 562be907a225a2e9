//! Between a span's record and [`opentelemetry::Context`].

use std::sync::Arc;
use std::time::SystemTime;
use std::{error, fmt};

use opentelemetry::trace::{Event, Link, SpanContext, Status, TraceContextExt as _, TraceState};
use opentelemetry::{Context, KeyValue, TraceFlags};

use tracing::Metadata;

use crate::export::decode::{Outcome, outcome};
use crate::layer::encoded::StatusCode;
use crate::layer::engine::Engine;
use crate::layer::record::{Body, Identity, Parent, Slot, State};
use crate::layer::side::{attribute_bytes, event_bytes, link_bytes, shorten};
use crate::propagation::{Carried, RawTraceState};

/// Why a span's parent could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetParentError {
    /// The span's ids were seen already: it has a child, or its context was handed out.
    AlreadyStarted,
    /// No layer that makes OpenTelemetry spans is installed, or it does not record this span.
    LayerNotFound,
    /// A filter has disabled the span.
    SpanDisabled,
}

impl fmt::Display for SetParentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyStarted => {
                "the span's ids were handed out already, to a child or through its context; \
                 set the parent before that"
            }
            Self::LayerNotFound => "no layer that makes OpenTelemetry spans records this span",
            Self::SpanDisabled => "the span is disabled by a filter",
        })
    }
}

impl error::Error for SetParentError {}

/// What the thread's OpenTelemetry context makes of a new span, where it has a span or values: its
/// parent, and what travels with the trace.
#[inline]
pub(super) fn current_parent() -> (Parent, Option<Context>) {
    super::current_otel_context().map_or_else(Default::default, |cx| parent_in(&cx))
}

fn parent_in(cx: &Context) -> (Parent, Option<Context>) {
    let span = cx.span();
    let Carried { parent, entries } = Carried::from_context(cx);
    let is_remote = parent.is_some() && span.span_context().is_remote();
    (Parent { is_remote, ..Parent::remote(parent) }, entries)
}

/// A local span's context as the OpenTelemetry API knows it.
pub(super) fn span_context(identity: Identity, trace_state: TraceState) -> SpanContext {
    SpanContext::new(
        identity.trace_id.into(),
        identity.span_id.into(),
        TraceFlags::new(identity.flags),
        false,
        trace_state,
    )
}

/// What application code does with a span of this engine.
impl Engine {
    /// Makes the span a child of the one in `cx`.
    pub(crate) fn set_parent(
        self: &Arc<Self>,
        id: u64,
        cx: &Context,
    ) -> Result<(), SetParentError> {
        let slot = self.find(id).ok_or(SetParentError::LayerNotFound)?;
        let mut body = slot.lock_if(id).ok_or(SetParentError::LayerNotFound)?;
        match slot.state() {
            State::Pending => {}
            State::Recording if slot.undecide() => self.count_restart(),
            _ => return Err(SetParentError::AlreadyStarted),
        }
        let (parent, entries) = parent_in(cx);
        body.head.parent = parent;
        let before = body.side.as_mut().and_then(|side| side.entries.take());
        if entries.is_some() {
            body.side().entries = entries;
        }
        drop(body);
        // Unlocked: a value in there may have a destructor that traces.
        drop(before);
        Ok(())
    }

    /// The span's context with the values that travel with the trace.
    pub(crate) fn otel_context(self: &Arc<Self>, id: u64) -> Option<Context> {
        let slot = self.find(id)?;
        let identity = self.resolve(slot, id)?;
        let entries = if identity.has_entries { slot.lock_if(id)?.entries() } else { None };
        let cx = entries.unwrap_or_default();
        let trace_state = RawTraceState::of(&cx);
        Some(cx.with_remote_span_context(span_context(identity, trace_state)))
    }

    /// What a request made from within the span carries.
    pub(crate) fn carried(self: &Arc<Self>, id: u64) -> Option<Carried> {
        let slot = self.find(id)?;
        self.carried_by(slot, id)
    }

    /// Whether the span has a record that is not turned down, or is still to be decided on.
    pub(crate) fn is_recording(&self, id: u64) -> bool {
        let found = self.find(id);
        found.is_some_and(|slot| slot.state() != State::NotSampled && slot.is(id))
    }

    pub(crate) fn set_attributes(&self, id: u64, attributes: impl IntoIterator<Item = KeyValue>) {
        self.with_recording_body(id, |body| {
            let limit = self.limits.attributes as usize;
            let max_bytes = self.limits.values.span_bytes;
            for mut attribute in attributes {
                shorten([&mut attribute], self.limits.values.length);
                let field = body.metadata.and_then(|m| m.fields().field(attribute.key.as_str()));
                let field = field.and_then(|field| u8::try_from(field.index()).ok());
                let side = body.side();
                match side.attributes.iter().position(|kept| kept.key == attribute.key) {
                    Some(at) => {
                        if !side.replace(at, attribute.value, max_bytes) {
                            body.attributes.drop_one();
                        } else if let Some(field) = field {
                            // It may have been recorded since, so that the place matters too.
                            let moved = side.attributes.remove(at);
                            side.attributes.push(moved);
                            body.attributes.move_side_attribute(at, field);
                        }
                    }
                    // Of a field there may be a value that this one replaces, even if all is full.
                    None if (side.attributes.len() < limit || field.is_some())
                        && side.admits(attribute_bytes(&attribute), max_bytes) =>
                    {
                        side.attributes.push(attribute);
                        body.attributes.side_attribute();
                    }
                    None => body.attributes.drop_one(),
                }
            }
        });
    }

    /// Sets when the span started, whatever the clock said.
    pub(crate) fn set_start(&self, id: u64, start: SystemTime) {
        self.with_recording_body(id, |body| body.side().start = Some(start));
    }

    /// Sets when the span ends, whenever it is closed.
    pub(crate) fn set_end(&self, id: u64, end: SystemTime) {
        self.with_recording_body(id, |body| body.side().end = Some(end));
    }

    pub(crate) fn set_status(&self, id: u64, status: &Status) {
        let (code, description) = match status {
            Status::Unset => (StatusCode::Unset, ""),
            Status::Error { description } => (StatusCode::Error, description.as_ref()),
            Status::Ok => (StatusCode::Ok, ""),
        };
        self.with_recording_body(id, |body| {
            body.attributes.status(code, description, self.limits.values);
        });
    }

    /// Keeps what an event says of its span, whose own room for events is used up.
    #[cold]
    pub(super) fn keep_outcome(&self, id: u64, metadata: &Metadata<'_>, values: &[u8]) {
        let Outcome { exception, failure } = outcome(metadata, values);
        self.set_attributes(id, exception.into_iter().flatten());
        if let Some(failure) = failure {
            let limits = self.limits.values;
            self.with_recording_body(id, |body| body.attributes.fail(&failure, limits));
        }
    }

    pub(crate) fn update_name(&self, id: u64, name: &str) {
        self.with_recording_body(id, |body| body.attributes.name(name, self.limits.values));
    }

    pub(crate) fn add_event(
        &self,
        id: u64,
        name: std::borrow::Cow<'static, str>,
        time: SystemTime,
        mut attributes: Vec<KeyValue>,
    ) {
        shorten(&mut attributes, self.limits.values.length);
        self.with_recording_body(id, |body| {
            let bytes = event_bytes(&name, &attributes);
            if body.event_count() < self.limits.events as usize
                && body.side().admits(bytes, self.limits.values.span_bytes)
            {
                body.side().events.push(Event::new(name, time, attributes, 0));
                body.attributes.side_event();
            } else {
                body.head.dropped_events = body.head.dropped_events.saturating_add(1);
            }
        });
    }

    pub(crate) fn add_link_to(&self, id: u64, link: Link) {
        if let Some(slot) = self.find(id) {
            self.add_link(slot, id, link);
        }
    }

    pub(super) fn add_link(&self, slot: &Slot, id: u64, mut link: Link) {
        if slot.state() == State::NotSampled {
            return;
        }
        shorten(&mut link.attributes, self.limits.values.length);
        if let Some(mut body) = slot.lock_if(id) {
            let limit = self.limits.links as usize;
            let side = body.side();
            if side.links.len() < limit
                && side.admits(link_bytes(&link), self.limits.values.span_bytes)
            {
                side.links.push(link);
            } else {
                body.head.dropped_links = body.head.dropped_links.saturating_add(1);
            }
        }
    }

    fn with_recording_body(&self, id: u64, f: impl FnOnce(&mut Body)) {
        let Some(slot) = self.find(id) else { return };
        if slot.state() == State::NotSampled {
            return;
        }
        if let Some(mut body) = slot.lock_if(id) {
            f(&mut body);
        }
    }
}
