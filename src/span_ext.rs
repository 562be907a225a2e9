//! What application code does with a `tracing` span.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{Link, SpanContext, Status};
use opentelemetry::{Context, Key, KeyValue, Value};
use tracing::Span;

use crate::interop;
use crate::layer::{SetParentError, for_each_engine_of, give_to_each_engine_of};

/// OpenTelemetry's side of a [`tracing::Span`].
///
/// Names and signatures are those of `tracing_opentelemetry::OpenTelemetrySpanExt`, so that moving
/// over is a change of import. Where that crate's layer is installed in place of ours, and the
/// feature `tracing-opentelemetry` is on, these methods serve its spans.
///
/// Everything but [`set_parent`](Self::set_parent) works until the span is closed, and does nothing
/// on a span that is disabled or not sampled.
///
/// # Examples
///
/// ```
/// use spanbridge::SpanExt as _;
///
/// # let (layer, guard) = spanbridge::layer().build();
/// # use tracing_subscriber::prelude::*;
/// # let _default = tracing_subscriber::registry().with(layer).set_default();
/// let span = tracing::info_span!("charge");
/// span.set_attribute("order.id", 4711_i64);
/// span.update_name("charge order");
/// let cx = span.context();
/// # use opentelemetry::trace::TraceContextExt as _;
/// assert!(cx.span().span_context().is_sampled());
/// ```
pub trait SpanExt {
    /// Makes the span a child of the one in `cx`; baggage and other values travel along.
    ///
    /// # Errors
    ///
    /// Fails once the span's ids have been seen: by a child, or through its context. A span that is
    /// a child of an unsampled one has no record, and cannot be moved either.
    fn set_parent(&self, cx: Context) -> Result<(), SetParentError>;

    /// Links the span to another one.
    fn add_link(&self, cx: SpanContext);

    /// Links the span to another one, and says why.
    fn add_link_with_attributes(&self, cx: SpanContext, attributes: Vec<KeyValue>);

    /// The span as an OpenTelemetry context: for propagators, or as a parent for spans made with
    /// the OpenTelemetry API. Asking for it settles the span's ids and its sampling.
    ///
    /// The trace flags say whether the trace id is random, as W3C's level 2 has it. B3 has another
    /// use for that flag, the decision that is left to others: before injecting this by a propagator
    /// for B3, leave only `TraceFlags::SAMPLED` of them. The middleware and the hook do so for the
    /// propagators that they are given.
    ///
    /// Where no layer makes OpenTelemetry spans this is the current context.
    fn context(&self) -> Context;

    /// Sets an attribute; an earlier value of the same key is replaced.
    fn set_attribute(&self, key: impl Into<Key>, value: impl Into<Value>);

    /// Sets the status. `Ok` stands once it is set; a later error replaces an earlier one.
    fn set_status(&self, status: Status);

    /// Adds an event that happened now.
    fn add_event(&self, name: impl Into<Cow<'static, str>>, attributes: Vec<KeyValue>);

    /// Adds an event that happened at `timestamp`.
    fn add_event_with_timestamp(
        &self,
        name: impl Into<Cow<'static, str>>,
        timestamp: SystemTime,
        attributes: Vec<KeyValue>,
    );

    /// Renames the span.
    fn update_name(&self, name: impl Into<Cow<'static, str>>);
}

impl SpanExt for Span {
    fn set_parent(&self, cx: Context) -> Result<(), SetParentError> {
        if self.is_disabled() {
            return Err(SetParentError::SpanDisabled);
        }
        interop::set_parent(self, cx)
    }

    fn add_link(&self, cx: SpanContext) {
        self.add_link_with_attributes(cx, Vec::new());
    }

    fn add_link_with_attributes(&self, cx: SpanContext, attributes: Vec<KeyValue>) {
        let added =
            give_to_each_engine_of(self, (cx, attributes), |engine, id, (cx, attributes)| {
                engine.add_link_to(id, Link::new(cx, attributes, 0));
            });
        if let Err((cx, attributes)) = added {
            interop::add_link(self, cx, attributes);
        }
    }

    fn context(&self) -> Context {
        interop::context(self)
    }

    fn set_attribute(&self, key: impl Into<Key>, value: impl Into<Value>) {
        interop::set_attributes(self, [KeyValue::new(key, value)]);
    }

    fn set_status(&self, status: Status) {
        if !for_each_engine_of(self, |engine, id| engine.set_status(id, &status)) {
            interop::set_status(self, status);
        }
    }

    fn add_event(&self, name: impl Into<Cow<'static, str>>, attributes: Vec<KeyValue>) {
        self.add_event_with_timestamp(name, SystemTime::now(), attributes);
    }

    fn add_event_with_timestamp(
        &self,
        name: impl Into<Cow<'static, str>>,
        timestamp: SystemTime,
        attributes: Vec<KeyValue>,
    ) {
        let event = (name.into(), attributes);
        let added = give_to_each_engine_of(self, event, |engine, id, (name, attributes)| {
            engine.add_event(id, name, timestamp, attributes);
        });
        if let Err((name, attributes)) = added {
            interop::add_event(self, name, timestamp, attributes);
        }
    }

    fn update_name(&self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        if !for_each_engine_of(self, |engine, id| engine.update_name(id, &name)) {
            interop::update_name(self, name);
        }
    }
}
