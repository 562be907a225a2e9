//! The hook's factory.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::RequestHead;
use actix_service::Service;
use awc::http::header::HeaderMap;
use awc::http::{StatusCode, Uri};
use awc::middleware::Transform;
use awc::{ConnectRequest, ConnectResponse, error::SendRequestError};
use tracing::Span;

use super::service::ClientTracingService;
use super::settings::Settings;
use crate::semconv::settings::{HttpSettings, http_setters};

/// awc hook that makes a client span for each request and injects its context.
///
/// Goes to [`awc::ClientBuilder::wrap`]; see the [module](super) for examples and for what the span
/// holds. Cheap to clone: clones share their settings.
///
/// Trace context and baggage that a request has already, because they were set by hand or copied
/// from an incoming request, are replaced by what the span carries, and removed where there is
/// nothing to carry: no layer makes spans, say, and the caller was not to be followed.
///
/// Of two calls of one method the second replaces the first. What is to hold for some requests only
/// is said by [`RequestTracing`](super::RequestTracing).
#[derive(Clone, Debug)]
pub struct ClientTracing {
    settings: Settings,
}

impl ClientTracing {
    /// A hook that writes trace context and baggage as W3C headers.
    ///
    /// Which methods are known is read from `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`, if it is set.
    pub fn new() -> Self {
        let http = HttpSettings::from_env();
        Self { settings: Settings { http, ..Settings::default() } }
    }

    http_setters! {
        propagator: "Writes trace context and baggage with `propagator` instead of as W3C headers.",
        request_headers: "Headers that awc adds by itself, such as `Host`, are not seen."
    }

    /// Passes trace context and baggage on only where `wanted` returns true: to the services that
    /// belong together, say, and not to those of others.
    ///
    /// The other requests have their spans, and lose trace context and baggage that were set by
    /// hand or copied from an incoming request.
    #[must_use]
    pub fn propagate_to(mut self, wanted: impl Fn(&Uri) -> bool + Send + Sync + 'static) -> Self {
        self.settings.propagate_to = Some(Arc::new(wanted));
        self
    }

    /// Records what `template` makes of a request as `url.template`, and names the span after it.
    ///
    /// [`RequestTracing::with_url_template`](super::RequestTracing::with_url_template) says it for
    /// a single request, and wins.
    #[must_use]
    pub fn with_url_template(
        mut self,
        template: impl Fn(&RequestHead) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.settings.extras_mut().url_template = Some(Arc::new(template));
        self
    }

    /// Calls `hook` with each request and its new span, to set attributes, say.
    #[must_use]
    pub fn on_request(
        mut self,
        hook: impl Fn(&RequestHead, &Span) + Send + Sync + 'static,
    ) -> Self {
        self.settings.extras_mut().on_request = Some(Arc::new(hook));
        self
    }

    /// Calls `hook` with status and headers of each response and the span of its request.
    #[must_use]
    pub fn on_response(
        mut self,
        hook: impl Fn(StatusCode, &HeaderMap, &Span) + Send + Sync + 'static,
    ) -> Self {
        self.settings.extras_mut().on_response = Some(Arc::new(hook));
        self
    }

    /// Takes requests that are dropped after this long, redirects included, for ones that awc has
    /// given up.
    ///
    /// awc's own time limit, of five seconds by default, is out of sight for a hook: it looks like
    /// a caller that lost interest, which is no error. Give the client's limit here, or use
    /// [`RecordTimeout`](super::RecordTimeout), which does not have to guess.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// Ends the span when the response's body has been read, has failed, or is dropped, and not
    /// with the head of the response.
    ///
    /// A body that fails is recorded as `body_read`. One that is kept and not read keeps its span
    /// open.
    #[must_use]
    pub fn with_end_at_body_end(mut self, wanted: bool) -> Self {
        self.settings.until_body_end = wanted;
        self
    }

    /// Adds the opt-in attributes `http.request.body.size`, where the length is known in advance,
    /// and, for a span that [ends with the body](Self::with_end_at_body_end),
    /// `http.response.body.size`: what has come, as it is on the wire.
    #[must_use]
    pub fn with_body_sizes(mut self, wanted: bool) -> Self {
        self.settings.extras_mut().body_sizes = wanted;
        self
    }

    /// Adds the opt-in attributes `network.transport`, which is `tcp` as in awc's own connector,
    /// and `url.scheme`.
    #[must_use]
    pub fn with_network_details(mut self, wanted: bool) -> Self {
        self.settings.extras_mut().network_details = wanted;
        self
    }

    /// Adds the opt-in attribute `user_agent.original` to requests that have the header, which awc
    /// does not add by itself.
    #[must_use]
    pub fn with_user_agent(mut self, wanted: bool) -> Self {
        self.settings.extras_mut().user_agent = wanted;
        self
    }

    /// Measures each request, whether it has a span or not.
    ///
    /// Give clones of one [`ClientMetrics`](crate::metrics::ClientMetrics) to all clients.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn with_metrics(mut self, metrics: crate::metrics::ClientMetrics) -> Self {
        self.settings.metrics = Some(metrics);
        self
    }
}

impl Default for ClientTracing {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Transform<S, ConnectRequest> for ClientTracing
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError>,
{
    type Transform = ClientTracingService<S>;

    fn new_transform(self, service: S) -> Self::Transform {
        ClientTracingService::new(service, Rc::new(self.settings))
    }
}
