//! The server span, for handlers and other middleware.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use tracing::Span;

use super::request_span::innermost;
use super::route::tell_route;

/// The span of the request that is handled, whatever span is current.
///
/// An extractor for handlers, and by [`current`](Self::current) for everything that they and
/// middleware call. Where a request has no span, or there is no [`ServerTracing`] around, this is a
/// disabled span: what is recorded on it goes nowhere.
///
/// A handler that takes it makes its route known before it answers. So the span and what is measured
/// have `http.route` also if there is no response, because the handler panics, say, or the client
/// leaves. actix-web itself tells the route with the response.
///
/// # Examples
///
/// ```
/// use actix_web::{HttpResponse, web};
/// use spanbridge::SpanExt as _;
/// use spanbridge::server::ServerSpan;
///
/// async fn order(span: ServerSpan, id: web::Path<u32>) -> HttpResponse {
///     span.set_attribute("order.id", i64::from(*id));
///     HttpResponse::Ok().finish()
/// }
/// # let _ = web::get().to(order);
/// ```
///
/// [`ServerTracing`]: super::ServerTracing
#[derive(Clone, Debug)]
pub struct ServerSpan(Span);

impl ServerSpan {
    /// The span of the request that this thread works on right now; the innermost one where the
    /// middleware runs below itself.
    pub fn current() -> Self {
        Self(innermost().map_or_else(Span::none, |request| request.span.clone()))
    }

    /// The span alone.
    pub fn into_inner(self) -> Span {
        self.0
    }
}

impl Deref for ServerSpan {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.0
    }
}

impl FromRequest for ServerSpan {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        tell_route(request);
        ready(Ok(Self::current()))
    }
}
