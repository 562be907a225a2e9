//! The header alone.

use std::hint::black_box;

use spanbridge::propagation::TraceParent;

use crate::plan::{Part, Plan};
use crate::samples::Samples;
use crate::shared::spans;

/// Nanoseconds for one, round by round.
#[derive(Debug, Default)]
pub(crate) struct Propagation {
    pub(crate) parse: Samples,
    pub(crate) format: Samples,
}

pub(crate) fn measure(plan: &Plan, say: &dyn Fn(&str)) -> Option<Propagation> {
    if !plan.wants(Part::Hot) {
        return None;
    }
    say("traceparent");
    let iterations = if plan.quick { 10_000 } else { 500_000 };
    let text = spans::traceparent(true);
    let parent = TraceParent::parse(text.as_bytes()).expect("is valid");
    let mut result = Propagation::default();
    for _ in 0..plan.rounds(21) {
        let parse = spans::repeat(iterations, || {
            black_box(TraceParent::parse(black_box(text.as_bytes())));
        });
        let format = spans::repeat(iterations, || {
            black_box(black_box(&parent).format());
        });
        result.parse.push(parse.as_nanos() as f64 / iterations as f64);
        result.format.push(format.as_nanos() as f64 / iterations as f64);
    }
    Some(result)
}
