//! Instruments for outgoing requests.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, MeterProvider};

use super::{duration, meter};

/// Measures outgoing requests. Clones share their instruments.
///
/// See the [module](super) for what is measured.
#[derive(Clone, Debug)]
pub struct ClientMetrics(Arc<Histogram<f64>>);

impl ClientMetrics {
    /// Measures `http.client.request.duration`.
    pub fn new(provider: &impl MeterProvider) -> Self {
        let name = "http.client.request.duration";
        let duration = duration(&meter(provider), name, "Duration of HTTP client requests.");
        Self(Arc::new(duration))
    }
}

/// One attempt to send a request.
#[derive(Debug)]
pub(crate) struct ClientMeasurement {
    metrics: ClientMetrics,
    started: Instant,
    attributes: Vec<KeyValue>,
}

impl ClientMeasurement {
    /// `method` is `_OTHER` for methods that are not known.
    pub(crate) fn start(
        metrics: &ClientMetrics,
        method: &str,
        server: Option<(&str, Option<u16>)>,
    ) -> Self {
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new("http.request.method", method.to_owned()));
        if let Some((address, port)) = server {
            attributes.push(KeyValue::new("server.address", address.to_owned()));
            attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
        }
        Self { metrics: metrics.clone(), started: Instant::now(), attributes }
    }

    pub(crate) fn respond(&mut self, status: u16, version: Option<&'static str>) {
        self.attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
        let version = version.map(|v| KeyValue::new("network.protocol.version", v));
        self.attributes.extend(version);
    }

    pub(crate) fn end(mut self, error_type: Option<Cow<'static, str>>) {
        self.attributes.extend(error_type.map(|error| KeyValue::new("error.type", error)));
        self.metrics.0.record(self.started.elapsed().as_secs_f64(), &self.attributes);
    }
}
