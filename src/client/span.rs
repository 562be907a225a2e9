//! One attempt's span, from `send()` to the head of the response, or to the end of its body.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use actix_http::RequestHead;
use awc::ConnectResponse;
use awc::error::SendRequestError;
use awc::http::header::{self, HeaderMap};
use awc::http::{StatusCode, Version};
use tracing::Span;
use tracing::field::{self, Empty};

use super::error_type::error_type;
use super::redirects::Attempt;
use super::settings::{Extras, Settings};
use super::timeout::is_timed_out;
use crate::interop;
#[cfg(feature = "metrics")]
use crate::metrics::{ClientMeasurement, ClientMetrics, SentRequest};
use crate::propagation::Carried;
use crate::semconv::address::{PeerAddress, default_port, host_and_port};
use crate::semconv::name::SpanName;
use crate::semconv::outcome::is_client_error;
use crate::semconv::protocol_version;
use crate::semconv::redact::RedactedUrl;
use crate::span_ext::SpanExt as _;

/// What is known of a request when it is sent.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) head: &'a RequestHead,
    /// If it is known in advance.
    pub(super) body_size: Option<u64>,
    /// Where it goes, if the caller says so.
    pub(super) address: Option<SocketAddr>,
    pub(super) template: Option<Cow<'static, str>>,
    pub(super) attempt: Attempt,
}

/// Dropping it ends the span; without a status, unless it is known that awc has given up.
#[derive(Debug)]
pub(super) struct ClientSpan {
    span: Span,
    settings: Rc<Settings>,
    /// When the first attempt was; known only where there is a use for it.
    started: Option<Instant>,
    has_head: bool,
    /// Why the request has failed, as far as the response's head tells.
    failed: Option<Failure>,
    /// Whether the response is a redirect of which it is not known whether it is followed.
    is_held: bool,
    /// What has become of the response's body, if that is through before it is known.
    early_body: Option<(u64, Option<&'static str>)>,
    ended: bool,
    #[cfg(feature = "metrics")]
    measured: Option<ClientMeasurement>,
    /// Measured as far as the response's head; how long the body is comes later.
    #[cfg(feature = "metrics")]
    to_be_sized: Option<ClientMeasurement>,
}

#[derive(Clone, Copy, Debug)]
enum Failure {
    Status(StatusCode),
    TooManyRedirects,
}

impl Failure {
    fn error_type(&self) -> &str {
        match self {
            Self::Status(status) => status.as_str(),
            Self::TooManyRedirects => "too_many_redirects",
        }
    }
}

impl ClientSpan {
    pub(super) fn start(settings: &Rc<Settings>, request: Request<'_>) -> Self {
        let started = request.attempt.started;
        let head = request.head;
        let template = LazyCell::new(|| {
            request.template.clone().or_else(|| {
                let make = settings.extras.as_ref()?.url_template.as_ref()?;
                make(head).map(Cow::Owned)
            })
        });
        let span = new_span(settings, &request, &template);
        if interop::is_enabled(&span) {
            settings.record_request(&request, &span);
        }
        #[cfg(feature = "metrics")]
        let measured = settings.metrics.as_ref().map(|metrics| {
            let template = metrics.wants_template().then(|| template.as_deref()).flatten();
            measure(metrics, settings, &request, template)
        });
        Self {
            span,
            settings: Rc::clone(settings),
            started,
            has_head: false,
            failed: None,
            is_held: false,
            early_body: None,
            ended: false,
            #[cfg(feature = "metrics")]
            measured,
            #[cfg(feature = "metrics")]
            to_be_sized: None,
        }
    }

    /// What the request is to carry.
    pub(super) fn carried(&self) -> Carried {
        interop::carried_by(&self.span)
    }

    pub(super) fn enter(&self) -> tracing::span::Entered<'_> {
        self.span.enter()
    }

    /// Records the head of a response.
    pub(super) fn respond(&mut self, response: &ConnectResponse) {
        let (status, version, headers) = match response {
            ConnectResponse::Client(response) => {
                (response.status(), response.version(), response.headers())
            }
            ConnectResponse::Tunnel(head, _) => (head.status, head.version, &head.headers),
        };
        if interop::is_enabled(&self.span) {
            self.record_head(status, version, headers);
        }
        #[cfg(feature = "metrics")]
        if let Some(measured) = &mut self.measured {
            measured.respond(status.as_u16(), protocol_version(version));
        }
        self.failed = is_client_error(status.as_u16()).then_some(Failure::Status(status));
        self.has_head = true;
    }

    /// Whether anything is done with what becomes of the response's body.
    pub(super) fn watches_body(&self) -> bool {
        #[cfg(feature = "metrics")]
        if self.measured.as_ref().is_some_and(ClientMeasurement::has_response_size) {
            return true;
        }
        self.settings.until_body_end
    }

    /// Keeps the span open until one of [`end_head`](Self::end_head) and
    /// [`end_redirects`](Self::end_redirects).
    pub(super) fn hold(&mut self) {
        self.is_held = true;
    }

    /// Ends the span with the response's head, if it ends there.
    pub(super) fn end_head(&mut self) {
        self.is_held = false;
        if !self.settings.until_body_end {
            self.end();
        }
        if let Some((received, error_type)) = self.early_body.take() {
            self.end_body(received, error_type);
        }
    }

    /// The same, where the response is a redirect that awc does not follow any more.
    pub(super) fn end_redirects(&mut self) {
        if !self.ended && self.failed.is_none() {
            let failure = Failure::TooManyRedirects;
            if interop::is_enabled(&self.span) {
                let error_type = failure.error_type();
                let span = &self.span;
                tracing::record_all!(span, otel.status_code = "error", error.type = error_type);
            }
            self.failed = Some(failure);
        }
        self.end_head();
    }

    pub(super) fn fail_with(mut self, error: &SendRequestError) {
        self.fail(error_type(error));
    }

    pub(super) fn fail(&mut self, error_type: &'static str) {
        let span = &self.span;
        // What the response was recorded with stands.
        let is_first = self.failed.is_none() && !self.ended;
        if is_first && interop::is_enabled(span) {
            tracing::record_all!(span, otel.status_code = "error", error.type = error_type);
        }
        #[cfg(feature = "metrics")]
        if is_first && let Some(measured) = self.measured.take() {
            self.to_be_sized = measured.end(Some(error_type.into()));
        }
        self.end();
    }

    /// Ends the span, if it has not, and records what has come of the response's body.
    pub(super) fn end_body(&mut self, received: u64, error_type: Option<&'static str>) {
        if self.is_held {
            self.early_body = Some((received, error_type));
            return;
        }
        if !self.ended {
            if self.settings.has_body_sizes() && interop::is_recording(&self.span) {
                self.span.set_attribute("http.response.body.size", saturated(received));
            }
            match error_type {
                Some(error_type) => self.fail(error_type),
                None => self.end(),
            }
        }
        #[cfg(feature = "metrics")]
        if let Some(measured) = self.to_be_sized.take() {
            measured.received(received);
        }
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
        // This may live on for as long as the response's body.
        self.span = Span::none();
        #[cfg(feature = "metrics")]
        if let Some(measured) = self.measured.take() {
            let failed = self.failed.map(|failure| failure.error_type().to_owned().into());
            self.to_be_sized = measured.end(failed);
        }
    }

    fn record_head(&self, status: StatusCode, version: Version, headers: &HeaderMap) {
        let span = &self.span;
        let failed = is_client_error(status.as_u16());
        tracing::record_all!(
            span,
            otel.status_code = failed.then_some("error"),
            http.response.status_code = i64::from(status.as_u16()),
            network.protocol.version = protocol_version(version),
            error.type = failed.then(|| status.as_str()),
        );
        let capture = &self.settings.http.headers;
        capture.of_response(headers, |kv| span.set_attribute(kv.key, kv.value));
        if let Some(hook) = self.settings.extras.as_ref().and_then(|x| x.on_response.as_ref()) {
            hook(status, headers, span);
        }
    }

    fn is_given_up(&self) -> bool {
        let is_late = || Some(self.started?.elapsed() >= self.settings.timeout?);
        is_timed_out() || is_late().unwrap_or(false)
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        // The time limit for the body is another one, and the caller's.
        if !self.ended {
            if !self.has_head && self.is_given_up() {
                self.fail("timeout");
            } else {
                self.end();
            }
        }
    }
}

impl Settings {
    fn record_request(&self, request: &Request<'_>, span: &Span) {
        let head = request.head;
        self.http.headers.of_request(&head.headers, |kv| span.set_attribute(kv.key, kv.value));
        if let (true, Some(size)) = (self.has_body_sizes(), request.body_size) {
            span.set_attribute("http.request.body.size", saturated(size));
        }
        if let Some(extras) = &self.extras {
            extras.record_details(head, span);
        }
        if let Some(hook) = self.extras.as_ref().and_then(|extras| extras.on_request.as_ref()) {
            hook(head, span);
        }
    }

    fn has_body_sizes(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.body_sizes)
    }
}

impl Extras {
    fn record_details(&self, head: &RequestHead, span: &Span) {
        if self.network_details {
            span.set_attribute("network.transport", "tcp");
            span.set_attribute("url.scheme", scheme(head).to_owned());
        }
        let user_agent = self.user_agent.then(|| head.headers.get(header::USER_AGENT)).flatten();
        if let Some(text) = user_agent.and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
            && !text.is_empty()
        {
            span.set_attribute("user_agent.original", text.to_owned());
        }
    }
}

fn scheme(head: &RequestHead) -> &str {
    head.uri.scheme_str().unwrap_or("http")
}

#[cfg(feature = "metrics")]
fn measure(
    metrics: &ClientMetrics,
    settings: &Settings,
    request: &Request<'_>,
    template: Option<&str>,
) -> ClientMeasurement {
    let head = request.head;
    let method = settings.http.known_methods.classify(head.method.as_str()).attribute();
    let scheme = scheme(head);
    let server = head.uri.authority().and_then(|authority| host_and_port(authority.as_str()));
    let server = server.map(|(host, port)| (host, port.or_else(|| default_port(scheme))));
    let body_size = request.body_size;
    ClientMeasurement::start(metrics, &SentRequest { method, server, template, body_size })
}

fn saturated(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn new_span<F>(
    settings: &Settings,
    request: &Request<'_>,
    template: &LazyCell<Option<Cow<'static, str>>, F>,
) -> Span
where
    F: FnOnce() -> Option<Cow<'static, str>>,
{
    if interop::is_nobody_told() {
        return Span::none();
    }
    let &Request { head, address, attempt: Attempt { resend_count, .. }, .. } = request;
    let uri = &head.uri;
    let method = settings.http.known_methods.classify(head.method.as_str());
    let scheme = scheme(head);
    // Field values are not evaluated for a span that is disabled, so what several share is lazy.
    let authority = LazyCell::new(|| match uri.authority() {
        Some(authority) => authority.as_str(),
        None => {
            let host = head.headers.get(header::HOST);
            host.and_then(|host| host.to_str().ok()).unwrap_or_default()
        }
    });
    let host = LazyCell::new(|| host_and_port(&authority));
    let port = LazyCell::new(|| host.and_then(|(_, port)| port.or_else(|| default_port(scheme))));
    // What a name is resolved to is out of sight, and a connection that is kept is not resolved.
    let peer = LazyCell::new(|| {
        address.or_else(|| {
            let (host, _) = (*host)?;
            Some(SocketAddr::new(host.parse().ok()?, (*port)?))
        })
    });
    let name = LazyCell::new(|| match template.as_deref() {
        None => Cow::Borrowed(method.in_span_name()),
        target => Cow::Owned(SpanName { method: method.in_span_name(), target }.text()),
    });

    // What is recorded late comes first: `record_all!` looks fields up in order.
    tracing::info_span!(
        target: "spanbridge::client",
        "HTTP request",
        otel.status_code = Empty,
        http.response.status_code = Empty,
        network.protocol.version = Empty,
        error.type = Empty,
        otel.name = &**name,
        otel.kind = "client",
        http.request.method = method.attribute(),
        http.request.method_original = method.original(),
        http.request.resend_count = (resend_count > 0).then_some(i64::from(resend_count)),
        network.peer.address = peer.map(|peer| field::display(PeerAddress(peer.ip()))),
        network.peer.port = peer.map(|peer| i64::from(peer.port())),
        server.address = host.map(|(address, _)| address),
        server.port = port.map(i64::from),
        url.full = %RedactedUrl {
            scheme,
            authority: &authority,
            path: uri.path(),
            query: uri.query(),
            sensitive: &settings.http.sensitive_keys,
        },
        url.template = template.as_deref(),
    )
}

#[cfg(test)]
mod tests {
    use opentelemetry_semantic_conventions::attribute;
    use tracing::subscriber::with_default;

    use super::*;

    #[test]
    fn fields_are_attributes_of_the_conventions() {
        let head = RequestHead::default();
        let head = &head;
        let attempt = Attempt::default();
        let request = Request { head, body_size: None, address: None, template: None, attempt };
        let make = || new_span(&Settings::default(), &request, &LazyCell::new(|| None));
        let span = with_default(tracing_subscriber::registry(), make);
        let metadata = span.metadata().expect("there is a subscriber");
        assert_eq!(metadata.target(), "spanbridge::client");
        let mut names: Vec<_> = metadata.fields().iter().map(|field| field.name()).collect();
        names.retain(|name| !name.starts_with("otel."));
        names.sort_unstable();
        let expected = [
            attribute::ERROR_TYPE,
            attribute::HTTP_REQUEST_METHOD,
            attribute::HTTP_REQUEST_METHOD_ORIGINAL,
            attribute::HTTP_REQUEST_RESEND_COUNT,
            attribute::HTTP_RESPONSE_STATUS_CODE,
            attribute::NETWORK_PEER_ADDRESS,
            attribute::NETWORK_PEER_PORT,
            attribute::NETWORK_PROTOCOL_VERSION,
            attribute::SERVER_ADDRESS,
            attribute::SERVER_PORT,
            attribute::URL_FULL,
            "url.template",
        ];
        assert_eq!(names, expected);
    }
}
