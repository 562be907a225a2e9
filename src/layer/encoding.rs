//! Field values -> records, on the hot path; the exporter's thread reads them.

use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::buffer::Buffer;
use super::encoded::{Record, StatusCode, is_attribute, record_length, records, tag};

/// What a value may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueLimits {
    /// Characters of one string value.
    pub(crate) length: usize,
    /// Bytes of all values of one span, its events included.
    pub(crate) span_bytes: usize,
}

/// The attributes, events and late settings of one span, encoded in the order of recording.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    bytes: Buffer,
    /// Values that found no room.
    dropped: u32,
    /// Bit i: field i was recorded before. Fields from 64 on share none and are always looked for.
    seen: u64,
    /// Whether there are such fields.
    has_more: bool,
    /// Bytes of values that others have replaced.
    dead: usize,
}

/// Capacity that stays with a slot between spans.
const KEPT_BYTES: usize = 4 * 1024;

impl Attributes {
    #[inline]
    pub(super) fn clear(&mut self) {
        self.bytes.clear(KEPT_BYTES);
        self.dropped = 0;
        self.seen = 0;
        self.has_more = false;
        self.dead = 0;
    }

    pub(crate) fn dropped(&self) -> u32 {
        self.dropped
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Counts a value that is not kept.
    #[cold]
    pub(super) fn drop_one(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    /// Room for `more` bytes, or the loss of one value counted.
    fn reserve(&mut self, more: usize, limits: ValueLimits) -> bool {
        if self.bytes.len() + more > limits.span_bytes {
            self.drop_one();
            return false;
        }
        self.bytes.make_ready(more, limits.span_bytes);
        true
    }

    /// What is seen with this field's first value; `None` where it has one already, or might have.
    #[inline]
    fn with_first(&self, field: usize) -> Option<u64> {
        if field >= 64 {
            return None;
        }
        let seen = self.seen | 1 << field;
        (seen != self.seen).then_some(seen)
    }

    /// A value that is the `N` low bytes of a word.
    #[inline]
    fn word<const N: usize>(&mut self, tag: u8, field: usize, value: u64, limits: ValueLimits) {
        let head = u16::from_le_bytes([tag, field as u8]);
        match self.with_first(field) {
            Some(seen) if self.bytes.append_word::<N>(head, value) => self.seen = seen,
            _ => self.fixed(tag, field, &value.to_le_bytes()[..N], limits),
        }
    }

    #[cold]
    fn fixed(&mut self, tag: u8, field: usize, value: &[u8], limits: ValueLimits) {
        let Some(field) = self.key(field) else { return };
        self.forget(field);
        if self.reserve(2 + value.len(), limits) {
            self.bytes.extend(&[tag, field]);
            self.bytes.extend(value);
        }
    }

    /// A callsite has at most 32 fields by `tracing`'s macros; more come from hand-made callsites
    /// and are counted as dropped from the 256th on.
    fn key(&mut self, field: usize) -> Option<u8> {
        let key = u8::try_from(field).ok();
        if key.is_none() {
            self.drop_one();
        }
        key
    }

    #[inline]
    pub(super) fn bool(&mut self, field: usize, value: bool, limits: ValueLimits) {
        self.word::<1>(tag::BOOL, field, u64::from(value), limits);
    }

    #[inline]
    pub(super) fn i64(&mut self, field: usize, value: i64, limits: ValueLimits) {
        self.word::<8>(tag::I64, field, value as u64, limits);
    }

    #[inline]
    pub(super) fn u64(&mut self, field: usize, value: u64, limits: ValueLimits) {
        self.word::<8>(tag::U64, field, value, limits);
    }

    #[inline]
    pub(super) fn f64(&mut self, field: usize, value: f64, limits: ValueLimits) {
        self.word::<8>(tag::F64, field, value.to_bits(), limits);
    }

    pub(super) fn i128(&mut self, field: usize, value: i128, limits: ValueLimits) {
        self.fixed(tag::I128, field, &value.to_le_bytes(), limits);
    }

    pub(super) fn u128(&mut self, field: usize, value: u128, limits: ValueLimits) {
        self.fixed(tag::U128, field, &value.to_le_bytes(), limits);
    }

    #[inline]
    pub(super) fn str(&mut self, field: usize, value: &str, limits: ValueLimits) {
        let is_within = value.len() <= limits.length;
        match self.with_first(field) {
            Some(seen) if is_within && self.bytes.append_short(str_head(field, value), value) => {
                self.seen = seen;
            }
            _ => self.any_str(field, value, limits),
        }
    }

    /// A text that is not short, or may have one in its place already.
    #[inline(never)]
    fn any_str(&mut self, field: usize, value: &str, limits: ValueLimits) {
        let Some(key) = self.key(field) else { return };
        self.forget(key);
        let value =
            if value.len() > limits.length { truncated(value, limits.length) } else { value };
        if self.reserve(6 + value.len(), limits) {
            self.bytes.extend(&str_head(field, value).to_le_bytes()[..6]);
            self.bytes.extend(value.as_bytes());
        }
    }

    /// Formats `value` in place. A panic in its `Debug` becomes a note in the value's stead: a
    /// trace must never break what it observes.
    pub(super) fn formatted(
        &mut self,
        field: usize,
        value: fmt::Arguments<'_>,
        limits: ValueLimits,
    ) {
        let Some(field) = self.key(field) else { return };
        self.forget(field);
        if !self.reserve(6, limits) {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend(&[tag::STR, field, 0, 0, 0, 0]);
        self.format(value, limits);
        self.patch_length(start + 2);
    }

    /// An error and the chain of its sources.
    pub(super) fn error(
        &mut self,
        field: usize,
        error: &(dyn std::error::Error + 'static),
        limits: ValueLimits,
    ) {
        let Some(field) = self.key(field) else { return };
        self.forget(field);
        if !self.reserve(6 + 4, limits) {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend(&[tag::ERROR, field, 0, 0, 0, 0]);
        let mut next = Some(error);
        while let Some(error) = next {
            // An endless chain of sources ends with the span's room.
            if self.bytes.len() + 4 > limits.span_bytes {
                break;
            }
            let at = self.bytes.len();
            self.bytes.extend(&[0; 4]);
            self.format(format_args!("{error}"), limits);
            self.patch_length(at);
            next = catch_unwind(AssertUnwindSafe(|| error.source())).unwrap_or(None);
        }
        self.patch_length(start + 2);
    }

    fn format(&mut self, value: fmt::Arguments<'_>, limits: ValueLimits) {
        let start = self.bytes.len();
        let mut sink = Sink {
            room: limits.span_bytes.saturating_sub(start),
            characters: limits.length,
            bytes: &mut self.bytes,
        };
        // The sink fails to stop a value that is over its limit; what is written stands.
        let formatted = catch_unwind(AssertUnwindSafe(|| sink.write_fmt(value)));
        if formatted.is_err() {
            self.bytes.truncate(start);
            self.bytes.extend(b"(panicked while being formatted)");
        }
    }

    /// Writes into the 4 bytes at `at` how many bytes follow them.
    fn patch_length(&mut self, at: usize) {
        let length = (self.bytes.len() - at - 4) as u32;
        self.bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Marks the field's earlier value, if there is one, as replaced.
    fn forget(&mut self, field: u8) {
        let bit = if field < 64 { 1_u64 << field } else { 0 };
        if bit == 0 || self.seen & bit != 0 {
            self.forget_seen(field);
        }
        self.seen |= bit;
        self.has_more |= bit == 0;
    }

    /// The same of a field that may have one. It has one at most that is not replaced.
    #[cold]
    fn forget_seen(&mut self, field: u8) {
        let mut at = 0;
        while let Some(length) = record_length(&self.bytes[at..]) {
            let tag = self.bytes[at];
            if is_attribute(tag) && self.bytes[at + 1] == field {
                self.bytes[at] = tag | tag::DEAD;
                self.dead += length;
                break;
            }
            at += length;
        }
        self.compact_if_worthwhile();
    }

    /// Removes replaced values, so that a field recorded again and again takes no room. The first
    /// one of each field leaves its place, which counts where there are too many attributes.
    fn compact_if_worthwhile(&mut self) {
        if self.dead <= 1024 || self.dead * 2 <= self.bytes.len() {
            return;
        }
        let (mut from, mut to, mut dead) = (0, 0, 0);
        let mut has_place = [false; 256];
        while from < self.bytes.len() {
            let Some(length) = record_length(&self.bytes[from..]) else { break };
            let tag = self.bytes[from];
            if tag & tag::DEAD == 0 {
                self.bytes.copy_within(from..from + length, to);
                to += length;
            } else if is_attribute(tag & !tag::DEAD) {
                let field = self.bytes[from + 1];
                if !std::mem::replace(&mut has_place[usize::from(field)], true) {
                    // No attribute is shorter.
                    self.bytes[to..to + PLACE].copy_from_slice(&place(field));
                    to += PLACE;
                    dead += PLACE;
                }
            }
            from += length;
        }
        self.bytes.truncate(to);
        self.dead = dead;
    }

    /// Appends values that were encoded elsewhere, outside any lock.
    pub(super) fn append(&mut self, other: &Self, limits: ValueLimits) {
        let mut again = self.seen & other.seen;
        while again != 0 {
            self.forget_seen(again.trailing_zeros() as u8);
            again &= again - 1;
        }
        if other.has_more {
            for record in records(&other.bytes) {
                if let Record::Attribute { field: field @ 64.., .. } = record {
                    self.forget_seen(field);
                }
            }
        }
        self.seen |= other.seen;
        self.has_more |= other.has_more;
        self.dropped = self.dropped.saturating_add(other.dropped);
        if self.bytes.len() + other.bytes.len() <= limits.span_bytes {
            self.bytes.extend(&other.bytes);
            self.dead += other.dead;
        } else {
            let lost = records(&other.bytes).count() as u32;
            self.dropped = self.dropped.saturating_add(lost);
        }
    }

    /// An event at `ticks`; its metadata is kept beside. False where there is no room for it.
    pub(super) fn event(&mut self, ticks: u64, values: &Self, limits: ValueLimits) -> bool {
        let length = 8 + 4 + values.bytes.len();
        // A quarter is left to attributes: a chatty span must not lose its outcome.
        if self.bytes.len() + 5 + length > limits.span_bytes / 4 * 3 {
            return false;
        }
        let mut head = [tag::EVENT; 1 + 4 + 8 + 4];
        head[1..5].copy_from_slice(&(length as u32).to_le_bytes());
        head[5..13].copy_from_slice(&ticks.to_le_bytes());
        head[13..].copy_from_slice(&values.dropped.to_le_bytes());
        self.bytes.extend(&head);
        self.bytes.extend(&values.bytes);
        true
    }

    /// Marks that the next attribute kept at the record's side belongs here in the order.
    pub(super) fn side_attribute(&mut self) {
        self.bytes.push(tag::SIDE_ATTRIBUTE);
    }

    /// Moves the mark of the attribute that is `at` at the record's side to the end. It is of a key
    /// that is a field's too, which keeps its place.
    pub(super) fn move_side_attribute(&mut self, at: usize, field: u8) {
        let (mut byte, mut left, mut has_place) = (0, at, false);
        while let Some(length) = record_length(&self.bytes[byte..]) {
            let tag = self.bytes[byte];
            if tag == tag::SIDE_ATTRIBUTE {
                if left == 0 {
                    if has_place {
                        self.bytes.remove(byte);
                    } else {
                        self.bytes.replace(byte, &place(field));
                        self.dead += PLACE;
                    }
                    break;
                }
                left -= 1;
            }
            has_place |= is_attribute(tag & !tag::DEAD) && self.bytes[byte + 1] == field;
            byte += length;
        }
        self.side_attribute();
    }

    /// Marks that the next event kept at the record's side belongs here in the order.
    pub(super) fn side_event(&mut self) {
        self.bytes.push(tag::SIDE_EVENT);
    }

    pub(super) fn status(&mut self, code: StatusCode, description: &str, limits: ValueLimits) {
        if self.reserve(6 + description.len(), limits) {
            self.bytes.extend(&[tag::STATUS, code as u8]);
            self.bytes.extend(&(description.len() as u32).to_le_bytes());
            self.bytes.extend(description.as_bytes());
        }
    }

    /// Says that what the span stands for has failed, in place of what said so before, unless this
    /// has no more to tell.
    #[cold]
    pub(super) fn fail(&mut self, description: &str, limits: ValueLimits) {
        let end = self.bytes.len();
        if description.is_empty() && self.failures(end).next().is_some() {
            return;
        }
        self.status(StatusCode::Error, description, limits);
        if self.bytes.len() == end {
            return;
        }
        let before: Vec<_> = self.failures(end).collect();
        for (at, length) in before {
            self.bytes[at] |= tag::DEAD;
            self.dead += length;
        }
        self.compact_if_worthwhile();
    }

    /// Where errors stand before `end`, and their lengths.
    fn failures(&self, end: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut at = 0;
        let all = std::iter::from_fn(move || {
            let length = record_length(&self.bytes[at..end])?;
            at += length;
            Some((at - length, length))
        });
        all.filter(|&(at, _)| self.bytes[at..].starts_with(&[tag::STATUS, StatusCode::Error as u8]))
    }

    pub(super) fn name(&mut self, name: &str, limits: ValueLimits) {
        if self.reserve(5 + name.len(), limits) {
            self.bytes.push(tag::NAME);
            self.bytes.extend(&(name.len() as u32).to_le_bytes());
            self.bytes.extend(name.as_bytes());
        }
    }
}

/// The first six bytes of a text's record; the two above them are of no meaning.
#[inline]
fn str_head(field: usize, value: &str) -> u64 {
    u64::from(tag::STR) | (field as u64) << 8 | (value.len() as u64) << 16
}

/// Bytes that keep a field's place.
const PLACE: usize = 3;

/// A value that was replaced and takes as little as one can.
fn place(field: u8) -> [u8; PLACE] {
    [tag::BOOL | tag::DEAD, field, 0]
}

/// At most `limit` characters of `value`.
#[cold]
pub(super) fn truncated(value: &str, limit: usize) -> &str {
    if value.len() <= limit {
        return value;
    }
    match value.char_indices().nth(limit) {
        Some((end, _)) => &value[..end],
        None => value,
    }
}

/// Writes up to so many characters and bytes, then fails, which ends the formatting early.
struct Sink<'a> {
    bytes: &'a mut Buffer,
    room: usize,
    characters: usize,
}

impl fmt::Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut kept = truncated(text, self.characters);
        if kept.len() > self.room {
            let end = (0..=self.room).rev().find(|&at| kept.is_char_boundary(at)).unwrap_or(0);
            kept = &kept[..end];
        }
        self.bytes.extend(kept.as_bytes());
        self.room -= kept.len();
        if self.characters != usize::MAX {
            self.characters -= kept.chars().count();
        }
        if kept.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
