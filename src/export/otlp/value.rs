//! Attributes: `KeyValue` and `AnyValue`.

use opentelemetry::{Array, KeyValue, Value};

use super::fields::{any_value, array_value, key_value};
use super::wire;

/// A value of one of the types that OTLP has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    Double(f64),
    Str(&'a str),
}

impl Scalar<'_> {
    /// The length of the `AnyValue`.
    #[inline]
    fn len(self) -> usize {
        match self {
            Self::Bool(_) => 2,
            Self::Int(value) => 1 + wire::varint_len(value as u64),
            Self::Double(_) => 1 + 8,
            Self::Str(value) => wire::field_len(value.len()),
        }
    }

    /// The content of the `AnyValue`.
    #[inline]
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => wire::uint(out, any_value::BOOL, value.into()),
            Self::Int(value) => wire::uint(out, any_value::INT, value as u64),
            Self::Double(value) => wire::fixed64(out, any_value::DOUBLE, value.to_bits()),
            Self::Str(value) => wire::bytes(out, any_value::STRING, value.as_bytes()),
        }
    }
}

/// The `key` field of a `KeyValue`, to be written again and again.
pub(super) fn key(text: &str) -> Box<[u8]> {
    let mut out = Vec::new();
    wire::bytes(&mut out, key_value::KEY, text.as_bytes());
    out.into()
}

/// A `KeyValue` in `field`, by its ready-made key.
#[inline]
pub(super) fn attribute(out: &mut Vec<u8>, field: u8, key: &[u8], value: Scalar<'_>) {
    let length = value.len();
    wire::head(out, field, key.len() + wire::field_len(length));
    out.extend_from_slice(key);
    wire::head(out, key_value::VALUE, length);
    value.write(out);
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
    let mut any = Vec::new();
    any_value(&mut any, value);
    let key_len = wire::field_len(name.len());
    wire::head(out, field, key_len + wire::field_len(any.len()));
    wire::bytes(out, key_value::KEY, name.as_bytes());
    wire::bytes(out, key_value::VALUE, &any);
}

fn any_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Bool(value) => Scalar::Bool(*value).write(out),
        Value::I64(value) => Scalar::Int(*value).write(out),
        Value::F64(value) => Scalar::Double(*value).write(out),
        Value::String(value) => Scalar::Str(value.as_str()).write(out),
        Value::Array(array) => {
            let mut items = Vec::new();
            match array {
                Array::Bool(values) => each(&mut items, values, |v| Scalar::Bool(*v)),
                Array::I64(values) => each(&mut items, values, |v| Scalar::Int(*v)),
                Array::F64(values) => each(&mut items, values, |v| Scalar::Double(*v)),
                Array::String(values) => each(&mut items, values, |v| Scalar::Str(v.as_str())),
                // A type that a later version of the API may bring is told as text.
                array => each(&mut items, &[array.to_string()], |text| Scalar::Str(text)),
            }
            wire::bytes(out, any_value::ARRAY, &items);
        }
        value => Scalar::Str(&value.as_str()).write(out),
    }
}

fn each<'a, T>(out: &mut Vec<u8>, values: &'a [T], scalar: impl Fn(&'a T) -> Scalar<'a>) {
    for value in values {
        let value = scalar(value);
        wire::head(out, array_value::VALUES, value.len());
        value.write(out);
    }
}
