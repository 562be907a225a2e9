//! Which spans have been given a name by hand, where a layer that is not ours records them.

use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::{LookupSpan as _, SpanRef};

/// On a span whose name is to stand.
struct Renamed;

/// Remembers that code has named the span.
pub(crate) fn mark_renamed(span: &Span) {
    with_registered(span, |span| {
        span.extensions_mut().replace(Renamed);
    });
}

/// Whether code has named the span.
pub(crate) fn is_renamed(span: &Span) -> bool {
    let found = with_registered(span, |span| span.extensions().get::<Renamed>().is_some());
    found.unwrap_or(false)
}

fn with_registered<R>(span: &Span, f: impl FnOnce(SpanRef<'_, Registry>) -> R) -> Option<R> {
    span.with_subscriber(|(id, dispatch)| dispatch.downcast_ref::<Registry>()?.span(id).map(f))?
}
