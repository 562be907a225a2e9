use std::time::{Duration, UNIX_EPOCH};

use opentelemetry_sdk::trace::Sampler;
use tracing::subscriber::with_default;
use tracing::{info, info_span};
use tracing_subscriber::prelude::*;

use super::*;
use crate::testing::InMemory;

#[test]
fn given_times_stand_and_an_end_is_never_before_its_start() {
    let (memory, layer) = InMemory::new();
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    with_default(tracing_subscriber::registry().with(layer), || {
        let both = info_span!("both");
        start_at(&both, at(1_000));
        end_at(&both, at(1_002));
        let twisted = info_span!("twisted");
        start_at(&twisted, at(1_000));
        end_at(&twisted, at(900));
        start_at(&info_span!("start"), at(1_000));
        info_span!("inner").in_scope(|| info!("now"));
    });
    let times = |name: &str| {
        let spans = memory.spans();
        let span = spans.iter().find(|span| span.name == name).unwrap();
        (span.start_time, span.end_time)
    };
    assert_eq!(times("both"), (at(1_000), at(1_002)));
    assert_eq!(times("twisted"), (at(1_000), at(1_000)));
    let (start, end) = times("start");
    assert!(start == at(1_000) && end > at(1_700_000_000), "{start:?} {end:?}");
}

#[test]
fn what_is_known_not_to_be_sampled_is_not_recording() {
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
    let (_memory, layer) = InMemory::with(crate::layer().with_sampler(sampler));
    with_default(tracing_subscriber::registry().with(layer), || {
        let root = info_span!("root");
        assert!(is_recording(&root), "not decided yet");
        let child = info_span!(parent: &root, "child");
        assert!(!is_recording(&root) && !is_recording(&child));
        assert!(!is_recording(&Span::none()));
    });
    with_default(tracing_subscriber::registry(), || {
        assert!(!is_recording(&info_span!("nobody makes a span of it")));
    });
    let (_memory, layer) = InMemory::new();
    with_default(tracing_subscriber::registry().with(layer), || {
        let root = info_span!("root");
        assert!(is_recording(&root) && is_recording(&info_span!(parent: &root, "child")));
    });
}
