//! Whichever layer is installed: ours, tracing-opentelemetry's, or none.

use std::fmt::Display;

use opentelemetry::Context;
use tracing::Span;

use crate::propagation::{Carried, TraceParent};

/// A span that was started for a request, and what to attach while the request is polled.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) span: Span,
    /// Set where the span itself does not carry what came in: no layer took the span, or there is
    /// baggage for code that reads `Context::current()`.
    pub(crate) attach: Option<Context>,
}

impl Carried {
    /// Whether nothing came in, or nothing is to go out.
    pub(crate) fn is_empty(&self) -> bool {
        self.parent.is_none() && self.entries.is_none()
    }
}

/// Starts the span that `make` creates as a child of what `carried` holds.
pub(crate) fn start_with_parent(carried: Carried, make: impl FnOnce() -> Span) -> Started {
    let span = make();
    let is_empty = carried.is_empty();
    let cx = carried.into_context();
    #[cfg(feature = "tracing-opentelemetry")]
    {
        use opentelemetry::trace::TraceContextExt as _;
        use tracing_opentelemetry::OpenTelemetrySpanExt as _;
        // Setting the parent also succeeds where a per-layer filter keeps the span from the layer.
        if span.set_parent(cx.clone()).is_ok() && span.context().has_active_span() {
            return Started { span, attach: None };
        }
    }
    Started { span, attach: (!is_empty).then_some(cx) }
}

/// What a request made from within `span` carries.
pub(crate) fn carried_by(span: &Span) -> Carried {
    #[cfg(feature = "tracing-opentelemetry")]
    {
        use opentelemetry::trace::TraceContextExt as _;
        use tracing_opentelemetry::OpenTelemetrySpanExt as _;
        let cx = span.context();
        if cx.has_active_span() {
            return Carried::from_context(&cx);
        }
    }
    let _ = span;
    Carried::from_context(&Context::current())
}

/// Whether what is recorded on `span` can reach anyone.
pub(crate) fn is_recording(span: &Span) -> bool {
    !span.is_disabled()
}

/// Links a span that has not been entered yet to a span of another process.
pub(crate) fn add_link(span: &Span, linked: TraceParent) {
    #[cfg(feature = "tracing-opentelemetry")]
    {
        use opentelemetry::trace::{SpanContext, TraceState};
        use tracing_opentelemetry::OpenTelemetrySpanExt as _;
        span.add_link(SpanContext::new(
            linked.trace_id,
            linked.span_id,
            linked.flags,
            true,
            TraceState::default(),
        ));
    }
    let _ = (span, linked);
}

/// Renames a span for layers that do not take `otel.name` from a span that has been entered.
pub(crate) fn update_name(span: &Span, name: &dyn Display) {
    #[cfg(feature = "tracing-opentelemetry")]
    {
        use opentelemetry::trace::TraceContextExt as _;
        use tracing_opentelemetry::OpenTelemetrySpanExt as _;
        let cx = span.context();
        if cx.span().is_recording() {
            cx.span().update_name(name.to_string());
        }
    }
    let _ = (span, name);
}
