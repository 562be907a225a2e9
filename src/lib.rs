//! spanbridge turns the timings a Rust service already has into OpenTelemetry distributed traces.

#[cfg(feature = "awc")]
mod client;
pub mod config;
mod interop;
pub mod propagation;
mod semconv;
#[cfg(feature = "actix-web")]
mod server;
