//! `k8s.io/component-base/tracing`: one call for the text and the span.
//!
//! What Kubernetes replaced `k8s.io/utils/trace` with. The text is always made; a span only where
//! tracing is on already, that is, where the thread is in a span. Go hands on a `ctx`; here the
//! running closure or future takes its place:
//!
//! | Go | here |
//! |---|---|
//! | `ctx, span := tracing.Start(ctx, name, attrs...)` | `let span = start(name, attrs)` |
//! | `defer span.End(500 * time.Millisecond)` | `let span = span.end_on_drop(Duration::from_millis(500))` |
//! | `f(ctx)` | `span.in_scope(f)`, `span.in_future(f()).await` |
//! | `tracing.SpanFromContext(ctx)` | `span_from_context()` |
//! | `tracing.ContextWithSpan(other, span)` | `span.in_scope(..)`, `span.in_future(..)` |
//! | `span.AddEvent`, `span.RecordError`, `span.End` | `add_event`, `record_error`, `end` |
//!
//! Other than there, an error also reaches the text, and sets the span's status.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use spanbridge::legacy::{component_base, fields};
//!
//! fn decode(body: &str) -> Option<u64> {
//!     let span = component_base::span_from_context();
//!     match body.parse() {
//!         Ok(number) => {
//!             span.add_event("decoded", fields!["len" => body.len()]);
//!             Some(number)
//!         }
//!         Err(error) => {
//!             span.record_error(&error, fields![]);
//!             None
//!         }
//!     }
//! }
//!
//! let span = component_base::start("Create", fields!["verb" => "POST"]);
//! assert_eq!(span.in_scope(|| decode("12")), Some(12));
//! span.end(Duration::from_millis(500));
//! ```

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use crate::legacy::field::IntoFields;
use crate::legacy::scope::InTrace;
use crate::legacy::trace::{SpanParent, Trace};

/// Starts an operation: nested in the current one for the text, and a child of the thread's current
/// span, or no span where there is none.
///
/// The attributes are `fields!`, or a list of the OpenTelemetry API's `KeyValue`.
#[track_caller]
pub fn start(name: impl Into<Cow<'static, str>>, attributes: impl IntoFields) -> Span {
    let trace = Trace::current().start_nested(name.into(), attributes, Some(SpanParent::IfAny));
    Span { trace, current: None }
}

/// The current operation: the innermost one that is running by [`Span::in_scope`] or
/// [`Span::in_future`] on this thread, with the thread's current span.
///
/// Where there is neither, nothing happens on what is returned. It keeps the thread's span open until
/// it is dropped, as any handle to a `tracing` span does.
#[track_caller]
pub fn span_from_context() -> Span {
    Span { trace: Trace::current(), current: Some(tracing::Span::current()) }
}

/// An operation: a part of the text, and of the distributed trace.
///
/// Made by [`start`] and [`span_from_context`].
#[must_use = "an operation ends when it is dropped"]
#[derive(Debug)]
pub struct Span {
    trace: Trace,
    /// The span that was current, where that need not be the trace's own.
    current: Option<tracing::Span>,
}

impl Span {
    /// Has the operation end as by [`end`](Self::end) if it is dropped before.
    pub fn end_on_drop(self, threshold: Duration) -> Self {
        Self { trace: self.trace.log_on_drop(threshold), ..self }
    }

    /// Adds an event: a point in time, at the end of a phase.
    pub fn add_event(&self, name: impl Into<Cow<'static, str>>, attributes: impl IntoFields) {
        self.trace.step_of(self.current.as_ref(), name.into(), attributes);
    }

    /// Adds an error: an `exception` event and the status `Error` on the span, and a step of the
    /// text that is never left out.
    ///
    /// The event has the attribute `exception.type` where the error's type is known, which that of a
    /// `dyn Error` is not.
    pub fn record_error<E: Error + ?Sized>(&self, error: &E, attributes: impl IntoFields) {
        self.trace.error_of(self.current.as_ref(), error, attributes);
    }

    /// Ends the operation. It is printed, if it is the outermost, where it took `threshold` or
    /// longer; see [`Trace::log_if_long`].
    #[track_caller]
    pub fn end(&self, threshold: Duration) {
        self.trace.log_if_long(threshold);
    }

    /// Runs `f` with this as the current operation, and its span entered.
    ///
    /// What [`span_from_context`] gave takes both along, to another thread, say. Of an operation that
    /// has ended the span is no longer there: what `f` starts then is no child of it.
    pub fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        self.trace.scope(self.current.clone()).enter(f)
    }

    /// A future that is polled with this as the current operation, and its span entered.
    pub fn in_future<F: Future>(&self, future: F) -> InTrace<F> {
        InTrace::new(self.trace.scope(self.current.clone()), future)
    }

    /// The operation's trace.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}
