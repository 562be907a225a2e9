//! Slow operations that the sampler did not want.

use opentelemetry::TraceFlags;
use opentelemetry::trace::SpanContext;
use tracing::Span;

use crate::SpanExt as _;
use crate::interop;
use crate::legacy::callsite;
use crate::legacy::field::FieldList;
use crate::legacy::text::{Nanos, Tree};
use crate::legacy::tree::{Snapshot, What};
use crate::propagation::{Carried, TraceParent};

/// Of the topmost span: what was printed.
const TEXT: &str = "slow_operation.text";
/// Of a nested one: it had not ended then.
const UNFINISHED: &str = "spanbridge.unfinished";

/// Makes spans that are sampled in the place of those that were not: of the operation at `index`,
/// below its own span that nobody has, and of all that is nested in it.
pub(super) fn keep(
    snapshot: &Snapshot<'_>,
    tree: &Tree<'_>,
    index: usize,
    text: &str,
    unsampled: &SpanContext,
) {
    let mut spans = Spans::new(tree);
    if index == 0 {
        spans.top(index, snapshot.root_fields(), text, unsampled);
    }
    let mut next = 1;
    for (of, at, what) in snapshot.entries() {
        match what {
            What::Nest { fields, .. } => {
                if next == index {
                    spans.top(index, fields, text, unsampled);
                } else {
                    spans.nested(next, of, fields);
                }
                next += 1;
            }
            What::Step { name, fields, is_kept } => {
                // Only errors are kept, and only they say so: a step may have any name.
                spans.step(of, at, name, fields, *is_kept);
            }
        }
        spans.one_done(of);
    }
}

/// The spans that are being made. Each is ended as soon as nothing more can belong to it, so that
/// few are open at a time.
struct Spans<'a> {
    tree: &'a Tree<'a>,
    open: Vec<Option<Span>>,
    /// How many things are still to come in each.
    left: Vec<usize>,
}

impl<'a> Spans<'a> {
    fn new(tree: &'a Tree<'a>) -> Self {
        let open = vec![None; tree.nodes.len()];
        Self { tree, open, left: tree.nodes.iter().map(|node| node.items.len()).collect() }
    }

    fn top(&mut self, index: usize, fields: &FieldList, text: &str, unsampled: &SpanContext) {
        let parent = TraceParent {
            trace_id: unsampled.trace_id(),
            span_id: unsampled.span_id(),
            flags: unsampled.trace_flags() | TraceFlags::SAMPLED,
        };
        let carried = Carried { parent: Some(parent), entries: None };
        let name = self.tree.nodes[index].name;
        let make = || callsite::span(name, None).unwrap_or_else(Span::none);
        let span = interop::start_with_parent(carried, false, make, |_, _| ()).span;
        // Only a parent-based sampler must want it.
        if interop::is_recording(&span) {
            span.set_attribute(TEXT, text.trim_end().to_owned());
            self.begin(index, span, fields);
        }
    }

    fn nested(&mut self, index: usize, of: usize, fields: &FieldList) {
        let Some(parent) = &self.open[of] else { return };
        let Some(span) = callsite::span(self.tree.nodes[index].name, Some(parent)) else { return };
        if self.tree.nodes[index].end.is_none() {
            span.set_attribute(UNFINISHED, true);
        }
        self.begin(index, span, fields);
    }

    fn begin(&mut self, index: usize, span: Span, fields: &FieldList) {
        interop::start_at(&span, self.tree.wall(self.tree.nodes[index].start));
        callsite::set_attributes(Some(&span), fields);
        self.open[index] = Some(span);
        if self.left[index] == 0 {
            self.end(index);
        }
    }

    fn step(&self, of: usize, at: Nanos, name: &str, fields: &FieldList, is_error: bool) {
        let Some(span) = &self.open[of] else { return };
        let attributes = fields.attributes();
        if is_error {
            span.set_status(callsite::exception_status(&attributes));
        }
        span.add_event_with_timestamp(name.to_owned(), self.tree.wall(at), attributes);
    }

    fn one_done(&mut self, of: usize) {
        self.left[of] = self.left[of].saturating_sub(1);
        if self.left[of] == 0 {
            self.end(of);
        }
    }

    fn end(&mut self, index: usize) {
        if let Some(span) = self.open[index].take() {
            let end = self.tree.nodes[index].end.unwrap_or(self.tree.now);
            interop::end_at(&span, self.tree.wall(end));
        }
    }
}

/// What is left, such as where a note stands for what a trace has left out.
impl Drop for Spans<'_> {
    fn drop(&mut self) {
        (0..self.open.len()).rev().for_each(|index| self.end(index));
    }
}
