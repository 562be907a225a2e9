//! A collector that counts spans and forgets them, for as little as can be, since it runs beside
//! what is measured: OTLP over gRPC, with the spans' fields skipped, not decoded.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// It serves until the process ends.
#[derive(Debug)]
pub(crate) struct Receiver {
    endpoint: String,
    spans: Arc<AtomicU64>,
}

impl Receiver {
    pub(crate) fn start() -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        listener.set_nonblocking(true)?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let spans = Arc::new(AtomicU64::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counter = Arc::clone(&spans);
        thread::Builder::new().name("receiver".to_owned()).spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("the runtime has a reactor");
                serve(listener, counter).await;
            });
        })?;
        Ok(Self { endpoint, spans })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All that have arrived so far.
    pub(crate) fn spans(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, spans: Arc<AtomicU64>) {
    while let Ok((socket, _)) = listener.accept().await {
        let spans = Arc::clone(&spans);
        tokio::spawn(async move {
            let service =
                hyper::service::service_fn(move |request| answer(request, Arc::clone(&spans)));
            // A client that goes away is no error worth a word.
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    spans: Arc<AtomicU64>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    // gRPC's frame: whether it is compressed, and four bytes of length.
    let count = body.get(5..).and_then(count_spans);
    let status = if let Some(count) = count {
        spans.fetch_add(count, Ordering::Relaxed);
        HeaderValue::from_static("0")
    } else {
        HeaderValue::from_static("3")
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status);
    // An empty message.
    let body = Full::new(Bytes::from_static(&[0; 5]))
        .with_trailers(async move { Some(Ok(trailers)) })
        .boxed();
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    Ok(response)
}

/// The spans of an `ExportTraceServiceRequest`: resource_spans = 1, scope_spans = 2, spans = 2.
/// `None` where the bytes are no such message.
fn count_spans(request: &[u8]) -> Option<u64> {
    sum(request, 1, |resource| sum(resource, 2, |scope| sum(scope, 2, |_| Some(1))))
}

/// The sum over all fields of this number, which are messages.
fn sum(mut message: &[u8], wanted: u64, each: impl Fn(&[u8]) -> Option<u64>) -> Option<u64> {
    let mut total = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                varint(&mut message)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (field, rest) = message.split_at_checked(length)?;
        message = rest;
        if key == wanted << 3 | 2 {
            total += each(field)?;
        }
    }
    Some(total)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_all_scopes_and_resources_count() {
        // Two resources: one with a resource (field 1) and a scope of two spans, one with two scopes
        // of a span each.
        let scope = |spans: &[u8]| [&[0x12, spans.len() as u8], spans].concat();
        let one = [&[0x0a, 0x00][..], &scope(&[0x12, 0, 0x12, 1, 0])].concat();
        let two = [scope(&[0x12, 0]), scope(&[0x12, 0])].concat();
        let resource = |bytes: &[u8]| [&[0x0a, bytes.len() as u8], bytes].concat();
        let request = [resource(&one), resource(&two)].concat();
        assert_eq!(count_spans(&request), Some(4));
        assert_eq!(count_spans(&[]), Some(0));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        assert_eq!(count_spans(&[0x0a, 5, 0]), None);
        assert_eq!(count_spans(&[0xff; 12]), None);
    }
}
