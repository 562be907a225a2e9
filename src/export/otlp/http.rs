//! OTLP over HTTP with protobuf bodies, by `opentelemetry-otlp` and reqwest.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT, Protocol as OtlpProtocol, SpanExporter,
    WithExportConfig as _, WithHttpConfig as _,
};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Protocol;
use crate::config::endpoint::CollectorAddress;
use crate::config::settings::Settings;
use crate::export::exporter::DynExporter;

/// Headers and compression come from `OTEL_EXPORTER_OTLP_*`.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn DynExporter>, String> {
    let timeout = settings.timeout.unwrap_or(OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT);
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_protocol(OtlpProtocol::HttpBinary)
        // The exporter gives up retrying then; a request in flight is the client's to give up.
        .with_timeout(timeout)
        .with_http_client(client(timeout)?);
    match &settings.endpoint {
        None => {}
        Some(CollectorAddress::Tcp(address)) => {
            builder = builder.with_endpoint(address.url(Protocol::HttpProtobuf));
        }
        Some(CollectorAddress::Unix(_) | CollectorAddress::UnixAbstract(_)) => {
            return Err("OTLP over HTTP does not reach Unix domain sockets; \
                        use gRPC (OTEL_EXPORTER_OTLP_PROTOCOL=grpc) or a URL"
                .to_owned());
        }
    }
    let exporter = builder.build().map_err(|error| error.to_string())?;
    Ok(Box::new(exporter))
}

/// A client with TLS by rustls and ring, which trusts what the system trusts. The provider is
/// named here rather than installed for the whole process, which is the application's to do.
fn client(timeout: Duration) -> Result<reqwest::Client, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    // Certificates that cannot be read are no reason not to send plain text; https then fails by
    // itself, with the collector's certificate named.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(timeout)
        .build()
        .map_err(|error| format!("HTTP client: {error}"))
}
