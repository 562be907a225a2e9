//! One call at start-up: subscriber, layer and exporter from a configuration.

#[cfg(feature = "log")]
mod log_records;
mod report;

use std::{error, fmt, io};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::config::env::{self, EnvSettings};
use crate::config::settings::Settings;
use crate::config::{ConfigError, TracingConfig};
use crate::export::fan_out::FanOut;
use crate::export::sink::Exporter;
use crate::export::{StdoutExporter, TracingGuard, worker};
use crate::layer::{BridgeLayer, LayerBuilder};

/// Sets tracing up for the whole process, and returns the guard that keeps it running.
///
/// With `None` tracing is off: nothing is recorded, sent or connected to, and the middleware only
/// passes context on. That is also what `OTEL_SDK_DISABLED=true` and `OTEL_TRACES_EXPORTER=none`
/// mean. Otherwise this sets the global `tracing` subscriber, and nothing else that is global unless
/// the configuration asks for `log` records: a
/// [`Registry`](tracing_subscriber::Registry) with our layer, and with the spans and events that
/// `RUST_LOG` asks for (`target=level,...`; `info` where it is not set). What spanbridge itself has
/// to warn of (a variable that it ignores, spans that could not be exported) is printed on standard
/// error.
///
/// To have other layers beside ours, take the parts by [`layer_from`] or [`layer()`](crate::layer()).
///
/// A collector need not be there yet: connections are made when there is something to send.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = spanbridge::TracingConfig::from_path("tracing.yaml")?;
/// let guard = spanbridge::init(Some(config))?;
/// // ... the service runs ...
/// guard.shutdown(std::time::Duration::from_secs(5))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Fails if the configuration is not valid, an exporter cannot be built from it, the operating
/// system gives no thread, or a global subscriber is set already.
pub fn init(config: Option<TracingConfig>) -> Result<TracingGuard, InitError> {
    #[cfg(feature = "log")]
    let has_log_records = config.as_ref().is_some_and(TracingConfig::has_log_records);
    let Some((layer, guard)) = layer_from(config)? else { return Ok(TracingGuard::off()) };
    let (filter, ignored) = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => match text.parse::<Targets>() {
            Ok(filter) => (filter, None),
            Err(error) => (info_and_up(), Some(format!("RUST_LOG {text:?}: {error}"))),
        },
        _ => (info_and_up(), None),
    };
    // Not `try_init`, which may also claim the `log` crate's global logger unasked.
    let own = report::TARGETS.map(|target| (target, Level::WARN));
    let filter = filter.with_targets(own);
    let subscriber = tracing_subscriber::registry().with(filter).with(layer).with(report::Report);
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| InitError::SubscriberAlreadySet)?;
    if let Some(ignored) = ignored {
        tracing::warn!(target: "spanbridge::config", "ignored, so info is recorded: {ignored}");
    }
    #[cfg(feature = "log")]
    if has_log_records {
        log_records::record();
    }
    Ok(guard)
}

fn info_and_up() -> Targets {
    Targets::new().with_default(Level::INFO)
}

/// The layer and guard that [`init`] would install, for a subscriber of your own.
///
/// `None` where tracing is off.
///
/// # Examples
///
/// ```no_run
/// use tracing_subscriber::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = spanbridge::TracingConfig::from_path("tracing.yaml")?;
/// let (layer, guard) = spanbridge::layer_from(Some(config))?.unzip();
/// tracing_subscriber::registry().with(layer).with(tracing_subscriber::fmt::layer()).init();
/// # drop(guard);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`init`], but for the subscriber.
pub fn layer_from(
    config: Option<TracingConfig>,
) -> Result<Option<(BridgeLayer, TracingGuard)>, InitError> {
    let Some(config) = config else { return Ok(None) };
    let settings = Settings::new(Some(&config), EnvSettings::from_env())?;
    if settings.is_disabled || settings.exporters.is_empty() {
        return Ok(None);
    }
    let runtime = worker::OwnRuntime::new().map_err(InitError::Start)?;
    let exporters = worker::build_in(&runtime, || {
        settings.exporters.iter().map(|exporter| build(exporter, &settings)).collect()
    });
    let exporters: Vec<_> = Result::map_err(exporters, InitError::Exporter)?;
    let resource = resource(&settings, config.service_name());
    let mut builder = LayerBuilder::from_settings(settings).with_resource(resource);
    if let Some(exporter) = FanOut::of(exporters) {
        builder = builder.with_exporter_in(exporter, runtime);
    }
    builder.try_build().map(Some).map_err(InitError::Start)
}

fn build(exporter: &env::Exporter, settings: &Settings) -> Result<Exporter, String> {
    match exporter {
        env::Exporter::Console => Ok(Exporter::Any(Box::new(StdoutExporter::new()))),
        #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
        env::Exporter::Otlp => {
            let exporter = crate::export::otlp::OtlpExporter::new(settings)?;
            Ok(Exporter::Otlp(Box::new(exporter)))
        }
        #[cfg(not(any(feature = "otlp-grpc", feature = "otlp-http")))]
        env::Exporter::Otlp => {
            let _ = settings;
            Err("OTLP is not built in: switch on spanbridge's feature otlp-grpc or otlp-http, \
                 or set OTEL_TRACES_EXPORTER=console"
                .to_owned())
        }
    }
}

/// Who operates a service names it: the variables win over the name that its code gives.
pub(crate) fn resource(settings: &Settings, default_name: Option<&str>) -> Resource {
    let attributes = settings
        .resource_attributes
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let named = settings.resource_attributes.iter().any(|(key, _)| key == "service.name");
    let mut builder = Resource::builder().with_attributes(attributes);
    let name = settings.service_name.as_deref().or_else(|| default_name.filter(|_| !named));
    if let Some(name) = name {
        builder = builder.with_service_name(name.to_owned());
    }
    builder.build()
}

/// Why tracing could not be set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum InitError {
    /// The configuration is not valid.
    Config(ConfigError),
    /// An exporter cannot be built from the configuration.
    Exporter(String),
    /// The operating system gave no thread or runtime for the exporter.
    Start(io::Error),
    /// A global `tracing` subscriber is set already; add the layer to that one by [`layer_from`].
    SubscriberAlreadySet,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::Exporter(problem) => write!(f, "the exporter cannot be built: {problem}"),
            Self::Start(error) => write!(f, "the exporter's thread cannot be started: {error}"),
            Self::SubscriberAlreadySet => f.write_str(
                "a global tracing subscriber is set already; \
                 add the layer that `spanbridge::layer_from` gives to that one",
            ),
        }
    }
}

impl error::Error for InitError {}

impl From<ConfigError> for InitError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_can_be_sent_anywhere() {
        fn check<T: error::Error + Send + Sync + 'static>() {}
        check::<InitError>();
    }
}
