//! OTLP over gRPC: encoded requests through tonic.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message as _;
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::delivery::{Delivered, Failure, Retry, chain};
use super::response::ExportResponse;
use super::{USER_AGENT, tls};
use crate::config::Protocol;
use crate::config::endpoint::{CollectorAddress, TcpAddress};
use crate::config::settings::Settings;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[derive(Debug)]
pub(super) struct Grpc {
    client: Client<Channel>,
    metadata: MetadataMap,
}

impl Grpc {
    /// Connects lazily: a collector that is not there yet does not keep the service from starting.
    pub(super) fn new(settings: &Settings, timeout: Duration) -> Result<Self, String> {
        let endpoint = match &settings.endpoint {
            None => tcp(&TcpAddress::localhost(), settings)?,
            Some(CollectorAddress::Tcp(address)) => tcp(address, settings)?,
            Some(CollectorAddress::Unix(path)) => endpoint(format!("unix://{}", path.display()))?,
            Some(CollectorAddress::UnixAbstract(name)) => {
                return Err(format!(
                    "unix-abstract:{name}: abstract sockets are not supported; \
                     use a socket with a path (unix:///path) or host:port"
                ));
            }
        };
        let endpoint = endpoint
            .user_agent(USER_AGENT)
            .map_err(|error| error.to_string())?
            .connect_timeout(timeout);
        let mut client = Client::new(endpoint.connect_lazy());
        if settings.otlp.is_gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        client = client.accept_compressed(CompressionEncoding::Gzip);
        let mut metadata = MetadataMap::new();
        for (name, value) in &settings.otlp.headers {
            let name = MetadataKey::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(mut value)) = (name, MetadataValue::try_from(value)) {
                value.set_sensitive(true);
                metadata.insert(name, value);
            }
        }
        Ok(Self { client, metadata })
    }

    pub(super) async fn send(&self, request: Bytes) -> Result<Delivered, Failure> {
        let mut client = self.client.clone();
        client
            .ready()
            .await
            .map_err(|error| Failure { problem: chain(&error), retry: Retry::Soon })?;
        let mut request = Request::new(request);
        *request.metadata_mut() = self.metadata.clone();
        let response = client.unary(request, PathAndQuery::from_static(EXPORT), Raw).await;
        let response = response.map_err(|status| failure(&status))?.into_inner();
        Ok(response.into())
    }
}

fn tcp(address: &TcpAddress, settings: &Settings) -> Result<Endpoint, String> {
    let endpoint = endpoint(address.url(Protocol::Grpc))?;
    if !address.is_tls() {
        return Ok(endpoint);
    }
    let files = tls::Files::read(&settings.otlp.tls)?;
    let mut config = ClientTlsConfig::new();
    config = match files.ca {
        Some(pem) => config.ca_certificate(Certificate::from_pem(pem)),
        None => config.with_native_roots(),
    };
    if let Some((certificate, key)) = files.identity {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    endpoint.tls_config(config).map_err(|error| chain(&error))
}

fn endpoint(uri: String) -> Result<Endpoint, String> {
    Endpoint::from_shared(uri.clone()).map_err(|error| format!("{uri}: {}", chain(&error)))
}

/// Which codes are worth a retry: the OTLP specification, "OTLP/gRPC, failures".
fn failure(status: &Status) -> Failure {
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let retry = match (status.code(), delay) {
        (Code::ResourceExhausted, None) => Retry::No,
        (Code::ResourceExhausted | Code::Unavailable, Some(delay)) => Retry::After(delay),
        (
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss,
            _,
        ) => Retry::Soon,
        // What a server answers has no source: this broke on the way.
        _ if std::error::Error::source(status).is_some() => Retry::Soon,
        _ => Retry::No,
    };
    let source = std::error::Error::source(status).map(chain);
    let message = match (status.message(), source) {
        (message, Some(source)) if !source.is_empty() => format!("{message}: {source}"),
        (message, _) => message.to_owned(),
    };
    Failure { problem: format!("{:?}: {message}", status.code()), retry }
}

/// Sends bytes that are a message already.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ExportResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(item.len());
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ExportResponse;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<ExportResponse>, Status> {
        let length = message.remaining();
        ExportResponse::decode(message.copy_to_bytes(length))
            .map(Some)
            .map_err(|error| Status::internal(format!("the answer is not OTLP: {error}")))
    }
}
