//! What tracing costs a request: extract, a SERVER span with 10 attributes, in it a CLIENT span with
//! 5, inject. Run by `cargo bench --bench request`.
//!
//! What Criterion says is of a core that another guest may be on; after it stands what each stack took
//! undisturbed, in bursts too short for an exporter to work beside them (`shared/alone.rs`).
//!
//! Each stack runs in a process of its own, since `tracing` is at its fastest only under a *global*
//! subscriber, of which a process has one. Criterion drives the processes and does the statistics.
//! All end in an exporter that throws spans away.
//!
//! What is unequal: `spanbridge` reads and writes headers as its middleware does, by `start_span`
//! and `inject_span`; tracing-opentelemetry has the OpenTelemetry API for that, a `TextMapPropagator`
//! with `set_parent` and `context`, and so has `spanbridge, by TextMapPropagator`, for comparison.
//! `registry alone` makes the spans, and propagates nothing; `registry, values and headers` also looks
//! at all values and reads and writes the headers, and keeps nothing; `registry, values kept and
//! headers` keeps them, and has nothing of what else a layer needs. Requests come in bursts of 500,
//! after which all spans are exported, off the clock, so that nobody is faster for dropping some.

#[path = "../shared/criterion.rs"]
mod driver;
#[path = "../shared/mod.rs"]
mod shared;
#[path = "../shared/theirs.rs"]
mod theirs;

use shared::stack::Stack;
use shared::work::Work;
use shared::{child, floor, ours};

const STACKS: &[Stack] = &[
    ours::REGISTRY,
    floor::FLOOR,
    floor::KEPT,
    ours::SAMPLED,
    ours::UNSAMPLED,
    ours::NO_LAYER,
    ours::OFF,
    theirs::OURS_BY_PROPAGATOR,
    theirs::OPTIONS_OFF,
    theirs::DEFAULTS,
    theirs::UNSAMPLED,
];

fn main() {
    if child::run_if_child(STACKS) {
        return;
    }
    driver::compare(&mut driver::criterion(), "request", Work::Request, STACKS, None);
}
