//! What must hold whatever the fault is, and what a row adds to that.

use std::time::Duration;

use crate::report::{Ran, Report, Spans};
use crate::service::{BATCH, BURST_BYTES, CHUNK, LIMIT, SPANS};
use crate::table::{Ends, Exported, Row};

/// What a flush or shutdown may take beyond what it waits for. Of 900 runs, most of them next to a
/// build on both processors, shutdown took up to 160 ms more and a flush, which has more to export,
/// up to 440 ms, and 1.1 s where a pause is asked for.
const SHUTDOWN_SLACK: Duration = Duration::from_millis(500);
const FLUSH_SLACK: Duration = Duration::from_secs(2);
/// What a flush waits for: batches in the queue, one on its way, and one of what threads held back.
const BATCHES: u32 = (LIMIT / BATCH) as u32 + 2;

/// A request that takes this long has waited for something: no fault is over sooner.
const WAITED: Duration = Duration::from_millis(500);
/// What half of the requests may take longer than those next to them, beside a part of what these
/// take: the noise of a busy machine.
const NOISE: Duration = Duration::from_millis(2);
const NOISY_PART: u32 = 4;
/// Of a hundred requests, so many may take longer than as many with a sound collector by so much:
/// noise again, but more, as each server is a thread of its own and one may have the busier
/// processor for a whole run. Of 900 runs, most of them next to a build on both processors, one
/// was behind the other by up to 8, 9 and 19 ms. Where each twentieth request waits for 20 ms, the
/// second is at 12 ms and more.
const TAIL: [(usize, Duration); 3] = [
    (10, Duration::from_millis(10)),
    (4, Duration::from_millis(10)),
    (1, Duration::from_millis(25)),
];

/// What the queue, its spare chunks and a batch on its way may take, doubled.
const MAY_GROW: u64 = 20 * 1024 * 1024;

/// Everything that is wrong with what has been seen, a sentence each.
pub(crate) fn judge(row: &Row, ran: &Ran) -> Vec<String> {
    let Ran { report, accepted, stderr } = ran;
    let mut problems = Vec::new();
    problems.extend(latency(report));
    problems.extend(memory(report));
    problems.extend(conservation(report));
    problems.extend(reasons(row, &report.closed));
    problems.extend(late(row, report));
    problems.extend(end(row, report));
    let started = report.closed.started;
    if started != SPANS && !matches!(row.exported, Exported::NothingIsSampled) {
        problems.push(format!("{started} spans have started, not {SPANS}"));
    }
    let accepted = accepted.or(report.taken);
    let exported = report.closed.exported;
    let is_as_expected = match row.exported {
        Exported::Nothing => exported == 0,
        Exported::WhatWasTaken => exported > 0,
        Exported::NothingIsSampled => report.closed.started == 0 && report.closed.not_sampled > 0,
    };
    if !is_as_expected {
        problems.push(format!("exported {exported}, expected {:?}", row.exported));
    }
    if accepted.is_some_and(|accepted| accepted != exported) {
        problems.push(format!("exported {exported}, but the collector has {accepted:?}"));
    }
    if !stderr.contains(row.says) {
        problems.push(format!("nothing on standard error says {:?}", row.says));
    }
    let is_told = stderr.lines().any(|line| line.contains("spanbridge::export"));
    if is_told == row.says.is_empty() {
        problems.push(format!("a warning: {is_told}"));
    }
    let told = if problems.is_empty() { "" } else { stderr };
    problems
        .iter()
        .map(|problem| format!("{row}: {problem}\n{:?}\n{told}", report.closed))
        .collect()
}

/// As fast as with a sound collector.
pub(crate) fn latency(report: &Report) -> Vec<String> {
    let mut problems = Vec::new();
    // Each with the one before or after it, so that it does not matter when the machine is busy.
    let longer = report.faulty.iter().zip(&report.sound).map(|(one, other)| signed(*one, *other));
    let longer = median(longer.collect());
    let sound = median(report.sound.clone());
    let allowed = (NOISE + sound / NOISY_PART).as_nanos() as i64;
    if longer > allowed {
        problems.push(format!(
            "half of the requests took {longer} ns longer than those with a sound collector, which \
             took {sound:?}"
        ));
    }
    problems.extend(TAIL.into_iter().filter_map(|(percent, noise)| {
        let [faulty, sound] = [&report.faulty, &report.sound].map(|times| slow(times, percent));
        (faulty > sound + noise).then(|| {
            format!("{percent} % took {faulty:?} or more, with a sound collector {sound:?}")
        })
    }));
    let longest = report.faulty.iter().max().copied().unwrap_or_default();
    if longest >= WAITED {
        problems.push(format!("a request took {longest:?}"));
    }
    problems
}

/// What the slowest `percent` take at least.
fn slow(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() * (100 - percent) / 100]
}

/// Nanoseconds from `other` to `one`.
fn signed(one: Duration, other: Duration) -> i64 {
    one.as_nanos() as i64 - other.as_nanos() as i64
}

/// What waits is bounded, and so is the process.
pub(crate) fn memory(report: &Report) -> Option<String> {
    let Report { most_queued, grown, .. } = report;
    // What is queued, a batch on its way, and what each of three threads holds back.
    let may_wait = (LIMIT + BATCH + 3 * CHUNK) as u64;
    let is_bounded = *most_queued <= may_wait && *grown <= MAY_GROW;
    (!is_bounded).then(|| {
        format!("{most_queued} spans waited, and {BURST_BYTES} bytes of spans took {grown}")
    })
}

/// started = exported + dropped + live, at every moment.
fn conservation(report: &Report) -> impl Iterator<Item = String> {
    let moments = [("after shutdown", &report.shut_down), ("at the end", &report.closed)];
    moments.into_iter().filter_map(|(moment, spans)| {
        let Spans { started, exported, live, dropped, .. } = spans;
        let accounted = exported + dropped.values().sum::<u64>() + live;
        let may_live = u64::from(moment == "after shutdown" && *started > 0);
        (accounted != *started || *live != may_live)
            .then(|| format!("{moment} it does not add up: {spans:?}"))
    })
}

/// The row's reasons are counted, and no others.
fn reasons(row: &Row, spans: &Spans) -> impl Iterator<Item = String> {
    // The burst may be too much for any collector, and one span is closed too late.
    let may = |reason: &str| ["queue full", "after shutdown"].contains(&reason);
    let missing = row.lost.iter().filter(|reason| !spans.dropped.contains_key(**reason));
    let others = spans.dropped.keys().filter(|reason| !row.lost.contains(&&***reason));
    let missing = missing.map(|reason| format!("nothing was lost by {reason:?}"));
    let others = others.filter(move |reason| !may(reason));
    missing
        .chain(others.map(|reason| format!("spans were lost by {reason:?}")))
        .collect::<Vec<_>>()
        .into_iter()
}

/// Flush and shutdown end when their time is over, and sooner where the fault lets them.
pub(crate) fn late(row: &Row, report: &Report) -> Vec<String> {
    let flush = row.flush_timeout.min(row.held * BATCHES) + FLUSH_SLACK;
    // All that is left is one batch.
    let shutdown = row.shutdown.min(row.held) + SHUTDOWN_SLACK;
    [("the flush", report.flush_took, flush), ("shutdown", report.shutdown_took, shutdown)]
        .into_iter()
        .filter(|(_, took, may_take)| took > may_take)
        .map(|(what, took, may_take)| format!("{what} took {took:?}, not {may_take:?} at most"))
        .collect()
}

fn end(row: &Row, report: &Report) -> Option<String> {
    let expected = row.ends;
    let ended = match (&report.flush, &report.shutdown) {
        (Ok(()), Ok(())) => Ends::Well,
        (Ok(()), Err(_)) => Ends::WithoutTheLast,
        (Err(flush), Ok(())) if flush.contains("failed") => Ends::AfterAFailure,
        (Err(flush), Err(_)) if flush.contains("failed") => Ends::Failing,
        _ => Ends::Stuck,
    };
    (ended != expected).then(|| {
        format!("ended {ended:?}, not {expected:?}: {:?} {:?}", report.flush, report.shutdown)
    })
}

fn median<T: Copy + Ord>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}
