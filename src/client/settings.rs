//! What one hook is set to, shared by the requests of a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_http::RequestHead;
use awc::http::header::HeaderMap;
use awc::http::{StatusCode, Uri};
use tracing::Span;

use crate::semconv::settings::HttpSettings;

pub(super) type UrlFilter = Arc<dyn Fn(&Uri) -> bool + Send + Sync>;
pub(super) type UrlTemplate = Arc<dyn Fn(&RequestHead) -> Option<String> + Send + Sync>;
pub(super) type RequestHook = Arc<dyn Fn(&RequestHead, &Span) + Send + Sync>;
pub(super) type ResponseHook = Arc<dyn Fn(StatusCode, &HeaderMap, &Span) + Send + Sync>;

#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) http: HttpSettings,
    pub(super) propagate_to: Option<UrlFilter>,
    pub(super) timeout: Option<Duration>,
    pub(super) until_body_end: bool,
    #[cfg(feature = "metrics")]
    pub(super) metrics: Option<crate::metrics::ClientMetrics>,
    /// What most applications do not ask for: a request that has none of it pays for one look.
    pub(super) extras: Option<Box<Extras>>,
}

#[derive(Clone, Default)]
pub(super) struct Extras {
    pub(super) url_template: Option<UrlTemplate>,
    pub(super) on_request: Option<RequestHook>,
    pub(super) on_response: Option<ResponseHook>,
    pub(super) body_sizes: bool,
    pub(super) network_details: bool,
    pub(super) user_agent: bool,
}

impl Settings {
    pub(super) fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("http", &self.http)
            .field("propagate_to", &self.propagate_to.is_some())
            .field("timeout", &self.timeout)
            .field("until_body_end", &self.until_body_end)
            .field("extras", &self.extras)
            .finish()
    }
}

impl fmt::Debug for Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extras")
            .field("url_template", &self.url_template.is_some())
            .field("on_request", &self.on_request.is_some())
            .field("on_response", &self.on_response.is_some())
            .field("body_sizes", &self.body_sizes)
            .field("network_details", &self.network_details)
            .field("user_agent", &self.user_agent)
            .finish()
    }
}
