//! What time it is. Tests set it.

#[cfg(test)]
pub(super) use self::paused::{Paused, now, wall};
#[cfg(not(test))]
pub(super) use self::real::{now, wall};

#[cfg(not(test))]
mod real {
    use std::time::{Instant, SystemTime};

    #[inline]
    pub(in crate::legacy) fn now() -> Instant {
        Instant::now()
    }

    pub(in crate::legacy) fn wall() -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
mod paused {
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
