//! Where the times come from; tests set their own.

use std::time::{Duration, Instant, SystemTime};

/// Moments are counted from when the clock was made.
#[derive(Clone, Debug)]
pub(super) enum Clock {
    System(Instant),
    #[cfg(test)]
    Manual(Manual),
}

impl Clock {
    pub(super) fn system() -> Self {
        Self::System(Instant::now())
    }

    pub(super) fn now(&self) -> Duration {
        match self {
            Self::System(origin) => origin.elapsed(),
            #[cfg(test)]
            Self::Manual(manual) => manual.now(),
        }
    }

    pub(super) fn wall(&self) -> SystemTime {
        match self {
            Self::System(_) => SystemTime::now(),
            #[cfg(test)]
            Self::Manual(manual) => manual.wall(),
        }
    }
}

/// A clock that stands still until it is moved.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(super) struct Manual(std::sync::Arc<std::sync::atomic::AtomicU64>);

#[cfg(test)]
impl Manual {
    pub(super) fn advance(&self, millis: u64) {
        let nanos = Duration::from_millis(millis).as_nanos() as u64;
        self.0.fetch_add(nanos, std::sync::atomic::Ordering::Relaxed);
    }

    /// It began at 2025-11-22 07:30:00.123 UTC.
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_796_600_123) + self.now()
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(std::sync::atomic::Ordering::Relaxed))
    }
}
