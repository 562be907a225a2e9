//! An operation of two steps that is timed, so that it is told of if it was slow: `legacy::Trace`
//! beside a span with two events, and beside a timer written by hand.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::hot::{self, Row};
use crate::plan::{Part, Plan};
use crate::shared::stack::{Running, Stack};
use crate::shared::trace::{self, Setting};
use crate::shared::work::{Op, Work};
use crate::shared::{ours, spans};
use crate::theirs;

/// Reads the clock, and has a line to write where that says so.
pub(crate) const TIMER: Stack = Stack {
    name: "timer by hand",
    set_up: |_| Running::without_spans(|work| timers(work, trace::NEVER)),
};

const TIMER_PRINTED: Stack = Stack {
    name: "timer by hand, printed",
    set_up: |_| Running::without_spans(|work| timers(work, Duration::ZERO)),
};

const OFF: Stack = Stack {
    name: "legacy, off",
    set_up: |_| Running::without_spans(|work| traces(work, trace::OFF)),
};

const TEXT: Stack = Stack {
    name: "legacy, text only",
    set_up: |_| Running::without_spans(|work| traces(work, trace::TEXT)),
};

const SPAN: Stack = Stack {
    name: "legacy, span only",
    set_up: |work| ours::set_up(work, spanbridge::layer(), |work| traces(work, trace::SPAN)),
};

const BOTH: Stack = Stack {
    name: "legacy, both",
    set_up: |work| ours::set_up(work, spanbridge::layer(), |work| traces(work, trace::BOTH)),
};

const PRINTED: Stack = Stack {
    name: "legacy, text only, printed",
    set_up: |_| Running::without_spans(|work| traces(work, trace::PRINTED)),
};

/// In the order of the table. Those of the other parts make a span with two events.
pub(crate) const STACKS: &[Stack] = &[
    TIMER,
    TIMER_PRINTED,
    OFF,
    TEXT,
    SPAN,
    BOTH,
    PRINTED,
    ours::REGISTRY,
    ours::SAMPLED,
    theirs::OPTIONS_OFF,
    theirs::DEFAULTS,
];

pub(crate) fn measure(plan: &Plan, say: &dyn Fn(&str), quickest: &mut u64) -> Vec<Row> {
    if !plan.wants(Part::Legacy) {
        return Vec::new();
    }
    say(Work::Trace.name());
    hot::in_turn(plan, Work::Trace, STACKS, quickest)
}

fn traces(work: Work, setting: Setting) -> Option<Op> {
    let log = setting.log();
    on_trace(work, move || trace::operation(&log, setting.threshold))
}

fn timers(work: Work, threshold: Duration) -> Option<Op> {
    // `io::sink` would not even have the line formatted.
    let mut log = Vec::new();
    on_trace(work, move || {
        log.clear();
        by_hand(&mut log, threshold);
        black_box(&log);
    })
}

fn on_trace(work: Work, mut operation: impl FnMut() + 'static) -> Option<Op> {
    (work == Work::Trace)
        .then(|| -> Op { Box::new(move |iterations| spans::repeat(iterations, &mut operation)) })
}

/// What [`trace::operation`] is about, as it is written where nothing is at hand for it.
fn by_hand(log: &mut impl Write, threshold: Duration) {
    let path = black_box("/api/v1/pods");
    let start = Instant::now();
    let count = black_box(3);
    let listed = start.elapsed();
    let encoded = start.elapsed();
    let total = start.elapsed();
    if total >= threshold {
        let line = format_args!(
            "List url:{path} limit:500 took {total:?}: listed from storage count:{count} after \
             {listed:?}, encoded after {encoded:?}"
        );
        // A log that cannot be written to must not stop what is timed.
        let _ = writeln!(log, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_tells_of_what_is_slow_only() {
        let mut log = Vec::new();
        by_hand(&mut log, trace::NEVER);
        assert!(log.is_empty());
        by_hand(&mut log, Duration::ZERO);
        let line = String::from_utf8(log).unwrap();
        assert!(line.starts_with("List url:/api/v1/pods limit:500 took "), "{line}");
        assert!(line.contains("listed from storage count:3 after "), "{line}");
    }

    #[test]
    fn a_child_finds_its_stack_by_name() {
        // Two of a name would both be the first one.
        let mut names: Vec<_> = STACKS.iter().map(|stack| stack.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STACKS.len());
        assert_eq!(Work::named(Work::Trace.name()), Some(Work::Trace));
    }

    #[test]
    fn a_stack_of_traces_does_nothing_else() {
        assert!(traces(Work::Trace, trace::TEXT).is_some());
        assert!(traces(Work::Span, trace::TEXT).is_none());
    }
}
