//! Where a line of a block begins within a line of a log.

use super::block::excerpt;
use super::line::{self, Line};
use super::problem::ProblemKind;
use super::text;
use super::time::HeaderTime;

const WORD: &str = "Trace";
/// A marker is never longer, be it damaged or not.
const MAX_MARKER: usize = 40;
/// Only in shorter lines is a second one looked for.
const MAX_JOINED: usize = 64 << 10;

/// A line of a block, or the text in which one begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Marked<'a> {
    /// `None` in the oldest format.
    pub(super) number: Option<u32>,
    /// What follows `Trace[n]: `.
    pub(super) text: &'a str,
    /// The time in klog's header, which only the first line of a block has.
    pub(super) header: Option<HeaderTime>,
    /// What else comes before it on the line, such as the name of a pod.
    pub(super) tag: &'a str,
}

/// Finds `Trace[123]: ` or, at the beginning of a message, `Trace "name" (started `.
pub(super) fn find(line: &str) -> Option<Marked<'_>> {
    find_after(line, |before| !before.ends_with(is_in_word) || ends_in_colour(before))
}

/// Whether this ends in what sets a terminal's colours, `\x1b[33m`.
fn ends_in_colour(before: &str) -> bool {
    let before = before.strip_suffix('m').unwrap_or_default();
    before.trim_end_matches(|c: char| c.is_ascii_digit() || c == ';').ends_with("\x1b[")
}

/// The same where another line may have ended right before, without a line break.
fn find_joined(line: &str) -> Option<Marked<'_>> {
    find_after(line, |_| true)
}

/// Whether this and what follows is another word, as `StackTrace` is.
fn is_in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn find_after(line: &str, may_follow: impl Fn(&str) -> bool) -> Option<Marked<'_>> {
    line.match_indices(WORD).find_map(|(at, word)| {
        if !may_follow(&line[..at]) {
            return None;
        }
        let rest = &line[at + word.len()..];
        let (number, text) = match rest.strip_prefix('[') {
            Some(rest) => {
                // No further than a number is long: a line may be megabytes.
                let digits = rest.bytes().take(20).take_while(u8::is_ascii_digit).count();
                let (number, text) = rest.split_at(digits);
                let text = text.strip_prefix("]:")?;
                (Some(number.parse().ok()?), text.strip_prefix(' ').unwrap_or(text))
            }
            None => {
                let text = rest.strip_prefix(' ')?;
                let (_, after) = text::quoted(text)?;
                after.starts_with(" (started ").then_some((None, text))?
            }
        };
        let (tag, header) = split_header(&line[..at]);
        Some(Marked { number, text, header, tag })
    })
}

/// Two lines of blocks between which the line break is lost, and maybe more: the first, as far as it
/// goes, and the second.
pub(super) fn joined<'a>(marked: &Marked<'a>) -> Option<(Marked<'a>, Marked<'a>)> {
    let text = marked.text;
    if text.len() > MAX_JOINED {
        return None;
    }
    let second = find_joined(text)?;
    line::parse(second.text)?;
    let between = &text[..text.len() - second.text.len()];
    let marker = between.rfind(WORD)?;
    // A name may well have a line of a trace in it.
    let name = text.find('"').filter(|name| *name < marker);
    let after_name = name.and_then(|name| text::quoted(&text[name..]));
    let is_in_name = after_name.is_some_and(|(_, after)| text.len() - after.len() > marker);
    if is_in_name && line::parse(text).is_some() {
        return None;
    }
    // The second may have a header, and the first ends right before it.
    let has_header =
        |at: &usize| between.is_char_boundary(*at) && begins_with_header(&between[*at..]);
    let end = (0..marker).find(has_header).unwrap_or(marker);
    let (_, header) = split_header(&between[end..marker]);
    let first = Marked { text: &text[..end], ..marked.clone() };
    Some((first, Marked { header, tag: marked.tag, ..second }))
}

/// How often the word comes that each marker begins with.
pub(super) fn words_in(text: &str) -> usize {
    memchr::memmem::find_iter(text.as_bytes(), WORD).count()
}

/// Whether a block may be in what is not unwrapped yet: quotes may be escaped, once or more.
pub(super) fn may_be_in(text: &str) -> bool {
    from_first(text).is_some()
}

/// The text from the first place on where a block may be, without the blanks at its end.
pub(super) fn from_first(text: &str) -> Option<&str> {
    let is_one = |rest: &str| ["[", " \"", " \\"].iter().any(|next| rest.starts_with(next));
    let found = text.match_indices(WORD).find(|(at, word)| is_one(&text[at + word.len()..]));
    found.map(|(at, _)| text[at..].trim_end())
}

/// Whether a block is most likely in a wrapping that cannot be taken off.
pub(super) fn is_likely(text: &str) -> bool {
    let is_bare = || text.contains("Trace \\") && text.contains(" (started ");
    // As journald writes it, of any version.
    let is_list = || {
        let is_in = |bytes| memchr::memmem::find(text.as_bytes(), bytes).is_some();
        is_in(b"84,114,97,99,101,91") || is_in(b"84, 114, 97, 99, 101, 91")
    };
    find(text).is_some() || unusable(text).is_some() || is_bare() || is_list()
}

/// Why a line in which [`find`] has found nothing looks all the same as if it were of a block.
pub(super) fn unusable(line: &str) -> Option<(ProblemKind, String)> {
    // Here and not at each word, of which there may be a million before as many blanks.
    let line = line.trim_end();
    line.match_indices(WORD).find_map(|(at, word)| {
        if line[..at].ends_with(is_in_word) {
            return None;
        }
        let rest = &line[at + word.len()..];
        let (is_cut, after) = match rest.strip_prefix('[') {
            Some(rest) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                let after = &rest[digits..];
                if digits > 0 && after.starts_with("]:") {
                    let number = excerpt(&rest[..digits]);
                    let message = format!("{number} is not the number of a trace: too large");
                    return Some((ProblemKind::Damaged, message));
                }
                let after = after.strip_prefix(']').filter(|_| digits > 0).unwrap_or(after);
                ((digits > 0 || begins_message(line, at)) && is_broken_off(after), after)
            }
            None => {
                let (_, after) = rest.strip_prefix(' ').and_then(text::quoted)?;
                (after.len() > 1 && " (started ".starts_with(after), "")
            }
        };
        is_cut.then(|| {
            let read = line.len() - after.len();
            let what = excerpt(&line[at..read]);
            match after.trim_matches(is_damage) {
                "" => (ProblemKind::Truncated, format!("the line is cut off after {what}")),
                _ => (ProblemKind::Damaged, format!("the line is damaged after {what}")),
            }
        })
    })
}

/// Whether this is the line of a block whose marker cannot be read: what follows is what follows
/// markers. `in_block` is whether a block's line stands shortly before, so that no word is needed.
pub(super) fn is_lost(line: &str, in_block: bool) -> bool {
    let marker = line.find("Trace[").or_else(|| line.find("Trace \""));
    if marker.is_none() {
        // A letter or two alone may be of any text.
        let is_rest =
            |rest: &str, len| (len > 2 && rest.trim_end().is_empty()) || begins_with_header(rest);
        let is_cut = |len| line.strip_prefix(&WORD[..len]).is_some_and(|rest| is_rest(rest, len));
        if !in_block || (1..=WORD.len()).any(is_cut) {
            return in_block;
        }
    }
    // What names the line's kind alone tells where the message itself begins with the word.
    let begins = marker.filter(|at| begins_message(line, *at)).map(|at| &line[at..]);
    let is_near =
        |start| begins.and_then(|line| line.find(start)).is_some_and(|at| at < MAX_MARKER);
    if is_near("---\"")
        || begins.is_some_and(|line| line.starts_with("Trace \"") && is_started(line))
    {
        return true;
    }
    let is_item = |start| {
        let at = line.find(start);
        at.is_some_and(|at| matches!(line::parse(&line[at..]), Some(Line::Item(_))))
    };
    let is_first = || {
        let at = line.find('"');
        at.is_some_and(|at| matches!(line::parse(&line[at..]), Some(Line::First(_))))
    };
    // Two times in brackets are not much: they count after what is left of a marker.
    let is_elapsed = || {
        let from = marker.map(|at| at + WORD.len() + 1).or_else(|| line.find("]: "));
        let Some(rest) = from.and_then(|from| line.get(from..)) else { return false };
        let times = rest.match_indices('[').take_while(|(at, _)| *at < MAX_MARKER).take(2);
        times.into_iter().any(|(at, _)| line::parse(&rest[at..]).is_some())
    };
    // What remains of a line within a block tells by its end, or by the number that it begins with.
    let is_tail = || in_block && (line::ends_as_item(line) || line::is_numbered(line, WORD));
    is_item("---\"") || is_item("[\"") || is_elapsed() || is_first() || is_tail()
}

/// Whether this is a first line of the oldest format, as far as its ends show.
fn is_started(line: &str) -> bool {
    let after = line.strip_prefix("Trace ").and_then(text::quoted);
    let is_named = after.is_some_and(|(_, after)| after.starts_with(" ("));
    (is_named || line.contains(" (started ")) && line.trim_end().ends_with("):")
}

fn begins_message(line: &str, at: usize) -> bool {
    at == 0 || line[..at].ends_with("] ")
}

/// Whether what follows the beginning of a marker is not what was written: nothing, what no text
/// has in it, or the beginning of another line.
fn is_broken_off(after: &str) -> bool {
    after.is_empty()
        || after.starts_with(is_damage)
        || after.starts_with("Trace[")
        || begins_with_header(after)
}

/// Whether this is no character of a text, such as the zeros that a crash leaves in a file.
fn is_damage(c: char) -> bool {
    (c.is_control() && !c.is_whitespace()) || c == char::REPLACEMENT_CHARACTER
}

/// Whether the text begins with klog's header.
pub(super) fn begins_with_header(text: &str) -> bool {
    const LEN: usize = "I0322 23:02:24.357225".len();
    let header = text.get(..LEN).and_then(|start| start.strip_prefix(['I', 'W', 'E', 'F']));
    let time = header.and_then(|header| header.split_once(' '));
    time.is_some_and(|(date, time)| HeaderTime::parse(date, time).is_some())
}

/// Whether klog's header begins within a word, as where another line got into this one.
pub(super) fn has_header_within(text: &str) -> bool {
    text.match_indices(['I', 'W', 'E', 'F']).any(|(at, _)| {
        let is_in_word = text[..at].ends_with(|c: char| !c.is_whitespace() && c != '"');
        is_in_word && begins_with_header(&text[at..])
    })
}

/// Splits klog's header, `I0322 23:02:24.357225    4562 trace.go:205] `, off the end.
fn split_header(prefix: &str) -> (&str, Option<HeaderTime>) {
    let Some(inside) = prefix.strip_suffix("] ") else { return (prefix, None) };
    let mut words = inside.rsplit(' ').filter(|word| !word.is_empty());
    let (Some(_place), Some(_pid)) = (words.next(), words.next()) else { return (prefix, None) };
    let (Some(time), Some(date)) = (words.next(), words.next()) else { return (prefix, None) };
    // What searches in files print ends in a colon: `a.log:123:`.
    let date = date.rsplit(':').next().unwrap_or(date);
    let parsed =
        date.strip_prefix(['I', 'W', 'E', 'F']).and_then(|date| HeaderTime::parse(date, time));
    match (parsed, prefix.rfind(date)) {
        (Some(header), Some(at)) => (&prefix[..at], Some(header)),
        _ => (prefix, None),
    }
}

/// Where the next quote is in which a block's line begins, with klog's header or without.
fn quoted_line(text: &str) -> Option<usize> {
    const MAX_HEADER: usize = 128;
    let is_line = |quoted: &str| {
        let start = &quoted.as_bytes()[..quoted.len().min(MAX_HEADER)];
        let after_header = || memchr::memmem::find(start, b"] ").map(|end| &quoted[end + 2..]);
        quoted.starts_with("Trace[")
            || (begins_with_header(quoted)
                && after_header().is_some_and(|text| text.starts_with("Trace[")))
    };
    text.match_indices('"').map(|(at, _)| at).find(|at| is_line(&text[at + 1..]))
}

/// Turns messages that a logger has quoted, as klog does with those of structured loggers, back
/// into their lines: `I0609 ... x.go:1] "Trace[1]: \"root\" ...\nTrace[1]: ..."`. `None` where there
/// is none, as in a block's own line, whose name may be such a text.
pub(super) fn unquote(text: &str) -> Option<String> {
    let (mut lines, mut rest) = (String::new(), text);
    while let Some(at) = quoted_line(rest) {
        let (before, quote) = rest.split_at(at);
        let quoted = text::quoted(quote).filter(|(message, _)| find(message).is_some());
        let Some((message, after)) = quoted.filter(|_| find(before).is_none()) else { break };
        lines += before;
        lines += message.trim_end_matches('\n');
        lines.push('\n');
        rest = after;
    }
    if lines.is_empty() {
        return None;
    }
    // What else stands there, such as more pairs, is of no meaning, unless it has a block in it.
    if may_be_in(rest) {
        lines += rest;
    } else {
        lines.pop();
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers() {
        let found =
            find("I0322 23:02:24.357225    4562 trace.go:205] Trace[13]: \"Get\" x").unwrap();
        assert_eq!((found.number, found.text, found.tag), (Some(13), "\"Get\" x", ""));
        assert!(found.header.is_some());
        let found = find("pod-a apiserver Trace[13]:  ---\"x\"").unwrap();
        assert_eq!(
            (found.number, found.text, found.tag),
            (Some(13), " ---\"x\"", "pod-a apiserver ")
        );
        let found =
            find("Tracer I0331 10:42:39.1 1 trace.go:57] Trace \"List\" (started x):").unwrap();
        assert_eq!(
            (found.number, found.text, found.tag),
            (None, "\"List\" (started x):", "Tracer ")
        );
        let found =
            find("a.log:7:I0322 23:02:24.357225    4562 trace.go:205] Trace[13]: x").unwrap();
        assert_eq!((found.tag, found.header.is_some()), ("a.log:7:", true));
        for line in
            ["Traceback", "Trace[x]: y", "Trace[1] y", "Trace \"x\" y", "Trace[99999999999]: x"]
        {
            assert_eq!(find(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_left_of_a_marker_is_told_of() {
        for (line, expected) in [
            ("Trace[", Some(ProblemKind::Truncated)),
            ("I0322 23:02:24.357225    4562 trace.go:205] Trace[", Some(ProblemKind::Truncated)),
            ("pod-a Trace[1", Some(ProblemKind::Truncated)),
            ("Trace[13] ", Some(ProblemKind::Truncated)),
            ("Trace \"List\" (star", Some(ProblemKind::Truncated)),
            ("Trace[99999999999]: x", Some(ProblemKind::Damaged)),
            ("Trace[12\0\0\0", Some(ProblemKind::Truncated)),
            ("Trace[12]\0", Some(ProblemKind::Truncated)),
            ("I0322 23:02:24.357225    4562 trace.go:205] Trace[\0", Some(ProblemKind::Truncated)),
            ("pod-a Trace[12\u{fffd}3]: x", Some(ProblemKind::Damaged)),
            ("Trace[12\u{1}]: \"x\"", Some(ProblemKind::Damaged)),
            ("Trace[12]\0 \"x\"", Some(ProblemKind::Damaged)),
            ("Trace[12Trace[", Some(ProblemKind::Damaged)),
            ("Trace[12I0322 23:02:24.357225    4562 a.go:205] x", Some(ProblemKind::Damaged)),
            ("Trace[1I]", None),
            ("Trace[1\t]", None),
            ("see Trace[\0", None),
            ("see Trace[", None),
            ("Trace[]", None),
            ("Trace[i]", None),
            ("Trace[1] is the second", None),
            ("Trace \"List\"", None),
            ("Trace \"List\" (stopped", None),
        ] {
            assert_eq!(find(line), None, "{line}");
            assert_eq!(unusable(line).map(|(kind, _)| kind), expected, "{line}");
        }
    }

    #[test]
    fn a_line_without_a_readable_marker_is_known_by_what_it_says() {
        for marker in [
            "Trace[12a4]: ",
            "Trace[12 4]: ",
            "Trace[1234}: ",
            "Trace[1234]; ",
            "Trace[]: ",
            "Trace[-34]: ",
            "Trace[1234] ",
            "Trace(1234]: ",
            "pod-a Trace[x]: ",
            "Tr\u{fffd}ce[1234]: ",
        ] {
            for text in [
                "---\"x\" 5ms (11:12:14.005)",
                " [\"nested\" k:v 5ms (11:12:14.005)]",
                "[5ms] [5ms] message",
                "[5ms] [5ms] END",
                "\"x\" k:v (10-Mar-2025 11:12:14.000) (total time: 5ms):",
            ] {
                let line = format!("{marker}{text}");
                assert_eq!(find(&line), None, "{line}");
                assert!(is_lost(&line, true), "{line}");
                assert_eq!(is_lost(&line, false), line.contains("Trace["), "{line}");
            }
        }
        // Of a line that goes on, or is cut off, the beginning tells.
        assert!(is_lost("Trace[12a4]: ---\"x\" q:one", false));
        assert!(is_lost("Tra", true) && !is_lost("Tra", false));
        assert!(!is_lost("T", true) && !is_lost("Tr ", true));
        assert!(is_lost("TrI0322 23:02:24.357225    4562 a.go:205] x", true));
        assert!(is_lost("Trace \"List (started 2016-03-31 10:42:16 +0200 CEST):", false));
        assert!(is_lost("Trace \"List\" (stxrted 2016-03-31 10:42:16 +0200 CEST):", false));
        for line in [
            "Trace[]",
            "Trace[i] is the second",
            "a Trace[x]: ---\"y",
            "Trace[\"a\"][\"b\"] = 5",
            "Trace[x]: [5ms] END",
            "Trace \"List\" (stopped",
            "I0310 11:12:15.000000 1 a.go:1] \"Took\" time=\"5ms\"",
            "[5ms] [5ms] message",
            "",
        ] {
            assert!(!is_lost(line, true), "{line}");
        }
    }

    #[test]
    fn lines_without_a_line_break_between_them_are_two() {
        let first = "\"C\" k:v (10-Mar-2025 11:12:14.000) (total time: 5ms):";
        for (text, one, two, has_header) in [
            (
                "[\"aTrace[9]:  ---\"b\" 5ms (11:12:14.010)".to_owned(),
                "[\"a",
                " ---\"b\" 5ms (11:12:14.010)",
                false,
            ),
            (format!("[6ms] [6ms] ENDTrace[9]: {first}"), "[6ms] [6ms] END", first, false),
            (
                format!("[6ms] [6ms] ENDI0310 11:12:15.421402 60 trace.go:236] Trace[9]: {first}"),
                "[6ms] [6ms] END",
                first,
                true,
            ),
            (
                "---\"a\" 5ms (11:12:14.005)Trace[9]:  ---\"b\" 5ms (11:12:14.010)".to_owned(),
                "---\"a\" 5ms (11:12:14.005)",
                " ---\"b\" 5ms (11:12:14.010)",
                false,
            ),
        ] {
            let line = format!("pod-a Trace[7]: {text}");
            let (a, b) = joined(&find(&line).unwrap()).expect(&line);
            assert_eq!((a.number, a.text, a.tag), (Some(7), one, "pod-a "), "{line}");
            assert_eq!((b.number, b.text, b.tag), (Some(9), two, "pod-a "), "{line}");
            assert_eq!(b.header.is_some(), has_header, "{line}");
        }
        for line in [
            "Trace[7]: \"see Trace[9]: [5ms] [5ms] x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):",
            "Trace[7]: ---\"a\" k:Trace[9]: 5ms (11:12:14.005)",
            "Trace[7]: [6ms] [6ms] as Trace[9]: says",
        ] {
            assert_eq!(joined(&find(line).unwrap()), None, "{line}");
        }
    }

    #[test]
    fn the_blanks_at_a_lines_end_are_looked_at_once() {
        let line = "Trace[x".repeat(500_000) + &" ".repeat(4 << 20);
        let start = std::time::Instant::now();
        assert_eq!(unusable(&line), None);
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    #[test]
    fn quoted_messages_are_unquoted() {
        let line = r#"I0609 16:26:38.981874 1 x.go:1] "Trace[1]: \"root\" (x)\nTrace[1]: y""#;
        let expected = "I0609 16:26:38.981874 1 x.go:1] Trace[1]: \"root\" (x)\nTrace[1]: y";
        assert_eq!(unquote(line).as_deref(), Some(expected));
        assert_eq!(unquote("Trace[1]: \"x\""), None);
        assert_eq!(unquote(r#"Trace[1]: "Trace[5]: hello" k:v (x) (total time: 5ms):"#), None);
        // With a header, after a value with another.
        let header = "I0310 11:12:14.600000 60 trace.go:236] ";
        let line = format!(r#"err="{header}x" msg="{header}Trace[1]: \"a\" (x)" k="v""#);
        let expected = format!(r#"err="{header}x" msg={header}Trace[1]: "a" (x)"#);
        assert_eq!(unquote(&line), Some(expected));
        // Two, in two values or for want of a line break, and what is no line.
        for between in [" other=", "I0609 16:26:38.981874 1 x.go:1] "] {
            let line = format!(r#"x.go:1] "Trace[1]: a"{between}"Trace[2]: b\nTrace[2]: c" k="v""#);
            let expected = format!("x.go:1] Trace[1]: a\n{between}Trace[2]: b\nTrace[2]: c");
            assert_eq!(unquote(&line), Some(expected));
        }
    }
}
