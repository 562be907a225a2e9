//! The `baggage` header and its propagator.

use std::borrow::Cow;
use std::sync::LazyLock;

use opentelemetry::baggage::{Baggage, BaggageExt as _, BaggageMetadata};
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::{Context, StringValue};

use super::carrier::{ExtractorLines, Field, HeaderLines, trim_ows};

const MAX_MEMBERS: usize = 64;
const MAX_BYTES: usize = 8192;

/// Carries [`Baggage`] in the header of [W3C baggage][spec].
///
/// Differs from the propagator of `opentelemetry_sdk` where that one leaves the specification:
/// all lines of the header are read, a value may contain `=`, a literal `%` survives the round
/// trip, bytes that are not UTF-8 become U+FFFD, properties are passed on as they came, and a
/// header over the limits loses members instead of being dropped.
///
/// Invalid members are skipped, never repaired: no `=`, a name that is not an HTTP token, a value
/// with white space, quotes, backslashes or anything beyond ASCII in it. So are properties with
/// such characters, without harm to their member. A header with nothing valid in it leaves the
/// context as it was.
///
/// # Order
///
/// [`Baggage`] has none, so the context also remembers the order of the names received. Entries
/// are sent in that order, those that were added later behind them and sorted by name. Of several
/// members with one name the last one counts, at the place of the first.
///
/// # Limits
///
/// At most 64 members and 8,192 bytes, both ways. Members beyond are left out whole; which ones
/// follows from the order above.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
///
/// use opentelemetry::baggage::BaggageExt as _;
/// use opentelemetry::propagation::TextMapPropagator as _;
/// use spanbridge::propagation::BaggagePropagator;
///
/// let incoming =
///     HashMap::from([("baggage".to_owned(), "user=J%C3%BCrgen;ttl=5,plan=a=b".to_owned())]);
/// let propagator = BaggagePropagator::new();
/// let cx = propagator.extract(&incoming);
/// assert_eq!(cx.baggage().get("user"), Some(&"Jürgen".into()));
///
/// let mut outgoing = HashMap::new();
/// propagator.inject_context(&cx, &mut outgoing);
/// assert_eq!(outgoing, incoming);
/// ```
///
/// [spec]: https://www.w3.org/TR/baggage/
#[derive(Clone, Debug, Default)]
pub struct BaggagePropagator {
    _private: (),
}

impl BaggagePropagator {
    /// Makes a propagator; all are alike.
    pub fn new() -> Self {
        Self::default()
    }
}

impl TextMapPropagator for BaggagePropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        if let Some(text) = outgoing(cx) {
            injector.set(Field::Baggage.name(), text);
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        match extract(&ExtractorLines(extractor)) {
            Some(received) => received.into_context(cx),
            None => cx.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: LazyLock<[String; 1]> = LazyLock::new(|| [Field::Baggage.name().to_owned()]);
        FieldIter::new(&*FIELDS)
    }
}

/// What a header held.
pub(super) struct Received {
    baggage: Baggage,
    order: ReceivedOrder,
}

/// The names received, each once, separated by commas. Rides in the [`Context`].
///
/// Only a hint: names that the baggage lost since are skipped.
#[derive(Debug)]
struct ReceivedOrder(String);

impl Received {
    pub(super) fn into_context(self, cx: &Context) -> Context {
        // A single entry needs no order; an older hint does no harm to it.
        let cx = if self.baggage.len() > 1 { &cx.with_value(self.order) } else { cx };
        cx.with_baggage(self.baggage)
    }
}

/// `None` if there is no valid member.
pub(super) fn extract(lines: &impl HeaderLines) -> Option<Received> {
    let mut lines = lines.lines(Field::Baggage).peekable();
    lines.peek()?;
    let mut baggage = Baggage::new();
    let mut order = String::new();
    let (mut count, mut bytes) = (0, 0);
    let members = lines.flat_map(|line| line.split(|&b| b == b','));
    for text in members.map(trim_ows) {
        let size = text.len() + usize::from(count > 0);
        if bytes + size > MAX_BYTES {
            continue;
        }
        let Some(member) = Member::parse(text) else { continue };
        if baggage.get(member.name).is_none() {
            if !order.is_empty() {
                order.push(',');
            }
            order.push_str(member.name);
        }
        baggage.insert_with_metadata(
            member.name.to_owned(),
            member.value.into_owned(),
            &*member.properties,
        );
        count += 1;
        bytes += size;
        if count == MAX_MEMBERS {
            break;
        }
    }
    (count > 0).then_some(Received { baggage, order: ReceivedOrder(order) })
}

/// The header for the baggage of `cx`, `None` if there is nothing to send.
pub(super) fn outgoing(cx: &Context) -> Option<String> {
    let baggage = cx.baggage();
    if baggage.is_empty() {
        return None;
    }
    let mut text = String::new();
    let order = cx.get::<ReceivedOrder>().map_or("", |order| &*order.0);
    let mut placed = 0;
    for name in order.split(',') {
        if let Some(entry) = baggage.get_with_metadata(name) {
            push_member(&mut text, name, entry);
            placed += 1;
        }
    }
    if placed < baggage.len() {
        let mut rest: Vec<_> = baggage
            .iter()
            .map(|(name, entry)| (name.as_str(), entry))
            .filter(|(name, _)| !order.split(',').any(|known| known == *name))
            .collect();
        rest.sort_unstable_by_key(|&(name, _)| name);
        for (name, entry) in rest {
            push_member(&mut text, name, entry);
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Appends a member, unless it would pass the limit. [`Baggage`] itself limits their number.
fn push_member(text: &mut String, name: &str, entry: &(StringValue, BaggageMetadata)) {
    if !is_token(name.as_bytes()) {
        return;
    }
    let (value, properties) = (entry.0.as_str(), valid_properties(entry.1.as_str()));
    let before = text.len();
    if before > 0 {
        text.push(',');
    }
    text.extend([name, "="]);
    push_percent_encoded(text, value);
    if !properties.is_empty() {
        text.extend([";", &*properties]);
    }
    if text.len() > MAX_BYTES {
        text.truncate(before);
    }
}

struct Member<'a> {
    name: &'a str,
    value: Cow<'a, str>,
    properties: Cow<'a, str>,
}

impl<'a> Member<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (pair, properties) = text.split_once(';').unwrap_or((text, ""));
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim_matches([' ', '\t']), value.trim_matches([' ', '\t']));
        (is_token(name.as_bytes()) && value.bytes().all(is_baggage_octet)).then(|| Self {
            name,
            value: percent_decoded(value),
            properties: valid_properties(properties.trim_matches([' ', '\t'])),
        })
    }
}

/// `text` without the properties that cannot be in a header.
fn valid_properties(text: &str) -> Cow<'_, str> {
    let is_valid = |p: &str| p.bytes().all(|b| is_baggage_octet(b) || matches!(b, b' ' | b'\t'));
    if text.split(';').all(is_valid) {
        return Cow::Borrowed(text);
    }
    let valid: Vec<_> = text.split(';').filter(|p| is_valid(p)).collect();
    Cow::Owned(valid.join(";"))
}

/// A name as RFC 9110, section 5.6.2 has it.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|b| b.is_ascii_graphic() && !br#""(),/:;<=>?@[\]{}"#.contains(b))
}

/// What a value may consist of; it includes `%`, which stands for an encoded byte.
fn is_baggage_octet(b: u8) -> bool {
    b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\')
}

fn percent_decoded(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let decoded = match tail {
            [high, low, after @ ..] if *first == b'%' => {
                hex_digit(*high).zip(hex_digit(*low)).map(|(h, l)| ((h << 4) | l, after))
            }
            _ => None,
        };
        // A percent sign that encodes nothing stands for itself.
        let byte = decoded.map_or(*first, |(byte, after)| {
            rest = after;
            byte
        });
        bytes.push(byte);
    }
    // Invalid UTF-8 becomes U+FFFD, as the specification asks.
    let lossy =
        |err: std::string::FromUtf8Error| String::from_utf8_lossy(err.as_bytes()).into_owned();
    Cow::Owned(String::from_utf8(bytes).unwrap_or_else(lossy))
}

fn hex_digit(b: u8) -> Option<u8> {
    // Both are below 16, so the cast keeps them.
    char::from(b).to_digit(16).map(|digit| digit as u8)
}

fn push_percent_encoded(text: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    text.reserve(value.len());
    for b in value.bytes() {
        if is_baggage_octet(b) && b != b'%' {
            text.push(char::from(b));
        } else {
            let digits = [HEX[usize::from(b >> 4)], HEX[usize::from(b & 0x0f)]];
            text.push('%');
            text.extend(digits.map(char::from));
        }
    }
}

#[cfg(test)]
mod tests;
