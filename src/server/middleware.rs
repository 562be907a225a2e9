//! The middleware factory and its settings.

use std::fmt;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use opentelemetry::propagation::TextMapPropagator;

use super::body::TracedBody;
use super::policy::Trust;
use super::service::ServerTracingService;

/// actix-web middleware that makes a server span for each request.
///
/// Goes on an `App`, a `Scope` or a `Resource`; see the [module](super) for examples and for what
/// the span holds. Cheap to clone: clones share their settings.
#[derive(Clone, Debug, Default)]
pub struct ServerTracing {
    settings: Settings,
}

#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) propagator: Option<Arc<dyn TextMapPropagator + Send + Sync>>,
    pub(super) filter: Option<Decision<bool>>,
    pub(super) trust: Option<Decision<Trust>>,
}

/// What an application decides about a request.
type Decision<T> = Arc<dyn Fn(&ServiceRequest) -> T + Send + Sync>;

impl ServerTracing {
    /// Middleware that follows every caller's W3C trace context and makes a span for every request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads trace context and baggage with `propagator` instead of as W3C headers.
    #[must_use]
    pub fn with_propagator(
        mut self,
        propagator: impl TextMapPropagator + Send + Sync + 'static,
    ) -> Self {
        self.settings.propagator = Some(Arc::new(propagator));
        self
    }

    /// Makes a span only for requests for which `filter` returns true.
    ///
    /// The others still pass on what they brought along: a request made by their handlers is a
    /// direct child of the caller's span. A second call replaces the first.
    #[must_use]
    pub fn filter(
        mut self,
        filter: impl Fn(&ServiceRequest) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.settings.filter = Some(Arc::new(filter));
        self
    }

    /// Lets `trust` decide for each request whether its caller's trace context is followed.
    ///
    /// Without this, every caller's is. `trust` may read what middleware further out has left in
    /// the request's extensions, such as who the caller is. Unless it returns [`Trust::Parent`],
    /// a sampler never sees the caller's decision and the caller's baggage is dropped, also for
    /// requests that [`filter`](Self::filter) leaves out. A second call replaces the first.
    #[must_use]
    pub fn public_endpoint(
        mut self,
        trust: impl Fn(&ServiceRequest) -> Trust + Send + Sync + 'static,
    ) -> Self {
        self.settings.trust = Some(Arc::new(trust));
        self
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("propagator", &self.propagator)
            .field("filter", &self.filter.is_some())
            .field("trust", &self.trust.is_some())
            .finish()
    }
}

impl<S, B> Transform<S, ServiceRequest> for ServerTracing
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<TracedBody<B>>;
    type Error = Error;
    type Transform = ServerTracingService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(ServerTracingService::new(service, Rc::new(self.settings.clone()))))
    }
}
