//! OTLP over gRPC: encoded requests through tonic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::codec::{
    BufferSettings, Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder,
};
use tonic::codegen::Service;
use tonic::codegen::http::uri::{PathAndQuery, Uri};
use tonic::codegen::http::{Request as HttpRequest, Response as HttpResponse};
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::connector::Connector;
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
    /// `None` for Unix domain sockets, to which tonic connects by itself.
    connector: Option<Connector>,
    is_gzip: bool,
    /// Replaced where the connection is not to be trusted.
    client: Mutex<Client<Direct>>,
    metadata: MetadataMap,
    connection: KeptConnection,
    /// A request is under way, or was given up when its time was over.
    is_unanswered: AtomicBool,
}

impl Grpc {
    /// Connects lazily: a collector that is not there yet does not keep the service from starting.
    pub(super) fn new(settings: &Settings, timeout: Duration) -> Result<Self, String> {
        let (endpoint, connector) = match &settings.endpoint {
            None => tcp(&TcpAddress::localhost(), settings, timeout)?,
            Some(CollectorAddress::Tcp(address)) => tcp(address, settings, timeout)?,
            Some(CollectorAddress::Unix(path)) => {
                (endpoint(format!("unix://{}", path.display()))?, None)
            }
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
            client: Mutex::new(client(&endpoint, connector.as_ref(), settings.otlp.is_gzip)),
            endpoint,
            connector,
            is_gzip: settings.otlp.is_gzip,
            metadata,
            connection: KeptConnection::default(),
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
                *client = self::client(&self.endpoint, self.connector.as_ref(), self.is_gzip);
            }
            client.clone()
        };
        let refusal = || self.connector.as_ref()?.last_words().take();
        // What an earlier request did not ask for is not this one's.
        refusal();
        client
            .ready()
            .await
            .map_err(|error| Failure::of_connection(&error, refusal(), &self.connection))?;
        let mut request = if self.is_gzip {
            tonic::Request::new(request.into_message())
        } else {
            let mut message = tonic::Request::new(Bytes::new());
            message.extensions_mut().insert(Framed(request.into_framed()));
            message
        };
        *request.metadata_mut() = self.metadata.clone();
        let response = client.unary(request, PathAndQuery::from_static(EXPORT), Raw).await;
        // What a server answers has no source: such an error broke on the way.
        if let Err(status) = &response
            && std::error::Error::source(status).is_some()
        {
            let failure = failure(status);
            if let Some(refusal) = refusal() {
                let problem = refusal.told_of(failure.problem);
                return Err(Failure { problem, retry: Retry::Hopeless, cause: Cause::Access });
            }
            let retry = match self.connection.broke() {
                Retry::Now => Retry::Now,
                _ => failure.retry,
            };
            return Err(Failure { retry, ..failure });
        }
        self.connection.answered();
        Ok(response.map_err(|status| failure(&status))?.into_inner().into())
    }
}

/// Connects when it is used for the first time.
fn client(endpoint: &Endpoint, connector: Option<&Connector>, is_gzip: bool) -> Client<Direct> {
    let channel = match connector {
        Some(connector) => endpoint.connect_with_connector_lazy(connector.clone()),
        None => endpoint.connect_lazy(),
    };
    let mut client = Client::new(Direct(channel));
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

/// Without TLS, as far as tonic knows: the connector sees to it.
fn tcp(
    address: &TcpAddress,
    settings: &Settings,
    timeout: Duration,
) -> Result<(Endpoint, Option<Connector>), String> {
    let url = address.url(Protocol::Grpc);
    let to: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let mut config = tls::client_config(&settings.otlp.tls, address.is_tls())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let without_tls = url.replacen("https://", "http://", 1);
    let endpoint = endpoint(without_tls)?.origin(to.clone());
    Ok((endpoint, Some(Connector::new(to, config, timeout).gathering())))
}

fn endpoint(uri: String) -> Result<Endpoint, String> {
    Endpoint::from_shared(uri.clone()).map_err(|error| format!("{uri}: {}", chain(&error)))
}

/// Which codes are worth a retry: the OTLP specification, "OTLP/gRPC, failures".
fn failure(status: &Status) -> Failure {
    // That it is there says that another try is worth it, with a delay or without.
    let info = status.get_details_retry_info();
    let delay = info.map(|info| info.retry_delay.unwrap_or_default());
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

/// The body of a request as it goes out, for [`Direct`].
#[derive(Clone, Debug)]
struct Framed(Bytes);

/// A channel that sends such a body, where there is one, in place of what tonic has made of an
/// empty message: tonic would copy it.
#[derive(Clone, Debug)]
struct Direct(Channel);

impl Service<HttpRequest<Body>> for Direct {
    type Response = HttpResponse<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as Service<HttpRequest<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: HttpRequest<Body>) -> Self::Future {
        if let Some(Framed(bytes)) = request.extensions_mut().remove() {
            // A mapped body does not tell its length: `content-length` is not gRPC's.
            *request.body_mut() = Body::new(Full::new(bytes).map_frame(|frame| frame));
        }
        self.0.call(request)
    }
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

    /// Mostly the message is empty. What is packed gets as much as it needs, in such steps.
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(1024, 32 * 1024)
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

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn retry_info_tells_whether_an_exhausted_collector_is_worth_another_try() {
        let failed = |details| {
            failure(&Status::with_error_details(Code::ResourceExhausted, "", details)).retry
        };
        assert_eq!(failed(ErrorDetails::new()), Retry::No);
        assert_eq!(failed(ErrorDetails::with_retry_info(None)), Retry::After(Duration::ZERO));
        let delay = Duration::from_secs(7);
        assert_eq!(failed(ErrorDetails::with_retry_info(Some(delay))), Retry::After(delay));
    }

    #[test]
    fn each_code_is_tried_again_or_not_as_the_specification_says() {
        const DELAY: Duration = Duration::from_secs(7);
        const AFTER: Retry = Retry::After(DELAY);
        let mut seen = Vec::new();
        // What is done without `RetryInfo`, and with it.
        for (code, without, with, cause) in [
            // Such a status is an error without a call that failed.
            (Code::Ok, Retry::No, Retry::No, Cause::Other),
            (Code::Cancelled, Retry::Soon, Retry::Soon, Cause::Other),
            (Code::Unknown, Retry::No, Retry::No, Cause::Other),
            (Code::InvalidArgument, Retry::No, Retry::No, Cause::Other),
            (Code::DeadlineExceeded, Retry::Soon, Retry::Soon, Cause::Other),
            (Code::NotFound, Retry::No, Retry::No, Cause::Access),
            (Code::AlreadyExists, Retry::No, Retry::No, Cause::Other),
            (Code::PermissionDenied, Retry::No, Retry::No, Cause::Access),
            (Code::FailedPrecondition, Retry::No, Retry::No, Cause::Other),
            (Code::Aborted, Retry::Soon, Retry::Soon, Cause::Other),
            (Code::OutOfRange, Retry::Soon, Retry::Soon, Cause::Size),
            (Code::Unimplemented, Retry::No, Retry::No, Cause::Access),
            (Code::Internal, Retry::No, Retry::No, Cause::Other),
            (Code::Unavailable, Retry::Soon, AFTER, Cause::Other),
            (Code::DataLoss, Retry::Soon, Retry::Soon, Cause::Other),
            (Code::Unauthenticated, Retry::No, Retry::No, Cause::Access),
        ] {
            let details = ErrorDetails::with_retry_info(Some(DELAY));
            let named = failure(&Status::new(code, "why"));
            assert_eq!((named.retry, named.cause), (without, cause), "{code:?}");
            assert_eq!(named.problem, format!("{code:?}: why"));
            let detailed = failure(&Status::with_error_details(code, "why", details));
            assert_eq!((detailed.retry, detailed.cause), (with, cause), "{code:?}");
            seen.push(code as i32);
        }
        // Whether it is about the size of the request depends on `RetryInfo`, too.
        let exhausted = |details| {
            let failure =
                failure(&Status::with_error_details(Code::ResourceExhausted, "", details));
            (failure.retry, failure.cause)
        };
        assert_eq!(exhausted(ErrorDetails::new()), (Retry::No, Cause::Size));
        let details = ErrorDetails::with_retry_info(Some(DELAY));
        assert_eq!(exhausted(details), (AFTER, Cause::Other));
        seen.push(Code::ResourceExhausted as i32);
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..17), "a code has no row");
    }
}
