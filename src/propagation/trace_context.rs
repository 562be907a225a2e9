//! The `traceparent` header, and the propagator for it and `tracestate`.

use std::sync::{Arc, LazyLock};

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};

use super::carrier::{ExtractorLines, Field, HeaderLines, trim_ows};
use super::trace_state::{self, RawTraceState};

/// The flags that level 2 defines: sampled and random trace id. Others are sent as zero.
const KNOWN_FLAGS: TraceFlags = TraceFlags::new(0x03);
pub(super) const RANDOM: TraceFlags = TraceFlags::new(0x02);

/// Carries the span context in the `traceparent` and `tracestate` headers of [W3C trace context,
/// level 2][spec].
///
/// Differs from the propagator of `opentelemetry_sdk` where that one leaves the specification:
///
/// * Every line of a header counts: two `traceparent` lines are none, the lines of `tracestate`
///   are one list.
/// * Lengths, case and versions are checked as the specification asks.
/// * The random flag survives, even if the SDK cleared it for a span that is not sampled.
/// * A `tracestate` that [`TraceState`] cannot represent survives, in its order.
/// * An empty `tracestate` is not sent.
///
/// Invalid input is skipped: an unusable `traceparent` leaves the context as it was, an unusable
/// `tracestate` is dropped without harm to the `traceparent`.
///
/// # Which `tracestate` is sent
///
/// The text received rides in the [`Context`] next to the remote span context, which has as much
/// of it as [`TraceState`] can hold, for samplers to read. On injection:
///
/// * A span context whose trace state is the one received, or empty (spans that a `tracing` layer
///   made have none), sends the text received. So a sampler or an application cannot remove a
///   received `tracestate` by clearing it.
/// * If a sampler or an application changed it, the changed list goes first, followed by the
///   received members that [`TraceState`] could not hold; beyond 32 members the last are dropped.
/// * The text received for one trace is never sent with another.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
///
/// use opentelemetry::propagation::TextMapPropagator as _;
/// use spanbridge::propagation::TraceContextPropagator;
///
/// let incoming = HashMap::from([(
///     "traceparent".to_owned(),
///     "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03".to_owned(),
/// )]);
/// let propagator = TraceContextPropagator::new();
/// let cx = propagator.extract(&incoming);
///
/// let mut outgoing = HashMap::new();
/// propagator.inject_context(&cx, &mut outgoing);
/// assert_eq!(outgoing, incoming);
/// ```
///
/// [spec]: https://www.w3.org/TR/trace-context-2/
#[derive(Clone, Debug, Default)]
pub struct TraceContextPropagator {
    _private: (),
}

impl TraceContextPropagator {
    /// Makes a propagator; all are alike.
    pub fn new() -> Self {
        Self::default()
    }
}

impl TextMapPropagator for TraceContextPropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let Some(parent) = TraceParent::of(cx) else { return };
        injector.set(Field::TraceParent.name(), parent.to_string());
        if let Some(text) = trace_state::outgoing(cx) {
            injector.set(Field::TraceState.name(), text.into_owned());
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        match extract(&ExtractorLines(extractor)) {
            Some((parent, Some(raw))) => parent.into_context(&cx.with_value(raw)),
            // A value cannot be taken out of a context, only replaced.
            Some((parent, None)) if cx.get::<RawTraceState>().is_some() => {
                parent.into_context(&cx.with_value(RawTraceState(Arc::default())))
            }
            Some((parent, None)) => parent.into_context(cx),
            None => cx.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: LazyLock<[String; 2]> = LazyLock::new(|| {
            [Field::TraceParent.name().to_owned(), Field::TraceState.name().to_owned()]
        });
        FieldIter::new(&*FIELDS)
    }
}

/// The `traceparent` of `lines` and, only if that is valid, their `tracestate`.
pub(super) fn extract(lines: &impl HeaderLines) -> Option<(TraceParent, Option<RawTraceState>)> {
    let mut values = lines.lines(Field::TraceParent);
    // Two lines, even equal ones, leave it open which parent is meant.
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let parent = TraceParent::parse(value)?;
    Some((parent, RawTraceState::parse(lines.lines(Field::TraceState))))
}

/// The ids and flags that a `traceparent` header carries; the ids are never zero.
///
/// # Examples
///
/// ```
/// use spanbridge::propagation::TraceParent;
///
/// let header = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let parent = TraceParent::parse(header).ok_or("not a traceparent")?;
/// assert!(parent.flags().is_sampled());
/// assert_eq!(&parent.format(), header);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: TraceFlags,
}

impl TraceParent {
    /// The length of [`format`](Self::format)'s result, and of any valid version 00 header.
    const LEN: usize = 55;

    /// Reads the value of a `traceparent` header; spaces and tabs around it are allowed.
    ///
    /// Versions above 00 are read as far as version 00 goes, as the specification asks. Flags that
    /// level 2 does not define are dropped. `None` if the value is invalid.
    ///
    /// # Performance
    ///
    /// Does not allocate.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (fixed, rest) = trim_ows(value).split_first_chunk::<{ Self::LEN }>()?;
        if [fixed[2], fixed[35], fixed[52]] != [b'-'; 3] || !matches!(rest, [] | [b'-', ..]) {
            return None;
        }
        let ids = unhex_ids(fixed)?;
        let version = unhex(fixed[0], fixed[1])?;
        let flags = unhex(fixed[53], fixed[54])?;
        if version == 0xff || (version == 0 && !rest.is_empty()) {
            return None;
        }
        let (trace_id, span_id) = ids.split_first_chunk()?;
        let trace_id = TraceId::from_bytes(*trace_id);
        let span_id = SpanId::from_bytes(span_id.try_into().ok()?);
        (trace_id != TraceId::INVALID && span_id != SpanId::INVALID).then_some(Self {
            trace_id,
            span_id,
            flags: TraceFlags::new(flags) & KNOWN_FLAGS,
        })
    }

    /// The value of a version 00 `traceparent` header, in ASCII.
    ///
    /// # Performance
    ///
    /// Does not allocate.
    pub fn format(&self) -> [u8; 55] {
        let mut ids = [0; 24];
        ids[..16].copy_from_slice(&self.trace_id.to_bytes());
        ids[16..].copy_from_slice(&self.span_id.to_bytes());
        let digits = hex_ids(ids);
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&digits[..32]);
        text[36..52].copy_from_slice(&digits[32..]);
        // Known flags fit in one digit below ten.
        text[54] |= (self.flags & KNOWN_FLAGS).to_u8();
        text
    }

    /// The trace that the request belongs to.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The span that made the request.
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Whether the trace is sampled (bit 0), and whether its id is random (bit 1).
    pub fn flags(&self) -> TraceFlags {
        self.flags
    }

    /// What `cx` would send, `None` if it has no valid span context.
    pub(super) fn of(cx: &Context) -> Option<Self> {
        let span = cx.span();
        let sc = span.span_context();
        sc.is_valid().then(|| {
            let flags = match Origin::of(cx) {
                Some(origin) => (sc.trace_flags() & !RANDOM) | origin.random,
                None => sc.trace_flags(),
            };
            Self { trace_id: sc.trace_id(), span_id: sc.span_id(), flags: flags & KNOWN_FLAGS }
        })
    }

    /// Whether what `cx` received came with this one's trace.
    pub(super) fn is_origin_of(self, cx: &Context) -> bool {
        let origin = cx.get::<Origin>().map(|origin| origin.trace_id);
        origin.unwrap_or_else(|| cx.span().span_context().trace_id()) == self.trace_id
    }

    /// `cx`, whose [`RawTraceState`] belongs to this one's trace.
    pub(super) fn put_origin(self, cx: &Context) -> Context {
        cx.with_value(Origin { trace_id: self.trace_id, random: self.flags & RANDOM })
    }

    /// `cx` with this as its remote span context, and with the [`RawTraceState`] of `cx` as the
    /// trace state of that.
    pub(super) fn into_context(self, cx: &Context) -> Context {
        let raw = cx.get::<RawTraceState>().filter(|raw| !raw.0.is_empty());
        let trace_state = raw.map_or_else(TraceState::default, RawTraceState::to_trace_state);
        let sc = SpanContext::new(self.trace_id, self.span_id, self.flags, true, trace_state);
        // Not for the usual request: a value costs three allocations.
        if raw.is_some() || self.flags & RANDOM == RANDOM || cx.get::<Origin>().is_some() {
            self.put_origin(cx).with_remote_span_context(sc)
        } else {
            cx.with_remote_span_context(sc)
        }
    }
}

impl std::fmt::Display for TraceParent {
    /// Writes the text of [`format`](TraceParent::format).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(as_text(&self.format()))
    }
}

/// `format`'s result as a string.
pub(super) fn as_text(formatted: &[u8; TraceParent::LEN]) -> &str {
    // Hexadecimal digits and dashes are UTF-8: the default is never taken.
    std::str::from_utf8(formatted).unwrap_or_default()
}

/// Remembers, in a context, for which trace its [`RawTraceState`] was received.
///
/// Also keeps the random flag: it must reach the next service as it came, and the SDK's tracer
/// clears all flags of a span that it does not sample.
#[derive(Debug)]
pub(super) struct Origin {
    trace_id: TraceId,
    random: TraceFlags,
}

impl Origin {
    /// The origin in `cx`, if the active span belongs to the same trace.
    fn of(cx: &Context) -> Option<&Self> {
        cx.get::<Self>().filter(|origin| origin.trace_id == cx.span().span_context().trace_id())
    }

    /// Whether what `cx` received may be sent with the active span's context.
    pub(super) fn matches(cx: &Context) -> bool {
        cx.get::<Self>().is_none() || Self::of(cx).is_some()
    }
}

/// The byte that two lower-case hexadecimal digits write; `None` if one of them is none.
fn unhex(high: u8, low: u8) -> Option<u8> {
    let digit = |digit| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    Some((digit(high)? << 4) | digit(low)?)
}

/// The same of the digits of both ids in a header.
///
/// Without branches or table, each step for all digits before the next, and apart from what becomes of
/// the ids: so the compiler takes sixteen digits at once.
#[inline(never)]
fn unhex_ids(header: &[u8; TraceParent::LEN]) -> Option<[u8; 24]> {
    let mut nibbles = [0; 48];
    nibbles[..32].copy_from_slice(&header[3..35]);
    nibbles[32..].copy_from_slice(&header[36..52]);
    for digit in &mut nibbles {
        let (decimal, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        let decimal = if decimal < 10 { decimal } else { 0xff };
        let letter = if letter < 6 { letter + 10 } else { 0xff };
        *digit = decimal & letter;
    }
    let mut ids = [0; 24];
    for (byte, &pair) in ids.iter_mut().zip(nibbles.as_chunks().0) {
        let pair = u16::from_le_bytes(pair);
        *byte = ((pair << 4) | (pair >> 8)) as u8;
    }
    (nibbles.iter().fold(0, |seen, nibble| seen | nibble) < 0x10).then_some(ids)
}

/// The lower-case digits of both ids; like [`unhex_ids`], many at once.
#[inline]
fn hex_ids(ids: [u8; 24]) -> [u8; 48] {
    let mut digits = [0; 48];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(ids) {
        let byte = u16::from(byte);
        let nibbles = ((byte >> 4) | (byte << 8)) & 0x0f0f;
        let letters = ((nibbles + 0x0606) >> 4) & 0x0101;
        *pair = (nibbles + 0x3030 + letters * u16::from(b'a' - 10 - b'0')).to_le_bytes();
    }
    digits
}

#[cfg(test)]
mod tests;
