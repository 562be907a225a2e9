//! Encoded spans -> one `ExportTraceServiceRequest`.

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

/// Bytes that are left free before the spans: as much as most envelopes need, so that a request is
/// one piece of memory without the spans being moved.
pub(super) const ROOM: usize = 4 * 1024;

/// What gRPC puts before a message: whether it is compressed, and its length.
const PREFIX: usize = 1 + 4;

/// Four fields' heads, each as long as it can be.
const HEADS: usize = 4 * (1 + 10);

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

    /// The request with these spans, each with its field's head, behind [`ROOM`] bytes.
    pub(super) fn around(&self, mut spans: Vec<u8>) -> Request {
        let scope_spans = wire::field_len(self.scope.len())
            + spans.len().saturating_sub(ROOM)
            + wire::field_len_if_any(self.scope_schema.as_bytes());
        let resource_spans = wire::field_len(self.resource.len())
            + wire::field_len(scope_spans)
            + wire::field_len_if_any(self.resource_schema.as_bytes());
        let message = wire::field_len(resource_spans);
        let mut head = Vec::with_capacity(PREFIX + self.resource.len() + self.scope.len() + HEADS);
        head.push(0);
        // Far below four bytes' worth, by the limit of a request and that of a span.
        head.extend_from_slice(&(message as u32).to_be_bytes());
        wire::head(&mut head, request::RESOURCE_SPANS, resource_spans);
        wire::bytes(&mut head, resource_spans::RESOURCE, &self.resource);
        wire::head(&mut head, resource_spans::SCOPE_SPANS, scope_spans);
        wire::bytes(&mut head, scope_spans::SCOPE, &self.scope);
        let unused = match ROOM.checked_sub(head.len()) {
            Some(unused) if spans.len() >= ROOM => {
                spans[unused..ROOM].copy_from_slice(&head);
                unused
            }
            // A resource with uncommonly much to say.
            _ => {
                spans.splice(..ROOM.min(spans.len()), head);
                0
            }
        };
        wire::bytes_if_any(&mut spans, scope_spans::SCHEMA_URL, self.scope_schema.as_bytes());
        wire::bytes_if_any(&mut spans, resource_spans::SCHEMA_URL, self.resource_schema.as_bytes());
        let mut framed = Bytes::from(spans);
        framed.advance(unused);
        Request { framed }
    }
}

/// One request, in one piece. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Request {
    framed: Bytes,
}

impl Request {
    /// The message with gRPC's prefix.
    #[cfg(feature = "otlp-grpc")]
    pub(super) fn into_framed(self) -> Bytes {
        self.framed
    }

    pub(super) fn into_message(self) -> Bytes {
        let mut message = self.framed;
        message.advance(PREFIX);
        message
    }

    /// The memory alone, to be used again, unless somebody else still has a share in it.
    pub(super) fn into_memory(self) -> Option<Vec<u8>> {
        let mut bytes = self.framed;
        if !bytes.is_unique() {
            return None;
        }
        // What is left moves to the front; nothing at all would leave the memory behind.
        bytes.truncate(1);
        let mut memory = Vec::from(bytes);
        memory.clear();
        Some(memory)
    }
}
