//! Where a line of a block begins within a line of a log.

use super::block::excerpt;
use super::problem::ProblemKind;
use super::text;
use super::time::HeaderTime;

const WORD: &str = "Trace";

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
    line.match_indices(WORD).find_map(|(at, word)| {
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
    find(text).is_some() || unusable(text).is_some() || is_bare()
}

/// Why a line in which [`find`] has found nothing looks all the same as if it were of a block.
pub(super) fn unusable(line: &str) -> Option<(ProblemKind, String)> {
    // Here and not at each word, of which there may be a million before as many blanks.
    let line = line.trim_end();
    line.match_indices(WORD).find_map(|(at, word)| {
        let rest = &line[at + word.len()..];
        let begins_message = at == 0 || line[..at].ends_with("] ");
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
                ((digits > 0 || begins_message) && is_lost(after), after)
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

/// Whether what follows the beginning of a marker is not what was written: nothing, what no text
/// has in it, or the beginning of another line.
fn is_lost(after: &str) -> bool {
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
fn begins_with_header(text: &str) -> bool {
    const LEN: usize = "I0322 23:02:24.357225".len();
    let header = text.get(..LEN).and_then(|start| start.strip_prefix(['I', 'W', 'E', 'F']));
    let time = header.and_then(|header| header.split_once(' '));
    time.is_some_and(|(date, time)| HeaderTime::parse(date, time).is_some())
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

/// Turns a message that a logger has quoted, as klog does with those of structured loggers, back
/// into its lines: `I0609 ... x.go:1] "Trace[1]: \"root\" ...\nTrace[1]: ..."`.
pub(super) fn unquote(text: &str) -> Option<String> {
    let at = text.find("\"Trace[")?;
    let (message, _) = text::quoted(&text[at..])?;
    find(&message)?;
    Some(format!("{}{message}", &text[..at]))
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
    }
}
