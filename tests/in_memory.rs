//! Spans kept in memory, in a process whose threads differ in what they trace.
//!
//! One test, alone in its process: what it is about depends on how many subscribers there are.

use spanbridge::testing::InMemory;
use tracing_subscriber::prelude::*;

fn passed_by_both() {
    tracing::info_span!("work").in_scope(|| tracing::info!("done"));
}

#[test]
fn a_thread_without_a_subscriber_does_not_switch_off_the_spans_of_a_test() {
    let (memory, layer) = InMemory::new();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        // First passed where nobody listens.
        std::thread::spawn(passed_by_both).join().unwrap();
        passed_by_both();
    });
    assert_eq!(memory.tree(), "work\n  * done\n");
}
