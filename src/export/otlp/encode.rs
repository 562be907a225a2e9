//! Closed spans -> the bytes of `Span` messages, without building [`SpanData`] in between.
//!
//! What most spans are made of goes straight from the record to the wire, with keys that are
//! encoded once for each callsite. What is rare (links, attributes and events of the OpenTelemetry
//! API, errors with their sources, records over a limit, one key from two places) goes the way of
//! any exporter, by [`Decoder`], so that there is one meaning of a record and not two.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use opentelemetry::trace::{SpanKind, Status};
use tracing::{Level, Metadata};

use super::encoded_spans::EncodedSpans;
use super::fields::{event, span};
use super::value::AttributeKey;
use super::{span_data, value, wire};
use crate::export::callsite::{ByAddress, Callsite, Field, address};
use crate::export::chunk::{Chunk, SpanRecord};
use crate::export::closed_span::ClosedSpan;
use crate::export::decode::{Decoder, fail, kind, set_status_code, text};
use crate::layer::encoded::{Record, Simple, StatusCode, take_record, take_simple};
use crate::layer::{Calibration, Limits};
use crate::propagation::RawTraceState;

/// Turns chunks into `Span` messages. One for each exporter's thread.
#[derive(Debug)]
pub(crate) struct SpanEncoder {
    decoder: Decoder,
    limits: Limits,
    sites: ByAddress<Site>,
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
    Attribute(AttributeKey),
    Special,
}

/// The `tracestate` that travels with the span's trace: all of it, where `SpanData` has only the
/// members that `TraceState` can hold.
fn received_trace_state(record: &SpanRecord) -> Option<Arc<str>> {
    let raw = record.side.as_ref()?.entries.as_ref()?.get::<RawTraceState>()?;
    Some(Arc::clone(&raw.0))
}

impl SpanEncoder {
    pub(crate) fn new(decoder: Decoder) -> Self {
        Self { limits: decoder.limits(), decoder, sites: ByAddress::default() }
    }

    /// The chunk's spans, in the order in which they were closed.
    pub(crate) fn encode(
        &mut self,
        chunk: &mut Chunk,
        calibration: Calibration,
        out: &mut EncodedSpans,
    ) {
        for closed in chunk.drain() {
            if self.plain_span(&closed, calibration, out) {
                continue;
            }
            let received = received_trace_state(&closed.record);
            let data = self.decoder.span(closed, calibration);
            out.push(|out| span_data::encode(out, &data, received.as_deref()));
        }
    }

    /// Adds a span that has nothing out of the ordinary; false, with nothing added, where it has.
    fn plain_span(
        &mut self,
        closed: &ClosedSpan<'_>,
        calibration: Calibration,
        out: &mut EncodedSpans,
    ) -> bool {
        let record = &closed.record;
        if record.side.is_some() || self.decoder.adds_threads() {
            return false;
        }
        for metadata in std::iter::once(record.metadata).chain(closed.events.iter().copied()) {
            self.learn(metadata);
        }
        let plain = Plain { sites: &self.sites, limits: &self.limits, calibration };
        out.try_push(|out| plain.span(out, closed))
    }

    fn learn(&mut self, metadata: &'static Metadata<'static>) {
        let decoder = &mut self.decoder;
        self.sites.entry(address(metadata)).or_insert_with(|| {
            let field = if metadata.is_event() { event::ATTRIBUTES } else { span::ATTRIBUTES };
            Site::new(decoder.callsite(metadata), field)
        });
    }
}

/// What it takes to write spans of known callsites.
struct Plain<'a> {
    sites: &'a ByAddress<Site>,
    limits: &'a Limits,
    calibration: Calibration,
}

impl Plain<'_> {
    fn site(&self, metadata: &Metadata<'static>) -> Option<&Site> {
        self.sites.get(&address(metadata)).filter(|site| site.is_plain)
    }

    /// Writes a span's fields; `None`, with part of them written, where not all are plain.
    fn span(
        &self,
        out: &mut Vec<u8>,
        &ClosedSpan { ref record, bytes, events }: &ClosedSpan<'_>,
    ) -> Option<()> {
        let site = self.site(record.metadata)?;
        write_ids(out, record);
        let mut events = events.iter();
        let mut name = Cow::Borrowed(site.callsite.name.as_bytes());
        // What `update_name` says stands, whatever fields say later.
        let mut is_renamed = false;
        let mut span_kind = None;
        let mut outcome = Status::Unset;
        let mut attributes = site.attribute_count;
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Some((field, value)) = take_simple(&mut rest) {
                let at = usize::from(field);
                match (site.fields.get(at), site.callsite.fields.get(at)) {
                    (Some(Encoded::Attribute(key)), _) => {
                        key.write(out, value);
                        attributes += 1;
                    }
                    (_, Some(Field::OtelName)) if is_renamed => {}
                    (_, Some(Field::OtelName)) => name = bytes_of(value),
                    (_, Some(Field::OtelKind)) => span_kind = kind(&bytes_of(value)),
                    (_, Some(Field::OtelStatusCode)) => {
                        set_status_code(&mut outcome, &text(value.into()));
                    }
                    (_, Some(Field::OtelStatusDescription)) => {
                        fail(&mut outcome, &text(value.into()));
                    }
                    (_, Some(_)) => return None,
                    (_, None) => {}
                }
                continue;
            }
            match take_record(&mut rest) {
                None => break,
                Some(Record::Attribute { field, value }) => {
                    let Some(Encoded::Attribute(key)) = site.fields.get(usize::from(field)) else {
                        return None;
                    };
                    key.write_wide(out, value)?;
                    attributes += 1;
                }
                Some(Record::Event { ticks, dropped, attributes }) => {
                    let site = self.site(events.next()?)?;
                    wire::message(out, span::EVENTS, |out| {
                        self.event(out, site, (ticks, dropped, attributes))
                    })?;
                    if site.callsite.level == Level::ERROR {
                        fail(&mut outcome, "");
                    }
                }
                Some(Record::Name(text)) => {
                    (name, is_renamed) = (Cow::Borrowed(text.as_bytes()), true);
                }
                Some(Record::SideAttribute | Record::SideEvent) => return None,
                Some(Record::Status(StatusCode::Unset, _)) => {}
                Some(Record::Status(StatusCode::Ok, _)) => outcome = Status::Ok,
                Some(Record::Status(StatusCode::Error, description)) => {
                    fail(&mut outcome, description);
                }
            }
        }
        if attributes > self.limits.attributes {
            return None;
        }
        out.extend_from_slice(&site.attributes);
        wire::bytes_if_any(out, span::NAME, &name);
        let span_kind = span_data::kind(&span_kind.unwrap_or(SpanKind::Internal));
        let start = self.calibration.unix_nanos(record.head.start);
        let end = self.calibration.unix_nanos(record.end);
        write_times(out, span_kind, start, end);
        wire::uint_if_any(out, span::DROPPED_ATTRIBUTES, record.dropped_attributes.into());
        wire::uint_if_any(out, span::DROPPED_EVENTS, record.head.dropped_events.into());
        wire::uint_if_any(out, span::DROPPED_LINKS, record.head.dropped_links.into());
        span_data::outcome(out, &outcome);
        let flags = span_data::flags(record.head.identity.flags, record.head.parent.is_remote);
        wire::fixed32(out, span::FLAGS, flags);
        Some(())
    }

    /// Writes the fields of an event, of which there are its time, the attributes that it lost, and
    /// its values; `None` as above.
    fn event(
        &self,
        out: &mut Vec<u8>,
        site: &Site,
        (ticks, dropped, bytes): (u64, u32, &[u8]),
    ) -> Option<()> {
        wire::fixed64(out, event::TIME, self.calibration.unix_nanos(ticks));
        let mut name = Cow::Borrowed(site.callsite.name.as_bytes());
        let mut attributes = site.attribute_count;
        out.extend_from_slice(&site.attributes);
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Some((field, value)) = take_simple(&mut rest) {
                let at = usize::from(field);
                match (site.fields.get(at), site.callsite.fields.get(at)) {
                    (Some(Encoded::Attribute(key)), _) => {
                        key.write(out, value);
                        attributes += 1;
                    }
                    (_, Some(Field::Message)) => name = bytes_of(value),
                    (_, Some(_)) => return None,
                    (_, None) => {}
                }
                continue;
            }
            let Some(record) = take_record(&mut rest) else { break };
            let Record::Attribute { field, value } = record else { continue };
            let Some(Encoded::Attribute(key)) = site.fields.get(usize::from(field)) else {
                return None;
            };
            key.write_wide(out, value)?;
            attributes += 1;
        }
        if attributes > self.limits.event_attributes {
            return None;
        }
        wire::bytes_if_any(out, event::NAME, &name);
        wire::uint_if_any(out, event::DROPPED_ATTRIBUTES, dropped.into());
        Some(())
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
                    Encoded::Attribute(AttributeKey::new(field, key.as_str()))
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

/// The ids, in one go.
#[inline]
fn write_ids(out: &mut Vec<u8>, record: &SpanRecord) {
    const TRACE: usize = 2 + 16;
    const SPAN: usize = 2 + 8;
    let mut ids = [0; TRACE + 2 * SPAN];
    let (trace, spans) = ids.split_at_mut(TRACE);
    let (span, parent) = spans.split_at_mut(SPAN);
    wire::place(trace, span::TRACE_ID, record.head.identity.trace_id.to_be_bytes());
    wire::place(span, span::SPAN_ID, record.head.identity.span_id.to_be_bytes());
    wire::place(parent, span::PARENT_SPAN_ID, record.head.parent.span_id.to_be_bytes());
    let has_parent = record.head.parent.span_id != 0;
    out.extend_from_slice(if has_parent { &ids } else { &ids[..TRACE + SPAN] });
}

/// The kind, a small number, and the times, in one go.
#[inline]
fn write_times(out: &mut Vec<u8>, span_kind: u64, start: u64, end: u64) {
    let [a0, a1, a2, a3, a4, a5, a6, a7] = start.to_le_bytes();
    let [b0, b1, b2, b3, b4, b5, b6, b7] = end.to_le_bytes();
    const KIND: u8 = wire::varint_key(span::KIND);
    const START: u8 = wire::fixed64_key(span::START);
    const END: u8 = wire::fixed64_key(span::END);
    let kind = span_kind as u8;
    out.extend_from_slice(&[
        KIND, kind, START, a0, a1, a2, a3, a4, a5, a6, a7, END, b0, b1, b2, b3, b4, b5, b6, b7,
    ]);
}

/// The text of a value.
fn bytes_of(value: Simple<'_>) -> Cow<'_, [u8]> {
    match value {
        Simple::Text(bytes) => Cow::Borrowed(bytes),
        value => Cow::Owned(text(value.into()).into_owned().into_bytes()),
    }
}
