//! Values as Go's `fmt` and `strconv` print them, read back.

/// A length of time or a moment, in nanoseconds; a moment since the Unix epoch.
pub(super) type Nanos = i64;

pub(super) const MILLISECOND: Nanos = 1_000_000;
pub(super) const SECOND: Nanos = 1_000_000_000;

/// Reads the string in double quotes that `text` begins with, as `%q` writes it, and returns it
/// with what follows the closing quote. A control character, which `%q` escapes, is none of it.
pub(super) fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut bytes = Vec::new();
    loop {
        let special = rest.find(|c: char| matches!(c, '"' | '\\') || c.is_ascii_control())?;
        if rest.as_bytes()[special].is_ascii_control() {
            return None;
        }
        bytes.extend_from_slice(&rest.as_bytes()[..special]);
        let is_end = rest.as_bytes()[special] == b'"';
        rest = &rest[special + 1..];
        if is_end {
            return Some((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        rest = escape(rest, &mut bytes)?;
    }
}

/// Reads what follows a backslash.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let kind = text.chars().next()?;
    let rest = &text[kind.len_utf8()..];
    let plain = match kind {
        'a' => b'\x07',
        'b' => b'\x08',
        'f' => b'\x0c',
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => b'\x0b',
        '\\' | '"' | '\'' => kind as u8,
        'x' => {
            // A byte, not a character: Go writes so what is not UTF-8.
            bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
            return rest.get(2..);
        }
        'u' | 'U' => {
            let digits = if kind == 'u' { 4 } else { 8 };
            let code = u32::from_str_radix(rest.get(..digits)?, 16).ok()?;
            let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return rest.get(digits..);
        }
        _ => return None,
    };
    bytes.push(plain);
    Some(rest)
}

/// Reads a whole `time.Duration`: `1m1.5s`, `3.5ms`, `400ns`, `-200ms`.
pub(super) fn duration(text: &str) -> Option<Nanos> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let after = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = rest.split_at(after);
        let unit_end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let scale: i128 = match &unit[..unit_end] {
            "ns" => 1,
            // The Greek letter, the micro sign, and the latter after a wrong conversion or none.
            "us" | "\u{b5}s" | "\u{3bc}s" | "\u{c2}\u{b5}s" | "\u{fffd}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanos =
            nanos.checked_add(scaled(number, scale)?).filter(|nanos| *nanos < LONGEST.into())?;
        rest = &unit[unit_end..];
    }
    let nanos = Nanos::try_from(nanos).ok()?;
    text.ends_with(|c: char| c.is_ascii_alphabetic()).then_some(if is_negative {
        -nanos
    } else {
        nanos
    })
}

/// Ten years: no operation took so long, and sums of such times stay in range.
pub(super) const LONGEST: Nanos = 10 * 366 * 24 * 3_600 * SECOND;

/// A decimal number times `scale`, without a detour over floating point.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.len() > 30 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? };
    let mut nanos = whole.checked_mul(scale)?;
    let mut unit = scale;
    for digit in fraction.bytes() {
        unit /= 10;
        nanos += i128::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?) * unit;
    }
    Some(nanos)
}

/// Splits `key:value,key:value`.
///
/// Nothing in it is escaped, so a comma starts a new pair only where a key and a colon follow that
/// look like ones: `accept:application/json, */*,protocol:HTTP/2.0` has two pairs. What has no
/// colon at all is the value of a key `fields`.
pub(super) fn fields(text: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut start = 0;
    let commas = text.match_indices(',').map(|(at, _)| at);
    for end in commas.chain([text.len()]) {
        if end < text.len() && !begins_with_key(&text[end + 1..]) {
            continue;
        }
        let pair = &text[start..end];
        start = end + 1;
        if !pair.is_empty() {
            let (key, value) = pair.split_once(':').unwrap_or(("fields", pair));
            pairs.push((key.to_owned(), value.to_owned()));
        }
    }
    pairs
}

fn begins_with_key(text: &str) -> bool {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let length = text.bytes().take_while(|b| is_part(b)).count();
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && text[length..].starts_with(':') && !text[length + 1..].starts_with("//")
}

/// Where the fields begin in a step of the older format, which does not quote its message:
/// `Writing http response done count:4346`.
pub(super) fn split_unquoted(text: &str) -> (&str, &str) {
    let mut at = 0;
    for word in text.split(' ') {
        if at > 0 && begins_with_key(word) && !word.ends_with(':') {
            return (text[..at].trim_end(), &text[at..]);
        }
        at += word.len() + 1;
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_in_quotes() {
        let cases = [
            (r#""" x"#, "", " x"),
            (r#""he said \"hi\"\n" k:v"#, "he said \"hi\"\n", " k:v"),
            (r#""\a\b\f\n\r\t\v\\\'""#, "\x07\x08\x0c\n\r\t\x0b\\'", ""),
            (r#""\x00\u00e9\U0001f600é""#, "\0é😀é", ""),
            (r#""\xff""#, "\u{fffd}", ""),
        ];
        for (input, expected, rest) in cases {
            assert_eq!(quoted(input), Some((expected.to_owned(), rest)), "{input}");
        }
        for input in ["", "x", "\"open", "\"\\", "\"\\x1", "\"\\x1é", "\"\\q\"", "\"\\u12\""] {
            assert_eq!(quoted(input), None, "{input}");
        }
    }

    #[test]
    fn times_that_no_operation_takes_are_refused() {
        for text in ["999999999999999999999999999999h", "2562047h0m0s", "-9223372036854775808s"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(duration("80000h"), Some(80_000 * 3_600_000_000_000));
    }

    #[test]
    fn lengths_of_time() {
        let cases = [
            ("0s", 0),
            ("0", 0),
            ("400ns", 400),
            ("33.878µs", 33_878),
            ("12.39Âµs", 12_390),
            ("33.878\u{3bc}s", 33_878),
            ("576.952177ms", 576_952_177),
            ("2m0.000883547s", 120_000_883_547),
            ("1h0m1.000000001s", 3_601_000_000_001),
            ("-200ms", -200_000_000),
            ("1.s", SECOND),
        ];
        for (input, expected) in cases {
            assert_eq!(duration(input), Some(expected), "{input}");
        }
        let absurd = "9".repeat(40) + "s";
        for input in ["", "-", "ms", "5", "5 ms", "5mss", "x", "1.2.3s", ".s", &absurd] {
            assert_eq!(duration(input), None, "{input}");
        }
    }

    #[test]
    fn fields_are_split_where_a_key_follows() {
        let split = |text| {
            let pairs = fields(text);
            pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(split("url:/api,count:3"), ["url=/api", "count=3"]);
        assert_eq!(
            split(
                "user-agent:kube/v1 (linux/amd64) kube/1,audit-id:6-2,client:::1,\
                 accept:application/vnd.kubernetes.protobuf,application/json, */*,protocol:HTTP/2.0"
            ),
            [
                "user-agent=kube/v1 (linux/amd64) kube/1",
                "audit-id=6-2",
                "client=::1",
                "accept=application/vnd.kubernetes.protobuf,application/json, */*",
                "protocol=HTTP/2.0"
            ]
        );
        assert_eq!(
            split(r#"encoder:{"name":"json","pretty":"false"},limit:0,continue:"#),
            [r#"encoder={"name":"json","pretty":"false"}"#, "limit=0", "continue="]
        );
        assert_eq!(split("hosts:http://a,http://b"), ["hosts=http://a,http://b"]);
        assert_eq!(split("no colon, at all"), ["fields=no colon, at all"]);
        assert_eq!(split(""), Vec::<String>::new());
    }

    #[test]
    fn messages_without_quotes_end_where_the_fields_begin() {
        let cases = [
            ("Transaction committed", ("Transaction committed", "")),
            ("Writing http response done count:4346", ("Writing http response done", "count:4346")),
            ("Done a:b c,d:e", ("Done", "a:b c,d:e")),
            ("etcd3: list done", ("etcd3: list done", "")),
            ("Get: done", ("Get: done", "")),
        ];
        for (input, expected) in cases {
            assert_eq!(split_unquoted(input), expected, "{input}");
        }
    }
}
