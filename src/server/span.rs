//! One request's span, from its start to its one end.

use std::cell::LazyCell;
use std::thread;

use actix_web::Error;
use actix_web::body::BodySize;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use tracing::Span;
use tracing::field::{self, Empty};
use tracing::span::Id;

use super::extract::extract;
use super::middleware::Settings;
use super::policy::Trust;
use super::request_span::{Entered, RequestSpan, enclosing};
use super::route::matched_route;
use crate::interop;
use crate::propagation::Carried;
use crate::semconv::address::{PeerAddress, host_and_port};
use crate::semconv::method::RequestMethod;
use crate::semconv::name::SpanName;
use crate::semconv::outcome::{is_server_error, may_have_body};
use crate::semconv::protocol_version;
use crate::semconv::redact::RedactedQuery;

const CLIENT_DISCONNECT: &str = "client_disconnect";
const PANIC: &str = "panic";
const RESPONSE_BODY: &str = "response_body";

/// The guard of a request: dropping it ends the span, and says so if that was too early.
#[derive(Debug)]
pub(super) struct ServerSpan {
    request: RequestSpan,
    method: &'static str,
    is_head: bool,
    stage: Stage,
}

/// How far the request has come.
#[derive(Debug)]
enum Stage {
    /// There is no response yet.
    Handling,
    /// The head of the response is known; this much of its body is left, if that can be told.
    Sending { left: Option<u64>, failed: bool },
    /// All that is to be recorded has been.
    Ended,
}

impl ServerSpan {
    pub(super) fn start(settings: &Settings, request: &ServiceRequest) -> Self {
        let method = RequestMethod::new(request.method().as_str());
        Self {
            request: start_request(settings, request, method),
            method: method.in_span_name(),
            is_head: request.method() == Method::HEAD,
            stage: Stage::Handling,
        }
    }

    pub(super) fn enter(&self) -> Entered<'_> {
        self.request.enter()
    }

    /// Records the head of a response. The guard comes back if its body is still to be watched.
    pub(super) fn respond<B>(mut self, response: &ServiceResponse<B>) -> Option<Self> {
        let status = response.status();
        if interop::is_recording(self.request.span()) {
            self.record_response(status, matched_route(response.request()).as_deref());
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            // What follows is not this request; its body lives as long as the socket.
            self.stage = Stage::Ended;
            return None;
        }
        let left = (!may_have_body(self.is_head, status.as_u16())).then_some(0);
        self.stage = Stage::Sending { left, failed: is_server_error(status.as_u16()) };
        (!self.request.is_inert()).then_some(self)
    }

    /// Records an error that is turned into a response further out, where its body is out of sight.
    pub(super) fn respond_with_error(mut self, error: &Error) {
        if interop::is_recording(self.request.span()) {
            // Not `status_code()`: error types may override only the method that is used here.
            self.record_response(error.error_response().status(), None);
        }
        self.stage = Stage::Ended;
    }

    pub(super) fn expect_body(&mut self, size: BodySize) {
        if let Stage::Sending { left: left @ None, .. } = &mut self.stage {
            *left = match size {
                BodySize::None => Some(0),
                BodySize::Sized(n) => Some(n),
                BodySize::Stream => None,
            };
        }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        if let Stage::Sending { left: Some(left), .. } = &mut self.stage {
            *left = left.saturating_sub(bytes as u64);
        }
    }

    pub(super) fn body_ended(&mut self) {
        self.stage = Stage::Ended;
    }

    pub(super) fn body_failed(&mut self) {
        self.end_with(RESPONSE_BODY);
    }

    fn record_response(&self, status: StatusCode, route: Option<&str>) {
        let span = self.request.span();
        let name = SpanName { method: self.method, target: route };
        let failed = is_server_error(status.as_u16());
        tracing::record_all!(
            span,
            otel.name = route.map(|_| field::display(name)),
            otel.status_code = failed.then_some("error"),
            http.route = route,
            http.response.status_code = i64::from(status.as_u16()),
            error.type = failed.then(|| status.as_str()),
        );
        if route.is_some() && self.request.is_foreign() {
            interop::rename_entered(span, &name);
        }
    }

    /// Ends with a failure, unless the response has been recorded as one already.
    fn end_with(&mut self, error_type: &'static str) {
        let recorded = matches!(self.stage, Stage::Sending { failed: true, .. } | Stage::Ended);
        self.stage = Stage::Ended;
        let span = self.request.span();
        if !recorded && interop::is_recording(span) {
            tracing::record_all!(span, otel.status_code = "error", error.type = error_type);
        }
    }
}

impl Drop for ServerSpan {
    fn drop(&mut self) {
        match self.stage {
            Stage::Ended | Stage::Sending { left: Some(0), .. } => {}
            _ if thread::panicking() => self.end_with(PANIC),
            _ => self.end_with(CLIENT_DISCONNECT),
        }
    }
}

fn start_request(
    settings: &Settings,
    request: &ServiceRequest,
    method: RequestMethod<'_>,
) -> RequestSpan {
    let is_wanted = settings.filter.as_ref().is_none_or(|filter| filter(request));
    let trust = settings.trust.as_ref().map_or(Trust::Parent, |trust| trust(request));
    let (carried, linked) = match trust {
        Trust::Parent => (extract(settings, request.headers()), None),
        Trust::Link => (Carried::default(), extract(settings, request.headers()).parent),
        Trust::Ignore => (Carried::default(), None),
    };
    if !is_wanted {
        return RequestSpan::propagate_only((!carried.is_empty()).then(|| carried.into_context()));
    }
    let enclosing = enclosing();
    let started = interop::start_with_parent(carried, enclosing.is_some(), || {
        new_span(request, method, enclosing)
    });
    if let Some(caller) = linked {
        interop::add_remote_link(&started, caller);
    }
    RequestSpan::from(started)
}

fn new_span(request: &ServiceRequest, method: RequestMethod<'_>, parent: Option<Id>) -> Span {
    let (uri, headers) = (request.uri(), request.headers());
    // Field values are not evaluated for a span that is disabled, so what two of them share is lazy.
    let host = LazyCell::new(|| {
        let authority = match uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => headers.get(header::HOST).and_then(text),
        };
        authority.and_then(host_and_port)
    });
    let peer = request.peer_addr();

    // What is recorded late comes first: `record_all!` looks fields up in order.
    tracing::info_span!(
        target: "spanbridge::server",
        parent: parent,
        "HTTP request",
        otel.name = method.in_span_name(),
        otel.status_code = Empty,
        http.route = Empty,
        http.response.status_code = Empty,
        error.type = Empty,
        otel.kind = "server",
        http.request.method = method.attribute(),
        http.request.method_original = method.original(),
        url.scheme = if request.app_config().secure() { "https" } else { "http" },
        url.path = uri.path(),
        url.query = uri.query().filter(|query| !query.is_empty()).map(|q| field::display(RedactedQuery(q))),
        server.address = host.map(|(address, _)| address),
        server.port = host.and_then(|(_, port)| port).map(i64::from),
        client.address = peer.map(|peer| field::display(PeerAddress(peer.ip()))),
        network.peer.address = peer.map(|peer| field::display(PeerAddress(peer.ip()))),
        network.peer.port = peer.map(|peer| i64::from(peer.port())),
        network.protocol.version = protocol_version(request.version()),
        user_agent.original = headers.get(header::USER_AGENT).and_then(text),
    )
}

/// Header text that is worth recording.
fn text(value: &header::HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use opentelemetry_semantic_conventions::attribute;

    use super::*;

    #[test]
    fn fields_are_attributes_of_the_conventions() {
        let span = new_span(&TestRequest::get().to_srv_request(), RequestMethod::new("GET"), None);
        let metadata = span.metadata().expect("a span that is disabled keeps its metadata");
        assert_eq!(metadata.target(), "spanbridge::server");
        let mut names: Vec<_> = metadata.fields().iter().map(|field| field.name()).collect();
        names.retain(|name| !name.starts_with("otel."));
        names.sort_unstable();
        let expected = [
            attribute::CLIENT_ADDRESS,
            attribute::ERROR_TYPE,
            attribute::HTTP_REQUEST_METHOD,
            attribute::HTTP_REQUEST_METHOD_ORIGINAL,
            attribute::HTTP_RESPONSE_STATUS_CODE,
            attribute::HTTP_ROUTE,
            attribute::NETWORK_PEER_ADDRESS,
            attribute::NETWORK_PEER_PORT,
            attribute::NETWORK_PROTOCOL_VERSION,
            attribute::SERVER_ADDRESS,
            attribute::SERVER_PORT,
            attribute::URL_PATH,
            attribute::URL_QUERY,
            attribute::URL_SCHEME,
            attribute::USER_AGENT_ORIGINAL,
        ];
        assert_eq!(names, expected);
    }
}
