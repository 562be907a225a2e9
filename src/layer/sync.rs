//! What threads share is made of these; `tests/loom` has its own in their place.

pub(super) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

pub(super) use parking_lot::{Mutex, MutexGuard};
