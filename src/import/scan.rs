//! Big buffers in, the few lines that matter out.
//!
//! Most lines of a log are not looked at: a search for `Trace` skips them, a buffer at a time.

use std::io::{self, Read};

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memrchr};

use super::encoding;

/// How much is read and searched at once.
const BUFFER: usize = 1 << 20;
/// A longer line is skipped. Loggers that write whole blocks on one line come nowhere near.
const MAX_LINE: usize = 16 << 20;

/// What gzip's output begins with, which no text has in it: it is not UTF-8.
const PACKED: &[u8] = b"\x1f\x8b\x08";
const WORD: &[u8] = b"Trace";
/// The key under which journald has the text, which may be written as a list of its bytes.
const KEY: &[u8] = b"MESSAGE";
/// The word in such a list: of any version, with blanks or not.
const WORD_AS_BYTES: [&[u8]; 2] = [b"84,114,97,99,101,", b"84, 114, 97, 99, 101,"];

/// Who looks at lines.
pub(super) trait Handler {
    /// Whether the next line matters whatever is in it.
    fn wants_next_line(&self) -> bool;
    /// A line without its newline, and its number in the file, from 1.
    fn line(&mut self, number: u64, line: &[u8]) -> io::Result<()>;
    /// Within this line something begins that is packed by gzip, for the first time.
    fn packed(&mut self, number: u64) -> io::Result<()>;
    /// A line is too long to be looked at.
    fn too_long(&mut self, number: u64) -> io::Result<()>;
}

/// Why reading came to an end before the file did, and how many bytes of text it went.
#[derive(Debug)]
pub(super) enum Stopped {
    /// What is read cannot be, from this line on.
    Read { line: u64, bytes: u64, error: io::Error },
    /// The handler failed.
    Handler { bytes: u64, error: io::Error },
}

/// Reads all of `input`, unpacked and as UTF-8. Returns how many bytes of text that was.
pub(super) fn scan(input: &mut dyn Read, handler: &mut dyn Handler) -> Result<u64, Stopped> {
    let text = encoding::utf8(input);
    let mut text = text.map_err(|error| Stopped::Read { line: 0, bytes: 0, error })?;
    Scanner { words: Words::new(), line: 1, is_packed: false, handler }.run(&mut *text)
}

struct Scanner<'a> {
    words: Words,
    /// The number of the next line.
    line: u64,
    /// Something is packed within the text, which is told of already.
    is_packed: bool,
    handler: &'a mut dyn Handler,
}

impl Scanner<'_> {
    fn run(&mut self, input: &mut dyn Read) -> Result<u64, Stopped> {
        let mut buffer = vec![0; BUFFER];
        let mut len = 0;
        let mut bytes = 0;
        // Within a line that is too long.
        let mut is_skipping = false;
        loop {
            if len == buffer.len() {
                if len < MAX_LINE {
                    buffer.resize(len * 2, 0);
                } else {
                    if !is_skipping {
                        let failed = |error| Stopped::Handler { bytes, error };
                        self.handler.too_long(self.line).map_err(failed)?;
                    }
                    is_skipping = true;
                    len = 0;
                }
            }
            let read = match input.read(&mut buffer[len..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // The line that was cut is lost with what follows it.
                    return Err(Stopped::Read { line: self.line, bytes, error });
                }
            };
            bytes += read as u64;
            let new = len;
            len += read;
            if is_skipping {
                if read == 0 {
                    return Ok(bytes);
                }
                let Some(end) = memchr(b'\n', &buffer[new..len]) else {
                    len = 0;
                    continue;
                };
                buffer.copy_within(new + end + 1..len, 0);
                len -= new + end + 1;
                self.line += 1;
                is_skipping = false;
                continue;
            }
            let whole = if read == 0 {
                len
            } else {
                memrchr(b'\n', &buffer[new..len]).map_or(0, |end| new + end + 1)
            };
            let failed = |error| Stopped::Handler { bytes, error };
            self.search(&buffer[..whole]).map_err(failed)?;
            if read == 0 {
                return Ok(bytes);
            }
            buffer.copy_within(whole..len, 0);
            len -= whole;
        }
    }

    /// Finds the lines that matter among whole lines.
    fn search(&mut self, lines: &[u8]) -> io::Result<()> {
        if !self.is_packed
            && let Some(at) = find_packed(lines)
        {
            self.is_packed = true;
            self.handler.packed(self.line + memchr_iter(b'\n', &lines[..at]).count() as u64)?;
        }
        let mut at = 0;
        // Where each form comes next, so that nothing is looked at twice for the same.
        let (mut word, mut list) = (0, 0);
        while at < lines.len() {
            if !self.handler.wants_next_line() {
                let rest = &lines[at..];
                if word <= at {
                    word = self.words.find_text(rest).map_or(lines.len(), |found| at + found);
                }
                if list <= at {
                    list = self.words.find_list(rest).map_or(lines.len(), |found| at + found);
                }
                let found = word.min(list);
                if found == lines.len() {
                    self.line += memchr_iter(b'\n', &lines[at..]).count() as u64;
                    break;
                }
                let skipped = &lines[at..found];
                let start = memrchr(b'\n', skipped).map_or(0, |newline| newline + 1);
                self.line += memchr_iter(b'\n', &skipped[..start]).count() as u64;
                at += start;
            }
            let end = memchr(b'\n', &lines[at..]).map_or(lines.len(), |newline| at + newline);
            self.handler.line(self.line, &lines[at..end])?;
            self.line += 1;
            at = end + 1;
        }
        Ok(())
    }
}

/// Where something packed begins. Its first byte alone is looked for, which costs less.
fn find_packed(text: &[u8]) -> Option<usize> {
    memchr_iter(PACKED[0], text).find(|at| text[*at..].starts_with(PACKED))
}

/// What is looked for.
struct Words {
    word: Finder<'static>,
    key: Finder<'static>,
    word_as_bytes: [Finder<'static>; 2],
}

impl Words {
    fn new() -> Self {
        Self {
            word: Finder::new(WORD),
            key: Finder::new(KEY),
            word_as_bytes: WORD_AS_BYTES.map(Finder::new),
        }
    }

    /// Where `Trace[` or `Trace "` is, the quote escaped however often or not.
    fn find_text(&self, text: &[u8]) -> Option<usize> {
        self.word.find_iter(text).find(|at| {
            let rest = &text[at + WORD.len()..];
            [b"[".as_slice(), b" \"", b" \\"].iter().any(|next| rest.starts_with(next))
        })
    }

    /// Where journald's key is, with a list of bytes that may be the same.
    fn find_list(&self, text: &[u8]) -> Option<usize> {
        // Quotes, which may be escaped, a colon and blanks are no more than this.
        const BETWEEN: usize = 16;
        // Up to here, which is a line's end, there is no such list: a line may have a million keys.
        let mut none_before = 0;
        self.key.find_iter(text).find(|at| {
            let rest = &text[at + KEY.len()..];
            let mut after = rest.iter().take(BETWEEN);
            let next = after.find(|byte| !matches!(byte, b'"' | b'\\' | b':' | b' '));
            next == Some(&b'[') && *at >= none_before && {
                let line = &rest[..memchr(b'\n', rest).unwrap_or(rest.len())];
                none_before = at + KEY.len() + line.len();
                self.word_as_bytes.iter().any(|word| word.find(line).is_some())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[derive(Default)]
    struct Lines {
        seen: Vec<(u64, String)>,
        wanted: usize,
        too_long: Vec<u64>,
    }

    impl Handler for Lines {
        fn wants_next_line(&self) -> bool {
            self.wanted > 0
        }

        fn line(&mut self, number: u64, line: &[u8]) -> io::Result<()> {
            let line = String::from_utf8_lossy(&line[..line.len().min(20)]).into_owned();
            self.wanted = self.wanted.saturating_sub(1);
            if line.contains("two more") {
                self.wanted = 2;
            }
            self.seen.push((number, line));
            Ok(())
        }

        fn packed(&mut self, _: u64) -> io::Result<()> {
            unreachable!("nothing is")
        }

        fn too_long(&mut self, number: u64) -> io::Result<()> {
            self.too_long.push(number);
            Ok(())
        }
    }

    fn seen(input: &[u8]) -> Vec<(u64, String)> {
        let mut lines = Lines::default();
        assert_eq!(scan(&mut &*input, &mut lines).unwrap(), input.len() as u64);
        lines.seen
    }

    fn expect(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|(number, line)| (*number, (*line).to_owned())).collect()
    }

    #[test]
    fn only_lines_that_matter_are_seen() {
        let input = b"a\nTraceback\n Trace[1]: x\n\nTrace \"y\"\nb Trace \\\"z\nTrace two\n\
            Trace \\\\\\\"z\nTrace[";
        let expected = [
            (3, " Trace[1]: x"),
            (5, "Trace \"y\""),
            (6, "b Trace \\\"z"),
            (8, "Trace \\\\\\\"z"),
            (9, "Trace["),
        ];
        assert_eq!(seen(input), expect(&expected));
        assert_eq!(seen(b""), []);
    }

    #[test]
    fn texts_as_bytes_are_seen_wherever_journald_writes_them() {
        let lines = r#"-- Logs begin at Mon 2025-03-10 --
{"MESSAGE":[84,114,97,99,101,91,49]}
{"MESSAGE":[84,114,97,99,102]}
{ "MESSAGE" : [ 84, 114, 97, 99, 101, 91 ] }
{"log":"{\"MESSAGE\":[84,114,97,99,101,91]}"}
{"MESSAGE_ID":"84,114,97,99,101,91"}
{"MESSAGE":"[84,114,97,99,101,91]","x":[84,114,97,99,101,91]}
[84,114,97,99,101,91]
Trace["#;
        let found = seen(lines.as_bytes()).into_iter().map(|(number, _)| number);
        // The last but two is a text that looks like a list, which costs no more than a look.
        assert_eq!(found.collect::<Vec<_>>(), [2, 4, 5, 7, 9]);
    }

    #[test]
    fn a_line_full_of_keys_is_looked_at_once() {
        // Once for each of them would be hundreds of gigabytes.
        let mut input = br#""MESSAGE":["#.repeat(MAX_LINE / 2 / 11);
        input.extend_from_slice(b"\n{\"MESSAGE\":[84,114,97,99,101,91]}\n");
        let start = std::time::Instant::now();
        let found = seen(&input).into_iter().map(|(number, _)| number);
        assert_eq!(found.collect::<Vec<_>>(), [2]);
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    #[test]
    fn lines_after_one_can_be_wanted() {
        let input = b"a\nTrace[1] two more\nb\n\nc\nTrace[2]\n";
        let expected = [(2, "Trace[1] two more"), (3, "b"), (4, ""), (6, "Trace[2]")];
        assert_eq!(seen(input), expect(&expected));
    }

    #[test]
    fn lines_across_buffers_are_whole_and_numbered() {
        let mut input = Vec::new();
        for number in 1..=100_000 {
            let line = if number % 1_000 == 0 { "Trace[" } else { "irrelevant, but not short" };
            writeln!(input, "{line} {number}").unwrap();
        }
        let seen = seen(&input);
        assert_eq!(seen.len(), 100);
        assert!(seen.iter().all(|(number, line)| *line == format!("Trace[ {number}")), "{seen:?}");
    }

    #[test]
    fn a_line_without_end_is_skipped_and_told_of() {
        let mut input = b"one\n".to_vec();
        input.resize(MAX_LINE * 2 + 12_345, b'x');
        input.extend_from_slice(b"\nTrace[1]: after\n");
        let mut lines = Lines::default();
        scan(&mut &*input, &mut lines).unwrap();
        assert_eq!(lines.too_long, [2]);
        assert_eq!(lines.seen, expect(&[(3, "Trace[1]: after")]));
    }

    #[test]
    fn gzip_is_unpacked_whatever_its_name_also_in_parts() {
        let mut packed = Vec::new();
        for text in ["a\nTrace[1]\nTra", "ce[2]\n"] {
            let mut encoder =
                flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
        }
        let mut lines = Lines::default();
        scan(&mut &*packed, &mut lines).unwrap();
        assert_eq!(lines.seen, expect(&[(2, "Trace[1]"), (3, "Trace[2]")]));

        packed.truncate(packed.len() - 9);
        let mut lines = Lines::default();
        let stopped = scan(&mut &*packed, &mut lines).unwrap_err();
        assert!(matches!(stopped, Stopped::Read { .. }), "{stopped:?}");
    }
}
