//! The exporters that send OTLP, as configuration says.

#[cfg(feature = "otlp-grpc")]
mod grpc;
#[cfg(feature = "otlp-http")]
mod http;

use crate::config::Protocol;
use crate::config::settings::Settings;
use crate::export::exporter::DynExporter;

/// An exporter for what `settings` name. Called where its runtime is entered.
///
/// # Errors
///
/// Says what cannot be done, and what could be.
pub(crate) fn build(settings: &Settings) -> Result<Box<dyn DynExporter>, String> {
    match settings.protocol {
        #[cfg(feature = "otlp-grpc")]
        Protocol::Grpc => grpc::build(settings),
        #[cfg(feature = "otlp-http")]
        Protocol::HttpProtobuf => http::build(settings),
        #[allow(unreachable_patterns, reason = "reachable where a protocol's feature is off")]
        protocol => {
            let (name, feature) = match protocol {
                Protocol::Grpc => ("grpc", "otlp-grpc"),
                Protocol::HttpProtobuf => ("http/protobuf", "otlp-http"),
            };
            Err(format!(
                "OTLP over {name} is not built in: switch on spanbridge's feature {feature}, or set \
                 OTEL_EXPORTER_OTLP_PROTOCOL to a protocol that is"
            ))
        }
    }
}
