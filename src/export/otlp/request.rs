//! Encoded spans -> one `ExportTraceServiceRequest`.

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
    pub(super) fn around(&self, spans: &[u8]) -> Vec<u8> {
        let scope_spans = wire::field_len(self.scope.len())
            + spans.len()
            + wire::field_len_if_any(self.scope_schema.as_bytes());
        let resource_spans = wire::field_len(self.resource.len())
            + wire::field_len(scope_spans)
            + wire::field_len_if_any(self.resource_schema.as_bytes());
        let mut out = Vec::with_capacity(wire::field_len(resource_spans));
        wire::head(&mut out, request::RESOURCE_SPANS, resource_spans);
        wire::bytes(&mut out, resource_spans::RESOURCE, &self.resource);
        wire::head(&mut out, resource_spans::SCOPE_SPANS, scope_spans);
        wire::bytes(&mut out, scope_spans::SCOPE, &self.scope);
        out.extend_from_slice(spans);
        wire::bytes_if_any(&mut out, scope_spans::SCHEMA_URL, self.scope_schema.as_bytes());
        wire::bytes_if_any(&mut out, resource_spans::SCHEMA_URL, self.resource_schema.as_bytes());
        out
    }
}
