//! Requests on several threads at once.

use crate::loss::Loss;
use crate::plan::{Part, Plan};
use crate::samples::Samples;
use crate::shared::child::{Process, Spans};
use crate::shared::ours;
use crate::shared::stack::Stack;
use crate::shared::work::Work;
use crate::{fastrace_stack, sdk, theirs};

pub(crate) const THREADS: [usize; 4] = [1, 2, 4, 8];

const STACKS: &[Stack] = &[
    ours::REGISTRY,
    ours::SAMPLED,
    ours::UNSAMPLED,
    theirs::OPTIONS_OFF,
    theirs::DEFAULTS,
    sdk::SDK,
    fastrace_stack::FASTRACE,
];

/// A stack on so many threads.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) stack: &'static str,
    pub(crate) threads: usize,
    /// Requests of all threads in a second, round by round.
    pub(crate) rate: Samples,
    pub(crate) spans: Spans,
}

impl Row {
    pub(crate) fn loss(&self) -> Loss {
        self.spans.into()
    }
}

pub(crate) fn measure(plan: &Plan, say: &dyn Fn(&str)) -> Vec<Row> {
    if !plan.wants(Part::Scaling) {
        return Vec::new();
    }
    let requests = if plan.quick { 400 } else { 200_000 };
    let mut rows = Vec::new();
    for threads in THREADS {
        say(&format!("requests on {threads} threads"));
        let mut running: Vec<_> = STACKS
            .iter()
            .filter_map(|stack| Some((stack.name, Process::start(stack.name, Work::Request)?)))
            .collect();
        let mut rates = vec![Samples::default(); running.len()];
        // The first is to warm up.
        for round in 0..=plan.rounds(7) {
            for turn in 0..running.len() {
                // As `hot` does: each is first in some round.
                let at = (turn + round) % running.len();
                let each = requests / threads as u64;
                let time = running[at].1.time_on_threads(threads, each);
                if round > 0 {
                    rates[at].push((each * threads as u64) as f64 / time.as_secs_f64());
                }
            }
        }
        let measured = running.into_iter().zip(rates);
        rows.extend(measured.map(|((stack, process), rate)| Row {
            stack,
            threads,
            rate,
            spans: process.finish(),
        }));
    }
    rows
}
