//! Instruments for outgoing requests.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter, MeterProvider, UpDownCounter};

use super::{active, duration, meter, sizes};

/// Measures outgoing requests. Clones share their instruments.
///
/// See the [module](super) for what is measured.
#[derive(Clone, Debug)]
pub struct ClientMetrics(Arc<Instruments>);

#[derive(Clone, Debug)]
struct Instruments {
    meter: Meter,
    duration: Histogram<f64>,
    has_template: bool,
    active: Option<UpDownCounter<i64>>,
    request_size: Option<Histogram<u64>>,
    response_size: Option<Histogram<u64>>,
}

impl ClientMetrics {
    /// Measures `http.client.request.duration`.
    pub fn new(provider: &impl MeterProvider) -> Self {
        let meter = meter(provider);
        let name = "http.client.request.duration";
        let duration = duration(&meter, name, "Duration of HTTP client requests.");
        Self(Arc::new(Instruments {
            meter,
            duration,
            has_template: false,
            active: None,
            request_size: None,
            response_size: None,
        }))
    }

    /// Also counts the requests that are under way: `http.client.active_requests`. A request is no
    /// longer when its span ends.
    #[must_use]
    pub fn with_active_requests(mut self) -> Self {
        let instruments = Arc::make_mut(&mut self.0);
        let name = "http.client.active_requests";
        instruments.active =
            Some(active(&instruments.meter, name, "Number of active HTTP requests."));
        self
    }

    /// Also measures `http.client.request.body.size`, of requests whose length is known in advance,
    /// and `http.client.response.body.size`, of responses when they have been read or dropped.
    #[must_use]
    pub fn with_body_sizes(mut self) -> Self {
        let instruments = Arc::make_mut(&mut self.0);
        let size = |name, description| Some(sizes(&instruments.meter, name, description));
        let request = size("http.client.request.body.size", "Size of HTTP client request bodies.");
        let response =
            size("http.client.response.body.size", "Size of HTTP client response bodies.");
        (instruments.request_size, instruments.response_size) = (request, response);
        self
    }

    /// Also puts the `url.template` that a request is given on its duration, where the conventions
    /// leave it to the user.
    #[must_use]
    pub fn with_url_template(mut self) -> Self {
        Arc::make_mut(&mut self.0).has_template = true;
        self
    }

    /// Whether anything but a duration is measured: a template is of use then.
    pub(crate) fn wants_template(&self) -> bool {
        let Instruments { has_template, active, request_size, .. } = &*self.0;
        *has_template || active.is_some() || request_size.is_some()
    }
}

/// What is known of a request when it is sent.
#[derive(Debug)]
pub(crate) struct SentRequest<'a> {
    /// `_OTHER` for methods that are not known.
    pub(crate) method: &'a str,
    pub(crate) server: Option<(&'a str, Option<u16>)>,
    pub(crate) template: Option<&'a str>,
    pub(crate) body_size: Option<u64>,
}

/// One attempt to send a request.
#[derive(Debug)]
pub(crate) struct ClientMeasurement {
    metrics: ClientMetrics,
    started: Instant,
    /// Those of active requests, and then what else is known.
    attributes: Vec<KeyValue>,
    active_attributes: usize,
    has_template: bool,
    body_size: Option<u64>,
    is_active: bool,
}

impl ClientMeasurement {
    pub(crate) fn start(metrics: &ClientMetrics, request: &SentRequest<'_>) -> Self {
        let mut attributes = Vec::with_capacity(7);
        // The first, so that it can be left out.
        let template = request.template.filter(|_| metrics.wants_template());
        attributes.extend(template.map(|t| KeyValue::new("url.template", t.to_owned())));
        attributes.push(KeyValue::new("http.request.method", request.method.to_owned()));
        if let Some((address, port)) = request.server {
            attributes.push(KeyValue::new("server.address", address.to_owned()));
            attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
        }
        if let Some(active) = &metrics.0.active {
            active.add(1, &attributes);
        }
        Self {
            metrics: metrics.clone(),
            started: Instant::now(),
            active_attributes: attributes.len(),
            attributes,
            has_template: template.is_some(),
            body_size: request.body_size,
            is_active: true,
        }
    }

    pub(crate) fn respond(&mut self, status: u16, version: Option<&'static str>) {
        self.attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
        let version = version.map(|v| KeyValue::new("network.protocol.version", v));
        self.attributes.extend(version);
    }

    /// Whether it is to be told how long the response's body is.
    pub(crate) fn has_response_size(&self) -> bool {
        self.metrics.0.response_size.is_some()
    }

    /// Ends the request, and gives back what is to be told when the response's body is through.
    pub(crate) fn end(mut self, error_type: Option<Cow<'static, str>>) -> Option<Self> {
        self.attributes.extend(error_type.map(|error| KeyValue::new("error.type", error)));
        let instruments = &*self.metrics.0;
        let is_left_out = self.has_template && !instruments.has_template;
        let attributes = &self.attributes[usize::from(is_left_out)..];
        instruments.duration.record(self.started.elapsed().as_secs_f64(), attributes);
        if let (Some(histogram), Some(size)) = (&instruments.request_size, self.body_size) {
            histogram.record(size, &self.attributes);
        }
        self.deactivate();
        self.has_response_size().then_some(self)
    }

    /// Records how much of the response's body has come.
    pub(crate) fn received(self, size: u64) {
        if let Some(histogram) = &self.metrics.0.response_size {
            histogram.record(size, &self.attributes);
        }
    }

    fn deactivate(&mut self) {
        if std::mem::take(&mut self.is_active)
            && let Some(active) = &self.metrics.0.active
        {
            active.add(-1, &self.attributes[..self.active_attributes]);
        }
    }
}

impl Drop for ClientMeasurement {
    fn drop(&mut self) {
        self.deactivate();
    }
}
