//! Without a configuration nothing is recorded, and nothing is taken that somebody else may want.

use std::time::Duration;

use spanbridge::Stats;
use tracing::info_span;

#[test]
fn init_without_a_configuration_is_off() {
    let guard = spanbridge::init(None).unwrap();
    assert!(!guard.is_enabled());
    info_span!("nobody's").in_scope(|| ());
    assert!(info_span!("nobody's").is_disabled());
    assert_eq!(guard.stats(), Stats::default());
    guard.force_flush(Duration::ZERO).unwrap();
    guard.shutdown(Duration::ZERO).unwrap();
    // Again: there is nothing that could be there already.
    drop(spanbridge::init(None).unwrap());
    tracing_subscriber::fmt().try_init().expect("the global subscriber is not taken");
}
