//! One call at start-up, and spans reach the collector that the configuration names; a second call
//! finds the subscriber taken.

mod support;

use std::time::Duration;

use spanbridge::{InitError, TracingConfig};
use tracing::info_span;

use support::otlp_receiver::OtlpReceiver;

#[test]
fn init_exports_once_and_only_once() {
    let receiver = OtlpReceiver::grpc();
    let config = TracingConfig::default()
        .with_endpoint(receiver.addr().to_string())
        .with_sampling_rate_per_million(1_000_000)
        .with_service_name("shop");
    let guard = spanbridge::init(Some(config.clone())).unwrap();
    assert!(guard.is_enabled());
    info_span!("first", items = 2).in_scope(|| info_span!("inner").in_scope(|| ()));
    guard.force_flush(Duration::from_secs(30)).unwrap();
    let spans = receiver.take_spans();
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["inner", "first"]);
    assert_eq!(spans[0].service_name(), "shop");
    assert_eq!(spans[0].parent_span_id, Some(spans[1].span_id));
    assert_eq!(spans[0].scope.name, "spanbridge");

    let second = spanbridge::init(Some(config));
    assert!(matches!(second, Err(InitError::SubscriberAlreadySet)), "{second:?}");
    // What was set up first goes on as if nothing had happened.
    assert!(guard.is_enabled());
    info_span!("second").in_scope(|| ());
    guard.shutdown(Duration::from_secs(30)).unwrap();
    assert_eq!(receiver.spans().len(), 1);
    assert_eq!(receiver.spans()[0].name, "second");
    assert_eq!((guard.stats().started(), guard.stats().exported()), (3, 3));
}
