//! Encoded spans -> one `ExportTraceServiceRequest`.

use bytes::buf::Chain;
use bytes::{Buf as _, Bytes};
use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;

use super::fields::{request, resource, resource_spans, scope, scope_spans};
use super::{value, wire};

/// What stands around the spans of every request.
#[derive(Clone, Debug, Default)]
pub(super) struct Envelope {
    resource: Vec<u8>,
    resource_schema: String,
    scope: Vec<u8>,
    scope_schema: String,
}

impl Envelope {
    pub(super) fn set_resource(&mut self, resource: &Resource) {
        self.resource.clear();
        for (key, value) in resource.iter() {
            value::write(&mut self.resource, resource::ATTRIBUTES, key.as_str(), value);
        }
        self.resource_schema = resource.schema_url().unwrap_or_default().to_owned();
    }

    pub(super) fn set_scope(&mut self, scope: &InstrumentationScope) {
        self.scope.clear();
        wire::bytes_if_any(&mut self.scope, scope::NAME, scope.name().as_bytes());
        let version = scope.version().unwrap_or_default();
        wire::bytes_if_any(&mut self.scope, scope::VERSION, version.as_bytes());
        value::attributes(&mut self.scope, scope::ATTRIBUTES, scope.attributes());
        self.scope_schema = scope.schema_url().unwrap_or_default().to_owned();
    }

    /// The request with these spans, each with its field's head.
    pub(super) fn around(&self, spans: Bytes) -> Request {
        let scope_spans = wire::field_len(self.scope.len())
            + spans.len()
            + wire::field_len_if_any(self.scope_schema.as_bytes());
        let resource_spans = wire::field_len(self.resource.len())
            + wire::field_len(scope_spans)
            + wire::field_len_if_any(self.resource_schema.as_bytes());
        let mut head = Vec::with_capacity(self.resource.len() + self.scope.len() + HEADS);
        wire::head(&mut head, request::RESOURCE_SPANS, resource_spans);
        wire::bytes(&mut head, resource_spans::RESOURCE, &self.resource);
        wire::head(&mut head, resource_spans::SCOPE_SPANS, scope_spans);
        wire::bytes(&mut head, scope_spans::SCOPE, &self.scope);
        let mut tail = Vec::new();
        wire::bytes_if_any(&mut tail, scope_spans::SCHEMA_URL, self.scope_schema.as_bytes());
        wire::bytes_if_any(&mut tail, resource_spans::SCHEMA_URL, self.resource_schema.as_bytes());
        Request { head: head.into(), spans, tail: tail.into() }
    }
}

/// Four fields' heads, each as long as it can be.
const HEADS: usize = 4 * (1 + 10);

/// One request, in pieces, so that the spans are not copied once more. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Request {
    head: Bytes,
    spans: Bytes,
    tail: Bytes,
}

impl Request {
    /// Of bytes that are the body as it stands.
    #[cfg(feature = "otlp-http")]
    pub(super) fn of(body: Bytes) -> Self {
        Self { head: body, spans: Bytes::new(), tail: Bytes::new() }
    }

    /// As something to be sent piece by piece.
    pub(super) fn into_buf(self) -> RequestBuf {
        self.head.chain(self.spans).chain(self.tail)
    }

    /// Takes the spans out again.
    pub(super) fn into_spans(self) -> Bytes {
        self.spans
    }
}

pub(super) type RequestBuf = Chain<Chain<Bytes, Bytes>, Bytes>;
