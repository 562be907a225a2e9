//! `spanbridge import`: the real binary on logs as they are found in the wild, over real sockets.

mod command;
mod damage;
mod delivery;
mod formats;
mod printed;
mod problems;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod terminal;
mod usage;
