//! Telling a server that stops from a client that has left.

use std::panic::catch_unwind;

use actix_rt::Arbiter;

/// Whether this thread's worker is over, and drops what is left of its requests.
///
/// A worker's connections are dropped with the event loop of its thread's arbiter, when the loop
/// has ended, and with it the receiving end of the arbiter's commands. A server that is run without
/// an actix system has no arbiters: it cannot be told.
pub(super) fn is_worker_gone() -> bool {
    let is_gone = || Arbiter::try_current().is_some_and(|arbiter| !arbiter.spawn_fn(|| ()));
    // Asked while a request is dropped, which may be so late that the thread's arbiter is gone too.
    catch_unwind(is_gone).unwrap_or(false)
}
