//! Who wrote a line: which lines with one number may be of one block.

use super::time;

/// Which stream a line is of, as container runtimes, journald and collectors say; `None` where
/// nothing does.
pub(super) type Stream = Option<u64>;

/// More of what stands before a block's text is not compared.
const MAX_TAG: usize = 256;

/// What is known of who wrote a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) stream: Stream,
    /// What no wrapping is known for, such as the name of a pod or a time, before the block's text.
    tag: String,
}

impl Source {
    pub(super) fn new(stream: Stream, tag: &str) -> Self {
        let end = tag.char_indices().map(|(at, _)| at).find(|at| *at >= MAX_TAG);
        Self { stream, tag: tag[..end.unwrap_or(tag.len())].to_owned() }
    }

    /// Whether lines of this one may continue a block whose first line is of `first`.
    ///
    /// A tag may have a time or a line's number in it, so that these and blanks do not count. A
    /// first line may have more before its text than others, such as a header of the logger.
    pub(super) fn continues(&self, first: &Self) -> bool {
        let is_same_stream = match (self.stream, first.stream) {
            (Some(this), Some(first)) => this == first,
            // Not all programs repeat what stands around a record for each of its lines.
            (None, _) | (_, None) => true,
        };
        is_same_stream
            && (first.tag.starts_with(&self.tag)
                || shape(&first.tag).starts_with(&shape(&self.tag)))
    }

    /// Whether a line of this one may be of a block of that one, and what stands before it is damaged:
    /// more does than before the block's own.
    pub(super) fn may_hide(&self, block: &Self) -> bool {
        let (tag, usual) = (shape(&self.tag), shape(&block.tag));
        // `kube-apiserver` is no damaged `apiserver`.
        let is_in_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        (self.stream.is_none() || self.stream == block.stream)
            && tag
                .strip_suffix(&usual)
                .is_some_and(|more| !(usual.starts_with(is_in_name) && more.ends_with(is_in_name)))
    }

    /// A line that has no number of its own, such as the rest of a value with a line break, without
    /// what stands before each line of this source.
    pub(super) fn strip<'a>(&self, line: &'a str) -> &'a str {
        if let Some(rest) = line.strip_prefix(&self.tag) {
            return rest;
        }
        let (mut tag, mut rest) = (self.tag.trim_start(), line.trim_start());
        while !tag.is_empty() {
            let (in_tag, in_line) = (word(tag), word(rest));
            if in_line.is_empty() || word_shape(in_tag, true) != word_shape(in_line, true) {
                return line;
            }
            (tag, rest) = (&tag[in_tag.len()..], &rest[in_line.len()..]);
            // The line's other blanks are the value's own. Some programs trim lines.
            for blank in tag[..blanks(tag)].chars() {
                rest = rest.strip_prefix(blank).unwrap_or(rest);
            }
            tag = &tag[blanks(tag)..];
        }
        rest
    }
}

fn word(text: &str) -> &str {
    &text[..text.find(char::is_whitespace).unwrap_or(text.len())]
}

/// How many bytes at the beginning are blanks.
fn blanks(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// A tag without what may differ from line to line: times, and numbers that stand alone, are zero,
/// and blanks are one. Numbers within names stay, as they tell replicas apart.
pub(super) fn shape(tag: &str) -> String {
    let mut shape = String::new();
    let mut rest = tag.trim_start();
    while !rest.is_empty() {
        let word = word(rest);
        rest = &rest[word.len()..];
        shape += &word_shape(word, rest.is_empty());
        if !rest.is_empty() {
            shape.push(' ');
        }
        rest = rest.trim_start();
    }
    shape
}

/// Keys of numbers that differ from line to line, as in `seq=7`.
const COUNTERS: [&str; 17] = [
    "elapsed",
    "epoch",
    "line",
    "lineno",
    "n",
    "no",
    "offset",
    "seq",
    "sequence",
    "sequenceid",
    "syncaccuracy",
    "sysuptime",
    "t",
    "time",
    "timestamp",
    "ts",
    "uptime",
];

fn word_shape(word: &str, is_last: bool) -> String {
    let core = word.trim_matches(|c: char| c.is_ascii_punctuation());
    if is_number(core) || is_time(core) {
        return word.replace(core, "0");
    }
    if let Some((key, value)) = core.split_once('=') {
        let value = value.trim_start_matches('"');
        let is_counter = COUNTERS.iter().any(|name| key.eq_ignore_ascii_case(name));
        if is_time(value) || (is_counter && is_number(value)) {
            return word.replace(value, "0");
        }
    }
    // What searches in several files print: `a.log:123:text`. A port ends a word.
    let Some((name, after)) = word.split_once(':') else { return word.to_owned() };
    match after.split_once(':') {
        Some((number, text)) if is_number(number) && (is_last || !text.is_empty()) => {
            format!("{name}:0:{text}")
        }
        _ => word.to_owned(),
    }
}

/// Whether this is a number alone: of a line, or of seconds since some moment.
fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_whole = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    is_whole(whole) && is_whole(fraction)
}

/// Whether this is a date, a time of day, or both.
fn is_time(text: &str) -> bool {
    match after_date(text) {
        Some("") => true,
        Some(rest) => rest.strip_prefix(['T', ':', '-', '_']).is_some_and(is_clock),
        None => is_clock(text),
    }
}

/// What follows a date: `2025-03-10`, `2025/03/10`, `10/Mar/2025` and the like.
fn after_date(text: &str) -> Option<&str> {
    let (first, rest) = digits(text);
    let separator = rest.chars().next().filter(|c| matches!(c, '-' | '/'))?;
    let (month, rest) = rest[1..].split_once(separator)?;
    let (last, rest) = digits(rest);
    let is_month = time::is_month(month) || (month.len() == 2 && digits(month).1.is_empty());
    let is_date = is_month && matches!((first.len(), last.len()), (4, 2) | (1..=2, 4));
    is_date.then_some(rest)
}

/// Whether this is a time of day, with a fraction and a zone or without: `9:12`, `10:12:14,001+02:00`.
fn is_clock(text: &str) -> bool {
    let (hour, rest) = digits(text);
    let Some((minute, mut rest)) = rest.strip_prefix(':').map(digits) else { return false };
    let is_below = |part: &str, end: u8| part.parse::<u8>().is_ok_and(|number| number < end);
    if !(is_below(hour, 24) && minute.len() == 2 && is_below(minute, 60)) {
        return false;
    }
    for before in [':', '.', ','] {
        if let Some((_, after)) = rest.strip_prefix(before).map(digits) {
            rest = after;
        }
    }
    let is_zone = |zone: &str| zone.bytes().all(|b| b.is_ascii_digit() || b == b':');
    matches!(rest, "" | "Z" | "UTC") || rest.strip_prefix(['+', '-']).is_some_and(is_zone)
}

/// Splits off the digits at the beginning.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_writers_do_not_continue_a_block() {
        for (stream, tag, first_stream, first_tag, expected) in [
            (None, "", None, "", true),
            (Some(1), "", Some(1), "", true),
            (Some(1), "", Some(2), "", false),
            (None, "   ", Some(1), "", true),
            (Some(1), "", None, "", true),
            (None, "pod-a ", None, "pod-a ", true),
            (None, "pod-b ", None, "pod-a ", false),
            (None, "pod-b ", None, "", false),
            (None, "", None, "INFO trace.go:205 ", true),
            (None, "pod-a ", None, "pod-a INFO trace.go:205 ", true),
        ] {
            let (this, first) = (Source::new(stream, tag), Source::new(first_stream, first_tag));
            assert_eq!(this.continues(&first), expected, "{this:?} {first:?}");
        }
    }

    #[test]
    fn numbers_in_names_tell_writers_apart() {
        for (one, other) in [
            ("web-1 ", "web-2 "),
            ("web-1 ", "web-10 "),
            ("[pod/web-1/app] ", "[pod/web-2/app] "),
            ("web_1  | ", "web_2  | "),
            ("10.0.0.1 ", "10.0.0.2 "),
            ("10.0.0.1:8080 ", "10.0.0.1:8081 "),
            ("node:8080: ", "node:8081: "),
            ("10:12:14.001 k3s[7]: ", "10:12:14.001 k3s[8]: "),
            ("2025-03-10 10:12:14,001 web-1 ", "2025-03-10 10:12:14,001 web-2 "),
            ("v1.2.3 ", "v1.2.4 "),
            ("a1.log:12:", "a2.log:13:"),
            ("1-2 ", "1-3 "),
            ("pid=7 seq=1 ", "pid=8 seq=1 "),
            ("pod=\"web-1\" n=1 ", "pod=\"web-2\" n=1 "),
            ("10.0.0.1:80 ", "10.0.0.1:81 "),
        ] {
            let (this, that) = (Source::new(None, one), Source::new(None, other));
            assert!(this.continues(&this), "{one:?}");
            assert!(!this.continues(&that) && !that.continues(&this), "{one:?} {other:?}");
        }
    }

    #[test]
    fn times_and_numbers_of_lines_do_not() {
        for (this, first) in [
            ("[10:12:14.001] ", "[9:12:13.9] "),
            ("  9\t", " 10\t"),
            ("9: ", "10: "),
            ("13:", "12:"),
            ("a.log:13:", "a.log:12:"),
            ("a.log:13:", "a.log:12:INFO trace.go:205 "),
            ("[   12.345678] ", "[   13.000001] "),
            ("1741605135.421 web-1 ", "1741605136.4 web-1 "),
            ("2025-03-11 00:00:00,001 web-1 ", "2025-03-10 23:59:59,999 web-1 "),
            ("2025-03-10T10:12:14.001+02:00 ", "2025-03-10T10:12:15.1+01:00 "),
            ("2025/03/10 10:12:14 ", "2025/03/11 09:12:14 "),
            ("[10/Mar/2025:10:12:14 +0000] web-1 ", "[09/Apr/2025:10:12:15 +0000] web-1 "),
            ("web-1 10:12:14Z | ", "web-1   10:12:15Z | "),
            ("seq=10 pod=web-1 ", "seq=9 pod=web-1 "),
            ("time=\"2025-03-10T10:12:14Z\" x=y ", "time=\"2025-03-10T10:12:15Z\" x=y "),
            ("[ts=1741605135.421, Line=12] ", "[ts=1741605136.4, Line=13] "),
        ] {
            let (this, first) = (Source::new(None, this), Source::new(None, first));
            assert!(this.continues(&first), "{this:?} {first:?}");
        }
    }

    #[test]
    fn what_stands_before_each_line_is_not_a_part_of_a_value() {
        for (tag, line, expected) in [
            ("", " two", " two"),
            ("pod-1 ", "pod-1 two", "two"),
            ("pod-1 ", "pod-1   two", "  two"),
            ("pod-1 ", "pod-1", ""),
            ("pod-1 ", "pod-2 two", "pod-2 two"),
            ("pod-1 ", "two", "two"),
            ("pod-1 app ", "pod-1 two", "pod-1 two"),
            ("[10:12:14.001] web-1\t| ", "[10:12:14.002] web-1\t|  two", " two"),
            ("  9\t", " 10\t two", " two"),
            ("a.log:12:", "a.log:13: two", " two"),
        ] {
            assert_eq!(Source::new(None, tag).strip(line), expected, "{tag:?} {line:?}");
        }
    }

    #[test]
    fn a_tag_is_kept_to_a_limit() {
        let long = "ä".repeat(10 * MAX_TAG);
        let source = Source::new(None, &long);
        assert!(source.tag.len() <= MAX_TAG + 2, "{}", source.tag.len());
        assert!(source.continues(&Source::new(None, &long)));
    }
}
