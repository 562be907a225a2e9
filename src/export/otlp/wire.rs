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
pub(super) fn varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..0x80 => out.push(value as u8),
        // Both bytes at once.
        0x80..0x4000 => out.extend_from_slice(&[value as u8 | 0x80, (value >> 7) as u8]),
        _ => long_varint(out, value),
    }
}

fn long_varint(out: &mut Vec<u8>, mut value: u64) {
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

/// The key of an integer, for a field below 16.
pub(super) const fn varint_key(field: u8) -> u8 {
    field << 3 | VARINT
}

/// The key of eight bytes, for a field below 16.
pub(super) const fn fixed64_key(field: u8) -> u8 {
    field << 3 | FIXED64
}

/// Puts a field below 16 into memory that is as long as that.
#[inline]
pub(super) fn place<const N: usize>(out: &mut [u8], field: u8, value: [u8; N]) {
    let (head, content) = out.split_at_mut(2);
    head.copy_from_slice(&[field << 3 | LENGTH_DELIMITED, N as u8]);
    content.copy_from_slice(&value);
}

/// The head of a field whose `length` bytes the caller writes next.
#[inline]
pub(super) fn head(out: &mut Vec<u8>, field: u8, length: usize) {
    if field < 16 && length < 0x80 {
        out.extend_from_slice(&[field << 3 | LENGTH_DELIMITED, length as u8]);
    } else {
        key(out, field, LENGTH_DELIMITED);
        varint(out, length as u64);
    }
}

/// A field of bytes, text or an encoded message.
#[inline]
pub(super) fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    head(out, field, value.len());
    out.extend_from_slice(value);
}

/// A field that is a message, whose length is known when `write` has written it.
#[inline]
pub(super) fn message<R>(out: &mut Vec<u8>, field: u8, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    key(out, field, LENGTH_DELIMITED);
    let start = out.len();
    out.extend_from_slice(&[0; EXPECTED_LENGTH]);
    let result = write(out);
    let length = out.len() - start - EXPECTED_LENGTH;
    if varint_len(length as u64) == EXPECTED_LENGTH {
        out[start] = length as u8 | 0x80;
        out[start + 1] = (length >> 7) as u8;
    } else {
        set_length(out, start, length);
    }
    result
}

/// Bytes that the length of most messages takes: 128 to 16,383.
const EXPECTED_LENGTH: usize = 2;

fn set_length(out: &mut Vec<u8>, start: usize, length: usize) {
    if length < 0x80 {
        out[start] = length as u8;
        out.copy_within(start + EXPECTED_LENGTH.., start + 1);
        out.pop();
    } else {
        let mut head = Vec::with_capacity(10);
        varint(&mut head, length as u64);
        out.splice(start..start + EXPECTED_LENGTH, head);
    }
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

    #[test]
    fn a_message_is_written_alike_whether_its_length_is_known_before_or_after() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            let (mut before, mut after) = (vec![1, 2, 3], vec![1, 2, 3]);
            let content = vec![7; length];
            bytes(&mut before, 2, &content);
            message(&mut after, 2, |out| out.extend_from_slice(&content));
            assert!(before == after, "{length}");
        }
    }
}
