//! The records of a span's values: what they look like, and how they are read.
//!
//! A record is a tag byte followed by its payload. Keys are field indices; the callsite's metadata
//! turns them into names. Lengths are written after what they count, so an interrupted write
//! leaves whole records.

pub(super) mod tag {
    pub(in crate::layer) const BOOL: u8 = 1;
    pub(in crate::layer) const I64: u8 = 2;
    pub(in crate::layer) const U64: u8 = 3;
    pub(in crate::layer) const F64: u8 = 4;
    pub(in crate::layer) const I128: u8 = 5;
    pub(in crate::layer) const U128: u8 = 6;
    pub(in crate::layer) const STR: u8 = 7;
    pub(in crate::layer) const ERROR: u8 = 8;
    pub(in crate::layer) const EVENT: u8 = 9;
    pub(in crate::layer) const SIDE_ATTRIBUTE: u8 = 10;
    pub(in crate::layer) const SIDE_EVENT: u8 = 11;
    pub(in crate::layer) const STATUS: u8 = 12;
    pub(in crate::layer) const NAME: u8 = 13;
    /// Set on the tag of a value that a later one replaced.
    pub(in crate::layer) const DEAD: u8 = 0x80;
}

/// The status code as encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusCode {
    Unset,
    Error,
    Ok,
}

pub(super) fn is_attribute(tag: u8) -> bool {
    (tag::BOOL..=tag::ERROR).contains(&tag)
}

/// The length of the record at the start of `bytes`, `None` where it is not whole.
pub(super) fn record_length(bytes: &[u8]) -> Option<usize> {
    let with_length = |at: usize| {
        let length = bytes.get(at..at + 4)?;
        Some(at + 4 + u32::from_le_bytes(length.try_into().ok()?) as usize)
    };
    let length = match bytes.first()? & !tag::DEAD {
        tag::BOOL => 3,
        tag::I64 | tag::U64 | tag::F64 => 10,
        tag::I128 | tag::U128 => 18,
        tag::STR | tag::ERROR | tag::STATUS => with_length(2)?,
        tag::EVENT | tag::NAME => with_length(1)?,
        tag::SIDE_ATTRIBUTE | tag::SIDE_EVENT => 1,
        _ => return None,
    };
    (length <= bytes.len()).then_some(length)
}

/// One decoded record.
#[derive(Debug, PartialEq)]
pub(crate) enum Record<'a> {
    Attribute { field: u8, value: Recorded<'a> },
    Event { ticks: u64, dropped: u32, attributes: &'a [u8] },
    Name(&'a str),
    SideAttribute,
    SideEvent,
    Status(StatusCode, &'a str),
}

/// A decoded value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Recorded<'a> {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    I128(i128),
    U128(u128),
    Str(&'a str),
    /// The error's message, then those of its sources.
    Error(Vec<&'a str>),
}

/// Reads records back; replaced ones are passed over.
pub(crate) fn records(mut bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || take_record(&mut bytes))
}

/// The same with those that were replaced, of which the flag tells.
pub(crate) fn records_and_replaced(mut bytes: &[u8]) -> impl Iterator<Item = (bool, Record<'_>)> {
    std::iter::from_fn(move || {
        loop {
            let (record, rest) = bytes.split_at(record_length(bytes)?);
            bytes = rest;
            let (&tag, payload) = record.split_first()?;
            if let Some(record) = decode(tag & !tag::DEAD, payload) {
                return Some((tag & tag::DEAD != 0, record));
            }
        }
    })
}

/// The first record; what is left begins with the one after it.
pub(crate) fn take_record<'a>(bytes: &mut &'a [u8]) -> Option<Record<'a>> {
    loop {
        let length = record_length(bytes)?;
        let (record, rest) = bytes.split_at(length);
        *bytes = rest;
        let (&tag, payload) = record.split_first()?;
        if let Some(record) = decode(tag, payload) {
            return Some(record);
        }
    }
}

/// A value that is passed on as it stands. Text was UTF-8 when it was written.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "read where OTLP is built in")]
pub(crate) enum Simple<'a> {
    Bool(bool),
    F64(f64),
    I64(i64),
    Text(&'a [u8]),
    U64(u64),
}

/// The first record, if it is a simple value: its field and the value. `None` if it is another one,
/// which is not taken then.
#[inline(always)]
#[allow(dead_code, reason = "called where OTLP is built in")]
pub(crate) fn take_simple<'a>(bytes: &mut &'a [u8]) -> Option<(u8, Simple<'a>)> {
    while bytes.first()? & tag::DEAD != 0 {
        *bytes = bytes.get(record_length(bytes)?..)?;
    }
    let (&[tag, field], rest) = bytes.split_first_chunk()?;
    let (value, rest) = match tag {
        tag::STR => {
            let (length, rest) = rest.split_first_chunk()?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            (Simple::Text(text), rest)
        }
        tag::I64 | tag::U64 | tag::F64 => {
            let (word, rest) = rest.split_first_chunk()?;
            let word = u64::from_le_bytes(*word);
            let value = match tag {
                tag::I64 => Simple::I64(word as i64),
                tag::U64 => Simple::U64(word),
                _ => Simple::F64(f64::from_bits(word)),
            };
            (value, rest)
        }
        tag::BOOL => {
            let (&byte, rest) = rest.split_first()?;
            (Simple::Bool(byte != 0), rest)
        }
        _ => return None,
    };
    *bytes = rest;
    Some((field, value))
}

impl<'a> From<Simple<'a>> for Recorded<'a> {
    fn from(value: Simple<'a>) -> Self {
        match value {
            Simple::Bool(value) => Self::Bool(value),
            Simple::F64(value) => Self::F64(value),
            Simple::I64(value) => Self::I64(value),
            Simple::Text(bytes) => Self::Str(text(bytes)),
            Simple::U64(value) => Self::U64(value),
        }
    }
}

fn decode(tag: u8, rest: &[u8]) -> Option<Record<'_>> {
    Some(match tag {
        tag::SIDE_ATTRIBUTE => Record::SideAttribute,
        tag::SIDE_EVENT => Record::SideEvent,
        tag::NAME => Record::Name(text(rest.get(4..)?)),
        tag::EVENT => Record::Event {
            ticks: u64::from_le_bytes(array(rest.get(4..)?)?),
            dropped: u32::from_le_bytes(array(rest.get(12..)?)?),
            attributes: rest.get(16..)?,
        },
        tag::STATUS => {
            let code = match rest.first()? {
                1 => StatusCode::Error,
                2 => StatusCode::Ok,
                _ => StatusCode::Unset,
            };
            Record::Status(code, text(rest.get(5..)?))
        }
        tag if is_attribute(tag) => {
            let (&field, payload) = rest.split_first()?;
            Record::Attribute { field, value: value(tag, payload)? }
        }
        _ => return None,
    })
}

fn value(tag: u8, payload: &[u8]) -> Option<Recorded<'_>> {
    Some(match tag {
        tag::BOOL => Recorded::Bool(*payload.first()? != 0),
        tag::I64 => Recorded::I64(i64::from_le_bytes(array(payload)?)),
        tag::U64 => Recorded::U64(u64::from_le_bytes(array(payload)?)),
        tag::F64 => Recorded::F64(f64::from_le_bytes(array(payload)?)),
        tag::I128 => Recorded::I128(i128::from_le_bytes(array(payload)?)),
        tag::U128 => Recorded::U128(u128::from_le_bytes(array(payload)?)),
        tag::STR => Recorded::Str(text(payload.get(4..)?)),
        tag::ERROR => {
            let mut messages = Vec::new();
            let mut rest = payload.get(4..)?;
            while let Some(length) = array(rest).map(u32::from_le_bytes) {
                let end = 4 + length as usize;
                messages.push(text(rest.get(4..end)?));
                rest = &rest[end..];
            }
            Recorded::Error(messages)
        }
        _ => return None,
    })
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.first_chunk().copied()
}

/// Text was written from `str`s; a byte that is none would be a defect, not a reason to lose the
/// span.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("(not UTF-8)")
}
