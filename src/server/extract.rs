//! From the headers of a request to what they carry.

use actix_web::http::header::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::Extractor;

use super::middleware::Settings;
use crate::propagation::Carried;

pub(super) fn extract(settings: &Settings, headers: &HeaderMap) -> Carried {
    match &settings.propagator {
        None => extract_w3c(headers),
        Some(propagator) => {
            let cx = propagator.extract_with_context(&Context::new(), &RequestHeaders(headers));
            // Propagators may keep values of their own in the context.
            Carried { entries: Some(cx.clone()), ..Carried::from_context(&cx) }
        }
    }
}

/// The W3C headers.
fn extract_w3c(headers: &HeaderMap) -> Carried {
    use opentelemetry::propagation::TextMapPropagator as _;
    use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

    let headers = RequestHeaders(headers);
    let cx = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    Carried::from_context(&BaggagePropagator::new().extract_with_context(&cx, &headers))
}

struct RequestHeaders<'a>(&'a HeaderMap);

impl Extractor for RequestHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
