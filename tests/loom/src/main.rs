//! Runs the models: those whose name contains an argument, or all.
//!
//! `LOOM_MAX_PREEMPTIONS` says how often a thread may be interrupted where it does not wait; two
//! are enough for most mistakes, and three for all but contrived ones.

#![allow(dead_code, reason = "the files of the crate hold more than the models use")]

mod export;
mod layer;
mod propagation;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A model's name, and what is run in every order.
type Model = (&'static str, fn());

const PREEMPTIONS: usize = 2;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let mut models = 0;
    for (name, model) in layer::models::ALL.iter().chain(layer::hand_over_models::ALL) {
        if is_wanted(name) {
            explore(name, *model);
            models += 1;
        }
    }
    assert!(models > 0, "no model's name contains any of {wanted:?}");
}

fn explore(name: &str, model: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS));
    builder.max_branches = 20_000;
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&orders);
    println!("{name} ...");
    let start = Instant::now();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{name}: {} orders in {:.1?}", orders.load(Ordering::Relaxed), start.elapsed());
}
