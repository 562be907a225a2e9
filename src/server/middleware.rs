//! The middleware factory.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use actix_web::body::MessageBody;
use actix_web::dev::{ResponseHead, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::{Error, HttpRequest};
use tracing::Span;

use super::body::TracedBody;
use super::policy::Trust;
use super::proxies::TrustedProxies;
use super::service::ServerTracingService;
use super::settings::Settings;
use crate::semconv::settings::{HttpSettings, http_setters};

/// actix-web middleware that makes a server span for each request.
///
/// Goes on an `App`, a `Scope` or a `Resource`; see the [module](super) for examples and for what
/// the span holds. Cheap to clone: clones share their settings.
///
/// Of two calls of one method the second replaces the first.
#[derive(Clone, Debug)]
pub struct ServerTracing {
    settings: Settings,
}

impl ServerTracing {
    /// Middleware that follows every caller's W3C trace context and makes a span for every request.
    ///
    /// Which methods are known is read from `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`, if it is set.
    pub fn new() -> Self {
        let http = HttpSettings::from_env();
        Self { settings: Settings { http, ..Settings::default() } }
    }

    http_setters! {
        propagator: "Reads trace context and baggage with `propagator` instead of as W3C headers.",
        request_headers: "Each line of a header is an element of the attribute's value. Samplers \
                          see them."
    }

    /// Makes a span only for requests for which `filter` returns true.
    ///
    /// The others still pass on what they brought along: a request made by their handlers is a
    /// direct child of the caller's span. For health checks there is
    /// [`is_health_check`](super::is_health_check).
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
    /// requests that [`filter`](Self::filter) leaves out. Where middleware further out has followed
    /// the caller, such a request has a span of its own all the same: nothing else would take the
    /// place of the one that is in the caller's trace.
    #[must_use]
    pub fn public_endpoint(
        mut self,
        trust: impl Fn(&ServiceRequest) -> Trust + Send + Sync + 'static,
    ) -> Self {
        self.settings.trust = Some(Arc::new(trust));
        self
    }

    /// Believes the `Forwarded` and `X-Forwarded-*` headers of requests that come from `proxies`.
    ///
    /// They then say what `client.address`, `url.scheme`, `server.address` and `server.port` are.
    /// Without this they are not looked at, since anybody can send them.
    ///
    /// The client is the first address from the right that is not one of `proxies`: each proxy
    /// appends the address of its own peer. Where that proxy hides the address, the client's is
    /// not recorded. What the proxies have to do for that, see [`TrustedProxies`].
    #[must_use]
    pub fn with_trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.settings.proxies = Some(proxies);
        self
    }

    /// Begins spans, and what is measured, when `received` says that their request was received.
    ///
    /// Without this, where it says nothing, and where it says a time in the future, that is when
    /// this middleware sees the request. Middleware further out may have left the time in the
    /// request's extensions; a load balancer's word is read by
    /// [`TrustedProxies::request_start`](super::TrustedProxies::request_start).
    ///
    /// tracing-opentelemetry's layer cannot be told: its spans begin as they would, and only what is
    /// measured begins earlier.
    ///
    /// # Examples
    ///
    /// ```
    /// use spanbridge::ServerTracing;
    /// use spanbridge::server::TrustedProxies;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let proxies = TrustedProxies::from_networks(["10.0.0.0/8"])?;
    /// let tracing = ServerTracing::new()
    ///     .with_trusted_proxies(proxies.clone())
    ///     .with_start_time(move |request| proxies.request_start(request));
    /// # let _ = tracing;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_start_time(
        mut self,
        received: impl Fn(&ServiceRequest) -> Option<SystemTime> + Send + Sync + 'static,
    ) -> Self {
        self.settings.extras_mut().received = Some(Arc::new(received));
        self
    }

    /// Names spans as `format` says; as usual where that is nothing.
    ///
    /// It is called when the span starts, without a route unless there is a [provisional
    /// one](Self::with_provisional_route), and again with the route that was taken. What
    /// middleware further out has left in the request's extensions is there both times. Names
    /// should be few: never put a path into one.
    #[must_use]
    pub fn with_span_name_formatter(
        mut self,
        format: impl Fn(&HttpRequest, Option<&str>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.settings.extras_mut().span_name = Some(Arc::new(format));
        self
    }

    /// Calls `hook` with each request and its new span, to set attributes, say. Samplers see them.
    #[must_use]
    pub fn on_request(
        mut self,
        hook: impl Fn(&ServiceRequest, &Span) + Send + Sync + 'static,
    ) -> Self {
        self.settings.extras_mut().on_request = Some(Arc::new(hook));
        self
    }

    /// Calls `hook` with the head of each response and the span of its request.
    ///
    /// Not for a request that an error ends which no middleware further in has turned into a
    /// response.
    #[must_use]
    pub fn on_response(
        mut self,
        hook: impl Fn(&HttpRequest, &ResponseHead, &Span) + Send + Sync + 'static,
    ) -> Self {
        self.settings.extras_mut().on_response = Some(Arc::new(hook));
        self
    }

    /// Gives the span the route that the request's path leads to when it starts, for samplers and
    /// for what is logged before the response.
    ///
    /// After routing it is replaced by the route that was taken. Where the guards of all resources
    /// refuse a request the attribute keeps the provisional value. So it does, and so does what is
    /// measured, where there is no response, or one that is made of an error further out, unless the
    /// handler takes a [`ServerSpan`](super::ServerSpan): actix-web tells the route with the
    /// response. Costs a second look at the routes for each request,
    /// sampled or not, which about doubles what this middleware costs.
    #[must_use]
    pub fn with_provisional_route(mut self, wanted: bool) -> Self {
        self.settings.extras_mut().provisional_route = wanted;
        self
    }

    /// Adds the opt-in attributes `client.port`, `network.local.address`, `network.local.port` and
    /// `network.transport`.
    ///
    /// The local address is the one that actix-web was bound to.
    #[must_use]
    pub fn with_network_details(mut self, wanted: bool) -> Self {
        self.settings.extras_mut().network_details = wanted;
        self
    }

    /// Adds the opt-in attributes `http.request.body.size`, as the request says it or, where it does
    /// not, as much as was read of it, and `http.response.body.size`, as much of it as actix-web has
    /// taken.
    ///
    /// A body whose length is not said in advance is counted through a box.
    #[must_use]
    pub fn with_body_sizes(mut self, wanted: bool) -> Self {
        self.settings.extras_mut().body_sizes = wanted;
        self
    }

    /// Tells clients about the span: a `server-timing` header of the form
    /// `trace;desc=00-<trace id>-<span id>-<flags>` is added to each response that passes through
    /// this middleware.
    ///
    /// Not where an error ends the request that no middleware further in has turned into a
    /// response: it becomes one further out.
    #[must_use]
    pub fn with_server_timing(mut self, wanted: bool) -> Self {
        self.settings.extras_mut().server_timing = wanted;
        self
    }

    /// Ends the span of a request that switches protocols (a WebSocket) when the socket closes,
    /// and not at the handshake.
    #[must_use]
    pub fn with_upgrades_until_close(mut self, wanted: bool) -> Self {
        self.settings.upgrade_until_close = wanted;
        self
    }

    /// Measures each request, whether it has a span or not.
    ///
    /// Give clones of one [`ServerMetrics`](crate::metrics::ServerMetrics) to all workers.
    /// Handlers add attributes by [`MetricLabels`](super::MetricLabels). That, a
    /// [`ServerSpan`](super::ServerSpan), or a [provisional
    /// route](Self::with_provisional_route), gives an `http.route` also to requests without a
    /// response.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn with_metrics(mut self, metrics: crate::metrics::ServerMetrics) -> Self {
        self.settings.metrics = Some(metrics);
        self
    }
}

impl Default for ServerTracing {
    fn default() -> Self {
        Self::new()
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
