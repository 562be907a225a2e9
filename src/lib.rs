//! spanbridge turns the timings a Rust service already has into OpenTelemetry distributed traces.
//!
//! * A [`tracing_subscriber`] layer makes an OpenTelemetry span of every [`tracing`] span, and a
//!   thread of its own hands them to an exporter: [`init`] from a configuration, [`layer()`] by hand.
//! * `ServerTracing`, middleware for actix-web, continues or starts the trace of each incoming
//!   request; `ClientTracing`, a hook for awc, passes it on with each outgoing one.
//! * [`legacy`] is for code that times itself as `k8s.io/utils/trace` does: one call for the log of
//!   slow operations and for the trace.
//! * [`SpanExt`] is what application code does with its span beyond `tracing`'s own means.
//!
//! It is off by default: without a configuration nothing is recorded or sent, and trace context is
//! still passed on.
//!
//! # Examples
//!
//! A service that is set up by a file and exports over OTLP:
//!
//! ```no_run
//! # #[cfg(all(feature = "actix-web", feature = "awc"))]
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     use actix_web::{App, HttpResponse, HttpServer, web};
//!     use spanbridge::{ClientTracing, ServerTracing, TracingConfig};
//!
//!     let config = TracingConfig::from_path("tracing.yaml")?.with_service_name("shop");
//!     let guard = spanbridge::init(Some(config))?;
//!
//!     HttpServer::new(|| {
//!         let client = awc::Client::builder().wrap(ClientTracing::new()).finish();
//!         App::new()
//!             .app_data(web::Data::new(client))
//!             .route("/pods/{name}", web::get().to(HttpResponse::Ok))
//!             .wrap(ServerTracing::new())
//!     })
//!     .bind(("127.0.0.1", 8080))?
//!     .run()
//!     .await?;
//!
//!     // Exports what is left.
//!     guard.shutdown(std::time::Duration::from_secs(5))?;
//!     Ok(())
//! }
//! # #[cfg(not(all(feature = "actix-web", feature = "awc")))] fn main() {}
//! ```
//!
//! The layer beside others, with an exporter, a sampler and limits of your own:
//!
//! ```
//! use std::time::Duration;
//!
//! use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler};
//! use spanbridge::SpanExt as _;
//! use tracing_subscriber::filter::LevelFilter;
//! use tracing_subscriber::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let exporter = InMemorySpanExporter::default();
//! let (layer, guard) = spanbridge::layer()
//!     .with_exporter(exporter.clone())
//!     .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(1.0))))
//!     .with_max_level(tracing::Level::INFO)
//!     .with_max_queue_size(4_096)
//!     .build();
//! let subscriber = tracing_subscriber::registry()
//!     .with(layer)
//!     .with(tracing_subscriber::fmt::layer().with_filter(LevelFilter::WARN));
//!
//! tracing::subscriber::with_default(subscriber, || {
//!     let span = tracing::info_span!("charge", order = 4711).entered();
//!     span.set_attribute("card.network", "visa");
//!     tracing::info!("authorised");
//! });
//!
//! guard.force_flush(Duration::from_secs(5))?;
//! assert_eq!(exporter.get_finished_spans()?[0].events[0].name, "authorised");
//! assert_eq!(guard.stats().exported(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! Nothing on a request's path blocks, fails or grows without bound. Spans that do not fit, or that
//! an exporter does not take, are dropped and counted by reason; in every snapshot of [`Stats`]
//! `started = exported + dropped + live` holds.
//!
//! Not promised are the order in which spans are exported, the wording of error messages, and the
//! set of attributes in minor releases.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `actix-web` | yes | `ServerTracing` and the module `server` |
//! | `awc` | yes | `ClientTracing` and the module `client` |
//! | `otlp-grpc` | yes | export over OTLP/gRPC |
//! | `otlp-http` | yes | export over OTLP/HTTP with protobuf bodies |
//! | `tracing-opentelemetry` | yes | spans of that crate's layer are served where it is installed instead of ours |
//! | `cli` | no | the command `spanbridge`, and the module `import` that its `import` is made of |
//! | `metrics` | no | the module `metrics`: durations of requests, and more |
//! | `testing` | no | the module `testing`: spans in memory, printed as a tree |
//!
//! # Links
//!
//! The configuration is described in [`config`], propagation in [`propagation`]. The proposal that
//! this follows is [KEP-647]; terms are those of the [OpenTelemetry specification].
//!
//! [KEP-647]: https://github.com/kubernetes/enhancements/tree/master/keps/sig-instrumentation/647-apiserver-tracing
//! [OpenTelemetry specification]: https://opentelemetry.io/docs/specs/otel/trace/api/

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "awc")]
pub mod client;
pub mod config;
mod export;
#[cfg(feature = "cli")]
pub mod import;
mod init;
#[cfg_attr(
    not(all(feature = "actix-web", feature = "awc")),
    allow(dead_code, reason = "server and client each use a part")
)]
mod interop;
mod layer;
pub mod legacy;
#[cfg(all(feature = "metrics", any(feature = "actix-web", feature = "awc")))]
pub mod metrics;
pub mod propagation;
mod quote;
#[cfg(any(feature = "actix-web", feature = "awc"))]
#[cfg_attr(
    not(all(feature = "actix-web", feature = "awc")),
    allow(dead_code, reason = "server and client each use a part")
)]
mod semconv;
#[cfg(feature = "actix-web")]
pub mod server;
mod span_ext;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "awc")]
pub use self::client::ClientTracing;
pub use self::config::TracingConfig;
pub use self::export::{
    DroppedSpans, FlushError, ShutdownError, Stats, StdoutExporter, TracingGuard,
};
pub use self::init::{InitError, init, layer_from};
pub use self::layer::{BridgeLayer, LayerBuilder, SetParentError, layer};
#[cfg(feature = "actix-web")]
pub use self::server::{ServerTracing, Trust};
pub use self::span_ext::SpanExt;

/// The examples of the README, compiled with the tests.
#[cfg(all(doctest, feature = "actix-web", feature = "awc"))]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// The examples of the migration guide, compiled with the tests.
#[cfg(all(doctest, feature = "actix-web", feature = "awc", feature = "testing"))]
#[doc = include_str!("../docs/migrating.md")]
pub struct Migrating;
