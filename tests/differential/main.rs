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
use program::{Action, EventKind, NewParent, Op, Place, Program, Site, programs};

fn both(program: &Program) -> Result<usize, TestCaseError> {
    let outcome = run::run(program);
    let mut ours = Normal::new(&outcome.ours, Layer::Ours);
    let mut theirs = Normal::new(&outcome.theirs, Layer::Theirs);
    theirs.correct(&outcome.facts);
    for normal in [&mut ours, &mut theirs] {
        normal.forget_closes(&outcome.facts);
    }
    match ours.difference(&theirs) {
        Some(difference) => Err(TestCaseError::fail(difference)),
        None => Ok(ours.len()),
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
    both(&Program { activates: false, samples_all: false, ops }).unwrap();
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
    assert_eq!(both(&Program { activates: false, samples_all: false, ops }).unwrap(), 1);
}

#[test]
fn random_programs_give_the_same_spans_under_both_layers() {
    let config = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 20_000,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let tried = TestRunner::new(config).run(&programs(), |program| both(&program).map(drop));
    match tried {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Err(TestError::Fail(reason, Program { activates, samples_all, ops })) => {
            let ops: Vec<_> = ops.iter().map(|op| format!("{op:?}")).collect();
            panic!(
                "activates: {activates}, samples all: {samples_all}\n{}\n{reason}",
                ops.join("\n")
            );
        }
    }
}
