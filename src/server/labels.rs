//! Attributes that handlers add to metrics.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use opentelemetry::KeyValue;

use super::route::tell_route;

/// Adds attributes to the metrics of the request that is handled.
///
/// An extractor. The values should be few: each combination is a time series of its own. Where
/// requests are not measured, what is added goes nowhere.
///
/// A handler that takes it makes its route known before it answers, as with
/// [`ServerSpan`](super::ServerSpan).
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
pub struct MetricLabels(Rc<Labels>);

#[derive(Debug, Default)]
struct Labels {
    added: RefCell<Vec<KeyValue>>,
    route: RefCell<Option<String>>,
}

impl MetricLabels {
    /// Adds an attribute to what is recorded when the request ends.
    pub fn add(&self, attribute: KeyValue) {
        self.0.added.borrow_mut().push(attribute);
    }

    pub(super) fn added(&self) -> Vec<KeyValue> {
        self.0.added.borrow().clone()
    }

    pub(super) fn set_route(&self, route: String) {
        *self.0.route.borrow_mut() = Some(route);
    }

    /// The route that was taken, if the handler has told it.
    pub(super) fn route(&self) -> Option<String> {
        self.0.route.borrow().clone()
    }
}

impl FromRequest for MetricLabels {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        tell_route(request);
        let measured = request.extensions().get::<Self>().cloned();
        ready(Ok(measured.unwrap_or_default()))
    }
}
