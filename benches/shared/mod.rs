//! What benchmarks share: works, the stacks that do them, and processes that run one of each.
//!
//! `benches/{request,scaling,span}` say `#[path = "../shared/mod.rs"] mod shared;`, as do the
//! packages `benches/instructions` and `benches/peers`. A module that needs more than spanbridge
//! and `tracing` is named by those who have it.

// Each benchmark uses its own part of this.
#![allow(dead_code, unused_imports)]

pub(crate) mod alone;
pub(crate) mod callgrind;
pub(crate) mod child;
pub(crate) mod export;
pub(crate) mod floor;
pub(crate) mod ours;
pub(crate) mod sink;
pub(crate) mod spans;
pub(crate) mod stack;
pub(crate) mod trace;
pub(crate) mod work;
