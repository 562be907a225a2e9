//! The parent that is given to a span while it is made. Here, so that it is looked at where memory
//! errors are seen.

use std::panic::{AssertUnwindSafe, catch_unwind};

use opentelemetry::{SpanId, TraceFlags, TraceId};
use tracing::{Span, info_span};
use tracing_subscriber::prelude::*;

use super::*;
use crate::propagation::TraceParent;
use crate::testing::InMemory;

fn caller(span_id: u64) -> Carried {
    let parent = TraceParent {
        trace_id: TraceId::from(1),
        span_id: SpanId::from(span_id),
        flags: TraceFlags::SAMPLED,
    };
    Carried { parent: Some(parent), entries: None }
}

fn given(span_id: u64, make: impl FnOnce() -> Span) -> Span {
    let (span, is_taken) = with_given_parent(&caller(span_id), make);
    assert!(is_taken);
    span
}

/// The parent of each span, by name; 0 is none.
fn parents(f: impl FnOnce()) -> Vec<(String, u64)> {
    let (memory, layer) = InMemory::new();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), f);
    let parent = |id: SpanId| u64::from_be_bytes(id.to_bytes());
    let spans = memory.spans().into_iter();
    spans.map(|span| (span.name.into_owned(), parent(span.parent_span_id))).collect()
}

fn expected<const N: usize>(pairs: [(&str, u64); N]) -> Vec<(String, u64)> {
    pairs.map(|(name, parent)| (name.to_owned(), parent)).to_vec()
}

#[test]
fn a_given_parent_is_there_for_one_span_and_the_one_around_it_again_after() {
    let found = parents(|| {
        drop(given(7, || {
            drop(given(8, || info_span!("inner")));
            info_span!("outer")
        }));
        drop(info_span!("after"));
    });
    assert_eq!(found, expected([("inner", 8), ("outer", 7), ("after", 0)]));
}

#[test]
fn a_given_parent_is_taken_away_by_a_panic() {
    let found = parents(|| {
        let made = catch_unwind(AssertUnwindSafe(|| given(7, || panic!("while it is made"))));
        assert!(made.is_err());
        drop(info_span!("after"));
    });
    assert_eq!(found, expected([("after", 0)]));
}

#[test]
fn a_thread_that_is_suppressed_records_nothing_from_then_on() {
    let found = parents(|| {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let on_other = move || {
            tracing::dispatcher::with_default(&dispatch, || {
                drop(info_span!("before"));
                suppress_this_thread();
                suppress_this_thread();
                let (span, is_taken) = with_given_parent(&caller(7), || info_span!("never"));
                span.in_scope(|| drop(info_span!("never")));
                assert!(!is_taken);
            });
        };
        std::thread::spawn(on_other).join().unwrap();
    });
    assert_eq!(found, expected([("before", 0)]));
}
