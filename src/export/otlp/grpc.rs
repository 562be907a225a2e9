//! OTLP over gRPC, by `opentelemetry-otlp` and tonic.

use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};

use crate::config::Protocol;
use crate::config::endpoint::CollectorAddress;
use crate::config::settings::Settings;
use crate::export::exporter::DynExporter;

/// Connects lazily: a collector that is not there yet does not keep the service from starting.
/// Headers and compression come from `OTEL_EXPORTER_OTLP_*`.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn DynExporter>, String> {
    let mut builder = SpanExporter::builder().with_tonic();
    match &settings.endpoint {
        None => {}
        Some(CollectorAddress::Tcp(address)) => {
            builder = builder.with_endpoint(address.url(Protocol::Grpc));
        }
        Some(CollectorAddress::Unix(path)) => {
            builder = builder.with_endpoint(format!("unix://{}", path.display()));
        }
        Some(CollectorAddress::UnixAbstract(name)) => {
            return Err(format!(
                "unix-abstract:{name}: abstract sockets are not supported; \
                 use a socket with a path (unix:///path) or host:port"
            ));
        }
    }
    if let Some(timeout) = settings.timeout {
        builder = builder.with_timeout(timeout);
    }
    let exporter = builder.build().map_err(|error| error.to_string())?;
    Ok(Box::new(exporter))
}
