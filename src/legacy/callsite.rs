//! The `tracing` spans and events that traces make.

use std::any::type_name;
use std::error::Error;

use opentelemetry::KeyValue;
use opentelemetry::trace::Status;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::subscriber::NoSubscriber;
use tracing::{Level, Span, dispatcher};
use tracing_core::callsite::DefaultCallsite;
use tracing_core::field::{FieldSet, Value};
use tracing_core::identify_callsite;
use tracing_core::metadata::{Kind, Metadata};

use crate::SpanExt as _;
use crate::interop;
use crate::legacy::field::{Field, FieldList};

/// Made by hand, where a macro would give every span this file as its code location.
static SPAN: DefaultCallsite = DefaultCallsite::new(&METADATA);
static METADATA: Metadata<'static> = Metadata::new(
    "legacy_trace",
    "spanbridge::legacy",
    Level::INFO,
    None,
    None,
    None,
    FieldSet::new(&["otel.name"], identify_callsite!(&SPAN)),
    Kind::SPAN,
);

/// A span that is called `name`, below `parent` or else where the thread is, if anyone wants it.
pub(super) fn span(name: &str, parent: Option<&Span>) -> Option<Span> {
    if Level::INFO > STATIC_MAX_LEVEL || Level::INFO > LevelFilter::current() {
        return None;
    }
    let interest = SPAN.interest();
    let is_enabled = interest.is_always()
        || (!interest.is_never() && dispatcher::get_default(|default| default.enabled(&METADATA)));
    if !is_enabled {
        return None;
    }
    let fields = METADATA.fields();
    let field = fields.iter().next()?;
    let values = [(&field, Some(&name as &dyn Value))];
    let values = fields.value_set(&values);
    let span = match parent.and_then(Span::id) {
        Some(parent) => Span::child_of(parent, &METADATA, &values),
        None => Span::new(&METADATA, &values),
    };
    // A callsite that every subscriber wants is not asked about where a thread has none.
    let is_somebodys = span.with_subscriber(|(_, dispatch)| !dispatch.is::<NoSubscriber>());
    is_somebodys.unwrap_or(false).then_some(span)
}

/// Gives a span the fields that its trace was started with, which are not even formatted where
/// nobody wants them.
pub(super) fn set_attributes(span: Option<&Span>, fields: &FieldList) {
    if let Some(span) = span.filter(|span| interop::is_recording(span)) {
        interop::set_attributes(span, fields.attributes());
    }
}

/// The fields of the event that an error is, after those given with it. Only the error itself is
/// formatted: it is borrowed.
pub(super) fn exception<E: Error + ?Sized>(error: &E, mut fields: FieldList) -> FieldList {
    let name = type_name::<E>();
    // Of a trait object the type is not known.
    if !name.starts_with("dyn ") {
        fields.0.push(Field::new("exception.type", name));
    }
    fields.0.push(Field::new(MESSAGE, error.to_string()));
    fields
}

/// Records an error on a span, and that it failed.
pub(super) fn add_exception(span: &Span, attributes: Vec<KeyValue>) {
    let status = exception_status(&attributes);
    span.add_event(EXCEPTION, attributes);
    span.set_status(status);
}

/// The status of a span that has an `exception` with these attributes.
pub(super) fn exception_status(attributes: &[KeyValue]) -> Status {
    let message = attributes.iter().find(|attribute| attribute.key.as_str() == MESSAGE);
    Status::error(message.map(|message| message.value.to_string()).unwrap_or_default())
}

/// The name of the event that an error is.
pub(super) const EXCEPTION: &str = "exception";
const MESSAGE: &str = "exception.message";
