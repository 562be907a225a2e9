//! Quoting as Go's `%q` prints it, because Kubernetes' error texts do.

use std::fmt;

/// How much of a string is shown. A whole file may end up in one.
const SHOWN_CHARS: usize = 1024;

/// Displays a string in double quotes with Go's escapes, and with dots after it if it is cut.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars().take(SHOWN_CHARS) {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\x07' => f.write_str("\\a")?,
                '\x08' => f.write_str("\\b")?,
                '\x0b' => f.write_str("\\v")?,
                '\x0c' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", u32::from(c))?,
                ' '..='~' => write!(f, "{c}")?,
                // Rust escapes what cannot be printed as `\u{..}`; Go has a fixed width instead.
                _ if c.escape_debug().len() == 1 => write!(f, "{c}")?,
                _ if u32::from(c) <= 0xffff => write!(f, "\\u{:04x}", u32::from(c))?,
                _ => write!(f, "\\U{:08x}", u32::from(c))?,
            }
        }
        f.write_str(if self.0.chars().nth(SHOWN_CHARS).is_some() { "\"..." } else { "\"" })
    }
}

#[cfg(test)]
mod tests {
    use super::Quoted;

    #[test]
    fn quotes_as_go_does() {
        let cases = [
            ("", r#""""#),
            ("localhost:4317", r#""localhost:4317""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("it's", r#""it's""#),
            ("\x07\x08\t\n\x0b\x0c\r", r#""\a\b\t\n\v\f\r""#),
            ("\0\x1f\x7f", r#""\x00\x1f\x7f""#),
            ("é世", "\"é世\""),
            ("\u{200b}\u{e0001}", r#""\u200b\U000e0001""#),
        ];
        for (input, expected) in cases {
            assert_eq!(Quoted(input).to_string(), expected, "{input:?}");
        }
    }

    #[test]
    fn long_strings_are_cut() {
        assert_eq!(Quoted(&"é".repeat(1024)).to_string(), format!("\"{}\"", "é".repeat(1024)));
        assert_eq!(Quoted(&"é".repeat(1025)).to_string(), format!("\"{}\"...", "é".repeat(1024)));
    }
}
