//! Attributes: `KeyValue` and `AnyValue`.

use std::ops::Range;

use opentelemetry::{Array, KeyValue, Value};

use super::fields::{any_value, array_value, key_value};
use super::wire;
use crate::export::decode::integer;
use crate::layer::encoded::{Recorded, Simple};

/// A value of one of the types that OTLP has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(&'a [u8]),
}

impl Scalar<'_> {
    /// The length of the `AnyValue`.
    #[inline]
    fn len(self) -> usize {
        match self {
            Self::Bool(_) => 2,
            Self::Int(value) => 1 + wire::varint_len(value as u64),
            Self::Double(_) => 1 + 8,
            Self::Text(value) => wire::field_len(value.len()),
        }
    }

    /// The content of the `AnyValue`.
    #[inline]
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => wire::uint(out, any_value::BOOL, value.into()),
            Self::Int(value) => wire::uint(out, any_value::INT, value as u64),
            Self::Double(value) => wire::fixed64(out, any_value::DOUBLE, value.to_bits()),
            Self::Text(value) => wire::bytes(out, any_value::STRING, value),
        }
    }
}

/// The start of a `KeyValue` field up to its value, to be written again and again.
#[derive(Debug)]
pub(super) struct AttributeKey {
    field: u8,
    /// The heads of the field and of the value, with lengths of zero, and the key in between.
    start: Box<[u8]>,
    /// The `key` field alone.
    key: Range<usize>,
    /// The longest text with which all lengths are below 128, and so single bytes.
    short: usize,
}

impl AttributeKey {
    pub(super) fn new(field: u8, text: &str) -> Self {
        let mut start = Vec::new();
        wire::head(&mut start, field, 0);
        let at = start.len();
        wire::bytes(&mut start, key_value::KEY, text.as_bytes());
        let key = at..start.len();
        wire::head(&mut start, key_value::VALUE, 0);
        // The key, and the heads of the value and of the text in it.
        let short = 127_usize.saturating_sub(key.len() + 4);
        Self { field, start: start.into(), key, short }
    }

    /// A whole field with a value of this type.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>, value: Simple<'_>) {
        match value {
            Simple::Text(text) if text.len() < self.short => {
                self.write_start(out, 2 + text.len());
                wire::head(out, any_value::STRING, text.len());
                out.extend_from_slice(text);
            }
            Simple::Text(text) => self.write_scalar(out, Scalar::Text(text)),
            Simple::I64(value) => self.write_scalar(out, Scalar::Int(value)),
            Simple::U64(value) => match i64::try_from(value) {
                Ok(value) => self.write_scalar(out, Scalar::Int(value)),
                Err(_) => self.write_scalar(out, Scalar::Text(value.to_string().as_bytes())),
            },
            Simple::F64(value) => self.write_scalar(out, Scalar::Double(value)),
            Simple::Bool(value) => self.write_scalar(out, Scalar::Bool(value)),
        }
    }

    /// A whole field with an integer of 128 bits, as text where OTLP's type does not hold it. `None`
    /// for an error, of which more is told than its text.
    pub(super) fn write_wide(&self, out: &mut Vec<u8>, value: Recorded<'_>) -> Option<()> {
        let value = match value {
            Recorded::I128(value) => integer(value),
            Recorded::U128(value) => integer(value),
            _ => return None,
        };
        match value {
            Value::I64(value) => self.write_scalar(out, Scalar::Int(value)),
            text => self.write_scalar(out, Scalar::Text(text.as_str().as_bytes())),
        }
        Some(())
    }

    #[inline]
    fn write_scalar(&self, out: &mut Vec<u8>, value: Scalar<'_>) {
        let length = value.len();
        if length < self.short + 2 {
            self.write_start(out, length);
        } else {
            wire::head(out, self.field, self.key.len() + wire::field_len(length));
            out.extend_from_slice(&self.start[self.key.clone()]);
            wire::head(out, key_value::VALUE, length);
        }
        value.write(out);
    }

    /// Everything before a value that is short.
    #[inline]
    fn write_start(&self, out: &mut Vec<u8>, length: usize) {
        let at = out.len();
        out.extend_from_slice(&self.start);
        if let [_, whole, .., value] = &mut out[at..] {
            (*whole, *value) = ((self.key.len() + 2 + length) as u8, length as u8);
        }
    }
}

/// All of `attributes`, in `field`.
pub(super) fn attributes<'a>(
    out: &mut Vec<u8>,
    field: u8,
    attributes: impl IntoIterator<Item = &'a KeyValue>,
) {
    for KeyValue { key, value, .. } in attributes {
        write(out, field, key.as_str(), value);
    }
}

/// A `KeyValue` in `field`.
pub(super) fn write(out: &mut Vec<u8>, field: u8, name: &str, value: &Value) {
    wire::message(out, field, |out| {
        wire::bytes(out, key_value::KEY, name.as_bytes());
        wire::message(out, key_value::VALUE, |out| any_value(out, value));
    });
}

fn any_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Bool(value) => Scalar::Bool(*value).write(out),
        Value::I64(value) => Scalar::Int(*value).write(out),
        Value::F64(value) => Scalar::Double(*value).write(out),
        Value::String(value) => Scalar::Text(value.as_str().as_bytes()).write(out),
        Value::Array(array) => {
            wire::message(out, any_value::ARRAY, |out| match array {
                Array::Bool(values) => each(out, values, |v| Scalar::Bool(*v)),
                Array::I64(values) => each(out, values, |v| Scalar::Int(*v)),
                Array::F64(values) => each(out, values, |v| Scalar::Double(*v)),
                Array::String(values) => each(out, values, |v| Scalar::Text(v.as_str().as_bytes())),
                // A type that a later version of the API may bring is told as text.
                array => each(out, &[array.to_string()], |text| Scalar::Text(text.as_bytes())),
            });
        }
        value => Scalar::Text(value.as_str().as_bytes()).write(out),
    }
}

fn each<'a, T>(out: &mut Vec<u8>, values: &'a [T], scalar: impl Fn(&'a T) -> Scalar<'a>) {
    for value in values {
        let value = scalar(value);
        wire::head(out, array_value::VALUES, value.len());
        value.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a whole field by a key that was encoded beforehand with one that was not.
    fn compare(key: &str, simple: Simple<'_>, value: impl Into<Value>) {
        let value = value.into();
        for field in [3, 9] {
            let (mut sent, mut expected) = (vec![1], vec![1]);
            AttributeKey::new(field, key).write(&mut sent, simple);
            write(&mut expected, field, key, &value);
            assert_eq!(sent, expected, "{field} {key} {simple:?}");
        }
    }

    #[test]
    fn a_key_that_is_encoded_beforehand_changes_no_byte() {
        let text = "ab".repeat(8 * 1024 + 100);
        // Every length of the key and of the value at which a length takes one more byte, or two.
        for key in (0..140).map(|length| &text[..length]) {
            for length in (0..300).chain(16_370..16_390) {
                let value = &text[..length];
                compare(key, Simple::Text(value.as_bytes()), value.to_owned());
            }
            for value in (0..64).map(|shift| 1 << shift).chain([0, -1, i64::MAX]) {
                compare(key, Simple::I64(value), value);
            }
            let most = i64::MAX as u64;
            compare(key, Simple::U64(most), i64::MAX);
            compare(key, Simple::U64(most + 1), (most + 1).to_string());
            compare(key, Simple::F64(-0.0), -0.0);
            compare(key, Simple::Bool(true), true);
            for value in [0, i128::MAX, i128::MIN] {
                let (mut sent, mut expected) = (Vec::new(), Vec::new());
                let written =
                    AttributeKey::new(9, key).write_wide(&mut sent, Recorded::I128(value));
                write(&mut expected, 9, key, &integer(value));
                assert_eq!((written, sent), (Some(()), expected), "{key} {value}");
            }
        }
    }
}
