//! Strings in quotes as Go prints them, because Kubernetes' logs and error texts have them so.

use std::fmt::{self, Write as _};

/// A string as `%q` prints it.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut plain = 0;
        for (at, c) in self.0.char_indices() {
            if is_plain(c) {
                continue;
            }
            f.write_str(&self.0[plain..at])?;
            plain = at + c.len_utf8();
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\x07' => f.write_str("\\a")?,
                '\x08' => f.write_str("\\b")?,
                '\x0b' => f.write_str("\\v")?,
                '\x0c' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\0'..='\x7f' => write!(f, "\\x{:02x}", u32::from(c))?,
                _ if u32::from(c) <= 0xffff => write!(f, "\\u{:04x}", u32::from(c))?,
                _ => write!(f, "\\U{:08x}", u32::from(c))?,
            }
        }
        f.write_str(&self.0[plain..])?;
        f.write_char('"')
    }
}

/// Whether `%q` leaves `c` as it is: what can be printed, combining marks among it.
fn is_plain(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~') && c != '"' && c != '\\';
    }
    // Alone, or first in its string, Rust escapes also a combining mark that could be printed.
    let mut after_letter = [b'a'; 5];
    let len = 1 + c.encode_utf8(&mut after_letter[1..]).len();
    std::str::from_utf8(&after_letter[..len]).is_ok_and(|text| text.escape_debug().nth(2).is_none())
}

#[cfg(test)]
mod tests {
    use super::Quoted;

    #[test]
    fn quotes_as_go_does() {
        let cases = [
            ("", r#""""#),
            ("he said \"hi\"\n", r#""he said \"hi\"\n""#),
            ("a\\b", r#""a\\b""#),
            ("it's", r#""it's""#),
            ("\x07\x08\t\n\x0b\x0c\r", r#""\a\b\t\n\v\f\r""#),
            ("\0\x1f\x7f", r#""\x00\x1f\x7f""#),
            ("é世", "\"é世\""),
            ("e\u{301}\u{301}", "\"e\u{301}\u{301}\""),
            ("\u{a0}\u{ad}\u{3000}", r#""\u00a0\u00ad\u3000""#),
            ("\u{200b}\u{e0001}", r#""\u200b\U000e0001""#),
        ];
        for (input, expected) in cases {
            assert_eq!(Quoted(input).to_string(), expected, "{input:?}");
        }
    }
}
