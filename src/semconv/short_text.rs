//! Text that is mostly short, and is written anew for each request.

use std::fmt::{self, Display, Write};
use std::ops::Deref;

/// What is written of a value: in place where it is short, else on the heap. A field that is recorded
/// as such is one of text, which costs a layer less than one that has to be formatted there.
#[derive(Debug)]
pub(crate) enum ShortText {
    InPlace { bytes: [u8; IN_PLACE], len: usize },
    Heap(String),
}

/// Longer than nearly all names of spans, and than any address.
const IN_PLACE: usize = 96;

impl ShortText {
    pub(crate) fn of(value: impl Display) -> Self {
        let mut text = Self::InPlace { bytes: [0; IN_PLACE], len: 0 };
        // Only a value's own failure makes this fail, and then what is written stands.
        let _ = write!(text, "{value}");
        text
    }
}

impl Write for ShortText {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        match self {
            Self::InPlace { bytes, len } => {
                let end = *len + more.len();
                match bytes.get_mut(*len..end) {
                    Some(room) => {
                        room.copy_from_slice(more.as_bytes());
                        *len = end;
                    }
                    None => *self = Self::Heap([&**self, more].concat()),
                }
            }
            Self::Heap(text) => text.push_str(more),
        }
        Ok(())
    }
}

impl Deref for ShortText {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            // It was written from `str`s.
            Self::InPlace { bytes, len } => std::str::from_utf8(&bytes[..*len]).unwrap_or_default(),
            Self::Heap(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_all_lengths_are_whole() {
        for len in [0, 1, IN_PLACE - 1, IN_PLACE, IN_PLACE + 1, 5 * IN_PLACE] {
            let (some, more) = ("ä".repeat(len / 4), "x".repeat(len - len / 4 * 2));
            let text = ShortText::of(format_args!("{some}{more}"));
            assert_eq!(*text, format!("{some}{more}"));
            assert_eq!(matches!(text, ShortText::InPlace { .. }), len <= IN_PLACE, "{len}");
        }
    }

    #[test]
    fn what_a_value_writes_before_it_fails_stands() {
        struct Fails;
        impl Display for Fails {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("so far")?;
                Err(fmt::Error)
            }
        }
        assert_eq!(&*ShortText::of(Fails), "so far");
    }
}
