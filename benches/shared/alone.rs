//! What works take while nobody disturbs them.
//!
//! A virtual processor is often one of two threads of a core, and the other thread another guest's.
//! While that one works, all that runs here takes half as long again or more, and nothing in this
//! system tells: it is not counted as stolen time. What tells is a piece of work that is always the
//! same. Where it takes hardly longer than its quickest run of all, in whichever process, nothing
//! disturbs, most likely since the core is ours alone. That may last for less than a millisecond, so a
//! process waits for it, does little, and looks again: what was disturbed meanwhile does not count.
//!
//! So little that no batch is full, and no exporter works beside it: what is made of spans on the
//! exporter's thread is not in these times, as it is in those of the longer bursts.
//!
//! A core that somebody else is on all the time cannot be told from one that is slower.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use super::child::Process;
use super::work::Work;

/// How much longer than the quickest run of the [`Probe`] still counts as undisturbed.
const SLOWER: f64 = 1.15;
/// What is done in one go takes about as long, with what of it is not measured, or less.
const BURST: Duration = Duration::from_micros(250);
/// And makes no more spans: the SDK's exporter and ours wake up at 512.
const SPANS: u64 = 480;
/// How long a process waits for the core.
const PATIENCE: Duration = Duration::from_millis(20);
/// So many undisturbed bursts of each process are wanted, and with less than this nothing is said.
const WANTED: usize = 101;
const ENOUGH: usize = 21;

/// Work that was done in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    pub(crate) nanos: u64,
    /// The same with what is done off the clock.
    pub(crate) whole: u64,
    /// What the [`Probe`] took before or after it, whichever was slower, in nanoseconds.
    pub(crate) probe: u64,
    /// The quickest probe of the time before it.
    pub(crate) quickest: u64,
}

/// What one process did in turn with others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bursts {
    /// In each of them.
    iterations: u64,
    bursts: Vec<Burst>,
}

/// Nanoseconds of one iteration, by the undisturbed bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Alone {
    pub(crate) median: f64,
    /// How far the middle half of them lies apart, as a part of the median.
    pub(crate) spread: f64,
    /// How many these are, and how many there were of all.
    pub(crate) bursts: usize,
    pub(crate) of: usize,
}

impl Bursts {
    fn undisturbed(&self, quickest: u64) -> impl Iterator<Item = &Burst> {
        self.bursts.iter().filter(move |burst| burst.probe <= limit_of(quickest))
    }

    /// `None` where there was too often somebody else.
    pub(crate) fn alone(&self, quickest: u64) -> Option<Alone> {
        let mut nanos: Vec<_> = self.undisturbed(quickest).map(|burst| burst.nanos).collect();
        nanos.sort_unstable();
        let at = |part: usize| nanos[(nanos.len() - 1) * part / 4] as f64;
        (nanos.len() >= ENOUGH).then(|| Alone {
            median: at(2) / self.iterations as f64,
            spread: (at(3) - at(1)) / at(2),
            bursts: nanos.len(),
            of: self.bursts.len(),
        })
    }
}

/// What processes do as soon as they have the core to themselves, one after the other again and
/// again, but for those that did it often enough by now, and for so long at most. `quickest` is the
/// quickest probe known before and after; at first it is `u64::MAX`.
pub(crate) fn in_turn(
    work: Work,
    processes: &mut [Process],
    quickest: &mut u64,
    limit: Duration,
) -> Vec<Bursts> {
    let mut all: Vec<_> = processes
        .iter_mut()
        .map(|process| Bursts { iterations: iterations(work, process), bursts: Vec::new() })
        .collect();
    // Nothing is quick enough yet, so that each learns in vain what quick is.
    for (process, bursts) in processes.iter_mut().zip(&all) {
        *quickest = process.time_alone(bursts.iterations, 0).quickest.min(*quickest);
    }
    let end = Instant::now() + limit;
    for round in 0.. {
        let mut lacking: Vec<_> =
            (0..all.len()).filter(|&at| all[at].undisturbed(*quickest).count() < WANTED).collect();
        if lacking.is_empty() || Instant::now() >= end {
            break;
        }
        // Nobody always follows the same one.
        let turn = round % lacking.len();
        lacking.rotate_left(turn);
        for at in lacking {
            let burst = processes[at].time_alone(all[at].iterations, limit_of(*quickest));
            *quickest = burst.quickest.min(*quickest);
            all[at].bursts.push(burst);
        }
    }
    all
}

/// How often a process does its work in a burst.
fn iterations(work: Work, process: &mut Process) -> u64 {
    let mut iterations = 16;
    loop {
        // The least of some: one that is interrupted would make all bursts too short.
        let tries = (0..5).map(|_| process.time_alone(iterations, u64::MAX).whole);
        let whole = Duration::from_nanos(tries.min().unwrap_or_default());
        if whole >= BURST / 2 {
            let by = BURST.as_secs_f64() / whole.as_secs_f64();
            return at_most(work, (iterations as f64 * by) as u64);
        }
        iterations *= 2;
    }
}

/// As often, but with no more spans than [`SPANS`].
fn at_most(work: Work, mut iterations: u64) -> u64 {
    while iterations > 1 && work.spans(iterations) + work.spans(first(iterations)) > SPANS {
        iterations -= iterations.div_ceil(16);
    }
    iterations.max(1)
}

/// How often the work is done off the clock before it is measured: the wait has cooled down what it
/// needs.
pub(crate) fn first(iterations: u64) -> u64 {
    iterations / 4 + 4
}

fn limit_of(quickest: u64) -> u64 {
    (quickest as f64 * SLOWER) as u64
}

/// Waits until nothing disturbs, as the [`Probe`] tells when it takes no longer than `limit`
/// nanoseconds, or until the patience is over. Then measures `work`.
pub(crate) fn as_soon_as_alone(limit: u64, work: impl FnOnce() -> Duration) -> Burst {
    let mut probe = Probe::default();
    let end = Instant::now() + PATIENCE;
    let mut quickest = u64::MAX;
    let before = loop {
        let nanos = probe.nanos();
        quickest = quickest.min(nanos);
        if nanos <= limit || Instant::now() >= end {
            break nanos;
        }
    };
    let start = Instant::now();
    let nanos = work();
    let [nanos, whole] = [nanos, start.elapsed()].map(in_nanos);
    Burst { nanos, whole, probe: before.max(probe.nanos()), quickest }
}

/// Some 10 µs of what a core's other thread slows down as it does what is measured: hashes, look-ups
/// and branches in the nearest cache.
#[derive(Default)]
struct Probe(HashMap<u64, u64>);

impl Probe {
    fn nanos(&mut self) -> u64 {
        let start = Instant::now();
        self.0.clear();
        for number in 0..600_u64 {
            *self.0.entry(black_box(number & 63)).or_insert(0) += number;
        }
        black_box(self.0.values().sum::<u64>());
        in_nanos(start.elapsed())
    }
}

fn in_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bursts(of: impl Iterator<Item = (u64, u64)>) -> Bursts {
        let burst = |(nanos, probe)| Burst { nanos, whole: nanos, probe, quickest: probe };
        Bursts { iterations: 2, bursts: of.map(burst).collect() }
    }

    #[test]
    fn what_was_disturbed_does_not_count() {
        // 1. 21 bursts alone, of 10 to 30 ns for one, and twenty beside somebody.
        // 2. The median is of the 21, and so is the spread.
        let alone = (0..21).map(|n| (20 + 2 * n, 100 + n / 2));
        let beside = (0..20).map(|_| (80, 160));
        let found = bursts(beside.chain(alone)).alone(100);
        assert_eq!(found, Some(Alone { median: 20.0, spread: 0.5, bursts: 21, of: 41 }));
    }

    #[test]
    fn what_another_process_found_counts() {
        // Somebody was there all the time, as the quickest probe of another process tells.
        let bursts = bursts((0..30).map(|_| (80, 160)));
        assert_eq!(bursts.alone(100), None);
        assert_eq!(bursts.alone(160).map(|alone| alone.median), Some(40.0));
    }

    #[test]
    fn a_few_bursts_say_nothing() {
        assert_eq!(bursts((1..ENOUGH as u64).map(|n| (n, 100))).alone(100), None);
        assert_eq!(Bursts::default().alone(100), None);
    }

    #[test]
    fn no_burst_fills_a_batch() {
        for work in Work::ALL {
            for wanted in [1, 16, 150, 700, 20_000] {
                let iterations = at_most(work, wanted);
                let spans = work.spans(iterations) + work.spans(first(iterations));
                assert!((1..=wanted).contains(&iterations) && spans <= SPANS, "{work:?} {wanted}");
            }
        }
        assert_eq!(at_most(Work::Disabled8, 20_000), 20_000);
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
