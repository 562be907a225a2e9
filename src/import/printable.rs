//! What a log says, as it may stand on a terminal.

use std::fmt::{self, Write as _};

/// A text without what a terminal would obey: control characters, and those that change the order in
/// which others are shown, are escaped as in Rust.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(is_obeyed) {
            f.write_str(&rest[..at])?;
            let mut chars = rest[at..].chars();
            if let Some(c) = chars.next() {
                write!(f, "{}", c.escape_debug())?;
            }
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

/// The same for text of several lines.
pub(crate) struct PrintableLines<'a>(pub(crate) &'a str);

impl fmt::Display for PrintableLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.0.split('\n').enumerate() {
            if at > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{}", Printable(line))?;
        }
        Ok(())
    }
}

fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        for (text, expected) in [
            ("", ""),
            ("Grüße, 世界 e\u{301} \"x\" \\", "Grüße, 世界 e\u{301} \"x\" \\"),
            ("\x1b[2J\x07\r\n\t", r"\u{1b}[2J\u{7}\r\n\t"),
            ("a\u{9b}31mb\u{7f}", r"a\u{9b}31mb\u{7f}"),
            ("ab\u{202e}cd\u{2066}", r"ab\u{202e}cd\u{2066}"),
        ] {
            assert_eq!(Printable(text).to_string(), expected, "{text:?}");
        }
        assert_eq!(PrintableLines("a\x1b\nb\r\n").to_string(), "a\\u{1b}\nb\\r\n");
    }
}
