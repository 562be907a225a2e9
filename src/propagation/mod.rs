//! W3C trace context (level 2) and baggage.
//!
//! The middleware for actix-web and the hook for awc use these by themselves. Where neither is in
//! play, use the propagators like any [`TextMapPropagator`]; [`HeaderExtractor`] and
//! [`HeaderInjector`] are carriers over the header map that actix-web and awc share.
//!
//! Invalid input is skipped: it is never an error and never a panic, and what is sent is valid.
//!
//! # Examples
//!
//! ```
//! use std::collections::HashMap;
//!
//! use opentelemetry::baggage::BaggageExt as _;
//! use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator as _};
//! use opentelemetry::trace::TraceContextExt as _;
//! use spanbridge::propagation::{BaggagePropagator, TraceContextPropagator};
//!
//! let propagator = TextMapCompositePropagator::new(vec![
//!     Box::new(TraceContextPropagator::new()),
//!     Box::new(BaggagePropagator::new()),
//! ]);
//! let message = HashMap::from([
//!     ("traceparent".into(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
//!     ("baggage".into(), "tenant=blue".into()),
//! ]);
//! let cx = propagator.extract(&message);
//! assert!(cx.span().span_context().is_sampled());
//! assert_eq!(cx.baggage().get("tenant"), Some(&"blue".into()));
//! ```
//!
//! Baggage from a peer that is not trusted is best not read at all:
//!
//! ```
//! use std::collections::HashMap;
//!
//! use opentelemetry::propagation::TextMapPropagator as _;
//! use spanbridge::propagation::TraceContextPropagator;
//!
//! # let message = HashMap::from([("baggage".to_owned(), "tenant=blue".to_owned())]);
//! let cx = TraceContextPropagator::new().extract(&message);
//! # use opentelemetry::baggage::BaggageExt as _;
//! # assert!(cx.baggage().is_empty());
//! ```
//!
//! [`TextMapPropagator`]: opentelemetry::propagation::TextMapPropagator
#![cfg_attr(
    not(any(feature = "actix-web", feature = "awc")),
    doc = "[`HeaderExtractor`]: #",
    doc = "[`HeaderInjector`]: #"
)]

mod baggage;
mod carrier;
#[cfg(any(feature = "actix-web", feature = "awc"))]
mod others;
#[cfg(any(feature = "actix-web", feature = "awc"))]
mod span;
#[cfg(test)]
mod tests;
mod trace_context;
mod trace_state;

use std::borrow::Cow;

use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};

pub use self::baggage::BaggagePropagator;
#[cfg(any(feature = "actix-web", feature = "awc", test))]
pub(crate) use self::carrier::{Field, HeaderLines};
#[cfg(any(feature = "actix-web", feature = "awc"))]
pub use self::carrier::{HeaderExtractor, HeaderInjector};
#[cfg(feature = "awc")]
pub(crate) use self::span::overwrite;
#[cfg(any(feature = "actix-web", feature = "awc"))]
pub use self::span::{StartedSpan, inject_span, start_span};
pub use self::trace_context::{TraceContextPropagator, TraceParent};
pub(crate) use self::trace_state::RawTraceState;

/// What an extraction found, and what an injection writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    pub(crate) parent: Option<TraceParent>,
    /// A context whose *values* (baggage, [`RawTraceState`]) travel along; `None` where there are
    /// none, which is the usual request. The trace state is that of `parent`'s trace; the active
    /// span, if there is one, is of no meaning.
    pub(crate) entries: Option<Context>,
}

impl Carried {
    /// Whether `cx` holds values that travel with a trace.
    pub(crate) fn has_entries(cx: &Context) -> bool {
        !cx.baggage().is_empty() || cx.get::<RawTraceState>().is_some()
    }

    /// Whether nothing came in, or nothing is to go out.
    pub(crate) fn is_empty(&self) -> bool {
        self.parent.is_none() && self.entries.is_none()
    }

    /// What `cx` would put on an outgoing request.
    pub(crate) fn from_context(cx: &Context) -> Self {
        let parent = TraceParent::of(cx);
        let trace_state = parent.and_then(|_| trace_state::outgoing(cx));
        let has_raw = cx.get::<RawTraceState>().is_some();
        let entries = match trace_state {
            Some(Cow::Borrowed(_)) => Some(cx.clone()),
            Some(Cow::Owned(text)) => Some(cx.with_value(RawTraceState(text.into()))),
            None if cx.baggage().is_empty() => None,
            // What was received for another trace, or for none, must not be sent.
            None if has_raw => Some(cx.with_value(RawTraceState(Default::default()))),
            None => Some(cx.clone()),
        };
        Self { parent, entries }
    }

    /// Takes the values of `current` in place of its own, but for the trace state: the own one
    /// stays, and one that came with another trace is not taken.
    pub(crate) fn take_values(&mut self, current: Context) {
        let state_of =
            |cx: &Context| cx.get::<RawTraceState>().filter(|s| !s.0.is_empty()).cloned();
        let own = self.entries.as_ref().and_then(state_of);
        let is_right = match (&own, state_of(&current)) {
            (None, None) => true,
            (None, Some(_)) => self.parent.is_some_and(|parent| parent.is_origin_of(&current)),
            (own, theirs) => *own == theirs,
        };
        self.entries = Some(match self.parent {
            _ if is_right => current,
            None => current.with_value(RawTraceState(Default::default())),
            Some(parent) => {
                let own = own.unwrap_or_else(|| RawTraceState(Default::default()));
                parent.put_origin(&current.with_value(own))
            }
        });
    }

    /// A context with all of this: the remote span, the raw tracestate, the baggage.
    pub(crate) fn into_context(self) -> Context {
        let cx = self.entries.unwrap_or_default();
        match self.parent {
            Some(parent) => parent.into_context(&cx),
            None if cx.has_active_span() => cx.with_remote_span_context(SpanContext::NONE),
            None => cx,
        }
    }
}

/// What the headers of a message carry.
///
/// Does not allocate, unless there is a valid `tracestate` or `baggage`.
#[cfg(any(feature = "actix-web", feature = "awc", test))]
pub(crate) fn extract(headers: &impl HeaderLines) -> Carried {
    let (parent, raw) = trace_context::extract(headers).unzip();
    let (raw, received) = (raw.flatten(), baggage::extract(headers));
    if raw.is_none() && received.is_none() {
        return Carried { parent, entries: None };
    }
    let mut entries = raw.map_or_else(Context::new, |raw| Context::new().with_value(raw));
    if let Some(received) = received {
        entries = received.into_context(&entries);
    }
    Carried { parent, entries: Some(entries) }
}

/// What is sent in a header.
#[cfg(any(feature = "actix-web", feature = "awc", test))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent<'a> {
    Parent(TraceParent),
    /// Visible ASCII, with spaces and tabs.
    Text(&'a str),
}

/// Calls `set` once for each [`Field`]: with what to send, or with `None` if there is nothing to
/// send, so that a header left over from another message can be removed.
///
/// Does not allocate, unless there is baggage.
#[cfg(any(feature = "actix-web", feature = "awc", test))]
pub(crate) fn inject(carried: &Carried, mut set: impl FnMut(Field, Option<Sent<'_>>)) {
    set(Field::TraceParent, carried.parent.map(Sent::Parent));
    let raw = carried.entries.as_ref().and_then(|cx| cx.get::<RawTraceState>());
    let raw = raw.filter(|raw| carried.parent.is_some() && !raw.0.is_empty());
    set(Field::TraceState, raw.map(|raw| Sent::Text(&raw.0)));
    let baggage = carried.entries.as_ref().and_then(baggage::outgoing);
    set(Field::Baggage, baggage.as_deref().map(Sent::Text));
}
