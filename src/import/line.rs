//! One line of a block -> what it says. All formats that utils/trace has had since 2015.
//!
//! | since | first line | steps |
//! |---|---|---|
//! | 2015 | `Trace "N" (started T):` | `[D] [D] message`, without a number |
//! | 2017 | `Trace[n]: "N" (started: T) (total time: D):` | `Trace[n]: [D] [D] message` |
//! | 2019 | the same, with fields after the name | the same, with fields after the message |
//! | 2020 | `Trace[n]: "N" k:v (T) (total time: 5ms):` | `Trace[n]: ---"message" k:v 5ms (T)` |
//!
//! The last is still current; nested traces came with it. Until 2021 its times of day had zeros for
//! seconds.

use super::text::{self, MILLISECOND, Nanos};
use super::time::{self, TimeOfDay};

/// A line without its `Trace[n]: `.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    First(First),
    Item(Item),
    /// The last line, with the time the whole took.
    End(Nanos),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct First {
    pub(super) name: String,
    pub(super) fields: String,
    pub(super) start: Start,
    /// As it was printed, whatever the zone: part of what ids are made from.
    pub(super) start_text: String,
    /// `None` in the oldest format, whose last line says it.
    pub(super) total: Option<Nanos>,
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Without a number.
    Bare,
    /// Steps with the time since the start. The last line is only printed if it took long.
    Elapsed,
    /// Steps with the time of day.
    Clock,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Start {
    /// With a zone.
    At(Nanos),
    /// Without: as if the clocks showed UTC.
    Local(Nanos),
    /// It cannot be read; the log's own header may say when the text was written.
    Unknown,
    /// The same, and what is left of it shows that it is damaged.
    Damaged,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) fields: String,
    pub(super) kind: ItemKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ItemKind {
    /// A step of the older formats.
    Elapsed { since_start: Nanos, took: Nanos },
    /// A step that ended at `at`, or a nested trace that started then.
    Clock {
        is_nested: bool,
        indent: usize,
        /// In whole milliseconds, so up to one less than it was.
        took: Nanos,
        at: TimeOfDay,
        is_unfinished: bool,
        /// How many nested traces end with this line.
        closes: usize,
    },
}

impl Item {
    /// How long a step took, as printed.
    pub(super) fn took(&self) -> Nanos {
        match self.kind {
            ItemKind::Elapsed { took, .. } | ItemKind::Clock { took, .. } => took,
        }
    }
}

/// What nested traces are indented by: a space for each level, or what an editor made of it.
const BLANKS: [char; 2] = [' ', '\t'];

/// Reads the text that follows `Trace[n]: `, or `Trace ` in the oldest format.
pub(super) fn parse(whole: &str) -> Option<Line> {
    let text = whole.trim_end();
    if text.starts_with('"') {
        return first(text).map(Line::First);
    }
    if text.starts_with('[') && !text.starts_with("[\"") {
        // An empty message leaves the blank before it.
        let is_cut = text.len() == whole.len() && text.ends_with(']');
        return elapsed(text).filter(|line| !is_cut || !line.has_no_text());
    }
    clock(text).map(Line::Item)
}

impl Line {
    fn has_no_text(&self) -> bool {
        matches!(self, Self::Item(item) if item.name.is_empty() && item.fields.is_empty())
    }
}

fn first(text: &str) -> Option<First> {
    let (name, rest) = name(text)?;
    let rest = rest.strip_suffix(':')?;
    let timed = rest.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (total time: "));
    let (rest, total) = match timed {
        Some((rest, total)) => (rest, Some(text::duration(total)?)),
        None => (rest, None),
    };
    let (fields, start_text) = match rest.strip_suffix(')').and_then(|rest| rest.rsplit_once('(')) {
        Some((fields, start)) => (fields, start),
        None => (rest, ""),
    };
    // Whether these parentheses are the start's, be it within the years that can be told or not;
    // what is in others may belong to the fields.
    let (start, is_start, format) = if let Some(time) = start_text.strip_prefix("started: ") {
        let start = time::go_string(time).map(Start::At);
        (start, start.is_some() || time::is_go_string(time), Format::Elapsed)
    } else if let Some(time) = start_text.strip_prefix("started ") {
        (time::go_string(time).map(Start::At), true, Format::Bare)
    } else {
        let local = time::date_and_clock(start_text);
        (local.and_then(time::as_if_utc).map(Start::Local), local.is_some(), Format::Clock)
    };
    if total.is_none() && (format != Format::Bare || start.is_none()) {
        return None;
    }
    let is_damaged = !is_start && start.is_none() && looks_like_start(start_text);
    let is_start = is_start || is_damaged;
    let start = match start {
        Some(start) => start,
        None if is_damaged => Start::Damaged,
        None => Start::Unknown,
    };
    let fields = if is_start { fields } else { rest };
    let fields = fields.strip_prefix(' ').unwrap_or(fields);
    Some(First {
        name,
        fields: fields.strip_suffix(' ').unwrap_or(fields).to_owned(),
        start,
        start_text: start_text.to_owned(),
        total,
        format,
    })
}

/// Whether a start that cannot be read is left of this: one of its date and its time of day.
fn looks_like_start(text: &str) -> bool {
    let is_like = |shape: &str, part: &str| {
        let mut chars = part.chars();
        shape.chars().all(|like| match (like, chars.next()) {
            ('0', Some(c)) => c.is_ascii_digit(),
            ('?', Some(_)) => true,
            (like, c) => c == Some(like),
        })
    };
    text.char_indices().any(|(at, _)| {
        let rest = &text[at..];
        ["0-???-0", "0-??-0", "0:00:00", "started"].iter().any(|shape| is_like(shape, rest))
    })
}

/// Splits a name off, and what follows it: a blank, in all formats.
fn name(text: &str) -> Option<(String, &str)> {
    text::quoted(text).filter(|(_, rest)| rest.starts_with(' '))
}

fn elapsed(text: &str) -> Option<Line> {
    let (since_start, rest) = bracketed_duration(text)?;
    let (took, message) = bracketed_duration(rest.strip_prefix(' ')?)?;
    let message = message.strip_prefix(' ').unwrap_or(message);
    // For a while in 2017 the name of the whole came before.
    if message == "END" || (message.starts_with('"') && message.ends_with("\" END")) {
        return Some(Line::End(since_start));
    }
    let (name, fields) = text::split_unquoted(message);
    let kind = ItemKind::Elapsed { since_start, took };
    Some(Line::Item(Item { name: name.to_owned(), fields: fields.to_owned(), kind }))
}

/// Reads `[1.5s]`.
fn bracketed_duration(text: &str) -> Option<(Nanos, &str)> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    Some((text::duration(inside)?, rest))
}

fn clock(text: &str) -> Option<Item> {
    let unindented = text.trim_start_matches(BLANKS);
    let indent = text.len() - unindented.len();
    let (is_nested, rest) = match unindented.strip_prefix('[') {
        Some(rest) => (true, rest),
        None => (false, unindented.strip_prefix("---")?),
    };
    let (name, rest) = name(rest)?;
    let open = rest.trim_end_matches(']');
    let closes = rest.len() - open.len();
    let (open, is_unfinished) = match open.strip_suffix(" (unfinished)") {
        Some(open) => (open, true),
        None => (open, false),
    };
    let (rest, at) = open.strip_suffix(')')?.rsplit_once(" (")?;
    let (fields, took) = rest.rsplit_once(' ')?;
    let took: Nanos = took.strip_suffix("ms")?.parse().ok()?;
    let kind = ItemKind::Clock {
        is_nested,
        indent,
        took: took.checked_mul(MILLISECOND).filter(|took| took.abs() < text::LONGEST)?,
        at: TimeOfDay::parse(at)?,
        is_unfinished,
        closes,
    };
    let fields = fields.strip_prefix(' ').unwrap_or(fields).to_owned();
    Some(Item { name, fields, kind })
}

/// Whether the text ends as a step or a nested trace does: ` 5ms (11:12:14.005)`.
pub(super) fn ends_as_item(text: &str) -> bool {
    let open = text.trim_end().trim_end_matches(']');
    let open = open.strip_suffix(" (unfinished)").unwrap_or(open);
    let times = open.strip_suffix(')').and_then(|open| open.rsplit_once(" ("));
    times.is_some_and(|(before, at)| {
        let took = before.rsplit(' ').next().and_then(|took| took.strip_suffix("ms"));
        let is_took = took.is_some_and(|took| took.parse::<Nanos>().is_ok());
        is_took && TimeOfDay::parse(at).is_some()
    })
}

/// Whether the text begins with `word` and a number in a bracket, which may not end.
pub(super) fn is_numbered(text: &str, word: &str) -> bool {
    let number = text.strip_prefix(word).and_then(|rest| rest.strip_prefix('['));
    number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether the text is a line whose end may follow on the next lines: a value with a line break,
/// which nothing escapes. A name has none, so it is whole.
pub(super) fn may_continue(text: &str) -> bool {
    let start = text.trim_start_matches(BLANKS);
    let names = ["---", "[", ""].iter().filter_map(|prefix| start.strip_prefix(prefix));
    names.filter(|rest| rest.starts_with('"')).any(|rest| name(rest).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_of(text: &str) -> First {
        match parse(text) {
            Some(Line::First(first)) => first,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn first_lines_of_all_formats() {
        let bare = first_of(
            r#""List *api.ServiceList" (started 2016-03-31 10:42:16.722518049 +0200 CEST):"#,
        );
        assert_eq!(
            (bare.name.as_str(), bare.total, bare.format),
            ("List *api.ServiceList", None, Format::Bare)
        );
        assert_eq!(bare.start, Start::At(1_459_413_736_722_518_049));

        let elapsed = first_of(
            r#""Get" url:/a (b) c,client:::1 (started: 2019-10-14 02:45:02.189619028 +0000 UTC m=+1.5) (total time: 8.99132673s):"#,
        );
        assert_eq!(elapsed.fields, "url:/a (b) c,client:::1");
        assert_eq!(elapsed.total, Some(8_991_326_730));
        assert_eq!(elapsed.start, Start::At(1_571_021_102_189_619_028));
        assert_eq!(elapsed.format, Format::Elapsed);

        let clock = first_of(
            r#""he said \"hi\"\n" k:a,b:c d (22-Nov-2025 07:30:00.123) (total time: 61001ms):"#,
        );
        assert_eq!((clock.name.as_str(), clock.fields.as_str()), ("he said \"hi\"\n", "k:a,b:c d"));
        assert_eq!(clock.total, Some(61_001 * MILLISECOND));
        assert_eq!(clock.format, Format::Clock);
        assert_eq!(clock.start, Start::Local(1_763_796_600_123 * MILLISECOND));

        let odd = first_of(r#""x" k:v (whenever) (total time: 5ms):"#);
        assert_eq!((odd.fields.as_str(), odd.start), ("k:v (whenever)", Start::Unknown));

        for start in ["10-Mxr-2025 11:12:14.421", "1-\0\0r-2025 11", "started: 2", "x0:12:14.000"] {
            let text = format!("\"x\" k:v ({start}) (total time: 5ms):");
            let damaged = first_of(&text);
            assert_eq!((damaged.fields.as_str(), damaged.start), ("k:v", Start::Damaged), "{text}");
        }

        // Nanoseconds since 1970 do not go so far: not any other moment instead.
        for text in [
            r#""x" k:v (22-Nov-9999 07:30:00.123) (total time: 5ms):"#,
            r#""x" k:v (started: 9999-10-14 02:45:02 +0000 UTC) (total time: 5ms):"#,
        ] {
            let late = first_of(text);
            assert_eq!((late.fields.as_str(), late.start), ("k:v", Start::Unknown), "{text}");
        }
    }

    #[test]
    fn items_and_ends() {
        let step = |text| match parse(text) {
            Some(Line::Item(item)) => item,
            other => panic!("{text}: {other:?}"),
        };
        let item = step("[1.454519871s] [1.454507917s] About to write a response");
        assert_eq!(item.name, "About to write a response");
        assert_eq!(
            item.kind,
            ItemKind::Elapsed { since_start: 1_454_519_871, took: 1_454_507_917 }
        );

        let item = step(r#"  ["List (x)" key:[a b],n:(1) 706ms (07:30:00.143) (unfinished)]]"#);
        assert_eq!((item.name.as_str(), item.fields.as_str()), ("List (x)", "key:[a b],n:(1)"));
        let ItemKind::Clock { is_nested, indent, took, is_unfinished, closes, .. } = item.kind
        else {
            panic!("{item:?}")
        };
        assert_eq!(
            (is_nested, indent, took, is_unfinished, closes),
            (true, 2, 706 * MILLISECOND, true, 2)
        );

        let item = step("\t---\"step\" 5ms (07:30:00.143)");
        assert!(matches!(item.kind, ItemKind::Clock { indent: 1, .. }));

        let item = step(r#"---"step3" -200ms (16:26:00.781)"#);
        assert!(matches!(item.kind, ItemKind::Clock { took: -200_000_000, is_nested: false, .. }));

        assert_eq!(parse("[1m1.00125s] [1m1.00125s] END"), Some(Line::End(61_001_250_000)));
        assert_eq!(parse("[5ms] [1ms] \"List\" END"), Some(Line::End(5 * MILLISECOND)));
    }

    #[test]
    fn what_is_none_of_them() {
        for text in [
            "",
            "x",
            "\"open",
            "\"x\" (total time: 5):",
            "\"x\" (22-Nov-2025 07:30:00.123):",
            "[5ms] END",
            "---\"x\" 5ms",
            "---\"x\" 5s (07:30:00.143)",
            "---\"x\" 5ms (7:30)",
            "---\"x\" 999999999999ms (07:30:00.143)",
            "---\"x\" -9223372036854ms (07:30:00.143)",
            "--\"x\" 5ms (07:30:00.143)",
            "---\"x\"y 5ms (07:30:00.143)",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
