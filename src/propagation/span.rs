//! From headers to a span and back, without an OpenTelemetry context in between.

use actix_http::header::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use tracing::Span;

use super::{Carried, Field, Sent, TraceParent, extract, inject};
use crate::{interop, layer};

/// A span that [`start_span`] started.
#[derive(Debug)]
#[non_exhaustive]
pub struct StartedSpan {
    /// The span.
    pub span: Span,
    /// What to [attach](Context::attach) while the span is entered: there where no layer took the
    /// span, so that the caller's context is passed on, and where baggage came along, so that code
    /// finds it in the current context. `None` for the usual request.
    pub attach: Option<Context>,
}

/// Starts the span that `make` creates as a child of the caller whose W3C headers these are.
///
/// This is what [`ServerTracing`](crate::ServerTracing) does with each request, for code that
/// serves requests by other means. It is cheaper than a `TextMapPropagator` and
/// [`set_parent`](crate::SpanExt::set_parent): a request with ids only costs no allocation, and one
/// whose caller does not record is spared its attributes. Without a caller the span is a root.
///
/// # Examples
///
/// ```
/// use actix_web::test::TestRequest;
/// use spanbridge::propagation::{inject_span, start_span};
///
/// let incoming = TestRequest::default()
///     .insert_header(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
///     .to_http_request();
/// let started = start_span(incoming.headers(), || tracing::info_span!("job"));
/// let _attached = started.attach.map(|cx| cx.attach());
/// let _entered = started.span.entered();
///
/// let mut outgoing = awc::http::header::HeaderMap::new();
/// inject_span(&tracing::Span::current(), &mut outgoing);
/// let sent = outgoing.get("traceparent").unwrap().to_str().unwrap();
/// assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
/// ```
pub fn start_span(headers: &HeaderMap, make: impl FnOnce() -> Span) -> StartedSpan {
    let interop::Started { span, attach, .. } =
        interop::start_with_parent(extract(headers), false, make, |_, _| ());
    StartedSpan { span, attach }
}

/// Writes the W3C headers of a request that is made within `span`, over what is there.
///
/// Headers for which there is nothing to write are removed, so that none is left over from another
/// message.
pub fn inject_span(span: &Span, headers: &mut HeaderMap) {
    match interop::lone_ids(span) {
        Some(ids) => overwrite_with_ids(ids, headers),
        None => overwrite(&interop::carried_with(span), headers),
    }
}

/// Writes what is carried over what is there, of which nothing is left.
pub(crate) fn overwrite(carried: &Carried, headers: &mut HeaderMap) {
    match *carried {
        // The usual request.
        Carried { parent: Some(ids), entries: None } => overwrite_with_ids(ids, headers),
        _ => inject(carried, |field, value| match value.and_then(Sent::header_value) {
            Some(value) => put(field, value, headers),
            None => remove(field, headers),
        }),
    }
}

fn overwrite_with_ids(ids: TraceParent, headers: &mut HeaderMap) {
    put(Field::TraceParent, layer::header_value(ids), headers);
    remove(Field::TraceState, headers);
    remove(Field::Baggage, headers);
}

#[inline]
fn put(field: Field, value: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(field.into_header_name(), value);
}

fn remove(field: Field, headers: &mut HeaderMap) {
    let name = field.header_name();
    // A look costs less than a removal of nothing.
    if headers.contains_key(name) {
        headers.remove(name);
    }
}
