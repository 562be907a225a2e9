//! What the life of a span costs, in pieces: a span without attributes, with eight, with nine; a
//! child; enter and exit, which each poll of a traced future pays; an event; late records. Run by
//! `cargo bench --bench span`.
//!
//! Processes and exporter are those of `request`, and so is what is unequal. The work's parent, its
//! spans that only carry events or records, and the clock are not measured.

#[path = "../shared/criterion.rs"]
mod driver;
#[path = "../shared/mod.rs"]
mod shared;
#[path = "../shared/theirs.rs"]
mod theirs;

use shared::stack::Stack;
use shared::work::Work;
use shared::{child, ours};

const STACKS: &[Stack] = &[
    ours::REGISTRY,
    ours::SAMPLED,
    ours::UNSAMPLED,
    theirs::OPTIONS_OFF,
    theirs::DEFAULTS,
    theirs::UNSAMPLED,
];

fn main() {
    if child::run_if_child(STACKS) {
        return;
    }
    let mut criterion = driver::criterion();
    for work in Work::ALL.into_iter().filter(|work| *work != Work::Request) {
        driver::compare(&mut criterion, work.name(), work, STACKS, None);
    }
}
