//! The span of one request, and the context that is attached with it.

use std::cell::RefCell;
use std::rc::Rc;

use opentelemetry::{Context, ContextGuard};
use tracing::Span;
use tracing::span::Id;

use crate::interop::Started;

thread_local! {
    /// The spans of requests that the calls on this thread's stack have entered, innermost last:
    /// more than one while middleware runs below middleware, on a scope of an application, say.
    static ENTERED: RefCell<Vec<Rc<Span>>> = const { RefCell::new(Vec::new()) };
}

/// The span that a request's span belongs below, apart from what the request brings along.
///
/// The thread's current span only where it stands for an outer part of the same request. Whatever
/// else is current was left there by a task that holds a guard across an `.await`.
pub(super) fn enclosing() -> Option<Id> {
    let is_inside = ENTERED.try_with(|entered| !entered.borrow().is_empty());
    if is_inside.unwrap_or(false) { Span::current().id() } else { None }
}

/// The span of the request that this thread works on right now.
pub(super) fn innermost() -> Option<Rc<Span>> {
    ENTERED.try_with(|entered| entered.borrow().last().cloned()).ok().flatten()
}

/// What is current while a request is worked on.
///
/// Entered for the length of one poll, never across one: another request may be next on the thread.
#[derive(Debug)]
pub(super) struct RequestSpan {
    span: Rc<Span>,
    attach: Option<Context>,
    is_foreign: bool,
}

impl RequestSpan {
    /// Nothing is recorded; what came in still goes out.
    pub(super) fn propagate_only(attach: Option<Context>) -> Self {
        Self { span: Rc::new(Span::none()), attach, is_foreign: false }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Whether the span has to be renamed by other means than a field.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Whether entering changes nothing.
    pub(super) fn is_inert(&self) -> bool {
        self.span.is_disabled() && self.attach.is_none()
    }

    /// Makes the span and the context current until the returned value is dropped.
    pub(super) fn enter(&self) -> Entered<'_> {
        // The context first: a layer that makes its span's context current builds on what it finds.
        let context = self.attach.as_ref().map(|cx| cx.clone().attach());
        Entered { _span: self.span.enter(), _context: context, _deeper: Deeper::new(&self.span) }
    }
}

impl From<Started> for RequestSpan {
    fn from(started: Started) -> Self {
        let Started { span, attach, is_foreign } = started;
        Self { span: Rc::new(span), attach, is_foreign }
    }
}

/// Left in reverse order of entry, which is the order of the fields.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    _span: tracing::span::Entered<'a>,
    _context: Option<ContextGuard>,
    _deeper: Option<Deeper>,
}

/// An entry in [`ENTERED`].
#[derive(Debug)]
struct Deeper;

impl Deeper {
    fn new(span: &Rc<Span>) -> Option<Self> {
        if span.is_disabled() {
            return None;
        }
        // A request may be dropped when its thread has ended.
        ENTERED.try_with(|entered| entered.borrow_mut().push(Rc::clone(span))).ok()?;
        Some(Self)
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        // Dropped outside the borrow: closing a span runs whatever the layers do.
        let span = ENTERED.try_with(|entered| entered.borrow_mut().pop());
        drop(span);
    }
}
