//! `init` makes records of the `log` crate events, if asked to.

mod support;

use std::time::Duration;

use spanbridge::TracingConfig;
use tracing::info_span;

use support::otlp_receiver::{OtlpReceiver, Value};

#[test]
fn log_records_are_events_without_more_ado() {
    let receiver = OtlpReceiver::grpc();
    let config = TracingConfig::default()
        .with_endpoint(receiver.addr().to_string())
        .with_sampling_rate_per_million(1_000_000)
        .with_log_records();
    let guard = spanbridge::init(Some(config)).unwrap();
    assert_eq!(log::max_level(), log::LevelFilter::Info, "what is not wanted costs nothing");
    info_span!("charge").in_scope(|| {
        log::info!(target: "bank", "authorised {}", 7);
        log::debug!("details");
    });
    log::error!("out of any span");
    guard.shutdown(Duration::from_secs(30)).unwrap();

    let spans = receiver.spans();
    let [span] = &spans[..] else { panic!("{spans:?}") };
    let [event] = &span.events[..] else { panic!("{span:?}") };
    assert_eq!(event.name, "authorised 7");
    let attribute = |key: &str| event.attributes.iter().find(|kv| kv.0 == key).map(|kv| &kv.1);
    assert_eq!(attribute("target"), Some(&Value::String("bank".to_owned())), "{event:?}");
    let here = Value::String(file!().to_owned());
    assert_eq!(attribute("code.file.path"), Some(&here), "{event:?}");
}
