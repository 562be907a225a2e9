//! The tests of the W3C's trace-context harness, level 2 and strict: one here for each there, of
//! the same name, against the same service.
//!
//! Requests are written to a socket as they are, since the number, the order, the case and the
//! white space of header lines matter; so are calls of the service read. `.ci/w3c-harness` runs the
//! harness itself.

mod harness;
mod many_calls;
mod traceparent;
mod tracestate;
