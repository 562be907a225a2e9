//! What the record's file asks of the crate's propagation.

use opentelemetry::TraceFlags;
use opentelemetry::trace::{SpanId, TraceId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: TraceFlags,
}
