//! OTLP over HTTP with protobuf bodies, by `opentelemetry-otlp` and reqwest.

use opentelemetry_otlp::{Protocol as OtlpProtocol, SpanExporter, WithExportConfig as _};

use crate::config::Protocol;
use crate::config::endpoint::CollectorAddress;
use crate::config::settings::Settings;
use crate::export::exporter::DynExporter;

/// Headers and compression come from `OTEL_EXPORTER_OTLP_*`. There is no TLS: reqwest's features are
/// shared with the application's own reqwest, whose TLS is not ours to choose.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn DynExporter>, String> {
    let mut builder = SpanExporter::builder().with_http().with_protocol(OtlpProtocol::HttpBinary);
    match &settings.endpoint {
        None => {}
        Some(CollectorAddress::Tcp(address)) if address.is_tls() => {
            return Err(format!(
                "{}: https is not supported with http/protobuf; use gRPC with TLS \
                 (OTEL_EXPORTER_OTLP_PROTOCOL=grpc), or http to a collector on this host",
                address.url(Protocol::HttpProtobuf)
            ));
        }
        Some(CollectorAddress::Tcp(address)) => {
            builder = builder.with_endpoint(address.url(Protocol::HttpProtobuf));
        }
        Some(CollectorAddress::Unix(_) | CollectorAddress::UnixAbstract(_)) => {
            return Err("OTLP over HTTP does not reach Unix domain sockets; \
                        use gRPC (OTEL_EXPORTER_OTLP_PROTOCOL=grpc) or a URL"
                .to_owned());
        }
    }
    if let Some(timeout) = settings.timeout {
        builder = builder.with_timeout(timeout);
    }
    let exporter = builder.build().map_err(|error| error.to_string())?;
    Ok(Box::new(exporter))
}
