//! Ticks for the hot path, and their conversion to wall time off it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A monotonic source of ticks: the processor's time stamp counter where it runs at a constant
/// rate in every power state, else [`Instant`] in nanoseconds.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
    first_ticks: u64,
    first_instant: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    #[cfg(target_arch = "x86_64")]
    Tsc,
    Monotonic,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let mut clock =
            Self { source: Source::detect(), first_ticks: 0, first_instant: Instant::now() };
        clock.first_ticks = clock.now();
        clock
    }

    /// The current tick.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self.source {
            #[cfg(target_arch = "x86_64")]
            Source::Tsc => read_tsc(),
            Source::Monotonic => {
                u64::try_from(self.first_instant.elapsed().as_nanos()).unwrap_or(u64::MAX)
            }
        }
    }

    /// The time between two ticks, as well as it is known by now.
    pub(crate) fn duration(&self, from: u64, to: u64) -> Duration {
        let nanos = to.saturating_sub(from) as f64 * self.calibrate().nanos_per_tick;
        Duration::from_nanos(nanos as u64)
    }

    /// Ties ticks to wall time as of now. The longer ago the clock was made, the better the rate.
    pub(crate) fn calibrate(&self) -> Calibration {
        let (ticks, wall, instant) = self.sample();
        let elapsed = instant.duration_since(self.first_instant).as_nanos() as f64;
        let ticked = ticks.saturating_sub(self.first_ticks) as f64;
        let nanos_per_tick = match self.source {
            Source::Monotonic => 1.0,
            #[cfg(target_arch = "x86_64")]
            Source::Tsc if ticked > 0.0 => elapsed / ticked,
            #[cfg(target_arch = "x86_64")]
            Source::Tsc => 1.0,
        };
        Calibration { ticks, wall_nanos: unix_nanos(wall), nanos_per_tick }
    }

    /// A tick and the two clocks read as close together as three tries allow.
    fn sample(&self) -> (u64, SystemTime, Instant) {
        let read = || {
            let before = self.now();
            let read = (SystemTime::now(), Instant::now());
            let after = self.now();
            (after.saturating_sub(before), before + after.saturating_sub(before) / 2, read)
        };
        let tries = [read(), read(), read()];
        let best = tries.iter().min_by_key(|(width, ..)| *width).unwrap_or(&tries[0]);
        (best.1, best.2.0, best.2.1)
    }
}

/// A point at which a tick and the wall clock were read together.
///
/// Both ends of a span are converted with the same calibration, so that a duration is never
/// negative and never shows a step of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calibration {
    ticks: u64,
    wall_nanos: u64,
    nanos_per_tick: f64,
}

impl Calibration {
    /// One by which a tick is a nanosecond of some day.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self { ticks: 0, wall_nanos: 1_700_000_000_000_000_000, nanos_per_tick: 1e-6 }
    }

    /// The wall time of `ticks`.
    pub(crate) fn wall(&self, ticks: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.unix_nanos(ticks))
    }

    /// The wall time of `ticks`, in nanoseconds since 1970.
    pub(crate) fn unix_nanos(&self, ticks: u64) -> u64 {
        if ticks >= self.ticks {
            let ahead = (ticks - self.ticks) as f64 * self.nanos_per_tick;
            self.wall_nanos.saturating_add(ahead as u64)
        } else {
            let behind = (self.ticks - ticks) as f64 * self.nanos_per_tick;
            self.wall_nanos.saturating_sub(behind as u64)
        }
    }
}

fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Source {
    #[cfg(target_arch = "x86_64")]
    fn detect() -> Self {
        if has_invariant_tsc() { Self::Tsc } else { Self::Monotonic }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect() -> Self {
        Self::Monotonic
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "the intrinsic is unsafe to call")]
fn read_tsc() -> u64 {
    // SAFETY: RDTSC reads a register; `has_invariant_tsc` ran CPUID first, and a processor that
    // reports an invariant TSC has the instruction.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Intel SDM volume 3, 17.17.1: leaf 8000_0007H, EDX bit 8.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, unused_unsafe, reason = "the intrinsic was unsafe to call until Rust 1.93")]
fn has_invariant_tsc() -> bool {
    use std::arch::x86_64::__cpuid;
    const POWER_MANAGEMENT: u32 = 0x8000_0007;
    const INVARIANT_TSC: u32 = 1 << 8;
    // SAFETY: every x86-64 processor has CPUID, and leaf 8000_0000H tells which leaves exist.
    unsafe {
        __cpuid(0x8000_0000).eax >= POWER_MANAGEMENT
            && __cpuid(POWER_MANAGEMENT).edx & INVARIANT_TSC != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converted_time_agrees_with_the_wall_clock() {
        let clock = Clock::new();
        let before = SystemTime::now();
        let tick = clock.now();
        let after = SystemTime::now();
        // A baseline of some milliseconds, as the worker has by its first drain.
        let until = Instant::now() + Duration::from_millis(5);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let wall = clock.calibrate().wall(tick);
        let slack = Duration::from_micros(500);
        assert!(wall + slack >= before && wall <= after + slack, "{before:?} {wall:?} {after:?}");
    }

    #[test]
    fn durations_survive_conversion() {
        let calibration =
            Calibration { ticks: 1_000, wall_nanos: 1_000_000_000, nanos_per_tick: 0.4 };
        let length = calibration.wall(900).duration_since(calibration.wall(400)).unwrap();
        assert_eq!(length, Duration::from_nanos(200));
        assert!(calibration.wall(2_000) > calibration.wall(1_000));
    }
}
