//! Bytes that short records are appended to with a single look at the room that is left.

use std::ops::{Deref, DerefMut};

/// What the first record makes room for.
const FIRST_BYTES: usize = 512;
/// What of a head counts.
const HEAD: usize = 6;
/// Texts up to this length are copied without a call.
const SHORT: usize = 64;
/// What a short record may write to.
const RECORD: usize = size_of::<u64>() + SHORT;

/// A vector of bytes that knows up to where it can be written without asking further.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// While it has fewer bytes than these, there is room for a short record: within the vector's
    /// capacity, and the limit that was named last.
    short_until: usize,
}

impl Buffer {
    /// Appends the six low bytes of `head` and then `text`. False, with nothing done, where that is no
    /// short record or there is no room ready.
    #[inline]
    #[allow(unsafe_code, reason = "a length that is checked once instead of for each part")]
    pub(super) fn append_short(&mut self, head: u64, text: &str) -> bool {
        let at = self.bytes.len();
        if at >= self.short_until || text.len() > SHORT {
            return false;
        }
        // SAFETY: there are `RECORD` bytes of the capacity after `at`, and no more are written: eight
        // for the head, of which the text takes two again. What the new length counts has been written.
        // `text` is borrowed, so it is not of this vector.
        unsafe {
            let to = self.bytes.as_mut_ptr().add(at);
            to.cast::<u64>().write_unaligned(head.to_le());
            copy_short(text.as_bytes(), to.add(HEAD));
            self.bytes.set_len(at + HEAD + text.len());
        }
        true
    }

    /// Appends `head` and the `N` low bytes of `word`. False, with nothing done, where there is no
    /// room ready.
    #[inline]
    #[allow(unsafe_code, reason = "a length that is checked once instead of for each part")]
    pub(super) fn append_word<const N: usize>(&mut self, head: u16, word: u64) -> bool {
        const { assert!(N <= size_of::<u64>(), "a word has no more bytes") };
        const { assert!(2 + size_of::<u64>() <= RECORD, "all of them are written") };
        let at = self.bytes.len();
        if at >= self.short_until {
            return false;
        }
        // SAFETY: as above.
        unsafe {
            let to = self.bytes.as_mut_ptr().add(at);
            to.cast::<u16>().write_unaligned(head.to_le());
            to.add(2).cast::<u64>().write_unaligned(word.to_le());
            self.bytes.set_len(at + 2 + N);
        }
        true
    }

    /// Makes room for `more` bytes, and for short records from then on, which end at `limit`.
    #[inline]
    pub(super) fn make_ready(&mut self, more: usize, limit: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            self.grow(more);
        }
        self.ready_until(limit);
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let more = if self.bytes.capacity() == 0 { more.max(FIRST_BYTES) } else { more };
        self.bytes.reserve(more);
    }

    #[inline]
    fn ready_until(&mut self, limit: usize) {
        self.short_until = (limit.min(self.bytes.capacity()) + 1).saturating_sub(RECORD);
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.bytes.remove(at);
    }

    /// Puts `bytes` in the place of the one that is `at`.
    pub(super) fn replace(&mut self, at: usize, bytes: &[u8]) {
        self.bytes.splice(at..=at, bytes.iter().copied());
    }

    /// Empties it; no more room than `kept` stays.
    #[inline]
    pub(super) fn clear(&mut self, kept: usize) {
        self.bytes.clear();
        if self.bytes.capacity() > kept {
            self.shrink(kept);
        }
    }

    #[cold]
    fn shrink(&mut self, kept: usize) {
        self.bytes.shrink_to(kept);
        self.ready_until(self.short_until.saturating_add(RECORD - 1));
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// Copies up to [`SHORT`] bytes by two or four words that may overlap.
///
/// # Safety
///
/// `text` is no longer than that, `to` is writable for as many bytes, and none of them are of `text`.
#[inline]
#[allow(unsafe_code, reason = "a copy by words, whose number is known only at run time")]
// SAFETY: the callers', as said above.
unsafe fn copy_short(text: &[u8], to: *mut u8) {
    let (from, length) = (text.as_ptr(), text.len());
    macro_rules! by_words {
        ($word:ty) => {{
            // SAFETY: `length` is at least a word's, of which a pair of `u128` is one too, so both are
            // within `text`, and within what the caller gives.
            unsafe {
                let first = from.cast::<$word>().read_unaligned();
                let end = length - size_of::<$word>();
                let last = from.add(end).cast::<$word>().read_unaligned();
                to.cast::<$word>().write_unaligned(first);
                to.add(end).cast::<$word>().write_unaligned(last);
            }
        }};
    }
    // In an order in which short texts take few steps.
    if length > 32 {
        by_words!([u128; 2]);
    } else if length >= 16 {
        by_words!(u128);
    } else if length >= 8 {
        by_words!(u64);
    } else if length >= 4 {
        by_words!(u32);
    } else if length >= 2 {
        by_words!(u16);
    } else if length == 1 {
        by_words!(u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(limit: usize) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.make_ready(1, limit);
        buffer
    }

    #[test]
    fn texts_of_every_length_are_copied_whole() {
        let text: String = (0_u8..100).map(char::from).collect();
        for length in 0..=text.len() {
            let mut buffer = ready(1_000);
            let is_short = buffer.append_short(0x0006_0504_0302_0100, &text[..length]);
            assert_eq!(is_short, length <= SHORT);
            if !is_short {
                assert!(buffer.is_empty());
                continue;
            }
            assert_eq!(buffer[..6], [0, 1, 2, 3, 4, 5]);
            assert_eq!(buffer[6..], text.as_bytes()[..length]);
            assert!(buffer.append_word::<8>(0x0201, 7));
            assert_eq!(buffer[6 + length..], [1, 2, 7, 0, 0, 0, 0, 0, 0, 0]);
            assert!(buffer.append_word::<1>(0x0201, 7));
            assert_eq!(buffer[16 + length..], [1, 2, 7]);
        }
    }

    #[test]
    fn nothing_is_written_where_no_room_is_ready() {
        let mut buffer = Buffer::default();
        assert!(!buffer.append_short(0, "") && !buffer.append_word::<8>(0, 0));
        let mut buffer = ready(RECORD + 5);
        assert!(buffer.append_short(0, "") && buffer.len() == 6);
        assert!(!buffer.append_short(0, "") && !buffer.append_word::<1>(0, 0));
        assert_eq!(buffer.len(), 6);
        let mut buffer = ready(RECORD + 6);
        assert!(buffer.append_short(0, "") && buffer.append_short(0, &"x".repeat(SHORT)));
        assert_eq!(buffer.len(), 12 + SHORT);
        assert!(!ready(RECORD - 1).append_short(0, ""));
    }

    #[test]
    fn room_that_is_given_back_is_not_ready() {
        let mut buffer = ready(100_000);
        buffer.make_ready(10_000, 100_000);
        buffer.extend(&[1; 9_000]);
        assert!(buffer.append_short(0, "more"));
        buffer.clear(1_000);
        let capacity = buffer.bytes.capacity();
        assert!(capacity < 9_000);
        while buffer.append_short(0, &"x".repeat(SHORT)) {}
        assert!(buffer.len() > 900 && buffer.len() <= capacity);
        assert_eq!(buffer.bytes.capacity(), capacity);
    }
}
