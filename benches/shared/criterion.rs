//! Criterion in front of processes that each run a stack.
//!
//! For those who have the crate: `#[path = "../shared/criterion.rs"] mod driver;`.

use std::time::Duration;

use criterion::Criterion;

use crate::shared::child::{Process, Spans};
use crate::shared::stack::Stack;
use crate::shared::work::Work;

/// With times that suit processes that do the same again and again.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// Measures a work on each stack that can do it: in bursts, or on so many threads without pauses.
pub(crate) fn compare(
    criterion: &mut Criterion,
    group: &str,
    work: Work,
    stacks: &[Stack],
    threads: Option<usize>,
) {
    let mut group = criterion.benchmark_group(group);
    let mut reports = Vec::new();
    for stack in stacks {
        // One process for warm-up and all samples: the closure runs once for each of them.
        let Some(mut process) = Process::start(stack.name, work) else { continue };
        group.bench_function(stack.name, |bencher| {
            bencher.iter_custom(|iterations| match threads {
                None => process.time(iterations),
                Some(threads) => process.time_on_threads(threads, iterations),
            });
        });
        reports.push((stack.name, process.finish()));
    }
    group.finish();
    report(&reports);
}

/// Spans that were dropped cost less than spans that were exported.
#[allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn report(reports: &[(&str, Spans)]) {
    for (stack, spans) in reports {
        let Spans { started, exported, .. } = spans;
        if *started > 0 {
            let lost = started.saturating_sub(*exported);
            println!("{stack}: {started} spans, {exported} exported, {lost} dropped");
        }
    }
}
