//! A batch that goes in as many requests as a collector makes necessary: encoded once, cut anywhere.

use std::ops::Range;

use bytes::Bytes;
use opentelemetry_sdk::trace::SpanData;

use super::delivery::{Delivered, Failure};
use super::encode::EncodedSpans;
use super::request::Envelope;
use super::{MAX_REQUEST, OtlpExporter};

/// Encoded spans of one scope. Parts of them are named by the positions of their spans.
#[derive(Debug)]
pub(crate) struct Parts {
    envelope: Envelope,
    bytes: Bytes,
    ends: Vec<usize>,
}

impl Parts {
    /// How many bytes a part's spans take.
    pub(crate) fn size(&self, part: &Range<usize>) -> usize {
        self.offset(part.end) - self.offset(part.start)
    }

    /// Cuts a part after what one request should have at most, and after one span at least.
    pub(crate) fn split_at_limit(&self, part: &Range<usize>) -> (Range<usize>, Range<usize>) {
        let limit = self.offset(part.start) + MAX_REQUEST;
        let fitting = self.ends[part.clone()].partition_point(|&end| end <= limit);
        let middle = part.start + fitting.max(1);
        (part.start..middle, middle..part.end)
    }

    /// Where the span at this position begins.
    fn offset(&self, position: usize) -> usize {
        if position == 0 { 0 } else { self.ends[position - 1] }
    }
}

impl OtlpExporter {
    /// Encodes spans of the scope that the first of them has.
    pub(crate) fn parts(&self, batch: &[SpanData]) -> Parts {
        let mut envelope = self.envelope.clone();
        if let Some(first) = batch.first() {
            envelope.set_scope(&first.instrumentation_scope);
        }
        let (bytes, ends) = EncodedSpans::from_span_data(batch).into_parts();
        Parts { envelope, bytes, ends }
    }

    /// Sends a part in one request, and again only where a kept connection was too old.
    pub(crate) async fn send_part(
        &self,
        parts: &Parts,
        part: &Range<usize>,
    ) -> Result<Delivered, Failure> {
        let bytes = parts.bytes.slice(parts.offset(part.start)..parts.offset(part.end));
        self.send_request(&parts.envelope.around(bytes), || true).await
    }
}
