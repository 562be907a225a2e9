//! How long a collector wants to be left alone, from one batch to the next.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A longer pause is a mistake: of units, or of a clock.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// `RetryInfo` and `Retry-After` are about the collector and not about one batch: what is ready to go
/// meanwhile waits, too.
///
/// Source: the OTLP specification, "OTLP/gRPC throttling" and "OTLP/HTTP throttling".
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    /// The collector has asked for this pause now.
    pub(super) fn asked_for(&self, pause: Duration) {
        let until = Instant::now() + pause.min(LONGEST);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = (*kept).max(Some(until));
    }

    fn left(&self) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Waits until the pause is over.
    ///
    /// # Errors
    ///
    /// Fails with what is left of it, as soon as that is more than `limit` allows. It is asked again
    /// and again meanwhile.
    pub(super) async fn is_over(
        &self,
        limit: impl Fn() -> Option<Duration>,
    ) -> Result<(), Duration> {
        const STEP: Duration = Duration::from_millis(50);
        while let Some(left) = self.left() {
            if limit().is_some_and(|limit| limit < left) {
                return Err(left);
            }
            sleep(STEP.min(left)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_counts_and_none_is_for_ever() {
        let throttle = Throttle::default();
        assert_eq!(throttle.left(), None);
        throttle.asked_for(Duration::ZERO);
        assert_eq!(throttle.left(), None);
        throttle.asked_for(Duration::from_secs(60));
        throttle.asked_for(Duration::from_secs(1));
        assert!(throttle.left() > Some(Duration::from_secs(50)));
        throttle.asked_for(Duration::MAX);
        assert!(throttle.left() <= Some(LONGEST));
    }

    #[test]
    fn a_wait_ends_as_soon_as_there_is_no_time_for_it() {
        let runtime = crate::export::worker::OwnRuntime::new().unwrap();
        let throttle = Throttle::default();
        throttle.asked_for(Duration::from_secs(60));
        // 1. At first there is time; then shutdown comes.
        let asked = std::cell::Cell::new(0);
        let limit = || {
            asked.set(asked.get() + 1);
            (asked.get() > 2).then_some(Duration::from_secs(5))
        };
        let left = runtime.block_on(throttle.is_over(limit)).unwrap_err();
        assert!(left > Duration::from_secs(50), "{left:?}");
        assert_eq!(asked.get(), 3);
        // 2. A pause that ends in time is waited for.
        let throttle = Throttle::default();
        throttle.asked_for(Duration::from_millis(100));
        let limit = || Some(Duration::from_secs(5));
        assert_eq!(runtime.block_on(throttle.is_over(limit)), Ok(()));
        assert_eq!(throttle.left(), None);
    }
}
