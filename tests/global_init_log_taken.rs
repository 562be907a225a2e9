//! An application's own logger stays, and `init` does not fail for it.

mod support;

use std::sync::Mutex;
use std::time::Duration;

use spanbridge::TracingConfig;
use tracing::info_span;

use support::otlp_receiver::OtlpReceiver;

struct Own(Mutex<Vec<String>>);

static OWN: Own = Own(Mutex::new(Vec::new()));

impl log::Log for Own {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn a_logger_that_is_set_already_stays() {
    log::set_logger(&OWN).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    let receiver = OtlpReceiver::grpc();
    let config = TracingConfig::default()
        .with_endpoint(receiver.addr().to_string())
        .with_sampling_rate_per_million(1_000_000)
        .with_log_records();
    let guard = spanbridge::init(Some(config)).unwrap();
    info_span!("charge").in_scope(|| log::debug!("authorised"));
    guard.shutdown(Duration::from_secs(30)).unwrap();

    assert_eq!(log::max_level(), log::LevelFilter::Debug);
    let records = OWN.0.lock().unwrap();
    assert!(records.contains(&"authorised".to_owned()), "{records:?}");
    let spans = receiver.spans();
    assert_eq!((spans.len(), spans[0].events.len()), (1, 0), "{spans:?}");
}
