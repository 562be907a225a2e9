//! What the queue is made of; `tests/loom` has its own in their place.

pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
