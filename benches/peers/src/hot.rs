//! Spans and requests on one thread: time of one.

use std::time::Duration;

use crate::loss::Loss;
use crate::plan::{Part, Plan};
use crate::samples::Samples;
use crate::shared::alone;
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
    /// The same where nobody else was on the processor's core; `None` where somebody nearly always was.
    pub(crate) alone: Option<f64>,
    pub(crate) spans: Spans,
}

impl Row {
    pub(crate) fn loss(&self) -> Loss {
        self.spans.into()
    }

    /// How this row's time is to the other's: without anybody else, or by rounds.
    pub(crate) fn by(&self, other: &Self) -> f64 {
        match (self.alone, other.alone) {
            (Some(own), Some(other)) => own / other,
            _ => self.nanos.by(&other.nanos),
        }
    }

    /// The same for the difference.
    pub(crate) fn less(&self, other: &Self) -> f64 {
        match (self.alone, other.alone) {
            (Some(own), Some(other)) => own - other,
            _ => self.nanos.less(&other.nanos),
        }
    }
}

/// All works on all stacks that can do them: work after work, and for each the stacks in turn.
pub(crate) fn measure(plan: &Plan, say: &dyn Fn(&str)) -> Vec<Row> {
    if !plan.wants(Part::Hot) {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for work in Work::ALL {
        say(&format!("{}, one thread", work.name()));
        rows.extend(in_turn(plan, work, stacks::ALL));
    }
    rows
}

/// A work on those of the stacks that can do it, one after the other in each round.
pub(crate) fn in_turn(plan: &Plan, work: Work, stacks: &[Stack]) -> Vec<Row> {
    let running =
        stacks.iter().filter_map(|stack| Some((*stack, Process::start(stack.name, work)?)));
    let (stacks, mut processes): (Vec<_>, Vec<_>) = running.unzip();
    let nanos = rounds(plan, &mut processes);
    let alone = alone::in_turn(work, &mut processes, plan.patience());
    let rows = stacks.iter().zip(processes).zip(nanos).zip(alone);
    rows.map(|(((stack, process), nanos), alone)| {
        let stack = stack.name;
        Row { work, stack, nanos, alone, spans: process.finish() }
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
