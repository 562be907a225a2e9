//! From a request to its span: whose child it is, and what it starts with.

use std::cell::LazyCell;
use std::net::IpAddr;
use std::time::SystemTime;

use actix_web::HttpRequest;
use actix_web::dev::ServiceRequest;
use actix_web::http::header;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;
use tracing::field::{self, Empty};
use tracing::span::Id;

use super::extract::extract;
use super::policy::Trust;
use super::request_span::{Enclosing, RequestSpan, enclosing};
use super::settings::{Extras, Settings};
use crate::interop;
use crate::propagation::Carried;
use crate::semconv::address::{address_text, host_and_port};
use crate::semconv::forwarded::{Forwarded, forwarded};
use crate::semconv::name::SpanName;
use crate::semconv::protocol_version;
use crate::semconv::redact::RedactedQuery;
use crate::span_ext::SpanExt as _;

/// Starts the span of a request that was received then, where that is known.
pub(super) fn start_request(
    settings: &Settings,
    request: &ServiceRequest,
    received: Option<SystemTime>,
) -> RequestSpan {
    let is_wanted = settings.filter.as_ref().is_none_or(|filter| filter(request));
    let trust = settings.trust.as_ref().map_or(Trust::Parent, |trust| trust(request));
    let enclosing = enclosing();
    // Further out the caller was believed, and here it is not.
    let is_cut = trust != Trust::Parent && enclosing.as_ref().is_some_and(|outer| outer.is_callers);
    let outer = enclosing.filter(|_| !is_cut);
    // Whatever is current may hold the caller's trace and baggage: further out there may also have
    // been no span to tell it by.
    let hides_current = is_cut || (outer.is_none() && trust != Trust::Parent && has_current());
    let (carried, linked) = match (&outer, trust) {
        // What the request brings along has been taken up further out.
        (Some(_), _) => (interop::carried_values(&Span::current()), None),
        (None, Trust::Parent) => (extract(settings, request.headers()), None),
        (None, Trust::Link) => (Carried::default(), Some(extract(settings, request.headers()))),
        (None, Trust::Ignore) => (Carried::default(), None),
    };
    // Only a span of its own takes the place of the span that follows the caller.
    if !is_wanted && !is_cut {
        if hides_current {
            return RequestSpan::propagate_only(Some(Context::new()));
        }
        let is_known = outer.is_some() || carried.is_empty();
        return RequestSpan::propagate_only((!is_known).then(|| carried.into_context()));
    }
    let is_callers = match &outer {
        Some(outer) => outer.is_callers,
        None => !carried.is_empty(),
    };
    let parent = outer.map(|Enclosing { span, .. }| span);
    let mut started = interop::start_with_parent(
        carried,
        parent.is_some(),
        || new_span(settings, request, parent),
        |span, is_foreign| {
            if !interop::is_enabled(span) {
                return;
            }
            if let Some(caller) = linked {
                interop::add_remote_link(span, is_foreign, caller);
            }
            if let Some(received) = received {
                interop::start_at(span, received);
            }
            settings.record_request(request, span);
        },
    );
    if hides_current && started.attach.is_none() {
        started.attach = Some(Context::new());
    }
    RequestSpan::new(started, is_callers)
}

/// Whether the current context holds anything that goes on to other services.
fn has_current() -> bool {
    Context::map_current(|cx| cx.has_active_span() || Carried::has_entries(cx))
}

impl Settings {
    /// Records what has no field: it is there when a sampler is asked.
    fn record_request(&self, request: &ServiceRequest, span: &Span) {
        let is_recorded = interop::may_be_recording(span);
        if is_recorded {
            let headers = request.headers();
            self.http.headers.of_request(headers, |kv| span.set_attribute(kv.key, kv.value));
        }
        if let Some(extras) = &self.extras {
            let client_port = || client(&told(self, request), request).and_then(|(_, port)| port);
            if is_recorded {
                extras.record_request(request, client_port, span);
            }
            if let Some(hook) = &extras.on_request {
                hook(request, span);
            }
        }
    }
}

fn new_span(settings: &Settings, request: &ServiceRequest, parent: Option<Id>) -> Span {
    if interop::is_nobody_told() {
        return Span::none();
    }
    let (uri, headers, peer) = (request.uri(), request.headers(), request.peer_addr());
    let extras = settings.extras.as_deref();
    let method = settings.http.known_methods.classify(request.method().as_str());
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
        name.or_else(|| route.is_some().then(|| usual().text()))
    });

    let peer_address = LazyCell::new(|| peer.map(|peer| address_text(peer.ip())));
    let client_address = LazyCell::new(|| match client(&told, request) {
        Some((ip, _)) if peer.is_some_and(|peer| peer.ip() == ip) => (*peer_address).clone(),
        other => other.map(|(ip, _)| address_text(ip)),
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
            field::display(RedactedQuery { query, sensitive: &settings.http.sensitive_keys })
        }),
        server.address = host.map(|(address, _)| address),
        server.port = host.and_then(|(_, port)| port).map(i64::from),
        client.address = client_address.as_deref(),
        network.peer.address = peer_address.as_deref(),
        network.peer.port = peer.map(|peer| i64::from(peer.port())),
        network.protocol.version = protocol_version(request.version()),
        user_agent.original = headers.get(header::USER_AGENT).and_then(text),
    )
}

/// What trusted proxies say of the request.
pub(super) fn told<'a>(settings: &Settings, request: &'a ServiceRequest) -> Forwarded<'a> {
    match (&settings.proxies, request.peer_addr()) {
        (Some(proxies), Some(peer)) if proxies.contains(peer.ip()) => {
            forwarded(request.headers(), |ip| proxies.contains(ip))
        }
        _ => Forwarded::default(),
    }
}

pub(super) fn connection_scheme(request: &ServiceRequest) -> &'static str {
    if request.app_config().secure() { "https" } else { "http" }
}

fn client(told: &Forwarded<'_>, request: &ServiceRequest) -> Option<(IpAddr, Option<u16>)> {
    if told.names_client {
        return told.client;
    }
    request.peer_addr().map(|peer| (peer.ip(), Some(peer.port())))
}

impl Extras {
    pub(super) fn provisional_route(&self, request: &ServiceRequest) -> Option<String> {
        let pattern = self.provisional_route.then(|| request.match_pattern()).flatten();
        pattern.filter(|pattern| !pattern.is_empty())
    }

    pub(super) fn name(&self, request: &HttpRequest, route: Option<&str>) -> Option<String> {
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
    use tracing::subscriber::with_default;

    use super::*;

    #[test]
    fn fields_are_attributes_of_the_conventions() {
        let request = TestRequest::get().to_srv_request();
        let make = || new_span(&Settings::default(), &request, None);
        let span = with_default(tracing_subscriber::registry(), make);
        let metadata = span.metadata().expect("there is a subscriber");
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
