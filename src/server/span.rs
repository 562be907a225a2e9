//! One request's span, from its start to its one end.

#[cfg(feature = "metrics")]
use std::borrow::Cow;
use std::cell::LazyCell;
use std::fmt::Display;
use std::net::IpAddr;
use std::rc::Rc;
use std::thread;

use actix_web::Error;
#[cfg(feature = "metrics")]
use actix_web::HttpMessage as _;
use actix_web::body::BodySize;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use tracing::Span;
use tracing::field::{self, Empty};
use tracing::span::Id;

use super::extract::extract;
#[cfg(feature = "metrics")]
use super::extras::content_length;
#[cfg(feature = "metrics")]
use super::labels::MetricLabels;
use super::policy::Trust;
use super::request_span::{Entered, RequestSpan, enclosing};
use super::route::matched_route;
use super::settings::{Extras, Settings};
use crate::interop;
#[cfg(feature = "metrics")]
use crate::metrics::{ServerMeasurement, ServerMetrics, StartedRequest};
use crate::propagation::Carried;
use crate::semconv::address::{PeerAddress, host_and_port};
use crate::semconv::forwarded::{Forwarded, forwarded};
use crate::semconv::name::SpanName;
use crate::semconv::outcome::{is_server_error, may_have_body};
use crate::semconv::protocol_version;
use crate::semconv::redact::RedactedQuery;

const CLIENT_DISCONNECT: &str = "client_disconnect";
const PANIC: &str = "panic";
const RESPONSE_BODY: &str = "response_body";

/// The guard of a request: dropping it ends the span, and says so if that was too early.
#[derive(Debug)]
pub(super) struct RequestGuard {
    request: RequestSpan,
    settings: Rc<Settings>,
    is_head: bool,
    stage: Stage,
    #[cfg(feature = "metrics")]
    measured: Option<Measured>,
}

/// How far the request has come.
#[derive(Debug)]
enum Stage {
    /// There is no response yet.
    Handling,
    /// The head of the response is known.
    Sending(Sending),
    /// All that is to be recorded has been.
    Ended,
}

#[derive(Debug)]
struct Sending {
    /// The status, if it is a failure.
    failed: Option<StatusCode>,
    /// How much of the body actix-web has taken.
    sent: u64,
    /// How much it has not, if that can be told.
    left: Option<u64>,
}

impl RequestGuard {
    pub(super) fn start(settings: &Rc<Settings>, request: &ServiceRequest) -> Self {
        Self {
            request: start_request(settings, request),
            settings: Rc::clone(settings),
            is_head: request.method() == Method::HEAD,
            stage: Stage::Handling,
            #[cfg(feature = "metrics")]
            measured: settings.metrics.as_ref().map(|metrics| measure(metrics, settings, request)),
        }
    }

    pub(super) fn enter(&self) -> Entered<'_> {
        self.request.enter()
    }

    /// Records the head of a response. The guard comes back if its body is still to be watched.
    pub(super) fn respond<B>(mut self, response: &mut ServiceResponse<B>) -> Option<Self> {
        let status = response.status();
        if interop::is_enabled(self.request.span()) {
            self.record_response(response);
        }
        #[cfg(feature = "metrics")]
        if let Some(measured) = &mut self.measured {
            measured.request.respond(status.as_u16(), matched_route(response.request()));
        }
        let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
        let has_body = match is_upgrade {
            true => self.settings.upgrade_until_close,
            false => may_have_body(self.is_head, status.as_u16()),
        };
        let failed = is_server_error(status.as_u16()).then_some(status);
        let left = (!has_body).then_some(0);
        self.stage = Stage::Sending(Sending { failed, sent: 0, left });
        if is_upgrade && !has_body {
            // What follows is not this request; its body lives as long as the socket.
            self.end(None);
            return None;
        }
        self.is_watched().then_some(self)
    }

    /// Records an error that is turned into a response further out, where its body is out of sight.
    pub(super) fn respond_with_error(mut self, error: &Error) {
        if !self.is_watched() {
            self.stage = Stage::Ended;
            return;
        }
        // Not `status_code()`: error types may override only the method that is used here.
        let status = error.error_response().status();
        if interop::is_enabled(self.request.span()) {
            self.record_status(status, None, None);
        }
        #[cfg(feature = "metrics")]
        if let Some(measured) = &mut self.measured {
            measured.request.respond(status.as_u16(), None);
            let failed = is_server_error(status.as_u16());
            let error_type = failed.then(|| status.as_str().to_owned().into());
            self.end_measured(error_type, None);
        }
        self.stage = Stage::Ended;
    }

    /// Whether anything is done with what becomes of the request.
    fn is_watched(&self) -> bool {
        #[cfg(feature = "metrics")]
        if self.measured.is_some() {
            return true;
        }
        !self.request.is_inert()
    }

    #[cfg(feature = "metrics")]
    fn end_measured(&mut self, error_type: Option<Cow<'static, str>>, sent: Option<u64>) {
        if let Some(Measured { request, labels }) = self.measured.take() {
            request.end(error_type, sent, labels.take());
        }
    }

    pub(super) fn expect_body(&mut self, size: BodySize) {
        if let Stage::Sending(Sending { left: left @ None, .. }) = &mut self.stage {
            *left = match size {
                BodySize::None => Some(0),
                BodySize::Sized(n) => Some(n),
                BodySize::Stream => None,
            };
        }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        if let Stage::Sending(Sending { sent, left, .. }) = &mut self.stage {
            *sent += bytes as u64;
            if let Some(left) = left {
                *left = left.saturating_sub(bytes as u64);
            }
        }
    }

    pub(super) fn body_ended(&mut self) {
        self.end(None);
    }

    pub(super) fn body_failed(&mut self) {
        self.end(Some(RESPONSE_BODY));
    }

    fn record_response<B>(&self, response: &mut ServiceResponse<B>) {
        let request = response.request();
        let route = matched_route(request);
        let raw = request.method().as_str();
        let method = self.settings.known_methods.classify(raw).in_span_name();
        let extras = self.settings.extras.as_deref();
        let custom = extras.and_then(|extras| extras.name(request, route.as_deref()));
        let usual = SpanName { method, target: route.as_deref() };
        // A provisional name may have to be taken back.
        let is_usual = route.is_some() || extras.is_some_and(|extras| extras.provisional_route);
        let name: Option<&dyn Display> = match &custom {
            Some(custom) => Some(custom),
            None => is_usual.then_some(&usual),
        };
        self.record_status(response.status(), route.as_deref(), name);
        if let Some(extras) = extras {
            let span = self.request.span();
            extras.record_response(response.request(), response.response().head(), span);
            extras.announce(span, response.headers_mut());
        }
    }

    fn record_status(&self, status: StatusCode, route: Option<&str>, name: Option<&dyn Display>) {
        let span = self.request.span();
        let failed = is_server_error(status.as_u16());
        tracing::record_all!(
            span,
            otel.name = name.map(field::display),
            otel.status_code = failed.then_some("error"),
            http.route = route,
            http.response.status_code = i64::from(status.as_u16()),
            error.type = failed.then(|| status.as_str()),
        );
        if let Some(name) = name
            && self.request.is_foreign()
        {
            interop::rename_entered(span, name);
        }
    }

    /// Ends the request; with a failure, unless the response has been recorded as one already.
    fn end(&mut self, failure: Option<&'static str>) {
        let sending = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Handling => None,
            Stage::Sending(sending) => Some(sending),
            Stage::Ended => return,
        };
        // The status that the response was recorded with stands.
        let failed = sending.as_ref().and_then(|sending| sending.failed);
        // A HEAD's body is taken and not sent.
        let sent = sending.map(|sending| if self.is_head { 0 } else { sending.sent });
        let span = self.request.span();
        if interop::is_enabled(span) {
            if let (Some(error_type), None) = (failure, failed) {
                tracing::record_all!(span, otel.status_code = "error", error.type = error_type);
            }
            if let (Some(extras), Some(sent)) = (&self.settings.extras, sent) {
                extras.record_body(sent, span);
            }
        }
        #[cfg(feature = "metrics")]
        if self.measured.is_some() {
            let status = failed.map(|status| status.as_str().to_owned().into());
            self.end_measured(status.or_else(|| failure.map(Cow::Borrowed)), sent);
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        match self.stage {
            Stage::Ended => {}
            Stage::Sending(Sending { left: Some(0), .. }) => self.end(None),
            _ if thread::panicking() => self.end(Some(PANIC)),
            _ => self.end(Some(CLIENT_DISCONNECT)),
        }
    }
}

/// A request that is measured, and what handlers add.
#[cfg(feature = "metrics")]
#[derive(Debug)]
struct Measured {
    request: ServerMeasurement,
    labels: MetricLabels,
}

#[cfg(feature = "metrics")]
fn measure(metrics: &ServerMetrics, settings: &Settings, request: &ServiceRequest) -> Measured {
    let told = told(settings, request);
    let labels = MetricLabels::default();
    request.extensions_mut().insert(labels.clone());
    let request = StartedRequest {
        method: settings.known_methods.classify(request.method().as_str()).attribute(),
        scheme: told.scheme.unwrap_or_else(|| connection_scheme(request)),
        version: protocol_version(request.version()),
        body_size: content_length(request.headers()),
    };
    Measured { request: ServerMeasurement::start(metrics, &request), labels }
}

fn start_request(settings: &Settings, request: &ServiceRequest) -> RequestSpan {
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
        new_span(settings, request, enclosing)
    });
    if let Some(caller) = linked {
        interop::add_remote_link(&started, caller);
    }
    if let Some(extras) = &settings.extras
        && interop::is_enabled(&started.span)
    {
        let client_port = || client(&told(settings, request), request).and_then(|(_, port)| port);
        extras.record_request(request, client_port, &started.span);
    }
    RequestSpan::from(started)
}

fn new_span(settings: &Settings, request: &ServiceRequest, parent: Option<Id>) -> Span {
    let (uri, headers, peer) = (request.uri(), request.headers(), request.peer_addr());
    let extras = settings.extras.as_deref();
    let method = settings.known_methods.classify(request.method().as_str());
    // Field values are not evaluated for a span that is disabled, so what several share is lazy.
    let told = LazyCell::new(|| told(settings, request));
    let host = LazyCell::new(|| {
        let authority = match (told.host, uri.authority()) {
            (Some(host), _) => Some(host),
            (None, Some(authority)) => Some(authority.as_str()),
            (None, None) => headers.get(header::HOST).and_then(text),
        };
        authority.and_then(host_and_port)
    });
    let route = LazyCell::new(|| extras.and_then(|extras| extras.provisional_route(request)));
    let name = LazyCell::new(|| {
        let extras = extras?;
        let name = extras.name(request.request(), route.as_deref());
        let usual = || SpanName { method: method.in_span_name(), target: route.as_deref() };
        name.or_else(|| route.is_some().then(|| usual().to_string()))
    });

    // What is recorded late comes first: `record_all!` looks fields up in order.
    tracing::info_span!(
        target: "spanbridge::server",
        parent: parent,
        "HTTP request",
        otel.name = name.as_deref().unwrap_or_else(|| method.in_span_name()),
        otel.status_code = Empty,
        http.route = route.as_deref(),
        http.response.status_code = Empty,
        error.type = Empty,
        otel.kind = "server",
        http.request.method = method.attribute(),
        http.request.method_original = method.original(),
        url.scheme = told.scheme.unwrap_or_else(|| connection_scheme(request)),
        url.path = uri.path(),
        url.query = uri.query().filter(|query| !query.is_empty()).map(|query| {
            field::display(RedactedQuery { query, sensitive: &settings.sensitive_keys })
        }),
        server.address = host.map(|(address, _)| address),
        server.port = host.and_then(|(_, port)| port).map(i64::from),
        client.address = client(&told, request).map(|(ip, _)| field::display(PeerAddress(ip))),
        network.peer.address = peer.map(|peer| field::display(PeerAddress(peer.ip()))),
        network.peer.port = peer.map(|peer| i64::from(peer.port())),
        network.protocol.version = protocol_version(request.version()),
        user_agent.original = headers.get(header::USER_AGENT).and_then(text),
    )
}

/// What trusted proxies say of the request.
fn told<'a>(settings: &Settings, request: &'a ServiceRequest) -> Forwarded<'a> {
    match (&settings.proxies, request.peer_addr()) {
        (Some(proxies), Some(peer)) if proxies.contains(peer.ip()) => {
            forwarded(request.headers(), |ip| proxies.contains(ip))
        }
        _ => Forwarded::default(),
    }
}

fn connection_scheme(request: &ServiceRequest) -> &'static str {
    if request.app_config().secure() { "https" } else { "http" }
}

fn client(told: &Forwarded<'_>, request: &ServiceRequest) -> Option<(IpAddr, Option<u16>)> {
    if told.names_client {
        return told.client;
    }
    request.peer_addr().map(|peer| (peer.ip(), Some(peer.port())))
}

impl Extras {
    fn provisional_route(&self, request: &ServiceRequest) -> Option<String> {
        let pattern = self.provisional_route.then(|| request.match_pattern()).flatten();
        pattern.filter(|pattern| !pattern.is_empty())
    }

    fn name(&self, request: &actix_web::HttpRequest, route: Option<&str>) -> Option<String> {
        self.span_name.as_ref().and_then(|format| format(request, route))
    }
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
        let request = TestRequest::get().to_srv_request();
        let span = new_span(&Settings::default(), &request, None);
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
