//! The hook's factory and its settings.

use std::sync::Arc;

use actix_service::Service;
use awc::middleware::Transform;
use awc::{ConnectRequest, ConnectResponse, error::SendRequestError};
use opentelemetry::propagation::TextMapPropagator;

use super::service::ClientTracingService;

/// awc hook that makes a client span for each request and injects its context.
///
/// Goes to [`awc::ClientBuilder::wrap`]; see the [module](super) for examples and for what the span
/// holds. Cheap to clone: clones share their settings.
#[derive(Clone, Debug, Default)]
pub struct ClientTracing {
    settings: Settings,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) propagator: Option<Arc<dyn TextMapPropagator + Send + Sync>>,
}

impl ClientTracing {
    /// A hook that writes trace context and baggage as W3C headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes trace context and baggage with `propagator` instead.
    #[must_use]
    pub fn with_propagator(
        mut self,
        propagator: impl TextMapPropagator + Send + Sync + 'static,
    ) -> Self {
        self.settings.propagator = Some(Arc::new(propagator));
        self
    }
}

impl<S> Transform<S, ConnectRequest> for ClientTracing
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError>,
{
    type Transform = ClientTracingService<S>;

    fn new_transform(self, service: S) -> Self::Transform {
        ClientTracingService::new(service, self.settings)
    }
}
