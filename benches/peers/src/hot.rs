//! Spans and requests on one thread: time of one.

use std::time::Duration;

use crate::loss::Loss;
use crate::plan::{Part, Plan};
use crate::samples::Samples;
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
    pub(crate) spans: Spans,
}

impl Row {
    pub(crate) fn loss(&self) -> Loss {
        self.spans.into()
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
    let running = stacks
        .iter()
        .filter_map(|stack| Some((stack.name, Process::start(stack.name, work)?)))
        .collect();
    rounds(plan, work, running)
}

fn rounds(plan: &Plan, work: Work, mut running: Vec<(&'static str, Process)>) -> Vec<Row> {
    let iterations: Vec<_> =
        running.iter_mut().map(|(_, process)| calibrate(process, plan.slice())).collect();
    let mut nanos = vec![Samples::default(); running.len()];
    for round in 0..plan.rounds(21) {
        for turn in 0..running.len() {
            // Each is first in some round, and no two are always neighbours in time by their place.
            let at = (turn + round) % running.len();
            let time = running[at].1.time(iterations[at]);
            nanos[at].push(time.as_nanos() as f64 / iterations[at] as f64);
        }
    }
    let rows = running.into_iter().zip(nanos);
    rows.map(|((stack, process), nanos)| Row { work, stack, nanos, spans: process.finish() })
        .collect()
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
