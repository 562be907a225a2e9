//! The handle that flushes and shuts the pipeline down.

use std::sync::Arc;
use std::time::Duration;
use std::{error, fmt};

use crate::export::queue::WaitError;
use crate::export::stats::Stats;
use crate::layer::Engine;

/// How long dropping a guard waits for the last spans to be exported.
pub(crate) const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps the pipeline running; dropping it shuts the pipeline down.
///
/// Bind it to a name in `main` (not to `_`, which drops it at once) and let it live as long as
/// spans are to be exported. The exporter has a thread and a runtime of its own, so waiting here is
/// safe on any runtime, a current-thread one included: a destination that is served by the very
/// thread that waits is the one exception, and ends in a timeout rather than a dead-lock.
///
/// # Cancel safety
///
/// [`force_flush`](Self::force_flush) and [`shutdown`](Self::shutdown) block the calling thread for
/// at most their timeout. In async code run them in `tokio::task::spawn_blocking` if other tasks
/// must go on meanwhile.
#[must_use = "dropping the guard shuts the pipeline down; bind it to a name that lives as long as spans are to be exported"]
#[derive(Debug)]
pub struct TracingGuard {
    /// `None` where tracing is off.
    engine: Option<Arc<Engine>>,
}

impl TracingGuard {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine: Some(engine) }
    }

    /// The guard where tracing is off: it has nothing to flush, and every count is zero.
    pub(crate) fn off() -> Self {
        Self { engine: None }
    }

    /// Whether spans are recorded and exported at all.
    pub fn is_enabled(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.is_open())
    }

    /// Exports every span that is closed by now, and waits for that.
    ///
    /// # Errors
    ///
    /// Fails if the spans are not exported within `timeout`, if an export since the last flush
    /// failed, or after shutdown. What failed is counted in [`stats`](Self::stats).
    pub fn force_flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let Some(engine) = &self.engine else { return Ok(()) };
        engine.hand_over.queue.flush(timeout).map_err(|error| match error {
            WaitError::Failed => FlushError::ExportFailed,
            WaitError::Finished => FlushError::ShutDown,
            WaitError::TimedOut => FlushError::TimedOut(timeout),
        })
    }

    /// Stops recording, exports what is left, and shuts the exporter down.
    ///
    /// Spans that are still open are counted as dropped when they close. Calling it again does
    /// nothing.
    ///
    /// # Errors
    ///
    /// Fails if the last spans are not exported within `timeout`. They are counted as dropped, and
    /// the exporter's thread ends when its export does.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), ShutdownError> {
        let Some(engine) = &self.engine else { return Ok(()) };
        engine.hand_over.shut_down(timeout).map_err(|_| ShutdownError::TimedOut(timeout))
    }

    /// What became of the spans so far.
    pub fn stats(&self) -> Stats {
        self.engine.as_ref().map(|engine| engine.hand_over.stats()).unwrap_or_default()
    }
}

impl Drop for TracingGuard {
    fn drop(&mut self) {
        // Nobody is left to tell; `shutdown` is there for those who want to know.
        let _ = self.shutdown(DROP_TIMEOUT);
    }
}

/// Why [`TracingGuard::force_flush`] did not export everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlushError {
    /// An export since the last flush failed.
    ExportFailed,
    /// The pipeline is shut down.
    ShutDown,
    /// Not done within this time; the export goes on.
    TimedOut(Duration),
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExportFailed => {
                f.write_str("an export failed; the spans are counted in `stats().dropped()`")
            }
            Self::ShutDown => f.write_str("the pipeline is shut down already"),
            Self::TimedOut(timeout) => write!(f, "the spans were not exported within {timeout:?}"),
        }
    }
}

impl error::Error for FlushError {}

/// Why [`TracingGuard::shutdown`] lost spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownError {
    /// Not everything was exported within this time.
    TimedOut(Duration),
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(timeout) => write!(
                f,
                "the last spans were not exported within {timeout:?}; \
                 they are counted in `stats().dropped()`"
            ),
        }
    }
}

impl error::Error for ShutdownError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_can_be_sent_anywhere() {
        fn check<T: error::Error + Send + Sync + 'static>() {}
        check::<FlushError>();
        check::<ShutdownError>();
    }
}
