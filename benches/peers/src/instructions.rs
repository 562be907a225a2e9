//! Instructions and allocations of one, on the thread that does the work.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::plan::{Part, Plan};
use crate::shared::callgrind::{self, Count, CountError};
use crate::shared::work::Work;
use crate::stacks;

/// What could be counted, and why not all.
#[derive(Debug, Default)]
pub(crate) struct Instructions {
    pub(crate) rows: Vec<(Work, &'static str, Count)>,
    pub(crate) problem: Option<String>,
}

impl Instructions {
    pub(crate) fn of(&self, work: Work, stack: &str) -> Option<Count> {
        let found = self.rows.iter().find(|row| (row.0, row.1) == (work, stack));
        found.map(|(_, _, count)| *count)
    }
}

/// Counts do not mind what else runs, so all processors count.
pub(crate) fn count(plan: &Plan, say: &dyn Fn(&str)) -> Instructions {
    if !plan.wants(Part::Instructions) {
        return Instructions::default();
    }
    say("instructions, under valgrind");
    let works = if plan.quick { vec![Work::Span8, Work::Request] } else { Work::ALL.to_vec() };
    let pairs = works.iter().flat_map(|work| stacks::ALL.iter().map(|stack| (*work, stack.name)));
    let left = Mutex::new(pairs.collect::<VecDeque<_>>());
    let found = Mutex::new(Instructions::default());
    thread::scope(|scope| {
        for worker in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (left, found) = (&left, &found);
            scope.spawn(move || count_some(worker, left, found));
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(problem) = &found.problem {
        say(problem);
    }
    // In the order of the tables, not of who was done first.
    let place = |name: &str| stacks::ALL.iter().position(|stack| stack.name == name);
    found.rows.sort_by_key(|(work, stack, _)| (*work as usize, place(stack)));
    found
}

fn count_some(
    worker: usize,
    left: &Mutex<VecDeque<(Work, &'static str)>>,
    found: &Mutex<Instructions>,
) {
    let name = format!("spanbridge-peers-{}-{worker}", std::process::id());
    let file = std::env::temp_dir().join(name);
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some((work, stack)) = next() {
        let count = callgrind::count(stack, work, &file);
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        match count {
            Ok(count) => found.rows.extend(count.map(|count| (work, stack, count))),
            Err(problem @ CountError::Valgrind(_)) => {
                found.problem = Some(problem.to_string());
                return;
            }
            Err(problem) => {
                found.problem = Some(format!("{}, {stack}: {problem}", work.name()));
            }
        }
    }
}
