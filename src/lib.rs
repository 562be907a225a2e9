//! spanbridge turns the timings a Rust service already has into OpenTelemetry distributed traces.

#[cfg(feature = "awc")]
pub mod client;
pub mod config;
#[cfg_attr(
    not(all(feature = "actix-web", feature = "awc")),
    allow(dead_code, reason = "server and client each use a part")
)]
mod interop;
pub mod propagation;
#[cfg(any(feature = "actix-web", feature = "awc"))]
#[cfg_attr(
    not(all(feature = "actix-web", feature = "awc")),
    allow(dead_code, reason = "server and client each use a part")
)]
mod semconv;
#[cfg(feature = "actix-web")]
pub mod server;

#[cfg(feature = "awc")]
pub use self::client::ClientTracing;
#[cfg(feature = "actix-web")]
pub use self::server::{ServerTracing, Trust};
