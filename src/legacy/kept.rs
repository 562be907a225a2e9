//! Slow operations that the sampler did not want.

use std::time::SystemTime;

use opentelemetry::TraceFlags;
use opentelemetry::trace::SpanContext;
use tracing::Span;

use crate::SpanExt as _;
use crate::interop;
use crate::legacy::callsite;
use crate::propagation::{Carried, TraceParent};

/// The attribute that holds what was printed.
const TEXT: &str = "slow_operation.text";

/// Makes a span that is sampled in the place of one that was not: the next in its trace, with the
/// text as its attribute.
pub(super) fn keep(name: &str, text: &str, start: SystemTime, unsampled: &SpanContext) {
    let parent = TraceParent {
        trace_id: unsampled.trace_id(),
        span_id: unsampled.span_id(),
        flags: unsampled.trace_flags() | TraceFlags::SAMPLED,
    };
    let carried = Carried { parent: Some(parent), entries: None };
    let make = || callsite::span(name, None).unwrap_or_else(Span::none);
    let started = interop::start_with_parent(carried, false, make, |_, _| ());
    interop::start_at(&started.span, start);
    started.span.set_attribute(TEXT, text.trim_end().to_owned());
}
