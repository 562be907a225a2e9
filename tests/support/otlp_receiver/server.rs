//! The accept loop, and the gRPC side; `http` has the other one.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::{Service as _, async_trait};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::store::{Answer, Nonsense, Store};
use super::{Protocol, http};

/// Serves until `stopped` resolves or its sender is gone.
pub(super) async fn serve(
    listener: TcpListener,
    protocol: Protocol,
    tls: Option<TlsAcceptor>,
    store: Arc<Store>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime has I/O on");
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (tls, store) = (tls.clone(), Arc::clone(&store));
                    tokio::spawn(accepted_with(stream, tls, protocol, store));
                }
                // The peer left before it was accepted, or descriptors ran out: the next may work.
                Err(_) => tokio::task::yield_now().await,
            },
        }
    }
}

async fn accepted_with(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    protocol: Protocol,
    store: Arc<Store>,
) {
    // An answer is not to wait for the acknowledgement of its head.
    let _ = stream.set_nodelay(true);
    match tls {
        None => connection(stream, protocol, store).await,
        Some(tls) => {
            // Who has shaken hands in vain knows why.
            if let Ok(stream) = tls.accept(stream).await {
                connection(stream, protocol, store).await;
            }
        }
    }
}

async fn connection<S>(stream: S, protocol: Protocol, store: Arc<Store>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut cut = store.cut();
    let io = TokioIo::new(stream);
    let grpc = TraceServiceServer::new(Grpc(Arc::clone(&store)))
        .accept_compressed(CompressionEncoding::Gzip);
    let service = service_fn(|request: Request<Incoming>| {
        let store = Arc::clone(&store);
        let mut grpc = grpc.clone();
        async move {
            store.note_headers(request.headers());
            if let Some(nonsense) = store.nonsense() {
                store.garbled();
                return Ok::<_, Infallible>(answer(nonsense, protocol));
            }
            match protocol {
                Protocol::Grpc => grpc.call(request).await,
                Protocol::Http => Ok(http::export(request, &store).await),
            }
        }
    });
    // Dropping the connection's future closes its socket. How a connection ended is for the
    // client to notice.
    match protocol {
        Protocol::Grpc => tokio::select! {
            _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service) => {}
            _ = cut.changed() => {}
        },
        Protocol::Http => tokio::select! {
            _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service) => {}
            _ = cut.changed() => {}
        },
    }
}

/// Success, says the head; the body is neither a message nor, for gRPC, framed like one.
fn answer(nonsense: Nonsense, protocol: Protocol) -> Response<Body> {
    let (content_type, body) = match (nonsense, protocol) {
        (Nonsense::Garbage, Protocol::Grpc) => ("application/grpc", &[0xff; 32][..]),
        (Nonsense::Garbage, Protocol::Http) => ("application/x-protobuf", &[0xff; 32][..]),
        (Nonsense::Page, _) => ("text/html", &b"<!doctype html><title>Sign in</title>"[..]),
    };
    Response::builder()
        .header(CONTENT_TYPE, content_type)
        .body(Body::new(Full::new(Bytes::from_static(body))))
        .expect("the parts are valid")
}

#[derive(Debug)]
struct Grpc(Arc<Store>);

#[async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        match self.0.receive(request.into_inner()).await {
            Answer::Accepted => Ok(tonic::Response::new(ExportTraceServiceResponse::default())),
            Answer::Partial { rejected } => Ok(tonic::Response::new(partial_success(rejected))),
            Answer::Refused(refusal) => {
                let message = "refused as told";
                Err(match refusal.retry_after {
                    Some(delay) => {
                        let details = ErrorDetails::with_retry_info(Some(delay));
                        tonic::Status::with_error_details(refusal.code, message, details)
                    }
                    None => tonic::Status::new(refusal.code, message),
                })
            }
            Answer::Malformed(reason) => Err(tonic::Status::invalid_argument(reason)),
        }
    }
}

pub(super) fn partial_success(rejected: u64) -> ExportTraceServiceResponse {
    ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: i64::try_from(rejected).unwrap_or(i64::MAX),
            error_message: "rejected as told".to_owned(),
        }),
    }
}
