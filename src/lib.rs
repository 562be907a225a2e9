//! spanbridge turns the timings a Rust service already has into OpenTelemetry distributed traces.

#[cfg(feature = "awc")]
mod client;
pub mod config;
mod export;
mod interop;
mod layer;
pub mod propagation;
mod semconv;
#[cfg(feature = "actix-web")]
mod server;
mod span_ext;
#[cfg(feature = "testing")]
pub mod testing;

pub use crate::export::{DroppedSpans, FlushError, ShutdownError, Stats, TracingGuard};
pub use crate::layer::{BridgeLayer, LayerBuilder, SetParentError, layer};
pub use crate::span_ext::SpanExt;
