//! Random programs of span operations under our layer and under tracing-opentelemetry's: what is
//! exported is the same, but for the differences that docs/differences.md lists.
//!
//! `PROPTEST_CASES=100000 cargo test --all-features --test differential` tries more of them.

mod listed;
mod normal;
mod program;
mod run;
mod spans;
#[path = "../support/mod.rs"]
mod support;

use std::cell::Cell;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestError, TestRunner};

use normal::{Layer, Normal};
use program::{
    Action, EventKind, Limits, NewParent, Op, Place, Program, Site, TIGHT, WIDE, programs,
};

/// What spans came to, as [`Normal::counts`] has it.
fn both(program: &Program) -> Result<[usize; 6], TestCaseError> {
    let outcome = run::run(program);
    let mut ours = Normal::new(&outcome.ours, Layer::Ours, program.limits);
    let mut theirs = Normal::new(&outcome.theirs, Layer::Theirs, program.limits);
    theirs.correct(&outcome.facts);
    theirs.accept_counts(&ours);
    for normal in [&mut ours, &mut theirs] {
        normal.forget_closes(&outcome.facts);
    }
    match ours.difference(&theirs) {
        Some(difference) => Err(TestCaseError::fail(difference)),
        None => Ok(ours.counts()),
    }
}

/// 1. A thread enters a span twice.
/// 2. Another thread exits one of these entries.
/// 3. A third thread enters the span too.
/// 4. The first thread exits that entry; of its own one is left, which is over.
/// 5. So a span on the third thread has no parent.
#[test]
fn an_exit_where_the_own_entry_is_over_ends_an_entry_elsewhere() {
    let op = |thread, action| Op { thread, action };
    let new = || Action::New(Place::Contextual, Site::Request, Vec::new());
    let ops = vec![
        op(0, new()),
        op(0, Action::Enter(0)),
        op(0, Action::Enter(0)),
        op(0, Action::Exit(0, false)),
        op(1, Action::Exit(0, true)),
        op(2, Action::Enter(0)),
        op(0, Action::Exit(0, true)),
        op(2, new()),
    ];
    both(&Program { activates: false, samples_all: false, limits: &WIDE, ops }).unwrap();
}

/// 1. A thread enters a span that is not sampled, then one that is, then the first again.
/// 2. A span that it makes now is a child of the first, and so nothing is kept of it; the registry
///    has it below the second (difference 13).
/// 3. The program does nothing in that child, since our layer would ask the registry where it is.
#[test]
fn nothing_is_done_in_a_child_that_only_the_registry_knows_of() {
    let op = |thread, action| Op { thread, action };
    let new = || Action::New(Place::Contextual, Site::Request, Vec::new());
    let ops = vec![
        op(0, new()),
        op(0, new()),
        op(0, Action::SetParent(1, NewParent::Remote(34))),
        op(2, Action::Enter(1)),
        op(2, Action::Enter(0)),
        op(2, Action::Enter(1)),
        op(2, new()),
        op(0, Action::Event(Place::Of(2), EventKind::Plain(0, String::new()))),
        op(0, Action::New(Place::Of(2), Site::Request, Vec::new())),
    ];
    let program = Program { activates: false, samples_all: false, limits: &WIDE, ops };
    assert_eq!(both(&program).unwrap()[0], 1);
}

/// Tries random programs, and adds up what their spans came to.
fn try_programs(limits: &'static Limits) -> [usize; 6] {
    let config = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 20_000,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let counts = Cell::new([0; 6]);
    let tried = TestRunner::new(config).run(&programs(limits), |program| {
        let more = both(&program)?;
        counts.set(std::array::from_fn(|at| counts.get()[at] + more[at]));
        Ok(())
    });
    match tried {
        Ok(()) => counts.get(),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Err(TestError::Fail(reason, Program { activates, samples_all, limits, ops })) => {
            let ops: Vec<_> = ops.iter().map(|op| format!("{op:?}")).collect();
            panic!(
                "activates: {activates}, samples all: {samples_all}, {limits:?}\n{}\n{reason}",
                ops.join("\n")
            );
        }
    }
}

#[test]
fn random_programs_give_the_same_spans_under_both_layers() {
    let [spans, lost @ ..] = try_programs(&WIDE);
    assert!(spans > 0);
    assert_eq!(lost, [0; 5]);
}

const TIGHT_LIMITS: &str = "SPANBRIDGE_TEST_TIGHT_LIMITS";

/// What the test below runs in a process of its own, where variables set the limits of our layer;
/// nothing where it does not.
#[test]
fn within_limits() {
    let Ok(number) = std::env::var(TIGHT_LIMITS) else { return };
    let [spans, lost @ ..] = try_programs(&TIGHT[number.parse::<usize>().unwrap()]);
    // What kinds of loss there are is chance: too many attributes of one event come in some hundreds
    // of programs, or not.
    assert!(spans > 0 && lost.iter().any(|count| *count > 0), "nothing is lost: {lost:?}");
}

#[test]
fn random_programs_lose_the_same_under_both_layers_where_limits_are_tight() {
    for (number, limits) in TIGHT.iter().enumerate() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "within_limits", "--nocapture"])
            .env(TIGHT_LIMITS, number.to_string())
            .envs(limits.variables())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{limits:?}\n{stdout}\n{stderr}");
        assert!(stdout.contains("1 passed"), "{stdout}");
    }
}
