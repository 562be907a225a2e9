//! Records of the `log` crate, made through its macros, are events of the span they are made in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use spanbridge::legacy::SlowSpanLayer;
use spanbridge::testing::InMemory;
use tracing::{Instrument as _, info_span};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

#[test]
fn log_records_are_events_of_their_span() {
    // 1. `log` is bridged, and a filter names the records' own targets.
    // 2. A request logs in its own task and in one on another thread; once it is out of any span.
    // 3. Each record is an event of its span, for the exporter and in the text, with its own target
    //    and place; what the filter rejects is in neither.
    tracing_log::LogTracer::init().unwrap();
    let texts = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&texts);
    let slow = SlowSpanLayer::builder()
        .with_threshold(Duration::ZERO)
        .with_all_steps(true)
        .with_callback(move |slow| sink.lock().unwrap().push(slow.text().to_owned()))
        .build();
    let (memory, layer) = InMemory::with(spanbridge::layer());
    let filter = Targets::new()
        .with_target("global_log_records", tracing::Level::DEBUG)
        .with_target("app::db", tracing::Level::WARN);
    let subscriber = tracing_subscriber::registry().with(filter).with(layer).with(slow);
    tracing::subscriber::set_global_default(subscriber).unwrap();

    log::warn!("out of any span");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let request = async {
            log::debug!("accepted {}", 7);
            let work = async {
                tokio::task::yield_now().await;
                log::info!(target: "app::db", "connected");
                log::error!(target: "app::db", "query failed");
            };
            tokio::spawn(work.instrument(info_span!("query"))).await.unwrap();
        };
        request.instrument(info_span!("request")).await;
    });

    let spans = memory.spans();
    let events = |name: &str| {
        let span = spans.iter().find(|span| span.name == name).unwrap();
        let mut events = Vec::new();
        for event in &span.events.events {
            let mut attributes: Vec<_> = event
                .attributes
                .iter()
                .filter(|attribute| attribute.key.as_str() != "code.line.number")
                .map(|attribute| format!("{}={}", attribute.key, attribute.value))
                .collect();
            attributes.sort();
            events.push(format!("{}: {}", event.name, attributes.join(" ")));
        }
        events
    };
    let place = format!("code.file.path={} code.module.name=global_log_records", file!());
    assert_eq!(
        events("request"),
        [format!("accepted 7: {place} level=DEBUG target=global_log_records")]
    );
    assert_eq!(events("query"), [format!("query failed: {place} level=ERROR target=app::db")]);

    let texts = texts.lock().unwrap();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("---\"accepted 7\" "), "{}", texts[0]);
    assert!(texts[0].contains("---\"query failed\" level:ERROR "), "{}", texts[0]);
    assert!(!texts[0].contains("connected"), "{}", texts[0]);
}
