//! How often something may be printed: a token bucket.

use std::time::Duration;

/// Starts full: `burst` prints at once, then one for each `every` that has passed.
#[derive(Debug)]
pub(super) struct Limiter {
    burst: u32,
    every: Duration,
    tokens: u32,
    /// Tokens are counted up to this moment.
    refilled: Duration,
    suppressed: u64,
}

impl Limiter {
    /// Without an `every` nothing is limited.
    pub(super) fn new(burst: u32, every: Duration, now: Duration) -> Self {
        Self { burst: burst.max(1), every, tokens: burst.max(1), refilled: now, suppressed: 0 }
    }

    /// How many were suppressed since the last one that was not, or `None` if this one is.
    pub(super) fn admit(&mut self, now: Duration) -> Option<u64> {
        self.refill(now);
        if self.tokens == 0 {
            self.suppressed += 1;
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }

    fn refill(&mut self, now: Duration) {
        let earned = now
            .saturating_sub(self.refilled)
            .as_nanos()
            .checked_div(self.every.as_nanos())
            .unwrap_or(u128::MAX);
        let missing = self.burst - self.tokens;
        if earned >= u128::from(missing) {
            self.tokens = self.burst;
            self.refilled = now;
        } else {
            // Less than is missing, so it fits.
            let earned = earned as u32;
            self.tokens += earned;
            self.refilled += self.every * earned;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let at = Duration::from_millis;
        let mut limiter = Limiter::new(2, at(100), at(0));
        assert_eq!(limiter.admit(at(0)), Some(0));
        assert_eq!(limiter.admit(at(0)), Some(0));
        assert_eq!(limiter.admit(at(0)), None);
        assert_eq!(limiter.admit(at(99)), None);
        assert_eq!(limiter.admit(at(150)), Some(2));
        assert_eq!(limiter.admit(at(199)), None);
        // What was left of the 150 counts.
        assert_eq!(limiter.admit(at(200)), Some(1));
        // However long it was quiet, no more than a burst is saved up.
        assert_eq!(limiter.admit(at(10_000)), Some(0));
        assert_eq!(limiter.admit(at(10_000)), Some(0));
        assert_eq!(limiter.admit(at(10_000)), None);
    }

    #[test]
    fn no_interval_is_no_limit() {
        let mut limiter = Limiter::new(1, Duration::ZERO, Duration::ZERO);
        assert!((0..100).all(|_| limiter.admit(Duration::ZERO) == Some(0)));
    }
}
