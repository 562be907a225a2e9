//! The middleware and the hook over real sockets, under every set-up of layers that a process may
//! have.

mod client;
mod client_options;
mod concurrency;
mod ends;
#[cfg(feature = "metrics")]
mod every_end;
mod handler;
mod http;
mod http2;
#[cfg(feature = "metrics")]
mod measured;
#[cfg(feature = "metrics")]
mod meter;
#[cfg(feature = "metrics")]
mod metrics;
mod nested;
mod propagation;
mod propagators;
mod reentrant;
#[allow(dead_code, reason = "what the conformance tests look at too")]
mod registry;
mod sampling;
mod server;
mod server_options;
#[cfg(feature = "metrics")]
mod start_time;
mod support;
mod without_spans;
