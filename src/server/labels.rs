//! Attributes that handlers add to metrics.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use opentelemetry::KeyValue;

/// Adds attributes to the metrics of the request that is handled.
///
/// An extractor. The values should be few: each combination is a time series of its own. Where
/// requests are not measured, what is added goes nowhere.
///
/// # Examples
///
/// ```
/// use actix_web::HttpResponse;
/// use opentelemetry::KeyValue;
/// use spanbridge::server::MetricLabels;
///
/// async fn order(labels: MetricLabels) -> HttpResponse {
///     labels.add(KeyValue::new("customer.tier", "gold"));
///     HttpResponse::Ok().finish()
/// }
/// # let _ = actix_web::web::get().to(order);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MetricLabels(Rc<RefCell<Vec<KeyValue>>>);

impl MetricLabels {
    /// Adds an attribute to what is recorded when the request ends.
    pub fn add(&self, attribute: KeyValue) {
        self.0.borrow_mut().push(attribute);
    }

    pub(super) fn added(&self) -> Vec<KeyValue> {
        self.0.borrow().clone()
    }
}

impl FromRequest for MetricLabels {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(request.extensions().get::<Self>().cloned().unwrap_or_default()))
    }
}
