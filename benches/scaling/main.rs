//! Requests on 1, 2, 4 and 8 threads at once: time until the last thread is done, for one request on
//! each. Run by `cargo bench --bench scaling`.
//!
//! Where nothing is shared that figure stays the same up to the number of processors, less what the
//! exporter's thread takes of one, and beyond them grows with the number of threads. Processes,
//! exporter and what is unequal are those of `request`, but for one thing: there are no pauses, so
//! that queues, which are empty at the start of each sample, run full. The SDK's holds 2,048 spans, ours
//! 16,384; what each dropped is printed. Each thread is warm before its time counts.

#[path = "../shared/criterion.rs"]
mod driver;
#[path = "../shared/mod.rs"]
mod shared;
#[path = "../shared/theirs.rs"]
mod theirs;

use shared::stack::Stack;
use shared::work::Work;
use shared::{child, ours};

const STACKS: &[Stack] =
    &[ours::REGISTRY, ours::SAMPLED, ours::UNSAMPLED, theirs::OPTIONS_OFF, theirs::DEFAULTS];

fn main() {
    if child::run_if_child(STACKS) {
        return;
    }
    let mut criterion = driver::criterion();
    for threads in [1, 2, 4, 8] {
        let group = format!("request on {threads} threads");
        driver::compare(&mut criterion, &group, Work::Request, STACKS, Some(threads));
    }
}
