//! Records of the `log` crate -> events.

use tracing::level_filters::LevelFilter;
use tracing_log::{AsLog as _, LogTracer};

/// Becomes the process's logger, unless there is one, which the application knows why it has.
pub(super) fn record() {
    // Not more than the subscriber wants, so that other records cost what they did.
    let level = LevelFilter::current().as_log();
    if LogTracer::builder().with_max_level(level).init().is_err() {
        tracing::warn!(
            target: "spanbridge::config",
            "log records are not recorded: the application has set a logger of its own before"
        );
    }
}
