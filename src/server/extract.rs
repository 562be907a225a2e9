//! From the headers of a request to what they carry.

use actix_web::http::header::HeaderMap;
use opentelemetry::Context;

use super::settings::Settings;
use crate::propagation::{self, Carried, HeaderExtractor};

pub(super) fn extract(settings: &Settings, headers: &HeaderMap) -> Carried {
    match &settings.http.propagator {
        None => propagation::extract(headers),
        Some(propagator) => {
            let carrier = HeaderExtractor(headers);
            Carried::from_other(propagator.extract_with_context(&Context::new(), &carrier))
        }
    }
}
