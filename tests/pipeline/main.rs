//! From a closed span to its destination and back to the counts, over real sockets: what happens
//! when the destination or the exporter misbehaves, and what the guard promises.

mod batches;
mod exporters;
mod faults;
mod guard;
mod harness;
mod otlp;
mod process_exit;
mod stdout;
#[path = "../support/mod.rs"]
mod support;
#[cfg(unix)]
mod unix;
