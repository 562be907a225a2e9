//! `SpanData` -> the bytes of a `Span` message.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Event, Link, SpanId, SpanKind, Status, TraceState};
use opentelemetry_sdk::trace::SpanData;

use super::fields::{event, link, span, status};
use super::{value, wire};

/// Bit 8 of the flags: it is known whether the parent is remote; bit 9: it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Writes the fields of a `Span`. The trace state is what was `received`, where that is known, else
/// what `data` has.
pub(super) fn encode(out: &mut Vec<u8>, data: &SpanData, received: Option<&str>) {
    let sc = &data.span_context;
    wire::bytes(out, span::TRACE_ID, &sc.trace_id().to_bytes());
    wire::bytes(out, span::SPAN_ID, &sc.span_id().to_bytes());
    match received {
        Some(received) => wire::bytes_if_any(out, span::TRACE_STATE, received.as_bytes()),
        None => trace_state(out, span::TRACE_STATE, sc.trace_state()),
    }
    if data.parent_span_id != SpanId::INVALID {
        wire::bytes(out, span::PARENT_SPAN_ID, &data.parent_span_id.to_bytes());
    }
    wire::bytes_if_any(out, span::NAME, data.name.as_bytes());
    wire::uint(out, span::KIND, kind(&data.span_kind));
    wire::fixed64(out, span::START, nanos(data.start_time));
    wire::fixed64(out, span::END, nanos(data.end_time));
    value::attributes(out, span::ATTRIBUTES, &data.attributes);
    wire::uint_if_any(out, span::DROPPED_ATTRIBUTES, data.dropped_attributes_count.into());
    for event in data.events.iter() {
        wire::message(out, span::EVENTS, |out| event_message(out, event));
    }
    wire::uint_if_any(out, span::DROPPED_EVENTS, data.events.dropped_count.into());
    for link in data.links.iter() {
        wire::message(out, span::LINKS, |out| link_message(out, link));
    }
    wire::uint_if_any(out, span::DROPPED_LINKS, data.links.dropped_count.into());
    outcome(out, &data.status);
    wire::fixed32(out, span::FLAGS, flags(sc.trace_flags().to_u8(), data.parent_span_is_remote));
}

/// The span's `flags`: those of the trace, and whether the parent is remote.
#[inline]
pub(super) fn flags(trace_flags: u8, is_remote: bool) -> u32 {
    u32::from(trace_flags) | HAS_IS_REMOTE | if is_remote { IS_REMOTE } else { 0 }
}

#[inline]
pub(super) fn kind(kind: &SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

/// The `status` field. An unset one is an empty message, as opentelemetry-otlp sends it.
#[inline]
pub(super) fn outcome(out: &mut Vec<u8>, outcome: &Status) {
    let (code, message) = match outcome {
        Status::Unset => (0, ""),
        Status::Ok => (1, ""),
        Status::Error { description } => (2, description.as_ref()),
    };
    let length = wire::field_len_if_any(message.as_bytes()) + if code == 0 { 0 } else { 2 };
    wire::head(out, span::STATUS, length);
    wire::bytes_if_any(out, status::MESSAGE, message.as_bytes());
    wire::uint_if_any(out, status::CODE, code);
}

fn event_message(out: &mut Vec<u8>, data: &Event) {
    wire::fixed64(out, event::TIME, nanos(data.timestamp));
    wire::bytes_if_any(out, event::NAME, data.name.as_bytes());
    value::attributes(out, event::ATTRIBUTES, &data.attributes);
    wire::uint_if_any(out, event::DROPPED_ATTRIBUTES, data.dropped_attributes_count.into());
}

fn link_message(out: &mut Vec<u8>, data: &Link) {
    let sc = &data.span_context;
    wire::bytes(out, link::TRACE_ID, &sc.trace_id().to_bytes());
    wire::bytes(out, link::SPAN_ID, &sc.span_id().to_bytes());
    trace_state(out, link::TRACE_STATE, sc.trace_state());
    value::attributes(out, link::ATTRIBUTES, &data.attributes);
    wire::uint_if_any(out, link::DROPPED_ATTRIBUTES, data.dropped_attributes_count.into());
    wire::fixed32(out, link::FLAGS, flags(sc.trace_flags().to_u8(), sc.is_remote()));
}

fn trace_state(out: &mut Vec<u8>, field: u8, state: &TraceState) {
    wire::bytes_if_any(out, field, state.header().as_bytes());
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
