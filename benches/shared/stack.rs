//! Who does the works.

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

use super::work::{Op, Work};

/// A way to trace, by name. `set_up` is called once in a process, for the only work that it does.
#[derive(Clone, Copy)]
pub(crate) struct Stack {
    pub(crate) name: &'static str,
    pub(crate) set_up: fn(Work) -> Running,
}

/// A stack that is set up.
pub(crate) struct Running {
    /// The work on this stack, for the thread that asks; `None` where it cannot do it.
    pub(crate) op: fn(Work) -> Option<Op>,
    /// Waits until what was closed is exported, and says what became of it.
    pub(crate) finish: Box<dyn Fn() -> Outcome>,
}

/// What became of a stack's spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether spans are recorded, so that each should be exported.
    pub(crate) records: bool,
    pub(crate) exported: u64,
    /// What the stack itself says that it dropped; `None` if it does not say.
    pub(crate) dropped: Option<u64>,
}

impl Outcome {
    /// Of a stack that records nothing.
    pub(crate) const NOTHING: Self = Self { records: false, exported: 0, dropped: Some(0) };
}

impl Running {
    /// A stack that records nothing.
    pub(crate) fn without_spans(op: fn(Work) -> Option<Op>) -> Self {
        Self { op, finish: Box::new(|| Outcome::NOTHING) }
    }
}

/// Makes it the subscriber of the process.
pub(crate) fn install<S>(subscriber: S, work: Work)
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static,
{
    if work == Work::Disabled8 {
        subscriber.with(LevelFilter::INFO).init();
    } else {
        subscriber.init();
    }
}
