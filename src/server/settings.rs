//! What one middleware is set to, shared by the requests of a worker.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use actix_web::HttpRequest;
use actix_web::dev::{ResponseHead, ServiceRequest};
use tracing::Span;

use super::policy::Trust;
use super::proxies::TrustedProxies;
use crate::semconv::settings::HttpSettings;

/// What an application decides about a request.
pub(super) type Decision<T> = Arc<dyn Fn(&ServiceRequest) -> T + Send + Sync>;

/// Names a span, given the route as far as it is known; `None` for the usual name.
pub(super) type SpanNameFormatter =
    Arc<dyn Fn(&HttpRequest, Option<&str>) -> Option<String> + Send + Sync>;

pub(super) type RequestHook = Arc<dyn Fn(&ServiceRequest, &Span) + Send + Sync>;
pub(super) type ResponseHook = Arc<dyn Fn(&HttpRequest, &ResponseHead, &Span) + Send + Sync>;

#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) http: HttpSettings,
    pub(super) filter: Option<Decision<bool>>,
    pub(super) trust: Option<Decision<Trust>>,
    pub(super) proxies: Option<TrustedProxies>,
    pub(super) upgrade_until_close: bool,
    #[cfg(feature = "metrics")]
    pub(super) metrics: Option<crate::metrics::ServerMetrics>,
    /// What most applications do not ask for: a request that has none of it pays for one look.
    pub(super) extras: Option<Box<Extras>>,
}

#[derive(Clone, Default)]
pub(super) struct Extras {
    pub(super) received: Option<Decision<Option<SystemTime>>>,
    pub(super) span_name: Option<SpanNameFormatter>,
    pub(super) on_request: Option<RequestHook>,
    pub(super) on_response: Option<ResponseHook>,
    pub(super) provisional_route: bool,
    pub(super) network_details: bool,
    pub(super) body_sizes: bool,
    pub(super) server_timing: bool,
}

impl Settings {
    pub(super) fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// When the request was received, if that is known and not in the future, where the clock of
    /// another machine may be.
    pub(super) fn received(&self, request: &ServiceRequest) -> Option<SystemTime> {
        let received = self.extras.as_ref()?.received.as_ref()?(request)?;
        (received <= SystemTime::now()).then_some(received)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("http", &self.http)
            .field("filter", &self.filter.is_some())
            .field("trust", &self.trust.is_some())
            .field("proxies", &self.proxies.is_some())
            .field("upgrade_until_close", &self.upgrade_until_close)
            .field("extras", &self.extras)
            .finish()
    }
}

impl fmt::Debug for Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extras")
            .field("received", &self.received.is_some())
            .field("span_name", &self.span_name.is_some())
            .field("on_request", &self.on_request.is_some())
            .field("on_response", &self.on_response.is_some())
            .field("provisional_route", &self.provisional_route)
            .field("network_details", &self.network_details)
            .field("body_sizes", &self.body_sizes)
            .field("server_timing", &self.server_timing)
            .finish()
    }
}
