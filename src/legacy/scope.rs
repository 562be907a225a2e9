//! The trace that the running code belongs to.
//!
//! It is kept for a thread, for as long as a closure runs or a future is polled, and no guard can be
//! held any longer: so it can never be found by another task (ADR 0011).

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::legacy::node::Handle;

thread_local! {
    static CURRENT: RefCell<Handle> = const { RefCell::new(Handle::Absent) };
}

/// The innermost trace of this thread.
pub(super) fn current() -> Handle {
    CURRENT.try_with(|current| current.borrow().clone()).unwrap_or(Handle::Absent)
}

/// Runs `f` with `trace` as the current one, and its span entered.
pub(super) fn enter<R>(trace: &Handle, f: impl FnOnce() -> R) -> R {
    let span = trace.span_to_enter();
    let _entered = span.as_ref().map(tracing::Span::enter);
    let _restore = Restore(replace(trace.clone()));
    f()
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
        trace: Handle,
        #[pin]
        inner: F,
    }
}

impl<F> InTrace<F> {
    pub(super) fn new(trace: Handle, inner: F) -> Self {
        Self { trace, inner }
    }
}

impl<F: Future> Future for InTrace<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        enter(this.trace, || this.inner.poll(cx))
    }
}
