//! What integration tests and examples share: real OTLP receivers.
//!
//! Tests say `mod support;`, examples `#[path = "../../tests/support/mod.rs"] mod support;`.

pub(crate) mod otlp_receiver;
