//! OTLP over HTTP/1.1 with protobuf bodies.

use std::io::Read as _;

use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::Code;
use tonic::body::Body;

use super::server::partial_success;
use super::store::{Answer, Store};

const PROTOBUF: &str = "application/x-protobuf";

/// Answers one request.
pub(super) async fn export(request: Request<Incoming>, store: &Store) -> Response<Body> {
    let request = match read(request).await {
        Ok(request) => request,
        Err((status, reason)) => {
            store.malformed(reason.clone());
            return failure(status, Code::InvalidArgument, reason, None);
        }
    };
    match store.receive(request).await {
        Answer::Accepted => message(StatusCode::OK, &ExportTraceServiceResponse::default()),
        Answer::Partial { rejected } => message(StatusCode::OK, &partial_success(rejected)),
        Answer::Refused(refusal) => failure(
            StatusCode::from_u16(refusal.http_status).expect("a test names a real status"),
            refusal.code,
            "refused as told".to_owned(),
            refusal.retry_after.map(|delay| delay.as_secs()),
        ),
        Answer::Malformed(reason) => {
            failure(StatusCode::BAD_REQUEST, Code::InvalidArgument, reason, None)
        }
    }
}

async fn read(
    request: Request<Incoming>,
) -> Result<ExportTraceServiceRequest, (StatusCode, String)> {
    if request.uri().path() != "/v1/traces" {
        return Err((StatusCode::NOT_FOUND, format!("no such path: {}", request.uri().path())));
    }
    if request.method() != Method::POST {
        return Err((StatusCode::METHOD_NOT_ALLOWED, format!("not a POST: {}", request.method())));
    }
    let header = |name| request.headers().get(name).map(|value| value.as_bytes());
    if header(CONTENT_TYPE) != Some(PROTOBUF.as_bytes()) {
        let reason = format!("content type is not {PROTOBUF}");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    let gzip = match header(CONTENT_ENCODING) {
        None | Some(b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => {
            let reason = "content encoding is neither gzip nor identity".to_owned();
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
    };
    let bad = |reason: String| (StatusCode::BAD_REQUEST, reason);
    let body = request.into_body().collect().await.map_err(|err| bad(err.to_string()))?.to_bytes();
    let decoded = if gzip {
        let mut plain = Vec::new();
        GzDecoder::new(&body[..]).read_to_end(&mut plain).map_err(|err| bad(err.to_string()))?;
        ExportTraceServiceRequest::decode(&plain[..])
    } else {
        ExportTraceServiceRequest::decode(body)
    };
    decoded.map_err(|err| bad(err.to_string()))
}

/// An error as OTLP wants it: a `google.rpc.Status` in the body.
fn failure(
    status: StatusCode,
    code: Code,
    reason: String,
    retry_after: Option<u64>,
) -> Response<Body> {
    let body = tonic_types::Status { code: code.into(), message: reason, details: Vec::new() };
    let mut response = message(status, &body);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn message(status: StatusCode, message: &impl Message) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, PROTOBUF)
        .body(Body::new(Full::new(Bytes::from(message.encode_to_vec()))))
        .expect("the parts are valid")
}
