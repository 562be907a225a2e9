//! A trace: what code holds while an operation runs.

use std::borrow::Cow;
use std::error::Error;
use std::panic::Location;
use std::time::{Duration, Instant};

use tracing::Span;

use crate::SpanExt as _;
use crate::interop;
use crate::legacy::field::{FieldList, IntoFields};
use crate::legacy::node::{Handle, LogRef, Text};
use crate::legacy::scope::{self, InTrace, Scope};
use crate::legacy::text_log::TextLog;
use crate::legacy::{callsite, clock};

/// An operation that is timed: printed if it was slow, and a span of the distributed trace.
///
/// The methods are those of `k8s.io/utils/trace`. A [step](Self::step) is a point at the *end* of a
/// phase, an event on the span; a [nested](Self::nest) trace is a child span. Everything can be
/// called from several threads at a time, and nothing waits while text is written.
///
/// The operation ends when it is logged, or, at the latest, when the trace is dropped. See the
/// [module](crate::legacy) for what is printed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use spanbridge::legacy::{Trace, fields};
///
/// let trace = Trace::new("List", fields!["url" => "/api/v1/pods"]);
/// trace.step("listed from storage", fields!["count" => 3]);
/// let encode = trace.nest("encode", fields![]);
/// encode.log_if_long(Duration::from_millis(100));
/// trace.log_if_long(Duration::from_millis(500));
/// ```
///
/// With `?` in between, where Go would have written `defer`:
///
/// ```
/// # use std::time::Duration;
/// # use spanbridge::legacy::{Trace, fields};
/// fn parse(text: &str) -> Result<u64, std::num::ParseIntError> {
///     let trace = Trace::new("parse", fields![]).log_on_drop(Duration::from_millis(500));
///     let number = text.parse()?;
///     trace.step("parsed", fields!["number" => number]);
///     Ok(number)
/// }
/// # assert_eq!(parse("7"), Ok(7));
/// ```
///
/// # Performance
///
/// Whether text or span is wanted is settled when a trace starts. Where neither is, nothing is
/// allocated and `fields!` are not evaluated.
#[must_use = "a trace ends when it is dropped"]
#[derive(Debug)]
pub struct Trace {
    handle: Handle,
    start: Instant,
    created: &'static Location<'static>,
    on_drop: Option<Duration>,
    /// Whether dropping this ends the operation.
    is_owner: bool,
}

impl Trace {
    /// Starts a root trace. Its span is a child of the thread's current one.
    #[track_caller]
    pub fn new(name: impl Into<Cow<'static, str>>, fields: impl IntoFields) -> Self {
        Self::root(LogRef::current(), name.into(), fields, SpanParent::Current)
    }

    /// Starts a root trace whose text goes to `text_log`, and not to the process's.
    #[track_caller]
    pub fn new_in(
        text_log: &TextLog,
        name: impl Into<Cow<'static, str>>,
        fields: impl IntoFields,
    ) -> Self {
        let log = LogRef::Given(text_log.clone());
        Self::root(log, name.into(), fields, SpanParent::Current)
    }

    /// The innermost trace whose [`in_scope`](Self::in_scope) or [`in_future`](Self::in_future) is
    /// running on this thread.
    ///
    /// Where there is none, nothing happens on what is returned, but that [`nest`](Self::nest)
    /// starts a root trace; so it need not be asked. Dropping it ends nothing.
    #[track_caller]
    pub fn current() -> Self {
        Self::borrowed(scope::current())
    }

    /// Another handle to this trace, for another thread or task. Dropping it ends nothing.
    #[track_caller]
    pub fn handle(&self) -> Self {
        let mut handle = Self::borrowed(self.handle.clone());
        handle.start = self.start;
        handle
    }

    /// Has the trace end as by [`log_if_long`](Self::log_if_long) if it is dropped without having
    /// been logged.
    pub fn log_on_drop(mut self, threshold: Duration) -> Self {
        self.on_drop = Some(threshold);
        self
    }

    /// Adds a step: the end of the phase since the step before it.
    pub fn step(&self, name: impl Into<Cow<'static, str>>, fields: impl IntoFields) {
        self.step_of(None, name.into(), fields);
    }

    /// Starts a trace within this one: an operation whose text is printed with this one's.
    #[track_caller]
    pub fn nest(&self, name: impl Into<Cow<'static, str>>, fields: impl IntoFields) -> Self {
        self.start_nested(name.into(), fields, None)
    }

    /// Adds an error: a step of the text that is never left out, an `exception` event on the span,
    /// and its status.
    ///
    /// The error is borrowed, so its message is formatted at once, if the span is recorded or the
    /// text may be printed; the fields are as those of a step.
    pub fn record_error<E: Error + ?Sized>(&self, error: &E, fields: impl IntoFields) {
        self.error_of(None, error, fields);
    }

    /// Ends the operation. A root is printed, with all of its steps.
    ///
    /// See [`log_if_long`](Self::log_if_long).
    #[track_caller]
    pub fn log(&self) {
        self.handle.end(None, Location::caller());
    }

    /// Ends the operation, which is printed if it took `threshold` or longer, with those steps that
    /// took their share of it.
    ///
    /// A nested operation is printed with its root, when that is logged: within it, or if the root
    /// was fast, in its place. A threshold of zero prints everything.
    ///
    /// Logging a root again prints it again, with a later end; its span has ended the first time.
    #[track_caller]
    pub fn log_if_long(&self, threshold: Duration) {
        self.handle.end(Some(threshold), Location::caller());
    }

    /// How long it is since the trace started, whether or not it has ended.
    ///
    /// Zero for a [current](Self::current) trace where there is none.
    pub fn total_time(&self) -> Duration {
        match self.handle {
            Handle::Absent => Duration::ZERO,
            Handle::Off | Handle::On(_) => clock::now().saturating_duration_since(self.start),
        }
    }

    /// Runs `f` with this trace as the [current](Self::current) one, and its span entered.
    pub fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        self.scope(None).enter(f)
    }

    /// A future that is polled with this trace as the [current](Self::current) one, and its span
    /// entered.
    ///
    /// # Examples
    ///
    /// ```
    /// use spanbridge::legacy::{Trace, fields};
    ///
    /// async fn load() {
    ///     Trace::current().step("loaded", fields![]);
    /// }
    ///
    /// # async fn serve() {
    /// let trace = Trace::new("Get", fields![]);
    /// trace.in_future(load()).await;
    /// # }
    /// ```
    pub fn in_future<F: Future>(&self, future: F) -> InTrace<F> {
        InTrace::new(self.scope(None), future)
    }

    /// This trace for code to run within, with `span` entered, if given, in place of its own.
    pub(super) fn scope(&self, span: Option<Span>) -> Scope {
        Scope { trace: self.handle.clone(), span }
    }

    /// The span, unless it is not wanted or has ended.
    pub fn span(&self) -> Option<Span> {
        let Handle::On(node) = &self.handle else { return None };
        node.share_span()
    }

    /// A step, whose event goes to `current`, if given, instead of this trace's own span.
    pub(super) fn step_of(
        &self,
        current: Option<&Span>,
        name: Cow<'static, str>,
        fields: impl IntoFields,
    ) {
        let span = match (&self.handle, current) {
            (Handle::On(node), None) => {
                return node.step(name, FieldList(fields.into_fields()));
            }
            (_, current) => current.filter(|span| interop::is_recording(span)),
        };
        if span.is_none() && !self.handle.is_on() {
            return;
        }
        let fields = FieldList(fields.into_fields());
        if let Some(span) = span {
            span.add_event(name.clone(), fields.attributes());
        }
        if let Handle::On(node) = &self.handle {
            node.text_step(name, fields);
        }
    }

    /// An error, of `current`, if given, instead of this trace's own span.
    pub(super) fn error_of<E: Error + ?Sized>(
        &self,
        current: Option<&Span>,
        error: &E,
        fields: impl IntoFields,
    ) {
        let span = match (&self.handle, current) {
            (Handle::On(node), None) => {
                return node.record_error(error, FieldList(fields.into_fields()));
            }
            (_, current) => current.filter(|span| interop::is_recording(span)),
        };
        let node = match &self.handle {
            Handle::On(node) if node.takes_error() => Some(node),
            _ => None,
        };
        if span.is_none() && node.is_none() {
            return;
        }
        let fields = callsite::exception(error, FieldList(fields.into_fields()));
        if let Some(span) = span {
            callsite::add_exception(span, fields.attributes());
        }
        if let Some(node) = node {
            node.text_error(fields);
        }
    }

    /// A trace within this one; `parent` says where its span hangs, if not below this one's.
    #[track_caller]
    pub(super) fn start_nested(
        &self,
        name: Cow<'static, str>,
        fields: impl IntoFields,
        parent: Option<SpanParent>,
    ) -> Self {
        let (text, above) = match &self.handle {
            Handle::Absent => {
                let parent = parent.unwrap_or(SpanParent::Current);
                return Self::root(LogRef::current(), name, fields, parent);
            }
            Handle::Off => (None, None),
            Handle::On(node) => {
                (node.text(), parent.is_none().then(|| node.share_span()).flatten())
            }
        };
        let span = match parent {
            None => callsite::span(&name, above.as_ref()),
            Some(parent) => parent.span(&name),
        };
        if text.is_none() && span.is_none() {
            return Self::owner(Handle::Off, clock::now());
        }
        let fields = FieldList(fields.into_fields());
        // As in Go, where arguments are evaluated before the call.
        let start = clock::now();
        callsite::set_attributes(span.as_ref(), &fields);
        let text = text.map(|text| text.nest(start, name, fields));
        Self::owner(Handle::on(text, span, start), start)
    }

    #[track_caller]
    fn root(
        log: LogRef,
        name: Cow<'static, str>,
        fields: impl IntoFields,
        parent: SpanParent,
    ) -> Self {
        let span = parent.span(&name);
        let has_text = log.get().is_recorded(span.is_some());
        if !has_text && span.is_none() {
            return Self::owner(Handle::Off, clock::now());
        }
        let fields = FieldList(fields.into_fields());
        let start = clock::now();
        callsite::set_attributes(span.as_ref(), &fields);
        let text = has_text.then(|| Text::root(log, name, fields, start));
        Self::owner(Handle::on(text, span, start), start)
    }

    #[track_caller]
    fn owner(handle: Handle, start: Instant) -> Self {
        Self { handle, start, created: Location::caller(), on_drop: None, is_owner: true }
    }

    #[track_caller]
    fn borrowed(handle: Handle) -> Self {
        let start = match &handle {
            Handle::On(node) => node.start(),
            Handle::Absent | Handle::Off => clock::now(),
        };
        Self { handle, start, created: Location::caller(), on_drop: None, is_owner: false }
    }
}

/// Where the span of a new trace hangs.
#[derive(Clone, Copy, Debug)]
pub(super) enum SpanParent {
    /// Below the thread's current span, if there is one.
    Current,
    /// Below the thread's current span; there is no span where there is none.
    IfAny,
}

impl SpanParent {
    fn span(self, name: &str) -> Option<Span> {
        match self {
            Self::IfAny if Span::current().is_disabled() => None,
            Self::Current | Self::IfAny => callsite::span(name, None),
        }
    }
}

/// Ends the operation if it was not logged. A root is printed only if
/// [`log_on_drop`](Trace::log_on_drop) says so; a nested one stands in the text of a slow root as
/// [`log`](Trace::log) would have left it, but is not printed in the place of a fast one.
impl Drop for Trace {
    fn drop(&mut self) {
        if self.is_owner || self.on_drop.is_some() {
            self.handle.end_dropped(self.on_drop, self.created);
        }
    }
}
