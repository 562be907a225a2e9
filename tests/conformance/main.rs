//! The specifications that spanbridge follows, over real HTTP.

mod comparison;
#[allow(dead_code, reason = "what the other tests over sockets use too")]
#[path = "../it/http.rs"]
mod http;
#[cfg(feature = "metrics")]
#[allow(dead_code, reason = "what the other tests over sockets use too")]
#[path = "../it/meter.rs"]
mod meter;
#[cfg(feature = "metrics")]
mod metrics;
#[allow(dead_code, reason = "what the other tests over sockets use too")]
#[path = "../it/registry.rs"]
mod registry;
mod semconv;
#[allow(dead_code, reason = "the example's own parts start a process")]
#[path = "../../examples/w3c_service/service.rs"]
mod service;
#[allow(dead_code, reason = "what the other tests over sockets use too")]
#[path = "../it/support.rs"]
mod support;
mod w3c;
