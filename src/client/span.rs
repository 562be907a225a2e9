//! One attempt's span, from `send()` to the head of the response.

use std::cell::LazyCell;

use actix_http::RequestHead;
use awc::error::SendRequestError;
use awc::http::header;
use awc::http::{StatusCode, Version};
use awc::{ConnectRequest, ConnectResponse};
use tracing::Span;
use tracing::field::Empty;

use super::error_type::error_type;
use crate::interop;
use crate::propagation::Carried;
use crate::semconv::address::{default_port, host_and_port};
use crate::semconv::method::KnownMethods;
use crate::semconv::outcome::is_client_error;
use crate::semconv::protocol_version;
use crate::semconv::redact::RedactedUrl;

/// Dropping it ends the span; without a status, if there was no response.
#[derive(Debug)]
pub(super) struct ClientSpan(Span);

impl ClientSpan {
    pub(super) fn start(request: &ConnectRequest) -> Self {
        Self(match request {
            ConnectRequest::Client(head, ..) => new_span(head.as_ref()),
            ConnectRequest::Tunnel(head, _) => new_span(head),
        })
    }

    /// What the request is to carry.
    pub(super) fn carried(&self) -> Carried {
        interop::carried_by(&self.0)
    }

    pub(super) fn enter(&self) -> tracing::span::Entered<'_> {
        self.0.enter()
    }

    pub(super) fn respond(self, result: &Result<ConnectResponse, SendRequestError>) {
        if !interop::is_recording(&self.0) {
            return;
        }
        match result {
            Ok(ConnectResponse::Client(response)) => {
                self.record_response(response.status(), response.version());
            }
            Ok(ConnectResponse::Tunnel(head, _)) => self.record_response(head.status, head.version),
            Err(error) => {
                let span = &self.0;
                tracing::record_all!(
                    span,
                    otel.status_code = "error",
                    error.type = error_type(error),
                );
            }
        }
    }

    fn record_response(&self, status: StatusCode, version: Version) {
        let span = &self.0;
        let failed = is_client_error(status.as_u16());
        tracing::record_all!(
            span,
            otel.status_code = failed.then_some("error"),
            http.response.status_code = i64::from(status.as_u16()),
            network.protocol.version = protocol_version(version),
            error.type = failed.then(|| status.as_str()),
        );
    }
}

fn new_span(head: &RequestHead) -> Span {
    let uri = &head.uri;
    let known = KnownMethods::default();
    let method = known.classify(head.method.as_str());
    let sensitive = crate::semconv::redact::SensitiveKeys::default();
    let scheme = uri.scheme_str().unwrap_or("http");
    // Field values are not evaluated for a span that is disabled, so what several share is lazy.
    let authority = LazyCell::new(|| match uri.authority() {
        Some(authority) => authority.as_str(),
        None => {
            let host = head.headers.get(header::HOST);
            host.and_then(|host| host.to_str().ok()).unwrap_or_default()
        }
    });
    let host = LazyCell::new(|| host_and_port(&authority));

    // What is recorded late comes first: `record_all!` looks fields up in order.
    tracing::info_span!(
        target: "spanbridge::client",
        "HTTP request",
        otel.status_code = Empty,
        http.response.status_code = Empty,
        network.protocol.version = Empty,
        error.type = Empty,
        otel.name = method.in_span_name(),
        otel.kind = "client",
        http.request.method = method.attribute(),
        http.request.method_original = method.original(),
        server.address = host.map(|(address, _)| address),
        server.port = host.and_then(|(_, port)| port.or_else(|| default_port(scheme))).map(i64::from),
        url.full = %RedactedUrl {
            scheme,
            authority: &authority,
            path: uri.path(),
            query: uri.query(),
            sensitive: &sensitive,
        },
    )
}

#[cfg(test)]
mod tests {
    use opentelemetry_semantic_conventions::attribute;

    use super::*;

    #[test]
    fn fields_are_attributes_of_the_conventions() {
        let span = new_span(&RequestHead::default());
        let metadata = span.metadata().expect("a span that is disabled keeps its metadata");
        assert_eq!(metadata.target(), "spanbridge::client");
        let mut names: Vec<_> = metadata.fields().iter().map(|field| field.name()).collect();
        names.retain(|name| !name.starts_with("otel."));
        names.sort_unstable();
        let expected = [
            attribute::ERROR_TYPE,
            attribute::HTTP_REQUEST_METHOD,
            attribute::HTTP_REQUEST_METHOD_ORIGINAL,
            attribute::HTTP_RESPONSE_STATUS_CODE,
            attribute::NETWORK_PROTOCOL_VERSION,
            attribute::SERVER_ADDRESS,
            attribute::SERVER_PORT,
            attribute::URL_FULL,
        ];
        assert_eq!(names, expected);
    }
}
