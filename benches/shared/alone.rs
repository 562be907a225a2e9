//! What works take while nobody else is on the processor's core.
//!
//! A virtual processor is often one of two threads of a core, and the other thread another guest's.
//! While that one works, all that runs here takes half as long again or more, and nothing in this
//! system tells: it is not counted as stolen time. What tells is a piece of work that is always the
//! same. Where it takes hardly longer than its quickest run of all, in whichever process, nobody else
//! is there. That may last for less than a millisecond, so a process waits for it, does little, and
//! looks again: what was disturbed meanwhile does not count.
//!
//! A core that somebody else is on all the time cannot be told from one that is slower.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use super::child::Process;
use super::work::Work;

/// How much longer than the quickest run of the [`probe`] still counts as undisturbed. Disturbed ones
/// take from 1.4 times as long on.
const SLOWER: f64 = 1.15;
/// What is done in one go takes about as long, with what of it is not measured.
const BURST: Duration = Duration::from_micros(250);
/// How long a process waits for the core.
const PATIENCE: Duration = Duration::from_millis(20);
/// So many undisturbed bursts of each process are wanted, and with less than this nothing is said.
const WANTED: usize = 101;
const ENOUGH: usize = 11;

/// Work that was done in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    pub(crate) nanos: u64,
    /// The same with what is done off the clock.
    pub(crate) whole: u64,
    /// What the [`probe`] took before or after it, whichever was slower, in nanoseconds.
    pub(crate) probe: u64,
    /// The quickest probe of the time before it.
    pub(crate) quickest: u64,
}

/// What processes do as soon as they have the core to themselves, one after the other again and
/// again, but for those that did it often enough by now, and for so long at most. Gives the median of
/// one iteration, in nanoseconds, in the order of the processes; `None` where somebody else was there
/// too often.
pub(crate) fn in_turn(work: Work, processes: &mut [Process], limit: Duration) -> Vec<Option<f64>> {
    let iterations: Vec<_> =
        processes.iter_mut().map(|process| iterations(process).min(work.burst())).collect();
    let mut bursts: Vec<Vec<Burst>> = vec![Vec::new(); processes.len()];
    // At first nothing is quick enough, so that each learns in vain what quick is.
    let mut quickest = u64::MAX;
    for (process, &iterations) in processes.iter_mut().zip(&iterations) {
        quickest = quickest.min(process.time_alone(iterations, 0).quickest);
    }
    let end = Instant::now() + limit;
    loop {
        let lacking = |bursts: &[Burst]| undisturbed(bursts, quickest).count() < WANTED;
        let lacking: Vec<_> = (0..bursts.len()).filter(|&at| lacking(&bursts[at])).collect();
        if lacking.is_empty() || Instant::now() >= end {
            break;
        }
        for at in lacking {
            let burst = processes[at].time_alone(iterations[at], limit_of(quickest));
            quickest = quickest.min(burst.quickest);
            bursts[at].push(burst);
        }
    }
    let medians = bursts.iter().zip(&iterations);
    medians.map(|(bursts, &iterations)| median(bursts, quickest, iterations)).collect()
}

/// How often a process does its work in a burst.
fn iterations(process: &mut Process) -> u64 {
    let mut iterations = 16;
    loop {
        let whole = Duration::from_nanos(process.time_alone(iterations, u64::MAX).whole);
        if whole >= BURST / 2 {
            let by = BURST.as_secs_f64() / whole.as_secs_f64();
            return ((iterations as f64 * by) as u64).max(1);
        }
        iterations *= 2;
    }
}

fn limit_of(quickest: u64) -> u64 {
    (quickest as f64 * SLOWER) as u64
}

fn undisturbed(bursts: &[Burst], quickest: u64) -> impl Iterator<Item = &Burst> {
    bursts.iter().filter(move |burst| burst.probe <= limit_of(quickest))
}

fn median(bursts: &[Burst], quickest: u64, iterations: u64) -> Option<f64> {
    let mut nanos: Vec<_> = undisturbed(bursts, quickest).map(|burst| burst.nanos).collect();
    nanos.sort_unstable();
    let is_enough = nanos.len() >= ENOUGH;
    is_enough.then(|| nanos[nanos.len() / 2] as f64 / iterations as f64)
}

/// Waits until nobody else is on the core, as the [`probe`] tells when it takes no longer than
/// `limit` nanoseconds, or until the patience is over. Then measures `work`.
pub(crate) fn as_soon_as_alone(limit: u64, work: impl FnOnce() -> Duration) -> Burst {
    let end = Instant::now() + PATIENCE;
    let mut quickest = u64::MAX;
    let before = loop {
        let probe = probe();
        quickest = quickest.min(probe);
        if probe <= limit || Instant::now() >= end {
            break probe;
        }
    };
    let start = Instant::now();
    let nanos = work();
    let [nanos, whole] = [nanos, start.elapsed()].map(in_nanos);
    Burst { nanos, whole, probe: before.max(probe()), quickest }
}

/// Some 10 µs of what a core's other thread slows down as it does what is measured: hashes, look-ups
/// and branches in the nearest cache. Its time in nanoseconds.
fn probe() -> u64 {
    let start = Instant::now();
    let mut map = HashMap::new();
    for number in 0..600_u64 {
        *map.entry(black_box(number & 63)).or_insert(0) += number;
    }
    black_box(map.values().sum::<u64>());
    in_nanos(start.elapsed())
}

fn in_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bursts(of: impl Iterator<Item = (u64, u64)>) -> Vec<Burst> {
        of.map(|(nanos, probe)| Burst { nanos, whole: nanos, probe, quickest: probe }).collect()
    }

    #[test]
    fn what_was_disturbed_does_not_count() {
        // 1. Eleven bursts alone, of 10 to 20 ns for one, and twenty beside somebody.
        // 2. The median is of the eleven.
        let alone = (0..11).map(|n| (20 + 2 * n, 100 + n));
        let beside = (0..20).map(|_| (80, 160));
        assert_eq!(median(&bursts(beside.chain(alone)), 100, 2), Some(15.0));
    }

    #[test]
    fn what_another_process_found_counts() {
        // Somebody was there all the time, as the quickest probe of another process tells.
        let bursts = bursts((0..30).map(|_| (80, 160)));
        assert_eq!((median(&bursts, 100, 2), median(&bursts, 160, 2)), (None, Some(40.0)));
    }

    #[test]
    fn a_few_bursts_say_nothing() {
        assert_eq!(median(&bursts((1..ENOUGH as u64).map(|n| (n, 100))), 100, 1), None);
        assert_eq!(median(&[], 100, 1), None);
    }

    #[test]
    fn nobody_is_waited_for_for_ever() {
        let start = Instant::now();
        let burst = as_soon_as_alone(0, || Duration::ZERO);
        assert!(start.elapsed() >= PATIENCE);
        assert!(burst.nanos == 0 && burst.whole > 0);
        assert!(0 < burst.quickest && burst.quickest <= burst.probe);
        let start = Instant::now();
        as_soon_as_alone(u64::MAX, || Duration::ZERO);
        assert!(start.elapsed() < PATIENCE);
    }
}
