//! Values whose `Debug` traces, under a global subscriber: only there does `tracing` let spans
//! be made while others are being recorded.

use spanbridge::testing::InMemory;
use tracing::{info, info_span};
use tracing_subscriber::prelude::*;

struct Nosy;

impl std::fmt::Debug for Nosy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        info_span!("made while formatting").in_scope(|| info!("so was this"));
        f.write_str("nosy")
    }
}

#[test]
fn a_debug_that_traces_is_no_trouble() {
    let (memory, layer) = InMemory::new();
    tracing_subscriber::registry().with(layer).init();
    info_span!("s", nosy = ?Nosy, late = tracing::field::Empty).in_scope(|| {
        info!(nosy = ?Nosy, "e");
        tracing::Span::current().record("late", tracing::field::debug(Nosy));
    });
    let tree = memory.tree();
    assert!(tree.contains("s {nosy=\"nosy\", late=\"nosy\"}"), "{tree}");
    assert!(tree.contains("* e {nosy=\"nosy\"}"), "{tree}");
    assert_eq!(tree.matches("made while formatting").count(), 3, "{tree}");
}
