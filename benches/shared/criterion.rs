//! Criterion in front of processes that each run a stack.
//!
//! For those who have the crate: `#[path = "../shared/criterion.rs"] mod driver;`.

use std::time::Duration;

use criterion::Criterion;

use crate::shared::alone::{self, Alone};
use crate::shared::child::{Process, Spans};
use crate::shared::stack::Stack;
use crate::shared::work::Work;

/// For how long the stacks may wait, in turn, until nobody else is on the core.
const ALONE: Duration = Duration::from_secs(30);

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
    let (mut names, mut running, mut reports) = (Vec::new(), Vec::new(), Vec::new());
    for stack in stacks {
        // One process for warm-up and all samples: the closure runs once for each of them.
        let Some(mut process) = Process::start(stack.name, work) else { continue };
        let mut is_wanted = false;
        group.bench_function(stack.name, |bencher| {
            is_wanted = true;
            bencher.iter_custom(|iterations| match threads {
                None => process.time(iterations),
                Some(threads) => process.time_on_threads(threads, iterations),
            });
        });
        if is_wanted && threads.is_none() {
            names.push(stack.name);
            running.push(process);
        } else {
            reports.push((stack.name, process.finish()));
        }
    }
    group.finish();
    if is_measuring() && !running.is_empty() {
        report_alone(work, &names, &mut running);
    }
    reports.extend(names.into_iter().zip(running.into_iter().map(Process::finish)));
    report(&reports);
}

/// Not where Criterion only sees that a benchmark runs, or is looked at by a profiler.
fn is_measuring() -> bool {
    let has = |flag: &str| std::env::args().any(|arg| arg.split('=').next() == Some(flag));
    has("--bench") && !has("--test") && !has("--profile-time")
}

/// What Criterion says is of each stack at another time, and of a core that others may be on.
#[allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn report_alone(work: Work, names: &[&str], running: &mut [Process]) {
    println!("{}, where nothing disturbed, the stacks in turn:", work.name());
    let mut quickest = u64::MAX;
    let all = alone::in_turn(work, running, &mut quickest, ALONE);
    for (name, bursts) in names.iter().zip(all) {
        match bursts.alone(quickest) {
            Some(Alone { median, spread, bursts, of }) => println!(
                "  {name:<40} {median:>8.1} ns, middle half within {:.0} % ({bursts} of {of} bursts)",
                spread * 100.0
            ),
            None => println!("  {name:<40}        - (nearly always disturbed)"),
        }
    }
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
