//! The configuration: Kubernetes' tracing file, the `OTEL_*` variables, and feature gates.
//!
//! A file that sends one in ten thousand traces to a collector on another host, and follows every
//! caller that sampled:
//!
//! ```
//! use spanbridge::config::TracingConfig;
//!
//! let config = TracingConfig::from_yaml(
//!     "
//! apiVersion: apiserver.config.k8s.io/v1
//! kind: TracingConfiguration
//! endpoint: collector.example.com:4317
//! samplingRatePerMillion: 100
//! ",
//! )?;
//! assert_eq!(config.endpoint(), Some("collector.example.com:4317"));
//! assert_eq!(config.sampling_rate_per_million(), Some(100));
//! # Ok::<(), spanbridge::config::ConfigError>(())
//! ```
//!
//! The same without a file:
//!
//! ```
//! use spanbridge::config::TracingConfig;
//!
//! let config = TracingConfig::default()
//!     .with_endpoint("collector.example.com:4317")
//!     .with_sampling_rate_per_million(100);
//! config.validate()?;
//! # Ok::<(), spanbridge::config::ConfigError>(())
//! ```
//!
//! # Kinds
//!
//! `apiVersion` is `apiserver.config.k8s.io/v1`, `v1beta1` or `v1alpha1`, all with the same
//! content; `kind` is one of
//!
//! * `TracingConfiguration`, with `endpoint` and `samplingRatePerMillion`, as Kubernetes has it;
//! * `OpenTelemetryClientConfiguration`, with `url`, as the first text of KEP-647 has it. That
//!   text names no version; the same three are taken.
//!
//! Both fields of the head are required, unlike in Kubernetes, which lets either be missing. A
//! file without any field (empty, or only comments) is valid and means [`TracingConfig::default`].
//! Reading is strict: a field that the kind does not have, one that is there twice, and a second
//! YAML document are errors.
//!
//! # Variables
//!
//! What the file sets wins over `OTEL_*` variables; what it leaves open, they decide, as the
//! [OpenTelemetry specification][env] says: `OTEL_SDK_DISABLED`, `OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_EXPORTER`, `OTEL_TRACES_SAMPLER`
//! and its `_ARG`, `OTEL_BSP_*`, the limits of spans and attributes, and `OTEL_EXPORTER_OTLP_*`.
//! A value that cannot be used is ignored with a warning. Spans travel by gRPC, as in Kubernetes,
//! unless `OTEL_EXPORTER_OTLP_PROTOCOL` says `http/protobuf`.
//!
//! [env]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

mod decode;
pub(crate) mod endpoint;
pub(crate) mod env;
mod error;
mod feature_gate;
mod file;
mod kinds;
mod quote;
pub(crate) mod sampler;
pub(crate) mod settings;
mod url;
mod validate;

#[cfg(test)]
mod tests;

use std::path::Path;

use self::endpoint::CollectorAddress;
pub use self::{
    error::{ConfigError, FieldError},
    feature_gate::{Feature, FeatureGateError, FeatureGates},
};

/// What to trace and where to send it.
///
/// The default is what an empty file means: tracing is on, a trace is recorded only if its caller
/// records it, and spans go to a collector on this machine. See the [module](self) for the files
/// that can be read and for examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracingConfig {
    collector: Option<Collector>,
    #[cfg(feature = "log")]
    has_log_records: bool,
    prints_without_collector: bool,
    sampling_rate_per_million: Option<u32>,
    service_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Collector {
    Endpoint(String),
    Url(String),
}

impl Collector {
    fn address(&self) -> Result<CollectorAddress, FieldError> {
        match self {
            Self::Endpoint(endpoint) => CollectorAddress::from_endpoint(endpoint),
            Self::Url(url) => CollectorAddress::from_url(url),
        }
    }
}

impl TracingConfig {
    /// Reads a file: JSON if its name ends in `.json`, else YAML (which nearly all JSON is, too).
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is longer than 1 MiB, or is not a valid configuration.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = file::read(path)?;
        match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("json") => Self::from_json(&text),
            _ => Self::from_yaml(&text),
        }
    }

    /// Reads the YAML text of a configuration.
    ///
    /// # Errors
    ///
    /// Fails if `text` is longer than 1 MiB or is not a valid configuration. Unknown and duplicate
    /// fields are all reported together, and so are bad values.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        decode::from_yaml(text)
    }

    /// Reads the JSON text of a configuration.
    ///
    /// # Errors
    ///
    /// As [`from_yaml`](Self::from_yaml).
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        decode::from_json(text)
    }

    /// Checks that there is a file at `path`, without reading it; for a command line's own checks.
    ///
    /// An empty path stands for a flag that was not given and is fine.
    ///
    /// # Errors
    ///
    /// Fails if there is nothing at `path`, or if that cannot be found out.
    pub fn check_path(path: impl AsRef<Path>) -> Result<(), ConfigError> {
        file::check_path(path.as_ref())
    }

    /// Sends spans to this gRPC target, without TLS; replaces [`with_url`](Self::with_url).
    ///
    /// Valid are `host:port`, `host` (port 4317), `dns:///host:port`, `unix:path`,
    /// `unix:///path` and `unix-abstract:name`. It is checked by [`validate`](Self::validate).
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.collector = Some(Collector::Endpoint(endpoint.into()));
        self
    }

    /// Sends spans to this URL, with TLS if it starts with `https://`; replaces
    /// [`with_endpoint`](Self::with_endpoint).
    ///
    /// `host:port` is taken as `http://host:port`. It is checked by [`validate`](Self::validate).
    #[must_use]
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.collector = Some(Collector::Url(url.into()));
        self
    }

    /// Records this many of every million traces that start here. Callers that recorded their
    /// part are followed whatever the rate.
    ///
    /// More than one million is refused by [`validate`](Self::validate).
    #[must_use]
    pub fn with_sampling_rate_per_million(mut self, rate: u32) -> Self {
        self.sampling_rate_per_million = Some(rate);
        self
    }

    /// Names the service in its spans, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` do:
    /// who operates a service has the last word on its name.
    #[must_use]
    pub fn with_service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Prints spans on standard output, a JSON object each, where neither this configuration nor a
    /// variable names a collector; for programs that are tried out before there is one.
    ///
    /// Without it such spans go to a collector on this machine, as Kubernetes has it.
    /// `OTEL_TRACES_EXPORTER` has the last word.
    #[must_use]
    pub fn with_stdout_without_collector(mut self) -> Self {
        self.prints_without_collector = true;
        self
    }

    /// Has [`init`](crate::init()) make records of the `log` crate events of the spans that they are
    /// made in, with their own target, file and line. `RUST_LOG` filters them as it does others.
    ///
    /// For that it becomes the `log` crate's logger, of which a process has one. If the application
    /// has set one by then, that stays, nothing fails, and a warning says so on standard error; one
    /// that is set later is refused, which some loggers answer with a panic. So this is not done
    /// unless asked for.
    #[cfg(feature = "log")]
    #[must_use]
    pub fn with_log_records(mut self) -> Self {
        self.has_log_records = true;
        self
    }

    #[cfg(feature = "log")]
    pub(crate) fn has_log_records(&self) -> bool {
        self.has_log_records
    }

    /// The name set by [`with_service_name`](Self::with_service_name).
    pub fn service_name(&self) -> Option<&str> {
        self.service_name.as_deref()
    }

    /// The gRPC target of the collector, if one is set.
    pub fn endpoint(&self) -> Option<&str> {
        match &self.collector {
            Some(Collector::Endpoint(endpoint)) => Some(endpoint),
            _ => None,
        }
    }

    /// The URL of the collector, if one is set.
    pub fn url(&self) -> Option<&str> {
        match &self.collector {
            Some(Collector::Url(url)) => Some(url),
            _ => None,
        }
    }

    /// How many of a million traces that start here are recorded, if that is set.
    pub fn sampling_rate_per_million(&self) -> Option<u32> {
        self.sampling_rate_per_million
    }

    /// Checks what was set by `with_` methods. What was read from a file or text is valid.
    ///
    /// # Errors
    ///
    /// Fails with [`ConfigError::Invalid`], which lists every field that cannot be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let rate = self.sampling_rate_per_million;
        let rate = rate.and_then(|rate| validate::sampling_rate(rate.into()).err());
        let collector = self.collector.as_ref();
        let collector = collector.and_then(|collector| collector.address().err());
        let errors: Vec<_> = rate.into_iter().chain(collector).collect();
        if errors.is_empty() { Ok(()) } else { Err(ConfigError::Invalid { errors }) }
    }
}

/// How spans travel to the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    HttpProtobuf,
}

impl Protocol {
    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http", test))]
    fn default_port(self) -> u16 {
        match self {
            Self::Grpc => 4317,
            Self::HttpProtobuf => 4318,
        }
    }
}

impl Default for Protocol {
    /// gRPC, as in Kubernetes, unless only HTTP was built in.
    fn default() -> Self {
        if cfg!(feature = "otlp-http") && !cfg!(feature = "otlp-grpc") {
            Self::HttpProtobuf
        } else {
            Self::Grpc
        }
    }
}
