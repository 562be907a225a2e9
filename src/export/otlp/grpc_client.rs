//! OTLP over gRPC: encoded requests through tonic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use prost::Message as _;
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::delivery::{Cause, Delivered, Failure, KeptConnection, Retry, chain};
use super::request::Request;
use super::response::ExportResponse;
use super::{USER_AGENT, not_allowed, tls};
use crate::config::Protocol;
use crate::config::endpoint::{CollectorAddress, TcpAddress};
use crate::config::settings::Settings;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[derive(Debug)]
pub(super) struct Grpc {
    endpoint: Endpoint,
    is_gzip: bool,
    /// Replaced where the connection is not to be trusted.
    client: Mutex<Client<Channel>>,
    metadata: MetadataMap,
    connection: KeptConnection,
    /// What may be wrong where a connection is closed as soon as it is made. A server that does not
    /// like a client's certificate says so when the client is through with its handshake, and the
    /// transport keeps that to itself.
    on_closed: Option<&'static str>,
    /// A request is under way, or was given up when its time was over.
    is_unanswered: AtomicBool,
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
        let mut metadata = MetadataMap::new();
        for (name, value) in &settings.otlp.headers {
            add(&mut metadata, name, value).ok_or_else(|| not_allowed(name))?;
        }
        Ok(Self {
            client: Mutex::new(client(&endpoint, settings.otlp.is_gzip)),
            endpoint,
            is_gzip: settings.otlp.is_gzip,
            metadata,
            connection: KeptConnection::default(),
            on_closed: on_closed(settings),
            is_unanswered: AtomicBool::new(false),
        })
    }

    /// # Cancel safety
    ///
    /// Who drops the future has waited too long, perhaps for a host that went away without a word.
    /// TCP would go on trying for a quarter of an hour, so the next request gets a connection of
    /// its own.
    pub(super) async fn send(&self, request: Request) -> Result<Delivered, Failure> {
        let is_left = self.is_unanswered.swap(true, Ordering::Relaxed);
        let sent = self.try_send(request, is_left).await;
        self.is_unanswered.store(false, Ordering::Relaxed);
        sent
    }

    async fn try_send(&self, request: Request, reconnects: bool) -> Result<Delivered, Failure> {
        let mut client = {
            // Nothing that can panic runs under the lock.
            let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
            if reconnects {
                *client = self::client(&self.endpoint, self.is_gzip);
            }
            client.clone()
        };
        client.ready().await.map_err(|error| {
            let (problem, retry) = (chain(&error), self.connection.broke());
            Failure { problem, retry, cause: Cause::Other }
        })?;
        let mut request = tonic::Request::new(request);
        *request.metadata_mut() = self.metadata.clone();
        let response = client.unary(request, PathAndQuery::from_static(EXPORT), Raw).await;
        // What a server answers has no source: such an error broke on the way.
        if let Err(status) = &response
            && std::error::Error::source(status).is_some()
        {
            let mut failure = failure(status);
            match (self.connection.broke(), self.on_closed) {
                (Retry::Now, _) => failure.retry = Retry::Now,
                // Not connecting at all is told as that, and with its reason.
                (_, Some(hint)) if status.code() != Code::Unavailable => {
                    failure.problem = format!("{}; {hint}", failure.problem);
                }
                _ => {}
            }
            return Err(failure);
        }
        self.connection.answered();
        Ok(response.map_err(|status| failure(&status))?.into_inner().into())
    }
}

/// Connects when it is used for the first time.
fn client(endpoint: &Endpoint, is_gzip: bool) -> Client<Channel> {
    let mut client = Client::new(endpoint.connect_lazy());
    if is_gzip {
        client = client.send_compressed(CompressionEncoding::Gzip);
    }
    client.accept_compressed(CompressionEncoding::Gzip)
}

/// Names that end in `-bin` have values of any bytes, which travel in base64. `None` where gRPC
/// does not allow the header.
fn add(metadata: &mut MetadataMap, name: &str, value: &str) -> Option<()> {
    if name.ends_with("-bin") {
        let mut value = MetadataValue::from_bytes(value.as_bytes());
        value.set_sensitive(true);
        metadata.insert_bin(MetadataKey::from_bytes(name.as_bytes()).ok()?, value);
    } else {
        let mut value = MetadataValue::try_from(value).ok()?;
        value.set_sensitive(true);
        metadata.insert(MetadataKey::from_bytes(name.as_bytes()).ok()?, value);
    }
    Some(())
}

fn on_closed(settings: &Settings) -> Option<&'static str> {
    match &settings.endpoint {
        Some(CollectorAddress::Tcp(address)) if address.is_tls() => {}
        _ => return None,
    }
    Some(match settings.otlp.tls.certificate {
        None => {
            "if the collector asks for a client certificate, name one by \
             OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"
        }
        Some(_) => {
            "the collector may not trust the client certificate that \
             OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE names"
        }
    })
}

fn tcp(address: &TcpAddress, settings: &Settings) -> Result<Endpoint, String> {
    let endpoint = endpoint(address.url(Protocol::Grpc))?;
    if !address.is_tls() {
        return Ok(endpoint);
    }
    let files = tls::Files::read(&settings.otlp.tls)?;
    tls::check(&files)?;
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
        _ if std::error::Error::source(status).is_some() => Retry::Soon,
        _ => Retry::No,
    };
    let cause = match (status.code(), retry) {
        // Also what a server that speaks no gRPC says by HTTP status, as tonic translates it.
        (
            Code::Unauthenticated | Code::PermissionDenied | Code::NotFound | Code::Unimplemented,
            _,
        ) => Cause::Access,
        // The first is tonic's word for it; the second that of others, if it is not about a quota.
        (Code::OutOfRange, _) | (Code::ResourceExhausted, Retry::No) => Cause::Size,
        _ => Cause::Other,
    };
    let source = std::error::Error::source(status).map(chain);
    let message = match (status.message(), source) {
        (message, Some(source)) if source.contains(message) => source,
        (message, Some(source)) if !source.is_empty() => format!("{message}: {source}"),
        (message, _) => message.to_owned(),
    };
    Failure { problem: format!("{:?}: {message}", status.code()), retry, cause }
}

/// Sends bytes that are a message already.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Request;
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
    type Item = Request;
    type Error = Status;

    fn encode(&mut self, item: Request, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let item = item.into_buf();
        out.reserve(item.remaining());
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
