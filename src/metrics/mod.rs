//! HTTP metrics of the semantic conventions: [`ServerMetrics`] and [`ClientMetrics`].
//!
//! Made from a meter provider once, outside of what runs for each worker, and given to
//! `ServerTracing::with_metrics` and `ClientTracing::with_metrics`. There is no global provider in
//! play, and without one nothing is measured.
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "actix-web")] {
//! use actix_web::App;
//! use opentelemetry_sdk::metrics::SdkMeterProvider;
//! use spanbridge::ServerTracing;
//! use spanbridge::metrics::ServerMetrics;
//!
//! let provider = SdkMeterProvider::default();
//! let metrics = ServerMetrics::new(&provider).with_active_requests();
//! let app = move || App::new().wrap(ServerTracing::new().with_metrics(metrics.clone()));
//! # let _ = app;
//! # }
//! ```
//!
//! # Instruments
//!
//! | instrument | unit | recorded |
//! |---|---|---|
//! | `http.server.request.duration` | s | always |
//! | `http.server.active_requests` | `{request}` | on request |
//! | `http.server.request.body.size`, `http.server.response.body.size` | By | on request |
//! | `http.client.request.duration` | s | always |
//! | `http.client.active_requests` | `{request}` | on request |
//! | `http.client.request.body.size`, `http.client.response.body.size` | By | on request |
//!
//! Durations use the buckets that the [conventions] advise. They begin and end with the span; a
//! request without one, since it is filtered or not sampled, is measured all the same. Sizes are
//! those of bodies as they are on the wire, compressed that is: what is said in advance, or what has
//! been read of a body that comes in chunks. An outgoing body of unknown length has none.
//!
//! Where a `ServerTracing` runs below another one, each measures what it is given: give the
//! instruments to one of them.
//!
//! # Cardinality
//!
//! Nothing that a client can make up becomes an attribute: methods that are not known are `_OTHER`,
//! the route is the pattern that was taken, `error.type` is of the same fixed set as on the span,
//! and a server's address and port, which the conventions warn of, are left out. An outgoing
//! request has the `url.template` that it is given: on its sizes and the active requests, and on
//! its duration too if [`ClientMetrics::with_url_template`] says so.
//!
//! [conventions]: https://github.com/open-telemetry/semantic-conventions/blob/v1.42.0/docs/http/http-metrics.md

#[cfg(feature = "awc")]
mod client;
#[cfg(feature = "actix-web")]
mod server;

#[cfg(feature = "actix-web")]
use std::time::{Instant, SystemTime};

use opentelemetry::metrics::{Histogram, Meter, MeterProvider, UpDownCounter};

#[cfg(feature = "awc")]
pub use self::client::ClientMetrics;
#[cfg(feature = "awc")]
pub(crate) use self::client::{ClientMeasurement, SentRequest};
#[cfg(feature = "actix-web")]
pub use self::server::ServerMetrics;
#[cfg(feature = "actix-web")]
pub(crate) use self::server::{ServerMeasurement, StartedRequest};

/// What the conventions advise for durations, in seconds.
const DURATION_BOUNDARIES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

fn meter(provider: &impl MeterProvider) -> Meter {
    provider.meter("spanbridge")
}

/// The instant at which a request began, if it was received before now.
#[cfg(feature = "actix-web")]
fn since(received: Option<SystemTime>) -> Instant {
    let now = Instant::now();
    let waited = received.and_then(|received| received.elapsed().ok());
    waited.and_then(|waited| now.checked_sub(waited)).unwrap_or(now)
}

fn sizes(meter: &Meter, name: &'static str, description: &'static str) -> Histogram<u64> {
    meter.u64_histogram(name).with_unit("By").with_description(description).build()
}

fn active(meter: &Meter, name: &'static str, description: &'static str) -> UpDownCounter<i64> {
    let counter = meter.i64_up_down_counter(name).with_unit("{request}");
    counter.with_description(description).build()
}

fn duration(meter: &Meter, name: &'static str, description: &'static str) -> Histogram<f64> {
    meter
        .f64_histogram(name)
        .with_unit("s")
        .with_description(description)
        .with_boundaries(DURATION_BOUNDARIES.to_vec())
        .build()
}
