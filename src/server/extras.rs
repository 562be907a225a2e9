//! Attributes that only some ask for.

use actix_web::HttpRequest;
use actix_web::dev::{ResponseHead, ServiceRequest};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tracing::Span;

use super::settings::Extras;
use crate::interop;
use crate::semconv::address::PeerAddress;
use crate::span_ext::SpanExt as _;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

impl Extras {
    pub(super) fn record_request(
        &self,
        request: &ServiceRequest,
        client_port: impl FnOnce() -> Option<u16>,
        span: &Span,
    ) {
        if self.network_details {
            record_network(request, client_port(), span);
        }
        if self.body_sizes
            && let Some(size) = content_length(request.headers())
        {
            span.set_attribute("http.request.body.size", saturated(size));
        }
    }

    pub(super) fn record_response(&self, request: &HttpRequest, head: &ResponseHead, span: &Span) {
        if let Some(hook) = &self.on_response {
            hook(request, head, span);
        }
    }

    pub(super) fn record_bodies(&self, read: Option<u64>, sent: Option<u64>, span: &Span) {
        if !self.body_sizes {
            return;
        }
        if let Some(read) = read {
            span.set_attribute("http.request.body.size", saturated(read));
        }
        if let Some(sent) = sent {
            span.set_attribute("http.response.body.size", saturated(sent));
        }
    }

    /// Tells the client about the span.
    pub(super) fn announce(&self, span: &Span, headers: &mut HeaderMap) {
        if self.server_timing
            && let Some(context) = interop::carried_by(span).parent
            && let Ok(value) = HeaderValue::from_str(&format!("trace;desc={context}"))
        {
            headers.append(SERVER_TIMING, value);
        }
    }
}

fn record_network(request: &ServiceRequest, client_port: Option<u16>, span: &Span) {
    if request.peer_addr().is_none() {
        // actix-web knows no addresses of other sockets, and makes one up for its own.
        span.set_attribute("network.transport", "unix");
        return;
    }
    let local = request.app_config().local_addr();
    span.set_attribute("network.transport", "tcp");
    span.set_attribute("network.local.address", PeerAddress(local.ip()).to_string());
    span.set_attribute("network.local.port", i64::from(local.port()));
    if let Some(port) = client_port {
        span.set_attribute("client.port", i64::from(port));
    }
}

/// The size that the head of a message says, if it does.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn saturated(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
