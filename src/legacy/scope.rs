//! The trace that the running code belongs to.
//!
//! It is kept for a thread, for as long as a closure runs or a future is polled, and no guard can be
//! held any longer: so it can never be found by another task (ADR 0011).

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use tracing::Span;

use crate::legacy::node::Handle;

thread_local! {
    static CURRENT: RefCell<Handle> = const { RefCell::new(Handle::Absent) };
}

/// The innermost trace of this thread.
pub(super) fn current() -> Handle {
    CURRENT.try_with(|current| current.borrow().clone()).unwrap_or(Handle::Absent)
}

/// What code can run within.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) trace: Handle,
    /// In place of the trace's own span.
    pub(super) span: Option<Span>,
}

impl Scope {
    /// Runs `f` with the trace as the current one, and the span entered.
    pub(super) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let own = if self.span.is_none() { self.trace.span_to_enter() } else { None };
        let _entered = self.span.as_ref().or(own.as_ref()).map(Span::enter);
        let _restore = Restore(replace(self.trace.clone()));
        f()
    }
}

struct Restore(Handle);

impl Drop for Restore {
    fn drop(&mut self) {
        drop(replace(std::mem::replace(&mut self.0, Handle::Absent)));
    }
}

/// What was there is dropped by the caller, since a trace that ends may run code of the user's.
fn replace(with: Handle) -> Handle {
    CURRENT.try_with(|current| current.replace(with)).unwrap_or(Handle::Absent)
}

pin_project! {
    /// A future that belongs to a trace; made by [`Trace::in_future`].
    ///
    /// Whenever it is polled the trace is the [current] one, and its span is entered. It does not
    /// keep the trace from ending.
    ///
    /// [`Trace::in_future`]: crate::legacy::Trace::in_future
    /// [current]: crate::legacy::Trace::current
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct InTrace<F> {
        scope: Scope,
        #[pin]
        inner: F,
    }
}

impl<F> InTrace<F> {
    pub(super) fn new(scope: Scope, inner: F) -> Self {
        Self { scope, inner }
    }
}

impl<F: Future> Future for InTrace<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.scope.enter(|| this.inner.poll(cx))
    }
}
