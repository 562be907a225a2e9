//! What time it is. Tests set it.

use std::time::{Instant, SystemTime};

#[cfg(not(test))]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(not(test))]
pub(super) fn wall() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
pub(super) use self::fake::{Paused, now, wall};

#[cfg(test)]
mod fake {
    use std::cell::Cell;
    use std::sync::LazyLock;
    use std::time::{Duration, Instant, SystemTime};

    thread_local! {
        static PASSED: Cell<Option<Duration>> = const { Cell::new(None) };
    }

    static ZERO: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// The first moment of the year 2000, which is also where Go's paused clock begins.
    const MIDNIGHT: Duration = Duration::from_secs(946_684_800);

    pub(in crate::legacy) fn now() -> Instant {
        PASSED.get().map_or_else(Instant::now, |passed| *ZERO + passed)
    }

    pub(in crate::legacy) fn wall() -> SystemTime {
        let paused = |passed| SystemTime::UNIX_EPOCH + MIDNIGHT + passed;
        PASSED.get().map_or_else(SystemTime::now, paused)
    }

    /// While it lives, this thread's clock moves only when told to.
    pub(in crate::legacy) struct Paused(());

    impl Paused {
        pub(in crate::legacy) fn new() -> Self {
            PASSED.set(Some(Duration::ZERO));
            Self(())
        }

        pub(in crate::legacy) fn advance(&self, by: Duration) {
            PASSED.set(Some(PASSED.get().unwrap_or_default() + by));
        }
    }

    impl Drop for Paused {
        fn drop(&mut self) {
            PASSED.set(None);
        }
    }
}
