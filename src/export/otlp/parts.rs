//! A batch that goes in as many requests as a collector makes necessary: encoded once, cut anywhere.

use std::ops::Range;

use opentelemetry_sdk::trace::SpanData;

use super::delivery::{Delivered, Failure};
use super::encoded_spans::EncodedSpans;
use super::request::Envelope;
use super::{MAX_REQUEST, OtlpExporter};

/// Encoded spans of one scope. Parts of them are named by the positions of their spans.
#[derive(Debug)]
pub(crate) struct Parts {
    envelope: Envelope,
    spans: EncodedSpans,
}

impl Parts {
    /// How many bytes a part's spans take.
    pub(crate) fn size(&self, part: &Range<usize>) -> usize {
        self.spans.offset(part.end) - self.spans.offset(part.start)
    }

    /// Cuts a part after what one request should have at most, and after one span at least.
    pub(crate) fn split_at_limit(&self, part: &Range<usize>) -> (Range<usize>, Range<usize>) {
        let middle = part.start + self.spans.fitting(part, MAX_REQUEST).max(1);
        (part.start..middle, middle..part.end)
    }
}

impl OtlpExporter {
    /// Encodes spans of the scope that the first of them has.
    pub(crate) fn parts(&self, batch: &[SpanData]) -> Parts {
        let mut envelope = self.envelope.clone();
        if let Some(first) = batch.first() {
            envelope.set_scope(&first.instrumentation_scope);
        }
        Parts { envelope, spans: EncodedSpans::from_span_data(batch) }
    }

    /// Sends a part in one request, and again only where a kept connection was too old.
    pub(crate) async fn send_part(
        &self,
        parts: &Parts,
        part: &Range<usize>,
    ) -> Result<Delivered, Failure> {
        self.send_in(&parts.envelope, &mut parts.spans.part(part), || true).await
    }
}
