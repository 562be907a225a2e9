//! What a collector answers.

use prost::Message;
#[cfg(feature = "otlp-http")]
use serde::{Deserialize, Deserializer};

/// `ExportTraceServiceResponse`.
///
/// Source: opentelemetry-proto, `collector/trace/v1/trace_service.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess`: what the collector did not take.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

#[cfg(feature = "otlp-http")]
impl ExportResponse {
    /// From the JSON that some receivers answer with, whatever they were sent.
    ///
    /// Source of names, and of integers that are text: the OTLP specification, "JSON Protobuf
    /// Encoding".
    pub(super) fn from_json(text: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Response {
            partial_success: Option<Partial>,
        }

        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Partial {
            #[serde(deserialize_with = "integer")]
            rejected_spans: i64,
            error_message: String,
        }

        let Response { partial_success } = serde_json::from_slice(text)?;
        let partial_success = partial_success.map(|partial| PartialSuccess {
            rejected_spans: partial.rejected_spans,
            error_message: partial.error_message,
        });
        Ok(Self { partial_success })
    }
}

#[cfg(feature = "otlp-http")]
fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Integer {
        Number(i64),
        Text(String),
    }

    match Integer::deserialize(deserializer)? {
        Integer::Number(number) => Ok(number),
        Integer::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// `google.rpc.Status`, the body of an error over HTTP.
#[cfg(feature = "otlp-http")]
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}
