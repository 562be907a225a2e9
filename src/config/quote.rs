//! Strings in error texts, which Kubernetes prints in Go's quotes.

use std::fmt;

use crate::quote;

/// How much of a string is shown. A whole file may end up in one.
const SHOWN_CHARS: usize = 1024;

/// Displays a string in Go's quotes, and with dots after it if it is cut.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => write!(f, "{}...", quote::Quoted(&self.0[..end])),
            None => quote::Quoted(self.0).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quoted;

    #[test]
    fn long_strings_are_cut() {
        assert_eq!(Quoted("a\nb").to_string(), r#""a\nb""#);
        assert_eq!(Quoted(&"é".repeat(1024)).to_string(), format!("\"{}\"", "é".repeat(1024)));
        assert_eq!(Quoted(&"é".repeat(1025)).to_string(), format!("\"{}\"...", "é".repeat(1024)));
    }
}
