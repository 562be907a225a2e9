//! Spans and requests on one thread: time of one.

use std::time::Duration;

use crate::loss::Loss;
use crate::plan::{Part, Plan};
use crate::samples::Samples;
use crate::shared::alone::{self, Alone, Bursts};
use crate::shared::child::{Process, Spans};
use crate::shared::stack::Stack;
use crate::shared::work::Work;
use crate::stacks;

/// A work on a stack.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) work: Work,
    pub(crate) stack: &'static str,
    /// Nanoseconds for one, round by round.
    pub(crate) nanos: Samples,
    /// More of it, for moments in which nothing disturbed; what came of that once all was measured.
    pub(crate) bursts: Bursts,
    pub(crate) alone: Option<Alone>,
    pub(crate) spans: Spans,
}

/// A ratio or difference of two rows, and what of them it is by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Compared {
    Alone(f64),
    OfAll(f64),
}

impl Compared {
    pub(crate) fn value(self) -> f64 {
        match self {
            Self::Alone(value) | Self::OfAll(value) => value,
        }
    }

    /// What follows the figure.
    pub(crate) fn note(self) -> &'static str {
        match self {
            Self::Alone(_) => " alone",
            Self::OfAll(_) => " of all",
        }
    }
}

impl Row {
    pub(crate) fn loss(&self) -> Loss {
        self.spans.into()
    }

    /// How this row's time is to the other's: undisturbed, or by rounds.
    pub(crate) fn by(&self, other: &Self) -> Compared {
        match (self.alone, other.alone) {
            (Some(own), Some(other)) => Compared::Alone(own.median / other.median),
            _ => Compared::OfAll(self.nanos.by(&other.nanos)),
        }
    }

    /// The same for the difference.
    pub(crate) fn less(&self, other: &Self) -> Compared {
        match (self.alone, other.alone) {
            (Some(own), Some(other)) => Compared::Alone(own.median - other.median),
            _ => Compared::OfAll(self.nanos.less(&other.nanos)),
        }
    }
}

/// All works on all stacks that can do them: work after work, and for each the stacks in turn.
/// `quickest` is the quickest probe so far.
pub(crate) fn measure(plan: &Plan, say: &dyn Fn(&str), quickest: &mut u64) -> Vec<Row> {
    if !plan.wants(Part::Hot) {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for work in Work::ALL {
        say(&format!("{}, one thread", work.name()));
        rows.extend(in_turn(plan, work, stacks::ALL, quickest));
    }
    rows
}

/// A work on those of the stacks that can do it, one after the other in each round.
pub(crate) fn in_turn(plan: &Plan, work: Work, stacks: &[Stack], quickest: &mut u64) -> Vec<Row> {
    let running =
        stacks.iter().filter_map(|stack| Some((*stack, Process::start(stack.name, work)?)));
    let (stacks, mut processes): (Vec<_>, Vec<_>) = running.unzip();
    let nanos = rounds(plan, &mut processes);
    let bursts = alone::in_turn(work, &mut processes, quickest, plan.patience());
    let rows = stacks.iter().zip(processes).zip(nanos).zip(bursts);
    rows.map(|(((stack, process), nanos), bursts)| {
        let stack = stack.name;
        Row { work, stack, nanos, bursts, alone: None, spans: process.finish() }
    })
    .collect()
}

fn rounds(plan: &Plan, processes: &mut [Process]) -> Vec<Samples> {
    let iterations: Vec<_> =
        processes.iter_mut().map(|process| calibrate(process, plan.slice())).collect();
    let mut nanos = vec![Samples::default(); processes.len()];
    for round in 0..plan.rounds(21) {
        for turn in 0..processes.len() {
            // Each is first in some round, and no two are always neighbours in time by their place.
            let at = (turn + round) % processes.len();
            let time = processes[at].time(iterations[at]);
            nanos[at].push(time.as_nanos() as f64 / iterations[at] as f64);
        }
    }
    nanos
}

/// How often the work is to be done so that it takes about as long as `slice`; warm after that.
fn calibrate(process: &mut Process, slice: Duration) -> u64 {
    let mut iterations = 500;
    loop {
        let time = process.time(iterations);
        if time * 2 >= slice {
            let by = slice.as_secs_f64() / time.as_secs_f64();
            return ((iterations as f64 * by) as u64).max(1);
        }
        iterations *= 2;
    }
}
