//! Protobuf's wire format, as far as OTLP needs it.
//!
//! Source: the encoding guide of Protocol Buffers, <https://protobuf.dev/programming-guides/encoding/>.

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED32: u8 = 5;

/// Bytes that [`varint`] writes.
#[inline]
pub(super) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[inline]
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn key(out: &mut Vec<u8>, field: u8, wire: u8) {
    varint(out, u64::from(field) << 3 | u64::from(wire));
}

/// The head of a field whose `length` bytes the caller writes next.
#[inline]
pub(super) fn head(out: &mut Vec<u8>, field: u8, length: usize) {
    key(out, field, LENGTH_DELIMITED);
    varint(out, length as u64);
}

/// A field of bytes, text or an encoded message.
#[inline]
pub(super) fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    head(out, field, value.len());
    out.extend_from_slice(value);
}

/// As [`bytes`]; nothing where the value is empty, which is what its absence means.
#[inline]
pub(super) fn bytes_if_any(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    if !value.is_empty() {
        bytes(out, field, value);
    }
}

/// Bytes that [`bytes_if_any`] writes, for a field below 16.
#[inline]
pub(super) fn field_len_if_any(value: &[u8]) -> usize {
    if value.is_empty() { 0 } else { field_len(value.len()) }
}

/// Bytes of a whole field below 16 with `length` bytes in it.
#[inline]
pub(super) fn field_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

/// An integer, Boolean or enumeration that stands in a `oneof`: also written where it is zero.
#[inline]
pub(super) fn uint(out: &mut Vec<u8>, field: u8, value: u64) {
    key(out, field, VARINT);
    varint(out, value);
}

/// An integer or enumeration; nothing where it is zero.
#[inline]
pub(super) fn uint_if_any(out: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        uint(out, field, value);
    }
}

#[inline]
pub(super) fn fixed64(out: &mut Vec<u8>, field: u8, value: u64) {
    key(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
pub(super) fn fixed32(out: &mut Vec<u8>, field: u8, value: u32) {
    key(out, field, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_that_are_written() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let mut out = Vec::new();
                varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
                let mut rest = out.as_slice();
                assert_eq!(prost::encoding::decode_varint(&mut rest).unwrap(), value);
                assert!(rest.is_empty());
            }
        }
        let mut out = Vec::new();
        bytes(&mut out, 3, &[7; 200]);
        assert_eq!(out.len(), field_len(200));
    }
}
