//! Ids made from what a block says: the same block has the same ids, whenever and from whichever
//! file it is imported, so that importing it again replaces spans and does not add any.

use std::borrow::Cow;

use opentelemetry::trace::{SpanId, TraceId};

use super::block::Block;

/// The ids of a block's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
}

/// Keys under which this crate's own text form has the ids of the span that was exported live.
const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";

impl Ids {
    /// The ids that the block itself has, or those made from its number, name, fields and start as
    /// they are printed. Neither the file nor the time zone has a part in it.
    pub(super) fn of(block: &Block, fields: &mut Vec<(String, String)>) -> Self {
        if let Some(ids) = Self::printed(fields) {
            return ids;
        }
        let mut hash = Hash::new();
        hash.add(&block.number.map_or(u64::MAX, u64::from).to_be_bytes());
        if let Some(first) = &block.first {
            hash.add(first.name.as_bytes());
            hash.add(with_trimmed_lines(&first.fields).as_bytes());
            hash.add(first.start_text.as_bytes());
        }
        let trace_id = TraceId::from(hash.finish().max(1));
        Self { trace_id, span_id: Self::child(trace_id, SpanId::INVALID, 0) }
    }

    /// Takes the ids out of the end of the fields.
    fn printed(fields: &mut Vec<(String, String)>) -> Option<Self> {
        let [.., (trace_key, trace_id), (span_key, span_id)] = fields.as_slice() else {
            return None;
        };
        if trace_key != TRACE_ID
            || span_key != SPAN_ID
            || trace_id.len() != 32
            || span_id.len() != 16
        {
            return None;
        }
        let trace_id = TraceId::from_hex(trace_id).ok().filter(|id| *id != TraceId::INVALID)?;
        let span_id = SpanId::from_hex(span_id).ok().filter(|id| *id != SpanId::INVALID)?;
        fields.truncate(fields.len() - 2);
        Some(Self { trace_id, span_id })
    }

    /// The id of the span at `position` among the nested ones of `parent`.
    pub(super) fn child(trace_id: TraceId, parent: SpanId, position: usize) -> SpanId {
        let mut hash = Hash::new();
        hash.add(&trace_id.to_bytes());
        hash.add(&parent.to_bytes());
        hash.add(&(position as u64).to_be_bytes());
        let hash = hash.finish();
        SpanId::from(((hash >> 64) as u64 ^ hash as u64).max(1))
    }
}

/// Fields as they are the same where a collector trims lines: values may have line breaks.
fn with_trimmed_lines(fields: &str) -> Cow<'_, str> {
    if !fields.contains('\n') {
        return Cow::Borrowed(fields);
    }
    let lines: Vec<_> = fields.split('\n').map(str::trim).collect();
    Cow::Owned(lines.join("\n"))
}

/// FNV-1a with 128 bits, and a last step that spreads each bit. Written out here because ids must
/// not change with a library's version.
struct Hash(u128);

impl Hash {
    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    /// The length goes first, so that `a`, `bc` differs from `ab`, `c`.
    fn add(&mut self, bytes: &[u8]) {
        let len = (bytes.len() as u64).to_be_bytes();
        for byte in len.iter().chain(bytes) {
            self.0 ^= u128::from(*byte);
            self.0 = self.0.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }

    fn finish(self) -> u128 {
        let spread = |half: u64| {
            let half = (half ^ (half >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let half = (half ^ (half >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            half ^ (half >> 31)
        };
        let (high, low) = ((self.0 >> 64) as u64, self.0 as u64);
        u128::from(spread(high ^ low.rotate_left(32))) << 64 | u128::from(spread(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::text;

    #[test]
    fn ids_do_not_change_between_versions() {
        let mut hash = Hash::new();
        hash.add(b"List");
        let first = hash.finish();
        let mut hash = Hash::new();
        hash.add(b"Lis");
        hash.add(b"t");
        assert_ne!(first, hash.finish());
        let child = Ids::child(TraceId::from(1), SpanId::from(2), 3);
        assert_eq!(child, Ids::child(TraceId::from(1), SpanId::from(2), 3));
        assert_ne!(child, Ids::child(TraceId::from(1), SpanId::from(2), 4));
        assert_ne!(child, Ids::child(TraceId::from(1), SpanId::from(3), 3));
    }

    #[test]
    fn printed_ids_are_taken() {
        let fields = text::fields;
        let mut with =
            fields("a:b,trace_id:0af7651916cd43dd8448eb211c80319c,span_id:b7ad6b7169203331");
        let ids = Ids::printed(&mut with).unwrap();
        assert_eq!(ids.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(ids.span_id.to_string(), "b7ad6b7169203331");
        assert_eq!(with, fields("a:b"));
        for text in [
            "trace_id:0af7651916cd43dd8448eb211c80319c",
            "trace_id:00000000000000000000000000000000,span_id:b7ad6b7169203331",
            "trace_id:0af7651916cd43dd8448eb211c80319x,span_id:b7ad6b7169203331",
        ] {
            assert_eq!(Ids::printed(&mut fields(text)), None, "{text}");
        }
    }
}
