//! Instruments for incoming requests.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter, MeterProvider, UpDownCounter};

use super::{active, duration, meter, since, sizes};

/// Measures incoming requests. Clones share their instruments.
///
/// See the [module](super) for what is measured.
#[derive(Clone, Debug)]
pub struct ServerMetrics(Arc<Instruments>);

#[derive(Clone, Debug)]
struct Instruments {
    meter: Meter,
    duration: Histogram<f64>,
    active: Option<UpDownCounter<i64>>,
    request_size: Option<Histogram<u64>>,
    response_size: Option<Histogram<u64>>,
}

impl ServerMetrics {
    /// Measures `http.server.request.duration`.
    pub fn new(provider: &impl MeterProvider) -> Self {
        let meter = meter(provider);
        let name = "http.server.request.duration";
        let duration = duration(&meter, name, "Duration of HTTP server requests.");
        let (active, request_size, response_size) = (None, None, None);
        Self(Arc::new(Instruments { meter, duration, active, request_size, response_size }))
    }

    /// Also counts the requests that are being handled: `http.server.active_requests`.
    #[must_use]
    pub fn with_active_requests(mut self) -> Self {
        let instruments = Arc::make_mut(&mut self.0);
        let name = "http.server.active_requests";
        let active = active(&instruments.meter, name, "Number of active HTTP server requests.");
        instruments.active = Some(active);
        self
    }

    /// Also measures `http.server.request.body.size`, as far as it was read where a request does
    /// not say it in advance, and `http.server.response.body.size`.
    #[must_use]
    pub fn with_body_sizes(mut self) -> Self {
        let instruments = Arc::make_mut(&mut self.0);
        let size = |name, description| Some(sizes(&instruments.meter, name, description));
        let request = size("http.server.request.body.size", "Size of HTTP server request bodies.");
        let response =
            size("http.server.response.body.size", "Size of HTTP server response bodies.");
        (instruments.request_size, instruments.response_size) = (request, response);
        self
    }

    pub(crate) fn has_body_sizes(&self) -> bool {
        self.0.request_size.is_some()
    }
}

/// What is known of a request when it starts.
#[derive(Debug)]
pub(crate) struct StartedRequest<'a> {
    /// `_OTHER` for methods that are not known.
    pub(crate) method: &'a str,
    pub(crate) scheme: &'static str,
    pub(crate) version: Option<&'static str>,
    pub(crate) body_size: Option<u64>,
    /// Where the request's path leads to, if that is wanted before it is routed.
    pub(crate) provisional_route: Option<String>,
    /// If that was before now.
    pub(crate) received: Option<SystemTime>,
}

/// One request; it counts as active until it is dropped.
#[derive(Debug)]
pub(crate) struct ServerMeasurement {
    metrics: ServerMetrics,
    started: Instant,
    /// Method and scheme, and then what else is known.
    attributes: Vec<KeyValue>,
    route: Option<String>,
    body_size: Option<u64>,
}

/// The number of attributes that the count of active requests has.
const ACTIVE_ATTRIBUTES: usize = 2;

impl ServerMeasurement {
    pub(crate) fn start(metrics: &ServerMetrics, request: StartedRequest<'_>) -> Self {
        let mut attributes = Vec::with_capacity(8);
        attributes.push(KeyValue::new("http.request.method", request.method.to_owned()));
        attributes.push(KeyValue::new("url.scheme", request.scheme));
        if let Some(active) = &metrics.0.active {
            active.add(1, &attributes);
        }
        attributes.extend(request.version.map(|v| KeyValue::new("network.protocol.version", v)));
        Self {
            metrics: metrics.clone(),
            started: since(request.received),
            attributes,
            route: request.provisional_route,
            body_size: request.body_size,
        }
    }

    /// How much of the request's body was read, where its head does not say how long it is.
    pub(crate) fn read(&mut self, size: u64) {
        self.body_size = Some(size);
    }

    pub(crate) fn respond(&mut self, status: u16) {
        self.attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
    }

    /// Which route the request took, in place of the provisional one.
    pub(crate) fn set_route(&mut self, route: Option<String>) {
        self.route = route;
    }

    /// `response_size` is that of the body, where there was a response.
    pub(crate) fn end(
        mut self,
        error_type: Option<Cow<'static, str>>,
        response_size: Option<u64>,
        labels: impl IntoIterator<Item = KeyValue>,
    ) {
        let route = self.route.take().map(|route| KeyValue::new("http.route", route));
        let error_type = error_type.map(|error| KeyValue::new("error.type", error));
        self.attributes.extend(route);
        self.attributes.extend(error_type);
        self.attributes.extend(labels);
        let instruments = &*self.metrics.0;
        instruments.duration.record(self.started.elapsed().as_secs_f64(), &self.attributes);
        for (histogram, size) in [
            (&instruments.request_size, self.body_size),
            (&instruments.response_size, response_size),
        ] {
            if let (Some(histogram), Some(size)) = (histogram, size) {
                histogram.record(size, &self.attributes);
            }
        }
    }
}

impl Drop for ServerMeasurement {
    fn drop(&mut self) {
        if let Some(active) = &self.metrics.0.active {
            active.add(-1, &self.attributes[..ACTIVE_ATTRIBUTES]);
        }
    }
}
