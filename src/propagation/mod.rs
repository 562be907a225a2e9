//! W3C trace context (level 2) and baggage.

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};

/// The ids and flags that `traceparent` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: TraceFlags,
}

/// A `tracestate` header as received: level-2 keys do not fit [`TraceState`], so the text is kept.
///
/// Rides in the [`Context`] as a value, next to the remote span context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawTraceState(pub(crate) Arc<str>);

/// What an extraction found, and what an injection writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    pub(crate) parent: Option<TraceParent>,
    /// A context whose *values* (baggage, [`RawTraceState`]) travel along; `None` where there are
    /// none, which is the usual request. Its active span, if it has one, is of no meaning.
    pub(crate) entries: Option<Context>,
}

impl Carried {
    /// What `cx` would put on an outgoing request.
    pub(crate) fn from_context(cx: &Context) -> Self {
        let span = cx.span();
        let sc = span.span_context();
        let parent = sc.is_valid().then(|| TraceParent {
            trace_id: sc.trace_id(),
            span_id: sc.span_id(),
            flags: sc.trace_flags(),
        });
        let mut entries =
            (!cx.baggage().is_empty() || cx.get::<RawTraceState>().is_some()).then(|| cx.clone());
        if cx.get::<RawTraceState>().is_none() && parent.is_some() {
            let header = sc.trace_state().header();
            if !header.is_empty() {
                entries = Some(cx.with_value(RawTraceState(header.into())));
            }
        }
        Self { parent, entries }
    }

    /// A context with all of this: the remote span, the raw tracestate, the baggage.
    pub(crate) fn into_context(self) -> Context {
        let cx = self.entries.unwrap_or_default();
        match self.parent {
            Some(p) => cx.with_remote_span_context(SpanContext::new(
                p.trace_id,
                p.span_id,
                p.flags,
                true,
                TraceState::default(),
            )),
            None => cx,
        }
    }
}
