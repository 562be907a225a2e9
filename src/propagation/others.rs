//! What a user's own propagator is shown, and what comes from it.
//!
//! B3's uses the flag that says that a trace id is random for something else: that the decision to
//! sample is left to others. So such a propagator does not see ours, and keeps its own.

use opentelemetry::Context;
use opentelemetry::trace::TraceId;
#[cfg(feature = "awc")]
use opentelemetry::trace::{SpanContext, TraceContextExt as _};

use super::Carried;
#[cfg(feature = "actix-web")]
use super::trace_context::Origin;
use super::trace_context::RANDOM;

/// In a context: the trace whose random flag a propagator has set that is not ours.
#[cfg_attr(
    not(all(feature = "actix-web", feature = "awc")),
    allow(dead_code, reason = "one side puts it there, the other one looks for it")
)]
#[derive(Debug)]
struct OthersFlag(TraceId);

impl Carried {
    /// What a propagator that need not be ours has made of a message.
    #[cfg(feature = "actix-web")]
    pub(crate) fn from_other(cx: Context) -> Self {
        let carried = Self::from_context(&cx);
        // Ours says where its flag comes from.
        let flagged = carried.parent.filter(|parent| parent.flags() & RANDOM == RANDOM);
        let flagged = flagged.filter(|_| cx.get::<Origin>().is_none());
        let entries = match flagged {
            Some(parent) => cx.with_value(OthersFlag(parent.trace_id())),
            None => cx,
        };
        // Propagators may keep values of their own in the context.
        Self { entries: Some(entries), ..carried }
    }

    /// What a propagator that need not be ours is to write.
    #[cfg(feature = "awc")]
    pub(crate) fn into_other(mut self) -> Context {
        let values = self.entries.take().unwrap_or_else(Context::current);
        let is_others = |trace| values.get::<OthersFlag>().is_some_and(|flag| flag.0 == trace);
        let is_shown = self
            .parent
            .is_none_or(|parent| parent.flags() & RANDOM != RANDOM || is_others(parent.trace_id()));
        let cx = Self { entries: Some(values), ..self }.into_context();
        if is_shown {
            return cx;
        }
        let sc = cx.span().span_context().clone();
        let (flags, state) = (sc.trace_flags() & !RANDOM, sc.trace_state().clone());
        // Ours finds the flag all the same: the context says where it comes from.
        cx.with_remote_span_context(SpanContext::new(
            sc.trace_id(),
            sc.span_id(),
            flags,
            sc.is_remote(),
            state,
        ))
    }
}
