//! The text of a log in UTF-8, whatever it is written in: as it is, packed by gzip, or in UTF-16, as
//! PowerShell redirects output.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

/// Reads what `input` holds, unpacked, as UTF-8 and without a byte-order mark.
///
/// # Errors
///
/// Fails if the beginning cannot be read, or is in an encoding that is not known.
pub(super) fn utf8<'a>(input: &'a mut dyn Read) -> io::Result<Box<dyn Read + 'a>> {
    let (start, input) = peek(input)?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return decoded(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, input)));
    }
    if let Some((_, advice)) = UNREAD.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, *advice));
    }
    decoded(input)
}

/// What files begin with that would be read as logs without a block in them, and what to do.
const UNREAD: [(&[u8], &str); 5] = [
    (b"\x28\xb5\x2f\xfd", "it is packed by zstd: give what `zstd -dc` prints, as standard input"),
    (b"\xfd7zXZ\0", "it is packed by xz: give what `xz -dc` prints, as standard input"),
    (b"BZh", "it is packed by bzip2: give what `bzip2 -dc` prints, as standard input"),
    (b"PK\x03\x04", "it is a zip archive: give the files in it"),
    (b"LPKSHHRH", "it is a journal: give what `journalctl -o json --all --file` prints of it"),
];

/// How many bytes tell what follows.
const PEEKED: usize = 8;

type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// The first bytes, or as many as there are, and a reader of all.
fn peek<R: Read>(mut input: R) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut start = Vec::with_capacity(PEEKED);
    input.by_ref().take(PEEKED as u64).read_to_end(&mut start)?;
    Ok((start.clone(), Cursor::new(start).chain(input)))
}

fn decoded<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let (start, mut input) = peek(input)?;
    let (encoding, mark) = Encoding::of(&start);
    input.get_mut().0.set_position(mark);
    Ok(match encoding {
        Encoding::Utf8 => Box::new(input),
        Encoding::Utf16 { unit } => Box::new(Utf16::new(input, unit)),
        Encoding::Utf32 => {
            let problem = "it is in UTF-32: convert it to UTF-8, as iconv does";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
    })
}

#[derive(Clone, Copy)]
enum Encoding {
    Utf8,
    /// How two bytes make a unit.
    Utf16 {
        unit: fn([u8; 2]) -> u16,
    },
    Utf32,
}

impl Encoding {
    /// What a text that begins like this is in, and how long its byte-order mark is.
    fn of(start: &[u8]) -> (Self, u64) {
        const LITTLE: Encoding = Encoding::Utf16 { unit: u16::from_le_bytes };
        const BIG: Encoding = Encoding::Utf16 { unit: u16::from_be_bytes };
        match *start {
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => (Self::Utf32, 4),
            [0xff, 0xfe, ..] => (LITTLE, 2),
            [0xfe, 0xff, ..] => (BIG, 2),
            [0xef, 0xbb, 0xbf, ..] => (Self::Utf8, 3),
            // Without a mark: no text begins with every other byte zero in anything else.
            [a, 0, b, 0, c, 0, d, 0] if ![a, b, c, d].contains(&0) => (LITTLE, 0),
            [0, a, 0, b, 0, c, 0, d] if ![a, b, c, d].contains(&0) => (BIG, 0),
            _ => (Self::Utf8, 0),
        }
    }
}

/// How much of UTF-16 is converted at once.
const CONVERTED: usize = 64 << 10;

/// UTF-16 as UTF-8. What is no character becomes the replacement character.
struct Utf16<R> {
    input: R,
    unit: fn([u8; 2]) -> u16,
    units: Vec<u8>,
    /// How many bytes of `units` are half of a character.
    kept: usize,
    text: String,
    /// How much of `text` has been read.
    read: usize,
}

impl<R: Read> Utf16<R> {
    fn new(input: R, unit: fn([u8; 2]) -> u16) -> Self {
        let units = vec![0; CONVERTED];
        Self { input, unit, units, kept: 0, text: String::new(), read: 0 }
    }

    /// Converts some more. Nothing is left if there is no text then.
    fn convert(&mut self) -> io::Result<()> {
        self.text.clear();
        self.read = 0;
        while self.text.is_empty() {
            let read = self.input.read(&mut self.units[self.kept..])?;
            let len = self.kept + read;
            let is_end = read == 0;
            if is_end && len == 0 {
                break;
            }
            let whole = if is_end { len } else { self.whole(len) };
            let (units, odd) = self.units[..whole].as_chunks();
            let units = units.iter().map(|bytes| (self.unit)(*bytes));
            let chars = char::decode_utf16(units);
            self.text.extend(chars.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
            self.text.extend(odd.first().map(|_| char::REPLACEMENT_CHARACTER));
            self.units.copy_within(whole..len, 0);
            self.kept = len - whole;
        }
        Ok(())
    }

    /// How many of so many bytes are whole characters.
    fn whole(&self, len: usize) -> usize {
        let even = len & !1;
        match self.units[..even].last_chunk() {
            Some(last) if matches!((self.unit)(*last), 0xd800..=0xdbff) => even - 2,
            _ => even,
        }
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.text.len() {
            self.convert()?;
        }
        let read = (&self.text.as_bytes()[self.read..]).read(buffer)?;
        self.read += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const TEXT: &str = "Trace[1]: \"größer 世界 😀\"\r\n";

    fn read(mut bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        utf8(&mut bytes)?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn marks_are_obeyed_and_left_out() {
        assert_eq!(read(TEXT.as_bytes()).unwrap(), TEXT);
        assert_eq!(read(format!("\u{feff}{TEXT}").as_bytes()).unwrap(), TEXT);
        let marked = format!("\u{feff}{TEXT}");
        assert_eq!(read(&utf16(&marked, u16::to_le_bytes)).unwrap(), TEXT);
        assert_eq!(read(&utf16(&marked, u16::to_be_bytes)).unwrap(), TEXT);
        // A redirection that appends writes none.
        assert_eq!(read(&utf16(TEXT, u16::to_le_bytes)).unwrap(), TEXT);
        assert_eq!(read(&utf16(TEXT, u16::to_be_bytes)).unwrap(), TEXT);
        for short in ["", "x", "\u{feff}"] {
            assert_eq!(read(short.as_bytes()).unwrap(), short.trim_start_matches('\u{feff}'));
        }
    }

    #[test]
    fn what_is_packed_is_unpacked_first() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&utf16(&format!("\u{feff}{TEXT}"), u16::to_le_bytes)).unwrap();
        assert_eq!(read(&encoder.finish().unwrap()).unwrap(), TEXT);
    }

    #[test]
    fn characters_across_reads_are_whole_and_halves_are_replaced() {
        struct Bytewise<'a>(&'a [u8]);
        impl Read for Bytewise<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let end = buffer.len().min(1);
                self.0.read(&mut buffer[..end])
            }
        }
        let long = "a😀世".repeat(CONVERTED);
        let bytes = utf16(&format!("\u{feff}{long}"), u16::to_le_bytes);
        assert_eq!(read(&bytes).unwrap(), long);
        let mut text = String::new();
        utf8(&mut Bytewise(&bytes[..4_002])).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "a😀世".repeat(500));

        let halves = [0xff, 0xfe, b'a', 0, 0x3d, 0xd8, b'b', 0, 0x00, 0xde, 0x3d, 0xd8, b'c'];
        assert_eq!(read(&halves).unwrap(), "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn what_would_be_read_as_a_log_without_blocks_is_not() {
        for (magic, advice) in UNREAD {
            let error = read(&[magic, b"rest"].concat()).unwrap_err();
            assert_eq!(error.to_string(), advice);
            // Too short to be one.
            let short = String::from_utf8_lossy(&magic[..2]).into_owned();
            assert_eq!(read(short.as_bytes()).unwrap(), short);
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_would_help() {
        for bytes in [b"\xff\xfe\0\0T\0\0\0", b"\0\0\xfe\xff\0\0\0T"] {
            let error = read(bytes).unwrap_err();
            assert!(error.to_string().contains("UTF-32: convert it to UTF-8"), "{error}");
        }
    }
}
