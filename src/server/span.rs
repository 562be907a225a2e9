//! One request's span, from the head of its response to its one end.

#[cfg(feature = "metrics")]
use std::borrow::Cow;
use std::fmt::Display;
use std::rc::Rc;
use std::thread;
#[cfg(feature = "metrics")]
use std::time::SystemTime;

use actix_web::Error;
#[cfg(feature = "metrics")]
use actix_web::HttpMessage as _;
use actix_web::body::BodySize;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use tracing::field::{self, Value};

#[cfg(feature = "metrics")]
use super::extras::content_length;
#[cfg(feature = "metrics")]
use super::labels::MetricLabels;
use super::request_body::ReadBytes;
use super::request_span::{Entered, RequestSpan};
use super::route::{Taken, matched_route};
use super::settings::Settings;
use super::start::start_request;
#[cfg(feature = "metrics")]
use super::start::{connection_scheme, told};
use super::stopping::is_worker_gone;
use super::stream::StreamWatch;
use crate::interop;
#[cfg(feature = "metrics")]
use crate::metrics::{ServerMeasurement, ServerMetrics, StartedRequest};
use crate::semconv::name::SpanName;
use crate::semconv::outcome::{is_server_error, may_have_body};
#[cfg(feature = "metrics")]
use crate::semconv::protocol_version;
use crate::span_ext::SpanExt as _;

const CLIENT_DISCONNECT: &str = "client_disconnect";
const PANIC: &str = "panic";
const RESPONSE_BODY: &str = "response_body";
const SERVER_SHUTDOWN: &str = "server_shutdown";

/// The guard of a request: dropping it ends the span, and says so if that was too early.
#[derive(Debug)]
pub(super) struct RequestGuard {
    request: RequestSpan,
    settings: Rc<Settings>,
    is_head: bool,
    /// Of a request whose length is wanted, and not known in advance.
    body: Option<ReadBytes>,
    /// Of a request over HTTP/2.
    stream: Option<StreamWatch>,
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
    /// Whether it is to take any, and to see its end.
    has_body: bool,
}

impl RequestGuard {
    pub(super) fn start(settings: &Rc<Settings>, request: &ServiceRequest) -> Self {
        let received = settings.received(request);
        Self {
            request: start_request(settings, request, received),
            settings: Rc::clone(settings),
            is_head: request.method() == Method::HEAD,
            body: None,
            stream: None,
            stage: Stage::Handling,
            #[cfg(feature = "metrics")]
            measured: settings
                .metrics
                .as_ref()
                .map(|metrics| measure(metrics, settings, request, received)),
        }
    }

    /// Counts the request's body, if anybody wants to know its length and its head does not say it,
    /// and looks after the stream that it comes on.
    pub(super) fn watch_request_body(&mut self, request: &mut ServiceRequest) {
        if self.is_watched() {
            self.stream = StreamWatch::of(request);
        }
        let extras = self.settings.extras.as_ref();
        let is_wanted = extras.is_some_and(|extras| extras.body_sizes)
            && interop::may_be_recording(self.request.span());
        #[cfg(feature = "metrics")]
        let is_wanted =
            is_wanted || self.settings.metrics.as_ref().is_some_and(ServerMetrics::has_body_sizes);
        if is_wanted {
            self.body = ReadBytes::of(request);
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
            measured.request.respond(status.as_u16());
            let route = measured.labels.route();
            measured.request.set_route(route.or_else(|| matched_route(response.request())));
        }
        let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
        let has_body = match is_upgrade {
            true => self.settings.upgrade_until_close,
            false => may_have_body(self.is_head, status.as_u16()),
        };
        let failed = is_server_error(status.as_u16()).then_some(status);
        self.stage = Stage::Sending(Sending { failed, sent: 0, has_body });
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
            self.record_taken();
            self.record_status(status, None, None::<&str>);
        }
        #[cfg(feature = "metrics")]
        if let Some(measured) = &mut self.measured {
            measured.request.respond(status.as_u16());
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
        if let Some(Measured { mut request, labels }) = self.measured.take() {
            if let Some(body) = &self.body {
                request.read(body.count());
            }
            // Known also where there was no response to tell it.
            if let Some(route) = labels.route() {
                request.set_route(Some(route));
            }
            request.end(error_type, sent, labels.added());
        }
    }

    pub(super) fn expect_body(&mut self, size: BodySize) {
        if let (Stage::Sending(sending), BodySize::None | BodySize::Sized(0)) =
            (&mut self.stage, size)
        {
            sending.has_body = false;
        }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        if let Stage::Sending(sending) = &mut self.stage {
            sending.sent += bytes as u64;
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
        let method = self.settings.http.known_methods.classify(raw).in_span_name();
        let extras = self.settings.extras.as_deref();
        let custom = extras.and_then(|extras| extras.name(request, route.as_deref()));
        // A provisional name may have to be taken back.
        let is_usual = route.is_some() || extras.is_some_and(|extras| extras.provisional_route);
        let usual = SpanName { method, target: route.as_deref() };
        let usual = (custom.is_none() && is_usual).then_some(usual);
        let (status, span) = (response.status(), self.request.span());
        if interop::may_be_recording(span) {
            let name = custom.or_else(|| usual.map(|usual| usual.text()));
            self.record_status(status, route.as_deref(), name.as_deref());
            self.rename_foreign(name.as_deref());
        } else {
            // Nobody formats it, unless some other layer wants it.
            let name: Option<&dyn Display> = match (&custom, &usual) {
                (Some(custom), _) => Some(custom),
                (None, usual) => usual.as_ref().map(|usual| usual as _),
            };
            self.record_status(status, route.as_deref(), name.map(field::display));
        }
        let headers = response.headers();
        self.settings.http.headers.of_response(headers, |kv| span.set_attribute(kv.key, kv.value));
        if let Some(extras) = extras {
            extras.record_response(response.request(), response.response().head(), span);
            extras.announce(span, response.headers_mut());
        }
    }

    fn record_status(&self, status: StatusCode, route: Option<&str>, name: Option<impl Value>) {
        let failed = is_server_error(status.as_u16());
        tracing::record_all!(
            self.request.span(),
            otel.name = name,
            otel.status_code = failed.then_some("error"),
            http.route = route,
            http.response.status_code = i64::from(status.as_u16()),
            error.type = failed.then(|| status.as_str()),
        );
    }

    /// Records the route of a request that has no response to tell it, if anything else has.
    fn record_taken(&self) {
        let Some(Taken { route, method }) = self.request.taken() else { return };
        let method = self.settings.http.known_methods.classify(method.as_str()).in_span_name();
        // A name of the user's own takes a request to make.
        let is_usual = self.settings.extras.as_ref().is_none_or(|x| x.span_name.is_none());
        let usual = is_usual.then(|| SpanName { method, target: Some(route) }.text());
        let name = usual.as_deref();
        let span = self.request.span();
        tracing::record_all!(span, otel.name = name, http.route = route.as_str());
        self.rename_foreign(name);
    }

    fn rename_foreign(&self, name: Option<&str>) {
        if let Some(name) = name
            && self.request.is_foreign()
        {
            interop::rename_entered(self.request.span(), name);
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
            if sent.is_none() {
                self.record_taken();
            }
            if let (Some(error_type), None) = (failure, failed) {
                tracing::record_all!(span, otel.status_code = "error", error.type = error_type);
            }
            if let Some(extras) = &self.settings.extras {
                extras.record_bodies(self.body.as_ref().map(ReadBytes::count), sent, span);
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
            // actix-web asks for what follows the last chunk once that is written, not before.
            Stage::Sending(Sending { has_body: false, .. }) => {
                let is_lost =
                    !thread::panicking() && self.stream.as_ref().is_some_and(StreamWatch::is_lost);
                self.end(is_lost.then_some(CLIENT_DISCONNECT));
            }
            _ if thread::panicking() => self.end(Some(PANIC)),
            _ if is_worker_gone() => self.end(Some(SERVER_SHUTDOWN)),
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
fn measure(
    metrics: &ServerMetrics,
    settings: &Settings,
    request: &ServiceRequest,
    received: Option<SystemTime>,
) -> Measured {
    let told = told(settings, request);
    // Where middleware runs below itself, handlers add to what all of it measures.
    let known = request.extensions().get::<MetricLabels>().cloned();
    let labels = known.unwrap_or_else(|| {
        let labels = MetricLabels::default();
        request.extensions_mut().insert(labels.clone());
        labels
    });
    let extras = settings.extras.as_deref();
    let request = StartedRequest {
        method: settings.http.known_methods.classify(request.method().as_str()).attribute(),
        scheme: told.scheme.unwrap_or_else(|| connection_scheme(request)),
        version: protocol_version(request.version()),
        body_size: content_length(request.headers()),
        provisional_route: extras.and_then(|extras| extras.provisional_route(request)),
        received,
    };
    Measured { request: ServerMeasurement::start(metrics, request), labels }
}
