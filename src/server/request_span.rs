//! The span of one request, and the context that is attached with it.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use opentelemetry::{Context, ContextGuard};
use tracing::Span;
use tracing::span::Id;

use super::route::Taken;
use crate::interop::Started;

thread_local! {
    /// The requests that the calls on this thread's stack have entered, innermost last: more than
    /// one entry while middleware runs below middleware, on a scope of an application, say.
    static ENTERED: RefCell<Vec<Request>> = const { RefCell::new(Vec::new()) };
}

/// A request as one middleware has started it.
#[derive(Clone, Debug)]
struct Request {
    shared: Rc<Shared>,
    is_callers: bool,
}

/// A request's span, and what code that runs for the request has told of it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) span: Span,
    /// What is known before the response, or without one: of few requests, hence the box.
    pub(super) taken: OnceCell<Box<Taken>>,
}

impl Request {
    fn new(span: Span, is_callers: bool) -> Self {
        Self { shared: Rc::new(Shared { span, taken: OnceCell::new() }), is_callers }
    }
}

/// An outer part of the request that a span is about to be made for.
#[derive(Debug)]
pub(super) struct Enclosing {
    /// The thread's current span.
    pub(super) span: Id,
    /// Whether it is in the caller's trace, or has values of the caller's.
    pub(super) is_callers: bool,
}

/// What the request's span belongs below, apart from what the request brings along.
///
/// The thread's current span only where it stands for an outer part of the same request. Whatever
/// else is current was left there by a task that holds a guard across an `.await`.
pub(super) fn enclosing() -> Option<Enclosing> {
    let is_callers = ENTERED.try_with(|entered| Some(entered.borrow().last()?.is_callers));
    let is_callers = is_callers.ok().flatten()?;
    Some(Enclosing { span: Span::current().id()?, is_callers })
}

/// The request that this thread works on right now, if it has a span.
pub(super) fn innermost() -> Option<Rc<Shared>> {
    let shared = ENTERED.try_with(|entered| Some(Rc::clone(&entered.borrow().last()?.shared)));
    shared.ok().flatten()
}

/// What is current while a request is worked on.
///
/// Entered for the length of one poll, never across one: another request may be next on the thread.
#[derive(Debug)]
pub(super) struct RequestSpan {
    request: Request,
    attach: Option<Context>,
    is_foreign: bool,
}

impl RequestSpan {
    /// Nothing is recorded; what came in still goes out.
    pub(super) fn propagate_only(attach: Option<Context>) -> Self {
        Self { request: Request::new(Span::none(), false), attach, is_foreign: false }
    }

    /// `is_callers` says whether the span is in the trace of the request's caller, or has values
    /// of the caller's.
    pub(super) fn new(started: Started, is_callers: bool) -> Self {
        let Started { span, attach, is_foreign } = started;
        Self { request: Request::new(span, is_callers), attach, is_foreign }
    }

    pub(super) fn span(&self) -> &Span {
        &self.request.shared.span
    }

    /// The route, where it was told before there was a response.
    pub(super) fn taken(&self) -> Option<&Taken> {
        self.request.shared.taken.get().map(Box::as_ref)
    }

    /// Whether the span has to be renamed by other means than a field.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Whether entering changes nothing.
    pub(super) fn is_inert(&self) -> bool {
        self.span().is_disabled() && self.attach.is_none()
    }

    /// Makes the span and the context current until the returned value is dropped.
    pub(super) fn enter(&self) -> Entered<'_> {
        // The context first: a layer that makes its span's context current builds on what it finds.
        let context = self.attach.as_ref().map(|cx| cx.clone().attach());
        let deeper = Deeper::new(&self.request);
        Entered { _span: self.span().enter(), _context: context, _deeper: deeper }
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
    fn new(request: &Request) -> Option<Self> {
        if request.shared.span.is_disabled() {
            return None;
        }
        // A request may be dropped when its thread has ended.
        ENTERED.try_with(|entered| entered.borrow_mut().push(request.clone())).ok()?;
        Some(Self)
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        // Dropped outside the borrow: closing a span runs whatever the layers do.
        let request = ENTERED.try_with(|entered| entered.borrow_mut().pop());
        drop(request);
    }
}
