//! Bytes that short records are appended to with a single look at the room that is left.

use std::ops::{Deref, DerefMut};

/// What the first record makes room for.
const FIRST_BYTES: usize = 512;
/// What of a head counts.
const HEAD: usize = 6;
/// Texts up to this length are copied without a call.
const SHORT: usize = 32;

/// A vector of bytes that knows up to where it can be written without asking further.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Never more than the vector's capacity, nor than the limit that was named last.
    ready: usize,
}

impl Buffer {
    /// Appends the six low bytes of `head` and then `text`. False, with nothing done, where there
    /// is no room ready.
    #[inline]
    #[allow(unsafe_code, reason = "a length that is checked once instead of for each part")]
    pub(super) fn append(&mut self, head: u64, text: &[u8]) -> bool {
        let at = self.bytes.len();
        // All eight bytes of the head are written. No length is near to what a number can hold.
        if self.ready < at + 8 || self.ready - (at + 8) < text.len() {
            return false;
        }
        if text.len() > SHORT {
            self.append_long(head, text);
            return true;
        }
        // SAFETY: `at + 8 + text.len()` is within the capacity, of which `ready` is no more; what
        // the new length counts has been written. `text` is borrowed, so it is not of this vector.
        unsafe {
            let to = self.bytes.as_mut_ptr().add(at);
            to.cast::<u64>().write_unaligned(head.to_le());
            copy_short(text, to.add(HEAD));
            self.bytes.set_len(at + HEAD + text.len());
        }
        true
    }

    /// Apart, so that the short ones need no more than a handful of registers.
    #[inline(never)]
    fn append_long(&mut self, head: u64, text: &[u8]) {
        self.bytes.extend_from_slice(&head.to_le_bytes()[..HEAD]);
        self.bytes.extend_from_slice(text);
    }

    /// Appends `head` and the `N` low bytes of `word`. False, with nothing done, where there is no
    /// room ready.
    #[inline]
    #[allow(unsafe_code, reason = "a length that is checked once instead of for each part")]
    pub(super) fn append_word<const N: usize>(&mut self, head: u16, word: u64) -> bool {
        const { assert!(N <= size_of::<u64>(), "a word has no more bytes") };
        let at = self.bytes.len();
        // All bytes of the word are written.
        if at + 2 + size_of::<u64>() > self.ready {
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

    /// Makes room for `more` bytes. What is ready after that ends at `limit`.
    #[cold]
    pub(super) fn make_ready(&mut self, more: usize, limit: usize) {
        let more = if self.bytes.capacity() == 0 { more.max(FIRST_BYTES) } else { more };
        self.bytes.reserve(more);
        self.ready = limit.min(self.bytes.capacity());
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
        self.ready = self.ready.min(self.bytes.capacity());
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

/// Copies up to [`SHORT`] bytes by two words that may overlap.
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
            // SAFETY: `length` is at least a word's, so both words are within `text`, and within
            // what the caller gives.
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
    if length >= 16 {
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
        let text: Vec<u8> = (0..100).collect();
        for length in 0..=text.len() {
            let mut buffer = ready(1_000);
            assert!(buffer.append(0x0006_0504_0302_0100, &text[..length]));
            assert_eq!(buffer[..6], [0, 1, 2, 3, 4, 5]);
            assert_eq!(buffer[6..], text[..length]);
            assert!(buffer.append_word::<8>(0x0201, 7));
            assert_eq!(buffer[6 + length..], [1, 2, 7, 0, 0, 0, 0, 0, 0, 0]);
            assert!(buffer.append_word::<1>(0x0201, 7));
            assert_eq!(buffer[16 + length..], [1, 2, 7]);
        }
    }

    #[test]
    fn nothing_is_written_where_no_room_is_ready() {
        let mut buffer = Buffer::default();
        assert!(!buffer.append(0, b"") && !buffer.append_word::<8>(0, 0));
        let mut buffer = ready(20);
        assert!(!buffer.append(0, &[1; 13]) && buffer.append(0, &[1; 12]));
        assert!(!buffer.append(0, b"") && !buffer.append_word::<8>(0, 0));
        assert_eq!(buffer.len(), 18);
    }

    #[test]
    fn room_that_is_given_back_is_not_ready() {
        let mut buffer = ready(100_000);
        buffer.make_ready(10_000, 100_000);
        assert!(buffer.append(0, &[1; 9_000]));
        buffer.clear(1_000);
        assert!(!buffer.append(0, &[1; 9_000]) && buffer.append(0, &[1; 500]));
    }
}
