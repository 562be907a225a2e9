//! Whichever layer is installed: ours, tracing-opentelemetry's, or none.
//!
//! The only file that knows `tracing-opentelemetry`.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use tracing::Span;
#[cfg(any(feature = "actix-web", feature = "awc"))]
use tracing::level_filters::LevelFilter;
#[cfg(feature = "tracing-opentelemetry")]
use tracing_opentelemetry::OpenTelemetrySpanExt as Foreign;

use crate::layer::{self, SetParentError};
use crate::propagation::{Carried, TraceParent};
use crate::span_ext::SpanExt;

/// A span that was started for a request, and what to attach while the request is polled.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) span: Span,
    /// Set where the span itself does not carry what came in: no layer took the span, or there is
    /// baggage for code that reads `Context::current()`.
    pub(crate) attach: Option<Context>,
    /// Whether tracing-opentelemetry's layer is installed, in place of ours or beside it.
    pub(crate) is_foreign: bool,
}

/// Starts the span that `make` creates as a child of what `carried` holds; where that is no span,
/// and `make` gives it a parent of this process (`has_parent`), as a child of that.
///
/// `prepare` sees the span before anything here asks for its ids, and so before its sampler is
/// asked. It is told whether tracing-opentelemetry's layer is installed and the span has no parent
/// of this process.
pub(crate) fn start_with_parent(
    carried: Carried,
    has_parent: bool,
    make: impl FnOnce() -> Span,
    prepare: impl FnOnce(&Span, bool),
) -> Started {
    let keeps_parent = has_parent && carried.parent.is_none();
    let (span, is_taken) = layer::with_given_parent(&carried, make);
    let is_foreign = if keeps_parent {
        prepare(&span, false);
        is_foreign_child(&span)
    } else {
        let is_foreign = set_foreign_parent(&span, &carried);
        prepare(&span, is_foreign);
        is_foreign
    };
    // Setting the parent also succeeds where a per-layer filter keeps the span from that layer.
    #[cfg(feature = "tracing-opentelemetry")]
    if !is_taken && is_foreign && Foreign::context(&span).has_active_span() {
        return Started { span, attach: None, is_foreign };
    }
    if is_taken && carried.entries.is_none() {
        return Started { span, attach: None, is_foreign };
    }
    let attach = if is_taken || keeps_parent {
        // Our layer has it, or what is current already stands for it. Values are for code that knows
        // nothing of `tracing`; the span is put with them so that such code does not take the
        // caller's span for ours, or find none.
        carried.entries.map(|entries| {
            let cx = context(&span);
            let sc = cx.span().span_context().clone();
            match *entries.span().span_context() == sc {
                true => entries,
                false => entries.with_remote_span_context(sc),
            }
        })
    } else {
        (!carried.is_empty()).then(|| carried.into_context())
    };
    Started { span, attach, is_foreign }
}

/// Hands what is carried to tracing-opentelemetry's layer too. False if that layer is not there.
#[cfg(feature = "tracing-opentelemetry")]
fn set_foreign_parent(span: &Span, carried: &Carried) -> bool {
    if span.is_disabled() || Foreign::set_parent(span, Context::new()).is_err() {
        return false;
    }
    // The empty parent, which has been set already, costs less to make.
    carried.is_empty() || Foreign::set_parent(span, carried.clone().into_context()).is_ok()
}

/// Whether tracing-opentelemetry's layer has the span, which keeps the parent that it has.
#[cfg(feature = "tracing-opentelemetry")]
fn is_foreign_child(span: &Span) -> bool {
    !span.is_disabled() && Foreign::context(span).has_active_span()
}

#[cfg(not(feature = "tracing-opentelemetry"))]
fn set_foreign_parent(_: &Span, _: &Carried) -> bool {
    false
}

#[cfg(not(feature = "tracing-opentelemetry"))]
fn is_foreign_child(_: &Span) -> bool {
    false
}

/// What a request made from within `span` carries besides a span.
pub(crate) fn carried_values(span: &Span) -> Carried {
    match current_entries() {
        None => Carried::default(),
        Some(_) => Carried { entries: carried_by(span).entries, ..Carried::default() },
    }
}

/// The ids that a request made within `span` carries, where a layer of ours knows the span's trace and
/// nothing else is to be carried.
#[inline]
pub(crate) fn lone_ids(span: &Span) -> Option<TraceParent> {
    let ids = layer::lone_ids(span)?;
    // Values set after the span started are in the current context.
    Context::map_current(|cx| !Carried::has_entries(cx)).then_some(ids)
}

fn current_entries() -> Option<Context> {
    Context::map_current(|cx| Carried::has_entries(cx).then(|| cx.clone()))
}

/// Whether nobody is told of a span at the level of requests' spans: no subscriber, nor, where there is
/// none, the `log` crate. By its feature `log`, which actix-web turns on, `tracing` would have all the
/// values of such a span, and only then ask the logger whether it wants them.
#[cfg(any(feature = "actix-web", feature = "awc"))]
pub(crate) fn is_nobody_told() -> bool {
    LevelFilter::current() < LevelFilter::INFO && log::max_level() < log::LevelFilter::Info
}

/// Whether values recorded on `span` as its fields can reach anyone: a layer that prints spans may
/// want what none makes an OpenTelemetry span of.
pub(crate) fn is_enabled(span: &Span) -> bool {
    !span.is_disabled()
}

/// Whether attributes and events set on `span` as an OpenTelemetry span can reach anyone: no where
/// no layer makes such spans, or the span is known not to be sampled.
pub(crate) fn is_recording(span: &Span) -> bool {
    if span.is_disabled() {
        return false;
    }
    layer::is_recording(span).unwrap_or_else(|| foreign::is_recording(span))
}

/// The same, without settling whether the span is sampled: yes where that is open.
pub(crate) fn may_be_recording(span: &Span) -> bool {
    is_enabled(span) && layer::is_recording(span) != Some(false)
}

/// Sets attributes, all at once; an earlier value of the same key is replaced.
pub(crate) fn set_attributes<A>(span: &Span, attributes: A)
where
    A: IntoIterator<Item = KeyValue> + Clone,
{
    let set = layer::give_to_each_engine_of(span, attributes, |engine, id, attributes| {
        engine.set_attributes(id, attributes);
    });
    if let Err(attributes) = set {
        foreign::set_attributes(span, attributes);
    }
}

/// Sets when the span started, in place of when it was created. In tracing-opentelemetry's layer
/// that cannot be set, and stays as it is.
pub(crate) fn start_at(span: &Span, start: SystemTime) {
    layer::for_each_engine_of(span, |engine, id| engine.set_start(id, start));
}

/// Sets when the span ends, in place of when it is closed. Nothing may be set after this: in
/// tracing-opentelemetry's layer the span ends here.
pub(crate) fn end_at(span: &Span, end: SystemTime) {
    let is_served = layer::for_each_engine_of(span, |engine, id| engine.set_end(id, end));
    if !is_served {
        foreign::end_at(span, end);
    }
}

/// Links a span to the one of another process that `linked` holds, if it does. `is_foreign` is what
/// [`start_with_parent`] says.
pub(crate) fn add_remote_link(span: &Span, is_foreign: bool, linked: Carried) {
    if linked.parent.is_none() {
        return;
    }
    let cx = linked.into_context().span().span_context().clone();
    if is_foreign && layer::is_served(span) {
        add_link(span, cx.clone(), Vec::new());
    }
    SpanExt::add_link(span, cx);
}

/// Renames a span in tracing-opentelemetry's layer, which does not take `otel.name` from a span
/// that has been entered. A name that code has given to it stands.
pub(crate) fn rename_entered(span: &Span, name: &str) {
    #[cfg(feature = "tracing-opentelemetry")]
    if !layer::is_renamed(span) {
        let cx = Foreign::context(span);
        if cx.span().is_recording() {
            cx.span().update_name(name.to_owned());
        }
    }
    let _ = (span, name);
}

/// What a request made from within `span` carries.
pub(crate) fn carried_by(span: &Span) -> Carried {
    match lone_ids(span) {
        Some(ids) => Carried { parent: Some(ids), entries: None },
        None => carried_with(span),
    }
}

/// The same where there may be more than [`lone_ids`], or others that know.
pub(crate) fn carried_with(span: &Span) -> Carried {
    if let Some(mut carried) = layer::carried_by(span) {
        // Values set after the span started are in the current context, beside the older ones.
        if let Some(current) = current_entries() {
            carried.take_values(current);
        }
        return carried;
    }
    #[cfg(feature = "tracing-opentelemetry")]
    {
        let cx = Foreign::context(span);
        if cx.has_active_span() {
            return Carried::from_context(&cx);
        }
    }
    Context::map_current(Carried::from_context)
}

/// See [`SpanExt::context`](crate::SpanExt::context).
pub(crate) fn context(span: &Span) -> Context {
    if let Some(cx) = layer::context_of(span) {
        return cx;
    }
    #[cfg(feature = "tracing-opentelemetry")]
    {
        let cx = Foreign::context(span);
        if cx.has_active_span() {
            return cx;
        }
    }
    Context::current()
}

/// See [`SpanExt::set_parent`](crate::SpanExt::set_parent).
pub(crate) fn set_parent(span: &Span, cx: Context) -> Result<(), SetParentError> {
    if let Some(result) = layer::set_parent(span, &cx) {
        return result;
    }
    #[cfg(feature = "tracing-opentelemetry")]
    {
        use tracing_opentelemetry::SetParentError as Theirs;
        Foreign::set_parent(span, cx).map_err(|error| match error {
            Theirs::AlreadyStarted => SetParentError::AlreadyStarted,
            Theirs::SpanDisabled => SetParentError::SpanDisabled,
            _ => SetParentError::LayerNotFound,
        })
    }
    #[cfg(not(feature = "tracing-opentelemetry"))]
    Err(SetParentError::LayerNotFound)
}

#[cfg(feature = "tracing-opentelemetry")]
mod foreign {
    use super::*;

    pub(crate) fn add_link(span: &Span, cx: SpanContext, attributes: Vec<KeyValue>) {
        Foreign::add_link_with_attributes(span, cx, attributes);
    }

    pub(super) fn is_recording(span: &Span) -> bool {
        Foreign::context(span).span().is_recording()
    }

    pub(super) fn set_attributes(span: &Span, attributes: impl IntoIterator<Item = KeyValue>) {
        for attribute in attributes {
            Foreign::set_attribute(span, attribute.key, attribute.value);
        }
    }

    pub(super) fn end_at(span: &Span, end: SystemTime) {
        Foreign::context(span).span().end_with_timestamp(end);
    }

    pub(crate) fn set_status(span: &Span, status: Status) {
        Foreign::set_status(span, status);
    }

    pub(crate) fn add_event(
        span: &Span,
        name: Cow<'static, str>,
        time: SystemTime,
        attributes: Vec<KeyValue>,
    ) {
        Foreign::add_event_with_timestamp(span, name, time, attributes);
    }

    pub(crate) fn update_name(span: &Span, name: Cow<'static, str>) {
        layer::mark_renamed(span);
        Foreign::context(span).span().update_name(name);
    }
}

/// Without that crate a span that no layer of ours has is nobody's.
#[cfg(not(feature = "tracing-opentelemetry"))]
mod foreign {
    use super::*;

    pub(crate) fn add_link(_: &Span, _: SpanContext, _: Vec<KeyValue>) {}
    pub(super) fn is_recording(_: &Span) -> bool {
        false
    }

    pub(super) fn set_attributes(_: &Span, _: impl IntoIterator<Item = KeyValue>) {}
    pub(super) fn end_at(_: &Span, _: SystemTime) {}
    pub(crate) fn set_status(_: &Span, _: Status) {}
    pub(crate) fn add_event(_: &Span, _: Cow<'static, str>, _: SystemTime, _: Vec<KeyValue>) {}
    pub(crate) fn update_name(_: &Span, _: Cow<'static, str>) {}
}

pub(crate) use self::foreign::{add_event, add_link, set_status, update_name};

#[cfg(all(test, feature = "testing"))]
#[path = "interop_tests.rs"]
mod tests;
