//! Middleware for actix-web: a server span for each incoming request.
//!
//! [`ServerTracing`] continues the trace that a request brings along, or starts one, and keeps the
//! span current while the request is handled and while the body of the response is produced.
//!
//! # Examples
//!
//! ```
//! use actix_web::{App, HttpResponse, web};
//! use spanbridge::ServerTracing;
//!
//! let app = App::new()
//!     .route("/pods/{name}", web::get().to(HttpResponse::Ok))
//!     // The last `wrap` is outermost: it also sees what other middleware answers.
//!     .wrap(ServerTracing::new());
//! # let _ = app;
//! ```
//!
//! Health checks without a span, and a public listener whose callers do not decide what is sampled:
//!
//! ```
//! use actix_web::App;
//! use spanbridge::server::is_health_check;
//! use spanbridge::{ServerTracing, Trust};
//!
//! let tracing = ServerTracing::new()
//!     .filter(|request| !is_health_check(request))
//!     .public_endpoint(|request| match request.peer_addr() {
//!         Some(peer) if peer.ip().is_loopback() => Trust::Parent,
//!         _ => Trust::Link,
//!     });
//! let app = App::new().wrap(tracing);
//! # let _ = app;
//! ```
//!
//! # The span
//!
//! Its target is `spanbridge::server`, its level INFO. It carries the attributes that the
//! [semantic conventions] require or recommend, as far as they are known, and is named after the
//! method and the route that actix-web chose. A request that no route took has no `http.route`.
//!
//! Its parent is the caller's span. A request that brings none starts a trace, whichever span is
//! current: a span of middleware further out cannot be told from one whose guard another request's
//! handler holds across an `.await`. Only where this middleware runs below itself, on a scope of an
//! application that has it too, the outer span is the parent, whatever the request brings along.
//! A caller that is believed further out, and not by the inner middleware, is cut off there.
//!
//! The attributes that are marked opt-in are there on request, and so is what an application knows
//! itself: see the methods of [`ServerTracing`]. `http.request.size` and `http.response.size` are
//! not among them. They count what is on the wire around a body, and actix-web reads heads before it
//! calls middleware, and writes heads and chunks afterwards.
//!
//! [`ServerSpan`] gives handlers the span. A scope or resource that is to be traced in another way
//! is wrapped by a `ServerTracing` of its own: its requests have a second span below the
//! application's, unless the application's filter leaves them out.
//!
//! A sampler that looks at attributes is asked when all of this is there: what the conventions want
//! for sampling, captured headers of the request, what [`on_request`](ServerTracing::on_request)
//! sets, and the link of [`Trust::Link`].
//!
//! A name that code gives to the span by [`SpanExt::update_name`](crate::SpanExt::update_name)
//! stands; `otel.name` as a field is overwritten when the route is known.
//!
//! # When it ends
//!
//! | the request | status | `error.type` |
//! |---|---|---|
//! | was answered, the body sent or dropped as not needed | unset, from 500 on error | from 500 on the code |
//! | was dropped before an answer, or the body before its end | error | `client_disconnect` |
//! | was dropped as its server stopped and did not wait for it | error | `server_shutdown` |
//! | made the handler or the body panic | error | `panic` |
//! | had a body that failed | error | `response_body` |
//!
//! An error that other middleware returns counts as the response that it is turned into.
//!
//! A body is at its end when actix-web has taken all of it; what is still in the buffers of the
//! socket cannot be seen. A `101 Switching Protocols` ends at the handshake, unless
//! [`with_upgrades_until_close`](ServerTracing::with_upgrades_until_close) says so. Middleware
//! further out that replaces a body cannot be told from a client that left, and a server's shutdown
//! only where the server runs in an actix system, as with `#[actix_web::main]`.
//!
//! With HTTP/2 actix-web does not stop a handler whose stream is reset or whose connection is lost.
//! That is seen when the handler answers, and not at all if the answer is an error of middleware
//! further in, or has no body and the request's was not read to its end.
//!
//! [semantic conventions]: https://github.com/open-telemetry/semantic-conventions/blob/v1.42.0/docs/http/http-spans.md#http-server-span

mod body;
mod extract;
mod extras;
mod future;
mod handle;
mod health;
#[cfg(feature = "metrics")]
mod labels;
mod middleware;
mod policy;
mod proxies;
mod received;
mod request_body;
mod request_span;
mod route;
mod service;
mod settings;
mod span;
mod start;
mod stopping;
mod stream;

pub use self::body::TracedBody;
pub use self::future::ResponseFuture;
pub use self::handle::ServerSpan;
pub use self::health::is_health_check;
#[cfg(feature = "metrics")]
pub use self::labels::MetricLabels;
pub use self::middleware::ServerTracing;
pub use self::policy::Trust;
pub use self::proxies::{InvalidNetwork, TrustedProxies};
pub use self::service::ServerTracingService;
