//! Closed spans -> the bytes of `Span` messages, without building [`SpanData`] in between.
//!
//! What most spans are made of goes straight from the record to the wire, with keys that are
//! encoded once for each callsite. What is rare (links, attributes and events of the OpenTelemetry
//! API, errors with their sources, records over a limit, one key from two places) goes the way of
//! any exporter, by [`Decoder`], so that there is one meaning of a record and not two.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use tracing::{Level, Metadata};

use super::fields::{event, span};
use super::value::Scalar;
use super::{span_data, value, wire};
use crate::export::callsite::{Callsite, Field};
use crate::export::chunk::{Chunk, SpanRecord};
use crate::export::closed_span::ClosedSpan;
use crate::export::decode::{Decoder, fail, integer, kind, set_status_code, text};
use crate::layer::encoding::{Record, Recorded, StatusCode, records};
use crate::layer::{Calibration, Limits};
use crate::propagation::RawTraceState;

/// Turns chunks into `Span` messages. One for each exporter's thread.
#[derive(Debug)]
pub(crate) struct SpanEncoder {
    decoder: Decoder,
    limits: Limits,
    /// By the metadata's address, as in [`Decoder`].
    sites: HashMap<usize, Arc<Site>>,
    /// The message that is being written: its length stands before it.
    message: Vec<u8>,
    event: Vec<u8>,
}

/// A callsite with everything of it that can be encoded beforehand.
#[derive(Debug)]
struct Site {
    callsite: Arc<Callsite>,
    fields: Vec<Encoded>,
    /// The attributes that every span or event of the callsite has.
    attributes: Vec<u8>,
    attribute_count: u32,
    /// No key comes twice, and no field needs more than its value.
    is_plain: bool,
}

#[derive(Debug)]
enum Encoded {
    /// An attribute by its encoded key.
    Attribute(Box<[u8]>),
    Special,
}

/// Encoded spans, and where each of them ends.
#[derive(Debug, Default)]
pub(crate) struct EncodedSpans {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What an empty batch keeps for its next use: more than most batches are.
const KEPT_BYTES: usize = 1024 * 1024;

impl EncodedSpans {
    /// As any exporter has them.
    pub(super) fn from_span_data(batch: &[SpanData]) -> Self {
        let mut encoded = Self::default();
        let mut message = Vec::new();
        for data in batch {
            message.clear();
            span_data::encode(&mut message, data, None);
            encoded.push(&message);
        }
        encoded
    }

    fn push(&mut self, message: &[u8]) {
        wire::bytes(&mut self.bytes, super::fields::scope_spans::SPANS, message);
        self.ends.push(self.bytes.len());
    }

    /// Moves the first spans to `batch`, if there are enough for a whole one; or, with `all`, as
    /// many as fit into one. A span that is over `max_bytes` alone goes alone. False if none went.
    ///
    /// What was in `batch` is gone, but its memory is used again.
    pub(crate) fn take_batch(
        &mut self,
        batch: &mut Self,
        max_spans: usize,
        max_bytes: usize,
        all: bool,
    ) -> bool {
        let is_full = self.ends.len() >= max_spans || self.bytes.len() > max_bytes;
        if self.ends.is_empty() || !(is_full || all) {
            return false;
        }
        let fitting = self.ends.partition_point(|&end| end <= max_bytes);
        let spans = fitting.clamp(1, max_spans).min(self.ends.len());
        let end = self.ends[spans - 1];
        // Mostly there is little left, so that is what is copied.
        batch.clear();
        batch.bytes.extend_from_slice(&self.bytes[end..]);
        batch.ends.extend(self.ends[spans..].iter().map(|other| other - end));
        self.bytes.truncate(end);
        self.ends.truncate(spans);
        std::mem::swap(self, batch);
        true
    }

    /// The bytes, and where each span ends in them.
    #[cfg(feature = "cli")]
    pub(super) fn into_parts(self) -> (Bytes, Vec<usize>) {
        (self.bytes.into(), self.ends)
    }

    /// Lends the bytes to a request, for as long as that is sent.
    pub(super) fn lend(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).into()
    }

    /// Takes the memory back, unless somebody else still has a share in it.
    pub(super) fn give_back(&mut self, lent: Bytes) {
        if lent.is_unique() {
            self.bytes = lent.into();
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.ends.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The `tracestate` that travels with the span's trace: all of it, where `SpanData` has only the members that `TraceState` can hold.
fn received_trace_state(record: &SpanRecord) -> Option<Arc<str>> {
    let raw = record.side.as_ref()?.entries.as_ref()?.get::<RawTraceState>()?;
    Some(Arc::clone(&raw.0))
}

impl SpanEncoder {
    pub(crate) fn new(decoder: Decoder) -> Self {
        Self {
            limits: decoder.limits(),
            decoder,
            sites: HashMap::new(),
            message: Vec::new(),
            event: Vec::new(),
        }
    }

    /// The chunk's spans, in the order in which they were closed.
    pub(crate) fn encode(
        &mut self,
        chunk: &mut Chunk,
        calibration: Calibration,
        out: &mut EncodedSpans,
    ) {
        for closed in chunk.drain() {
            self.message.clear();
            if self.plain_span(&closed, calibration).is_none() {
                let received = received_trace_state(&closed.record);
                let data = self.decoder.span(closed, calibration);
                self.message.clear();
                span_data::encode(&mut self.message, &data, received.as_deref());
            }
            out.push(&self.message);
        }
    }

    /// Writes a span that has nothing out of the ordinary; `None`, with part of it written, where
    /// it has.
    fn plain_span(&mut self, closed: &ClosedSpan<'_>, calibration: Calibration) -> Option<()> {
        let record = &closed.record;
        if record.side.is_some() || self.decoder.adds_threads() {
            return None;
        }
        let site = self.site(record.metadata);
        if !site.is_plain {
            return None;
        }
        let mut message = std::mem::take(&mut self.message);
        let written = self.write_plain_span(&mut message, &site, closed, calibration);
        self.message = message;
        written
    }

    fn write_plain_span(
        &mut self,
        out: &mut Vec<u8>,
        site: &Site,
        &ClosedSpan { ref record, bytes, events }: &ClosedSpan<'_>,
        calibration: Calibration,
    ) -> Option<()> {
        wire::bytes(out, span::TRACE_ID, &record.identity.trace_id.to_be_bytes());
        wire::bytes(out, span::SPAN_ID, &record.identity.span_id.to_be_bytes());
        if record.parent.span_id != 0 {
            wire::bytes(out, span::PARENT_SPAN_ID, &record.parent.span_id.to_be_bytes());
        }
        let mut events = events.iter();
        let mut name = Cow::Borrowed(site.callsite.name);
        // What `update_name` says stands, whatever fields say later.
        let mut is_renamed = false;
        let mut span_kind = None;
        let mut outcome = Status::Unset;
        let mut attributes = site.attribute_count;
        for entry in records(bytes) {
            match entry {
                Record::Attribute { field, value } => {
                    let at = usize::from(field);
                    match (site.fields.get(at), site.callsite.fields.get(at)) {
                        (Some(Encoded::Attribute(key)), _) => {
                            attribute(out, span::ATTRIBUTES, key, value)?;
                            attributes += 1;
                        }
                        (_, Some(Field::OtelName)) if is_renamed => {}
                        (_, Some(Field::OtelName)) => name = text(value),
                        (_, Some(Field::OtelKind)) => span_kind = kind(&text(value)),
                        (_, Some(Field::OtelStatusCode)) => {
                            set_status_code(&mut outcome, &text(value));
                        }
                        (_, Some(Field::OtelStatusDescription)) => {
                            fail(&mut outcome, &text(value));
                        }
                        (_, Some(_)) => return None,
                        (_, None) => {}
                    }
                }
                Record::Event { ticks, dropped, attributes } => {
                    let time = calibration.unix_nanos(ticks);
                    let metadata = events.next()?;
                    self.plain_event(metadata, time, dropped, attributes, &mut outcome)?;
                    wire::bytes(out, span::EVENTS, &self.event);
                }
                Record::Name(text) => (name, is_renamed) = (Cow::Borrowed(text), true),
                Record::SideAttribute | Record::SideEvent => return None,
                Record::Status(StatusCode::Unset, _) => {}
                Record::Status(StatusCode::Ok, _) => outcome = Status::Ok,
                Record::Status(StatusCode::Error, description) => fail(&mut outcome, description),
            }
        }
        if attributes > self.limits.attributes {
            return None;
        }
        out.extend_from_slice(&site.attributes);
        wire::bytes_if_any(out, span::NAME, name.as_bytes());
        let span_kind = span_data::kind(&span_kind.unwrap_or(SpanKind::Internal));
        wire::uint(out, span::KIND, span_kind);
        wire::fixed64(out, span::START, calibration.unix_nanos(record.start));
        wire::fixed64(out, span::END, calibration.unix_nanos(record.end));
        wire::uint_if_any(out, span::DROPPED_ATTRIBUTES, record.dropped_attributes.into());
        wire::uint_if_any(out, span::DROPPED_EVENTS, record.dropped_events.into());
        wire::uint_if_any(out, span::DROPPED_LINKS, record.dropped_links.into());
        span_data::outcome(out, &outcome);
        let flags = span_data::flags(record.identity.flags, record.parent.is_remote);
        wire::fixed32(out, span::FLAGS, flags);
        Some(())
    }

    /// Writes an event to `self.event`.
    fn plain_event(
        &mut self,
        metadata: &'static Metadata<'static>,
        time: u64,
        dropped: u32,
        bytes: &[u8],
        outcome: &mut Status,
    ) -> Option<()> {
        let site = self.site(metadata);
        if !site.is_plain {
            return None;
        }
        let out = &mut self.event;
        out.clear();
        wire::fixed64(out, event::TIME, time);
        let mut name = Cow::Borrowed(site.callsite.name);
        let mut attributes = site.attribute_count;
        out.extend_from_slice(&site.attributes);
        for entry in records(bytes) {
            let Record::Attribute { field, value } = entry else { continue };
            let at = usize::from(field);
            match (site.fields.get(at), site.callsite.fields.get(at)) {
                (Some(Encoded::Attribute(key)), _) => {
                    attribute(out, event::ATTRIBUTES, key, value)?;
                    attributes += 1;
                }
                (_, Some(Field::Message)) => name = text(value),
                (_, Some(_)) => return None,
                (_, None) => {}
            }
        }
        if attributes > self.limits.event_attributes {
            return None;
        }
        wire::bytes_if_any(out, event::NAME, name.as_bytes());
        wire::uint_if_any(out, event::DROPPED_ATTRIBUTES, dropped.into());
        if site.callsite.level == Level::ERROR {
            fail(outcome, "");
        }
        Some(())
    }

    fn site(&mut self, metadata: &'static Metadata<'static>) -> Arc<Site> {
        let decoder = &mut self.decoder;
        let site = self.sites.entry(std::ptr::from_ref(metadata).addr()).or_insert_with(|| {
            let field = if metadata.is_event() { event::ATTRIBUTES } else { span::ATTRIBUTES };
            Arc::new(Site::new(decoder.callsite(metadata), field))
        });
        Arc::clone(site)
    }
}

impl Site {
    /// `field` is the number of the attributes in the message.
    fn new(callsite: Arc<Callsite>, field: u8) -> Self {
        let mut keys: HashSet<&str> = HashSet::new();
        let mut is_plain = callsite.attributes.iter().all(|kv| keys.insert(kv.key.as_str()));
        let fields = callsite
            .fields
            .iter()
            .map(|known| match known {
                Field::Attribute(key) => {
                    is_plain &= keys.insert(key.as_str());
                    Encoded::Attribute(value::key(key.as_str()))
                }
                _ => Encoded::Special,
            })
            .collect();
        let mut attributes = Vec::new();
        value::attributes(&mut attributes, field, &callsite.attributes);
        let attribute_count = callsite.attributes.len() as u32;
        Self { fields, attributes, attribute_count, is_plain, callsite }
    }
}

/// `None` for an error, of which more is told than its text.
#[inline]
fn attribute(out: &mut Vec<u8>, field: u8, key: &[u8], recorded: Recorded<'_>) -> Option<()> {
    let scalar = match recorded {
        Recorded::Bool(value) => Scalar::Bool(value),
        Recorded::I64(value) => Scalar::Int(value),
        Recorded::F64(value) => Scalar::Double(value),
        Recorded::Str(value) => Scalar::Str(value),
        Recorded::Error(_) => return None,
        Recorded::U64(value) => return any_integer(out, field, key, value),
        Recorded::I128(value) => return any_integer(out, field, key, value),
        Recorded::U128(value) => return any_integer(out, field, key, value),
    };
    value::attribute(out, field, key, scalar);
    Some(())
}

/// An integer, as text where OTLP's type does not hold it.
fn any_integer<T>(out: &mut Vec<u8>, field: u8, key: &[u8], value: T) -> Option<()>
where
    T: TryInto<i64> + ToString + Copy,
{
    match integer(value) {
        opentelemetry::Value::I64(value) => value::attribute(out, field, key, Scalar::Int(value)),
        text => value::attribute(out, field, key, Scalar::Str(&text.as_str())),
    }
    Some(())
}
