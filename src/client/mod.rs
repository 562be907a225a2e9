//! Hook for awc: a client span for each outgoing request.
//!
//! [`ClientTracing`] makes a span, a child of the one that is current when the request is sent, and
//! writes the trace context and the baggage into the request's headers.
//!
//! # Examples
//!
//! ```
//! use spanbridge::ClientTracing;
//!
//! # #[actix_web::main] async fn main() {
//! let client = awc::Client::builder().wrap(ClientTracing::new()).finish();
//! # drop(client);
//! # }
//! ```
//!
//! With headers of another kind:
//!
//! ```
//! use opentelemetry_sdk::propagation::TraceContextPropagator;
//! use spanbridge::ClientTracing;
//!
//! # #[actix_web::main] async fn main() {
//! let tracing = ClientTracing::new().with_propagator(TraceContextPropagator::new());
//! let client = awc::Client::builder().wrap(tracing).finish();
//! # drop(client);
//! # }
//! ```
//!
//! # The span
//!
//! Its target is `spanbridge::client`, its level INFO. It carries the attributes that the
//! [semantic conventions] require, and is named after the method. Credentials in the URL are
//! replaced. awc follows redirects around its hooks, so each hop is a span of its own, with
//! `http.request.resend_count`. [`RequestTracing`] says what holds for single requests: a
//! `url.template`, say.
//!
//! `network.peer.address` and its port are there where the URL has an address for a host, or
//! [`address`](awc::ClientRequest::address) says one. What awc resolves a name to, and which of the
//! connections that it keeps it takes, is out of a hook's sight. So are `http.request.size` and
//! `http.response.size`, which count heads and chunks as they are on the wire.
//!
//! # When it ends
//!
//! A span begins with `send()` and ends with the head of the response, not with its body, unless
//! [`with_end_at_body_end`](ClientTracing::with_end_at_body_end) says so. A request that its caller
//! drops before ends its span without a status. awc's time limit drops requests too, and out of
//! sight: [`RecordTimeout`] and [`with_timeout`](ClientTracing::with_timeout) tell it apart.
//!
//! | the request | status | `error.type` |
//! |---|---|---|
//! | was answered with less than 400 | unset | none |
//! | was answered with 400 or more | error | the code |
//! | was answered with one redirect more than awc follows | error | `too_many_redirects` |
//! | was given up by awc, as far as that is known | error | `timeout` |
//! | was answered with a body that fails, if the span ends with it | error | `body_read` |
//! | could not be sent or answered | error | `connect_io`, `connect_refused`, `connect_timeout`, `connection_closed`, `dns`, `dns_no_records`, `h2`, `request_body`, `response_parse`, `send_io`, `timeout`, `tls`, `tunnel_not_supported`, `url_invalid` or `_OTHER` |
//!
//! A client that follows no redirects at all has them as its answers, which are no errors.
//!
//! Of a body that breaks off awc says nothing: it ends as a whole one does. That is `body_read` where
//! the response has a `Content-Length`, and cannot be seen where the body comes in chunks or ends
//! with the connection.
//!
//! # Headers
//!
//! Where there is a trace to continue, `traceparent`, `tracestate` and `baggage` are what the
//! context says and nothing else: lines that the request has already, such as those that
//! [`awc::Client::request_from`] copies from an incoming request, are replaced or removed. Where
//! there is only baggage, only `baggage` is. Where there is neither, the request goes out as it is.
//!
//! [semantic conventions]: https://github.com/open-telemetry/semantic-conventions/blob/v1.42.0/docs/http/http-spans.md#http-client-span

mod body;
mod error_type;
mod future;
mod inject;
mod middleware;
mod redirects;
mod request_tracing;
mod service;
mod settings;
mod span;
mod timeout;

pub use self::future::ResponseFuture;
pub use self::middleware::ClientTracing;
pub use self::request_tracing::RequestTracing;
pub use self::service::ClientTracingService;
pub use self::timeout::{RecordTimeout, TimeoutRecorded};
