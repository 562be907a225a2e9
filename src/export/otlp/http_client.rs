//! OTLP over HTTP with protobuf bodies, through hyper.

use std::error::Error;
use std::io::Read as _;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzEncoder;
use http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    USER_AGENT as USER_AGENT_HEADER,
};
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message as _;

use super::connector::{Connector, LastWords};
use super::delivery::{Cause, Delivered, Failure, KeptConnection, Retry, chain};
use super::request::Request;
use super::response::{ExportResponse, RpcStatus};
use super::{USER_AGENT, not_allowed, tls};
use crate::config::Protocol;
use crate::config::endpoint::{CollectorAddress, TcpAddress};
use crate::config::settings::Settings;

/// More of an answer is not read.
const MAX_RESPONSE: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
    last_words: LastWords,
    uri: Uri,
    headers: HeaderMap,
    is_gzip: bool,
    connection: KeptConnection,
}

impl Http {
    pub(super) fn new(settings: &Settings, timeout: Duration) -> Result<Self, String> {
        let address = match &settings.endpoint {
            None => &TcpAddress::localhost(),
            Some(CollectorAddress::Tcp(address)) => address,
            Some(CollectorAddress::Unix(_) | CollectorAddress::UnixAbstract(_)) => {
                return Err("OTLP over HTTP does not reach Unix domain sockets; \
                            use gRPC (OTEL_EXPORTER_OTLP_PROTOCOL=grpc) or a URL"
                    .to_owned());
            }
        };
        let url = address.url(Protocol::HttpProtobuf);
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let config = tls::client_config(&settings.otlp.tls, address.is_tls())?;
        let connector = Connector::new(uri.clone(), config, timeout);
        let last_words = connector.last_words();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        let is_gzip = settings.otlp.is_gzip;
        if is_gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in &settings.otlp.headers {
            let key = HeaderName::from_bytes(name.as_bytes());
            let (Ok(key), Ok(mut value)) = (key, HeaderValue::from_str(value)) else {
                return Err(not_allowed(name));
            };
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let client = Client::builder(TokioExecutor::new())
            // Collectors and balancers commonly close idle connections after a minute.
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .build(connector);
        let connection = KeptConnection::default();
        Ok(Self { client, last_words, uri, headers, is_gzip, connection })
    }

    pub(super) async fn send(&self, request: Request) -> Result<Delivered, Failure> {
        let message = request.into_message();
        let body = if self.is_gzip { gzip(&message) } else { message };
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        // What an earlier request did not ask for is not this one's.
        self.last_words.take();
        let response = self.client.request(request).await.map_err(|error| {
            Failure::of_connection(&error, self.last_words.take(), &self.connection)
        })?;
        self.connection.answered();
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_RESPONSE).collect().await;
        let body = body.map(|body| body.to_bytes());
        if head.status.is_success() {
            return delivered(head.headers.get(CONTENT_TYPE), body);
        }
        // An answer that breaks off, or is too long to be one, still has its status.
        Err(failure(head.status, &head.headers, &body.unwrap_or_default()))
    }
}

/// Whether an answer with a status of success is a collector's: a proxy in front of one says 200 to
/// a page of its own, too.
fn delivered(
    kind: Option<&HeaderValue>,
    body: Result<Bytes, Box<dyn Error + Send + Sync>>,
) -> Result<Delivered, Failure> {
    let failed = |problem, retry, cause| Err(Failure { problem, retry, cause });
    let body = match body {
        // In every form that there is: nothing to say.
        Ok(body) if body.is_empty() => return Ok(Delivered::default()),
        Ok(body) => body,
        Err(error) if error.is::<LengthLimitError>() => {
            let problem = format!("the answer is longer than {MAX_RESPONSE} bytes, so not OTLP");
            return failed(problem, Retry::No, Cause::Other);
        }
        // The spans are most likely there, and would be there twice.
        Err(error) => {
            let problem = format!("the answer broke off: {}", chain(&*error));
            return failed(problem, Retry::No, Cause::Other);
        }
    };
    let is = |name: &str| kind.is_none_or(|kind| kind.as_bytes().starts_with(name.as_bytes()));
    let response = if is("application/x-protobuf") {
        ExportResponse::decode(body).map_err(|error| error.to_string())
    } else if is("application/json") {
        ExportResponse::from_json(&body).map_err(|error| error.to_string())
    } else {
        let kind = kind.map_or(&b""[..], HeaderValue::as_bytes).escape_ascii();
        let problem = format!(
            "the answer is {kind} and not OTLP, though of HTTP status 200: \
             is a collector at this address, and does it take OTLP over HTTP there?"
        );
        return failed(problem, Retry::No, Cause::Access);
    };
    match response {
        Ok(response) => Ok(response.into()),
        Err(error) => failed(format!("the answer is not OTLP: {error}"), Retry::No, Cause::Other),
    }
}

/// Which statuses are worth a retry: the OTLP specification, "OTLP/HTTP, failures".
fn failure(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Failure {
    let retry = match status.as_u16() {
        429 | 502 | 503 | 504 => match headers.get(RETRY_AFTER).and_then(delay) {
            Some(delay) => Retry::After(delay),
            None => Retry::Soon,
        },
        _ => Retry::No,
    };
    let message = RpcStatus::decode(body.clone()).map(|status| status.message).unwrap_or_default();
    let cause = match status.as_u16() {
        300..=399 | 401 | 403..=405 | 407 | 415 | 501 => Cause::Access,
        413 => Cause::Size,
        // What becomes of a body over Go's limit in the OpenTelemetry Collector.
        400 if message.contains("too large") => Cause::Size,
        _ => Cause::Other,
    };
    let separator = if message.is_empty() { "" } else { ": " };
    Failure { problem: format!("HTTP status {status}{separator}{message}"), retry, cause }
}

/// Seconds, or a date.
fn delay(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// At the fastest level: the collector is mostly near, and the processor is the service's.
fn gzip(message: &[u8]) -> Bytes {
    let mut packed = Vec::with_capacity(message.len() / 4);
    // Memory is read and written without fail.
    let _ = GzEncoder::new(message, Compression::fast()).read_to_end(&mut packed);
    packed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Retry = Retry::After(Duration::from_secs(7));

    #[test]
    fn each_status_is_tried_again_or_not_as_the_specification_says() {
        // What is done without `Retry-After`, and with it.
        for (status, without, with, cause) in [
            (301, Retry::No, Retry::No, Cause::Access),
            (400, Retry::No, Retry::No, Cause::Other),
            (401, Retry::No, Retry::No, Cause::Access),
            (403, Retry::No, Retry::No, Cause::Access),
            (404, Retry::No, Retry::No, Cause::Access),
            (405, Retry::No, Retry::No, Cause::Access),
            (407, Retry::No, Retry::No, Cause::Access),
            (408, Retry::No, Retry::No, Cause::Other),
            (413, Retry::No, Retry::No, Cause::Size),
            (415, Retry::No, Retry::No, Cause::Access),
            (429, Retry::Soon, PAUSE, Cause::Other),
            (500, Retry::No, Retry::No, Cause::Other),
            (501, Retry::No, Retry::No, Cause::Access),
            (502, Retry::Soon, PAUSE, Cause::Other),
            (503, Retry::Soon, PAUSE, Cause::Other),
            (504, Retry::Soon, PAUSE, Cause::Other),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let mut headers = HeaderMap::new();
            let named = failure(status, &headers, &Bytes::new());
            assert_eq!((named.retry, named.cause), (without, cause), "{status}");
            assert_eq!(named.problem, format!("HTTP status {status}"));
            headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
            let asked = failure(status, &headers, &Bytes::new());
            assert_eq!((asked.retry, asked.cause), (with, cause), "{status}");
        }
    }

    #[test]
    fn what_the_body_says_is_told_and_may_be_about_the_size() {
        let said = |code, message: &str| {
            let mut body = RpcStatus::default();
            body.message = message.to_owned();
            let body = body.encode_to_vec().into();
            let failure = failure(StatusCode::from_u16(code).unwrap(), &HeaderMap::new(), &body);
            assert!(failure.problem.ends_with(&format!(": {message}")), "{failure}");
            failure.cause
        };
        assert_eq!(said(400, "http: request body too large"), Cause::Size);
        assert_eq!(said(400, "bad span id"), Cause::Other);
        assert_eq!(said(500, "http: request body too large"), Cause::Other);
        // A page of a proxy's own is no `google.rpc.Status`.
        let page = Bytes::from_static(b"<html>");
        let failure = failure(StatusCode::BAD_GATEWAY, &HeaderMap::new(), &page);
        assert_eq!(failure.problem, "HTTP status 502 Bad Gateway");
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let pause = |text: &str| delay(&HeaderValue::from_str(text).unwrap());
        for (text, seconds) in [
            ("0", 0),
            ("7", 7),
            (" 120 ", 120),
            // As long as that is nobody's wish; the throttle bounds it.
            ("18446744073709551615", u64::MAX),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 0),
            ("Sun Nov  6 08:49:37 1994", 0),
        ] {
            assert_eq!(pause(text), Some(Duration::from_secs(seconds)), "{text:?}");
        }
        for text in
            ["", "soon", "-1", "1.5", "7s", "0x10", "18446744073709551616", "Thu, 01 Jan 1970"]
        {
            assert_eq!(pause(text), None, "{text:?}");
        }
        assert_eq!(delay(&HeaderValue::from_bytes(b"\xff").unwrap()), None);
        let minute = Duration::from_secs(60);
        let ahead = pause(&httpdate::fmt_http_date(SystemTime::now() + minute)).unwrap();
        // The date has no fractions of a second.
        assert!(ahead <= minute && ahead > minute / 2, "{ahead:?}");
        assert!(pause("Fri, 31 Dec 9999 23:59:59 GMT") > Some(minute));
    }
}
