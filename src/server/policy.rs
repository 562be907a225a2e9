//! How far the trace context of a request is believed.

/// What becomes of the trace context that a request brings along.
///
/// See [`ServerTracing::public_endpoint`](super::ServerTracing::public_endpoint).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The span continues the caller's trace; baggage is passed on.
    #[default]
    Parent,
    /// The span starts a trace of its own and links to the caller's span. Baggage is dropped.
    ///
    /// Of the caller's `tracestate` the link has what a [`TraceState`] can hold, which does not take
    /// every name that level 2 of the W3C's recommendation allows: none with two `@`, or with more
    /// than 13 characters behind one. Such members are left out. A span that continues the caller's
    /// trace is exported with all of them, where OTLP is the only exporter.
    ///
    /// [`TraceState`]: opentelemetry::trace::TraceState
    Link,
    /// As if the request had brought nothing.
    Ignore,
}
