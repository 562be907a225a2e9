//! The two sides of one trace: its place in the text, and its span.

use std::borrow::Cow;
use std::error::Error;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tracing::Span;

use crate::SpanExt as _;
use crate::interop;
use crate::legacy::field::FieldList;
use crate::legacy::text_log::{TextLog, block_number};
use crate::legacy::tree::{End, ROOT, Record};
use crate::legacy::{callsite, clock, kept};

/// What stands behind a [`Trace`](crate::legacy::Trace); a clone is the same trace.
#[derive(Clone, Debug)]
pub(super) enum Handle {
    /// No trace: what nothing is nested in is a root.
    Absent,
    /// A trace that nobody wants anything of.
    Off,
    On(Arc<Node>),
}

/// A trace of which text or span is wanted.
#[derive(Debug)]
pub(super) struct Node {
    start: Instant,
    text: Option<Text>,
    /// Whether there is a span, or was before the end.
    has_span: bool,
    /// Never locked while code of the user's runs.
    span: Mutex<Option<Span>>,
    /// Whether the span may have been entered, or have children. One that was entered would end when
    /// it was left last, and one with children not before they close: neither when the operation
    /// does.
    is_shared: AtomicBool,
    is_ended: AtomicBool,
}

impl Handle {
    pub(super) fn on(text: Option<Text>, span: Option<Span>, start: Instant) -> Self {
        Self::On(Arc::new(Node {
            start,
            text,
            has_span: span.is_some(),
            span: Mutex::new(span),
            is_shared: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
        }))
    }

    pub(super) fn is_on(&self) -> bool {
        matches!(self, Self::On(_))
    }

    /// The span, for whoever is going to enter it.
    pub(super) fn span_to_enter(&self) -> Option<Span> {
        let Self::On(node) = self else { return None };
        node.share_span()
    }

    /// Ends the operation. Only a root prints.
    pub(super) fn end(&self, threshold: Option<Duration>, location: &Location<'_>) {
        self.end_as(threshold, true, location);
    }

    fn end_as(&self, threshold: Option<Duration>, is_logged: bool, location: &Location<'_>) {
        let Self::On(node) = self else { return };
        let at = clock::now();
        node.is_ended.store(true, Ordering::Relaxed);
        // Before anything is written: that takes its time.
        let span = node.end_span();
        if let Some(text) = &node.text {
            text.root.record.end(text.number, node.start, End { at, threshold, span, is_logged });
            if text.number == ROOT {
                text.root.print(location);
            }
        }
    }

    /// Ends the operation if it was not logged, on account of its being dropped.
    pub(super) fn end_dropped(&self, threshold: Option<Duration>, location: &Location<'_>) {
        let Self::On(node) = self else { return };
        if node.is_ended.load(Ordering::Relaxed) {
            return;
        }
        let is_nested = node
            .text
            .as_ref()
            .is_some_and(|text| text.number != ROOT && !text.root.log.get().is_exact());
        if threshold.is_some() || is_nested {
            // Without a threshold nobody has asked for its text.
            self.end_as(threshold, threshold.is_some(), location);
        } else {
            node.is_ended.store(true, Ordering::Relaxed);
            node.end_span();
        }
    }
}

impl Node {
    pub(super) fn start(&self) -> Instant {
        self.start
    }

    pub(super) fn text(&self) -> Option<&Text> {
        self.text.as_ref()
    }

    /// The span, as long as the operation has not ended.
    pub(super) fn span(&self) -> Option<Span> {
        if self.has_span { self.locked_span().clone() } else { None }
    }

    /// The span, for code that may enter it or give it children.
    pub(super) fn share_span(&self) -> Option<Span> {
        let span = self.span();
        if span.is_some() {
            self.is_shared.store(true, Ordering::Relaxed);
        }
        span
    }

    pub(super) fn step(&self, name: Cow<'static, str>, fields: FieldList) {
        if self.is_recorded() {
            // Unlocked: this may run code of the user's.
            let attributes = fields.attributes();
            if let Some(span) = &*self.locked_span() {
                span.add_event(name.clone(), attributes);
            }
        }
        self.text_step(name, fields);
    }

    /// A step of the text alone.
    pub(super) fn text_step(&self, name: Cow<'static, str>, fields: FieldList) {
        if let Some(text) = &self.text {
            text.root.record.step(text.number, name, fields, false);
        }
    }

    pub(super) fn record_error<E: Error + ?Sized>(&self, error: &E, fields: FieldList) {
        let (is_recorded, is_shown) = (self.is_recorded(), self.takes_error());
        if !is_recorded && !is_shown {
            return;
        }
        let fields = callsite::exception(error, fields);
        if is_recorded {
            // Unlocked: this may run code of the user's.
            let attributes = fields.attributes();
            if let Some(span) = &*self.locked_span() {
                callsite::add_exception(span, attributes);
            }
        }
        if is_shown {
            self.text_error(fields);
        }
    }

    /// An error in the text alone, if that [takes](Self::takes_error) it.
    pub(super) fn text_error(&self, fields: FieldList) {
        if let Some(text) = &self.text {
            text.root.record.step(text.number, callsite::EXCEPTION.into(), fields, true);
        }
    }

    /// Whether the text takes an error, which upstream's does not. Asked once for each.
    pub(super) fn takes_error(&self) -> bool {
        let text = self.text.as_ref().filter(|text| !text.root.log.get().is_exact());
        text.is_some_and(|text| text.root.record.has_room(text.number))
    }

    /// Whether what is set on the span can reach anyone: mostly not where it is not sampled.
    fn is_recorded(&self) -> bool {
        self.has_span && self.locked_span().as_ref().is_some_and(interop::is_recording)
    }

    /// Ends the span, and returns its context if the text asks for it.
    fn end_span(&self) -> Option<SpanContext> {
        if !self.has_span {
            return None;
        }
        let span = self.locked_span().take()?;
        let needs_ids = self.text.as_ref().is_some_and(|text| text.root.log.get().needs_ids());
        let context = needs_ids
            .then(|| span.context().span().span_context().clone())
            .filter(SpanContext::is_valid);
        if self.is_shared.load(Ordering::Relaxed) {
            interop::end_at(&span, clock::wall());
        }
        context
    }

    fn locked_span(&self) -> MutexGuard<'_, Option<Span>> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A trace's place in the text.
#[derive(Debug)]
pub(super) struct Text {
    root: Arc<Root>,
    number: u32,
}

/// The text of a root and all that is nested in it.
#[derive(Debug)]
struct Root {
    log: LogRef,
    record: Record,
}

/// The process's log, which costs nothing to refer to, or another.
#[derive(Debug)]
pub(super) enum LogRef {
    Given(TextLog),
    Installed,
}

impl LogRef {
    /// The log that a root started here and now has.
    pub(super) fn current() -> Self {
        TextLog::scoped().map_or(Self::Installed, Self::Given)
    }

    pub(super) fn get(&self) -> &TextLog {
        match self {
            Self::Given(log) => log,
            Self::Installed => TextLog::installed(),
        }
    }
}

impl Text {
    pub(super) fn root(
        log: LogRef,
        name: Cow<'static, str>,
        fields: FieldList,
        start: Instant,
    ) -> Self {
        let record = Record::new(name, fields, start, log.get().is_exact());
        Self { root: Arc::new(Root { log, record }), number: ROOT }
    }

    pub(super) fn nest(&self, start: Instant, name: Cow<'static, str>, fields: FieldList) -> Self {
        let number = self.root.record.nest(self.number, start, name, fields);
        Self { root: Arc::clone(&self.root), number }
    }
}

impl Root {
    fn print(&self, location: &Location<'_>) {
        let log = self.log.get();
        let mut style = log.style();
        let is_written = style.prints();
        if !is_written {
            if !log.keeps_unsampled() {
                return;
            }
            style = style.that_prints();
        }
        let Some(snapshot) = self.record.snapshot() else { return };
        let tree = snapshot.tree();
        tree.print(&style, block_number, |block| {
            if is_written {
                log.write(&block.text, location);
            }
            if log.keeps_unsampled()
                && let Some((_, span_id)) = block.node.ids
                && let Some(span) = snapshot.unsampled(span_id)
            {
                kept::keep(&snapshot, &tree, block.index, &block.text, span);
            }
        });
    }
}
