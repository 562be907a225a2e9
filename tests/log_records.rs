//! What becomes of `log` records that `tracing-log` turns into events.

use spanbridge::testing::InMemory;
use tracing::info_span;
use tracing_subscriber::prelude::*;

#[test]
fn target_and_place_of_log_records_can_be_left_out() {
    let (memory, layer) =
        InMemory::with(spanbridge::layer().with_target(false).with_location(false));
    let default = tracing_subscriber::registry().with(layer).set_default();
    info_span!("work").in_scope(|| {
        let mut record = log::Record::builder();
        record.level(log::Level::Info).target("app").file(Some("db.rs")).line(Some(1));
        let record = record.module_path(Some("app::db")).args(format_args!("said")).build();
        tracing_log::format_trace(&record).unwrap();
    });
    drop(default);
    let spans = memory.spans();
    let event = &spans[0].events.events[0];
    let keys: Vec<_> = event.attributes.iter().map(|kv| kv.key.as_str()).collect();
    assert_eq!((event.name.as_ref(), keys), ("said", vec!["level"]));
}
