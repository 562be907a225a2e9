//! What `legacy::SlowSpanLayer` adds to a request of three spans and two events, in steps: the
//! registry alone, spans of a target that is ignored, a tree that is quick, and one that is printed.
//!
//! Nothing is written anywhere: the last step measures the making of the text.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use spanbridge::legacy::{SlowSpanLayer, SlowSpanLayerBuilder};
use tracing::{Dispatch, info, info_span};
use tracing_subscriber::prelude::*;

const NEVER: Duration = Duration::from_secs(3_600);

fn request(number: u64) {
    let request = info_span!("request", number, method = "GET", path = "/api/v1/pods");
    let _request = request.enter();
    info!(number, "accepted");
    info_span!("storage.list", resource = "pods", limit = 500).in_scope(|| info!("listed"));
    info_span!("encode").in_scope(|| black_box(number));
    request.record("number", number + 1);
}

fn quiet() -> SlowSpanLayerBuilder {
    SlowSpanLayer::builder().with_threshold(NEVER).with_callback(|slow| {
        black_box(slow.text());
    })
}

fn steps(criterion: &mut Criterion) {
    let registry = tracing_subscriber::registry;
    let subscribers = [
        ("registry", Dispatch::new(registry())),
        ("ignored", Dispatch::new(registry().with(quiet().with_ignored_target("").build()))),
        ("quick", Dispatch::new(registry().with(quiet().build()))),
        (
            "printed",
            Dispatch::new(
                registry().with(
                    quiet()
                        .with_threshold(Duration::ZERO)
                        .with_all_steps(true)
                        .with_rate_limit(1, Duration::ZERO)
                        .build(),
                ),
            ),
        ),
    ];
    let mut group = criterion.benchmark_group("slow_span");
    for (name, subscriber) in &subscribers {
        tracing::dispatcher::with_default(subscriber, || {
            group.bench_function(*name, |bencher| {
                let mut number = 0;
                bencher.iter(|| {
                    number += 1;
                    request(number);
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
