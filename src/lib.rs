//! spanbridge turns the timings a Rust service already has into OpenTelemetry distributed traces.

#[cfg(feature = "awc")]
pub mod client;
pub mod config;
mod export;
mod init;
#[cfg_attr(
    not(all(feature = "actix-web", feature = "awc")),
    allow(dead_code, reason = "server and client each use a part")
)]
mod interop;
mod layer;
pub mod propagation;
#[cfg(any(feature = "actix-web", feature = "awc"))]
#[cfg_attr(
    not(all(feature = "actix-web", feature = "awc")),
    allow(dead_code, reason = "server and client each use a part")
)]
mod semconv;
#[cfg(feature = "actix-web")]
pub mod server;
mod span_ext;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "awc")]
pub use self::client::ClientTracing;
pub use self::config::TracingConfig;
pub use self::export::{
    DroppedSpans, FlushError, ShutdownError, Stats, StdoutExporter, TracingGuard,
};
pub use self::init::{InitError, init, layer_from};
pub use self::layer::{BridgeLayer, LayerBuilder, SetParentError, layer};
#[cfg(feature = "actix-web")]
pub use self::server::{ServerTracing, Trust};
pub use self::span_ext::SpanExt;
