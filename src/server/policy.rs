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
    Link,
    /// As if the request had brought nothing.
    Ignore,
}
