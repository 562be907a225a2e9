//! Lines of a file -> lines of blocks: parts of split lines are put together, wrappings taken off.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use super::block::{Assembler, Found, NEAR, Place, excerpt};
use super::json;
use super::line::{self, Line};
use super::marker::{self, Marked};
use super::problem::{Problem, ProblemKind};
use super::scan::Handler;
use super::source::{Source, Stream};
use super::text::Nanos;
use super::time::HeaderTime;
use super::unwrap::{self, Flaw, Other, Record, Wrapping};

/// One file.
pub(super) struct Feed<'a> {
    pub(super) file: Arc<str>,
    pub(super) assembler: &'a mut Assembler,
    /// Takes what is done.
    pub(super) drain: &'a mut dyn FnMut(&mut Assembler) -> io::Result<()>,
    /// Lines of which runtimes have only written a part yet, by stream.
    parts: BTreeMap<Stream, Part>,
    /// Lines that end within a value with a line break, by stream.
    open: BTreeMap<Stream, OpenLine>,
    /// How many lines in a row were looked at only because one of these was waited for.
    waited: u32,
    /// How many more lines are looked at since an unfinished block may go on in them, though its
    /// marker is damaged.
    near: u64,
    /// Within the first line, which may be what rotation has left of one.
    is_at_start: bool,
    /// What this line is wrapped in, how often, and what the last one of a block was wrapped in.
    wrapping: Wrapping,
    depth: usize,
    last_wrapping: Wrapping,
}

struct Part {
    place: Place,
    text: String,
    at: Option<Nanos>,
}

struct OpenLine {
    number: Option<u32>,
    place: Place,
    source: Source,
    text: String,
    at: Option<Nanos>,
    header: Option<HeaderTime>,
    lines: usize,
    /// How many wrappings it had.
    depth: usize,
}

/// A line is put together from parts up to this size.
const MAX_PARTS: usize = 16 << 20;
/// All that is kept of such parts and of lines that go on is no longer than this together, but for
/// the last record.
const MAX_WAITING: usize = 64 << 20;
/// A value with line breaks is put together up to this size.
const MAX_OPEN_LINE: usize = 1 << 20;
/// How many streams may be within a line at once.
const MAX_STREAMS: usize = 256;
/// What does not go on within this many lines is not waited for, since each line that is looked at
/// for its sake costs time.
const MAX_WAIT: u32 = 10_000;
/// A value with more line breaks than this is taken for a damaged line.
const MAX_BREAKS: usize = 64;
/// What is found in one record is handed on when it is as much as this.
const MAX_FOUND: usize = 256;

impl<'a> Feed<'a> {
    pub(super) fn new(
        file: Arc<str>,
        assembler: &'a mut Assembler,
        drain: &'a mut dyn FnMut(&mut Assembler) -> io::Result<()>,
    ) -> Self {
        let (parts, open) = (BTreeMap::new(), BTreeMap::new());
        let (wrapping, last_wrapping) = (Wrapping::None, Wrapping::None);
        // A block of the file before may go on here.
        let near = if assembler.must_go_on() { NEAR } else { 0 };
        let (waited, depth, is_at_start) = (0, 0, true);
        Self {
            file,
            assembler,
            drain,
            parts,
            open,
            waited,
            near,
            is_at_start,
            wrapping,
            depth,
            last_wrapping,
        }
    }

    /// The file is at its end; other files may continue its blocks.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.stop_waiting()?;
        (self.drain)(self.assembler)
    }

    fn stop_waiting(&mut self) -> io::Result<()> {
        for (stream, part) in std::mem::take(&mut self.parts) {
            self.report(
                ProblemKind::Truncated,
                &part.place,
                "the line's last part is missing".to_owned(),
            );
            self.lines(&part.place, stream, &part.text, part.at)?;
        }
        let streams: Vec<_> = self.open.keys().copied().collect();
        for stream in streams {
            self.give_up(stream);
        }
        self.assembler.end_all_bare();
        self.waited = 0;
        Ok(())
    }

    /// How many bytes are kept of lines that are not whole yet.
    fn waiting(&self) -> usize {
        let parts = self.parts.values().map(|part| part.text.len());
        parts.chain(self.open.values().map(|open| open.text.len())).sum()
    }

    fn report(&mut self, kind: ProblemKind, place: &Place, message: String) {
        self.assembler.problems.push(Problem::new(kind, place, message));
    }

    fn record(&mut self, place: Place, mut record: Record<'_>) -> io::Result<()> {
        let is_wanted = self.is_within_near() || marker::may_be_in(&record.text);
        if record.flaw == Some(Flaw::Broken)
            && is_wanted
            && let Some(end) = json::end_of_first(&record.text)
        {
            return self.records(&place, &record, end);
        }
        let stream = record.stream;
        self.others(&place, stream, record.at, std::mem::take(&mut record.others))?;
        let is_part = record.is_partial || self.parts.contains_key(&stream);
        if !is_part && self.tells_flaw(record.flaw, &place, &record.text) {
            return Ok(());
        }
        if !is_part {
            return self.lines(&place, stream, &record.text, record.at);
        }
        if self.parts.len() >= MAX_STREAMS && !self.parts.contains_key(&stream) {
            let message =
                format!("more than {MAX_STREAMS} streams are within a line: this part is left out");
            self.report(ProblemKind::Limit, &place, message);
            return Ok(());
        }
        let is_too_much = self.waiting() + record.text.len() > MAX_WAITING;
        let part = self.parts.entry(stream).or_insert_with(|| Part {
            place,
            text: String::new(),
            at: record.at,
        });
        part.text.push_str(&record.text);
        let is_too_long = part.text.len() > MAX_PARTS;
        if record.is_partial && !is_too_long && !is_too_much {
            return Ok(());
        }
        let Some(part) = self.parts.remove(&stream) else { return Ok(()) };
        if is_too_long {
            let message = format!("the parts of this line are longer than {} MiB", MAX_PARTS >> 20);
            self.report(ProblemKind::Limit, &part.place, message);
        } else if is_too_much && record.is_partial {
            self.report(ProblemKind::Limit, &part.place, too_much_waits("taken as it is"));
        }
        // What was put together may be JSON in its turn.
        let mut whole = unwrap::unwrap(&part.text);
        let at = whole.at.or(part.at);
        self.others(&part.place, stream, at, std::mem::take(&mut whole.others))?;
        if self.tells_flaw(whole.flaw, &part.place, &whole.text) {
            return Ok(());
        }
        self.lines(&part.place, stream, &whole.text, at)
    }

    /// Records that have no line break between them, of which the first ends at `end`.
    fn records(&mut self, place: &Place, all: &Record<'_>, end: usize) -> io::Result<()> {
        let message = format!("records are on one line: {}", excerpt(&all.text));
        self.report(ProblemKind::Damaged, place, message);
        let (mut rest, mut end) = (&*all.text, Some(end));
        while !rest.is_empty() {
            let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
            let record = unwrap::unwrap(text);
            let (stream, at) = (record.stream.or(all.stream), record.at.or(all.at));
            self.record(place.clone(), Record { stream, at, ..record })?;
            self.hand_on()?;
            rest = after.trim_start();
            end = json::end_of_first(rest);
        }
        Ok(())
    }

    /// Tells why the text cannot be read if anything is lost by that.
    fn tells_flaw(&mut self, flaw: Option<Flaw>, place: &Place, text: &str) -> bool {
        // Within a block even where nothing of it is left to be seen.
        let is_near = self.is_within_near() && text.starts_with("{\"");
        let (kind, what) = match flaw {
            Some(Flaw::Broken) if is_near || marker::is_likely(text) => {
                (ProblemKind::Damaged, "is not valid")
            }
            Some(Flaw::Hidden) => (ProblemKind::Damaged, "has a block in a key"),
            Some(Flaw::TooMuch) => (ProblemKind::Limit, "has too many values to be read"),
            Some(Flaw::Broken) | None => return false,
        };
        self.assembler.damage_newest_in(place);
        self.report(kind, place, format!("this JSON {what}: {}", excerpt(text)));
        true
    }

    /// What a record has under other keys than the usual one, as if others had written it.
    fn others(
        &mut self,
        place: &Place,
        stream: Stream,
        at: Option<Nanos>,
        others: Vec<Other>,
    ) -> io::Result<()> {
        for Other { key, text } in others {
            let inner = unwrap::unwrap(&text);
            let (stream, at) = (under_key(stream, key), inner.at.or(at));
            self.record(place.clone(), Record { stream, at, ..inner })?;
            self.hand_on()?;
        }
        Ok(())
    }

    /// The lines of one record.
    fn lines(
        &mut self,
        place: &Place,
        stream: Stream,
        text: &str,
        at: Option<Nanos>,
    ) -> io::Result<()> {
        let text = unwrap::with_line_breaks(text);
        let unquoted = marker::unquote(&text);
        for line in unquoted.as_deref().unwrap_or(&text).split('\n') {
            // Whichever wrapping has left it there.
            let line = unwrap::without_end(line);
            if let Some(mut marked) = marker::find(line) {
                while let Some((first, second)) = marker::joined(&marked) {
                    let message = format!("two lines are one: {}", excerpt(line));
                    self.report(ProblemKind::Damaged, place, message);
                    if line::parse(first.text).is_some() {
                        self.marked(place, stream, first, at);
                    } else {
                        let source = Source::new(stream, first.tag);
                        self.assembler.damage(first.number, place, &source);
                    }
                    marked = second;
                }
                self.marked(place, stream, marked, at);
            } else if let Some((kind, message)) = marker::unusable(line) {
                self.assembler.damage_newest(stream, place);
                self.report(kind, place, message);
            } else if marker::is_lost(line, self.is_near(stream)) {
                self.assembler.damage_newest(stream, place);
                let message =
                    format!("its marker, as Trace[1]: is one, is damaged: {}", excerpt(line));
                self.report(ProblemKind::Damaged, place, message);
            } else {
                if std::mem::take(&mut self.is_at_start) && marker::is_lost(line, true) {
                    let message = format!("this is what is left of a line: {}", excerpt(line));
                    let problem = Problem::new(ProblemKind::Damaged, place, message);
                    self.assembler.may_be_rest(problem);
                }
                self.unmarked(place, stream, line);
            }
            self.hand_on()?;
        }
        Ok(())
    }

    /// Whether a block of the stream may go on here, though its marker is damaged.
    fn is_near(&self, stream: Stream) -> bool {
        self.is_within_near() && !self.open.contains_key(&stream)
    }

    /// The same of any stream's.
    fn is_within_near(&self) -> bool {
        self.near > 0 && self.assembler.is_within_any()
    }

    /// A value's line is wrapped as the line is that it goes on with. What else looks like a
    /// wrapping is the value's own.
    fn in_value<'l>(&self, line: &'l str) -> Option<Record<'l>> {
        if self.open.is_empty() || marker::may_be_in(line) {
            return None;
        }
        [0, 1].into_iter().map(|depth| unwrap::unwrap_to(line, depth)).find(|record| {
            let open = self.open.get(&record.stream);
            record.flaw.is_none() && open.is_some_and(|open| open.depth == record.depth)
        })
    }

    /// Whether this is what is left of a line that was wrapped as a block's last one was.
    fn is_left(&self, line: &str, wrapping: Wrapping) -> bool {
        self.is_within_near()
            && wrapping != self.last_wrapping
            && match self.last_wrapping {
                Wrapping::Cri => unwrap::begins_as_cri(line),
                Wrapping::Json => line == "{" || (line.ends_with('}') && line.contains("\":")),
                Wrapping::Line | Wrapping::None => false,
            }
    }

    /// Hands on what is found in the midst of a record, of whose lines there may be millions.
    fn hand_on(&mut self) -> io::Result<()> {
        if self.assembler.found() < MAX_FOUND {
            return Ok(());
        }
        (self.drain)(self.assembler)
    }

    fn marked(&mut self, place: &Place, stream: Stream, marked: Marked<'_>, at: Option<Nanos>) {
        self.give_up(stream);
        self.assembler.end_bare(stream);
        let Marked { number, text, header, tag } = marked;
        // The oldest format's other lines have nothing before them.
        let source = Source::new(stream, if number.is_some() { tag } else { "" });
        let line = match line::parse(text) {
            Some(line) => line,
            None if line::may_continue(text)
                && !marker::has_header_within(text)
                && text.len() <= MAX_OPEN_LINE
                && self.open.len() < MAX_STREAMS
                && self.waiting() + text.len() <= MAX_WAITING =>
            {
                let (place, text, depth) = (place.clone(), text.to_owned(), self.depth);
                let line = OpenLine { number, place, source, text, at, header, lines: 0, depth };
                self.open.insert(stream, line);
                return;
            }
            None => {
                self.assembler.damage(number, place, &source);
                return self.report(ProblemKind::Damaged, place, not_understood(text));
            }
        };
        self.add(number, place.clone(), source, line, at, header, text.len());
    }

    fn unmarked(&mut self, place: &Place, stream: Stream, text: &str) {
        if let Some(open) = self.open.get(&stream) {
            // A logger's own line, which got in.
            let rest = open.source.strip(text);
            if marker::begins_with_header(rest) || marker::has_header_within(rest) {
                return self.give_up(stream);
            }
            let place = open.place.clone();
            if open.text.len() + text.len() >= MAX_OPEN_LINE {
                let message = format!("a value is longer than {} MiB", MAX_OPEN_LINE >> 20);
                self.report(ProblemKind::Limit, &place, message);
                return self.drop_open(stream);
            }
            if self.waiting() + text.len() > MAX_WAITING {
                self.report(ProblemKind::Limit, &place, too_much_waits("left out"));
                return self.drop_open(stream);
            }
            let Some(open) = self.open.get_mut(&stream) else { return };
            open.text.push('\n');
            open.text.push_str(open.source.strip(text));
            open.lines += 1;
            if let Some(line) = line::parse(&open.text) {
                if let Some(open) = self.open.remove(&stream) {
                    let OpenLine { number, place, source, at, header, text, .. } = open;
                    self.add(number, place, source, line, at, header, text.len());
                }
            } else if open.lines >= MAX_BREAKS {
                self.give_up(stream);
            }
        } else if self.assembler.is_bare(stream) {
            match line::parse(text).filter(|line| !matches!(line, Line::First(_))) {
                Some(line) => {
                    let source = Source::new(stream, "");
                    self.add(None, place.clone(), source, line, None, None, text.len());
                }
                None => self.assembler.end_bare(stream),
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one `Found`, in its order")]
    fn add(
        &mut self,
        number: Option<u32>,
        place: Place,
        source: Source,
        line: Line,
        logged_at: Option<Nanos>,
        header: Option<HeaderTime>,
        bytes: usize,
    ) {
        self.waited = 0;
        self.last_wrapping = self.wrapping;
        self.near = if matches!(line, Line::End(_)) { self.near } else { NEAR };
        self.assembler.add(Found { number, place, source, line, logged_at, header, bytes });
    }

    /// A line that was thought to go on does not.
    fn give_up(&mut self, stream: Stream) {
        if let Some(open) = self.open.get(&stream) {
            let message = not_understood(open.text.split('\n').next().unwrap_or_default());
            let place = open.place.clone();
            self.report(ProblemKind::Damaged, &place, message);
            self.drop_open(stream);
        }
    }

    /// The same, where it is told of already.
    fn drop_open(&mut self, stream: Stream) {
        if let Some(OpenLine { number, place, source, .. }) = self.open.remove(&stream) {
            self.assembler.damage(number, &place, &source);
        }
    }
}

fn too_much_waits(outcome: &str) -> String {
    let limit = MAX_WAITING >> 20;
    format!("more than {limit} MiB wait for the rest of their lines: this one is {outcome}")
}

fn not_understood(text: &str) -> String {
    format!("not understood: {}", excerpt(text))
}

fn under_key(stream: Stream, key: u64) -> Stream {
    let mut hasher = DefaultHasher::new();
    (stream, key).hash(&mut hasher);
    Some(hasher.finish())
}

impl Handler for Feed<'_> {
    fn wants_next_line(&self) -> bool {
        self.is_at_start
            || self.is_within_near()
            || !self.parts.is_empty()
            || !self.open.is_empty()
            || self.assembler.has_bare()
    }

    fn line(&mut self, number: u64, line: &[u8]) -> io::Result<()> {
        let line = String::from_utf8_lossy(line);
        let place = Place { file: Arc::clone(&self.file), line: number };
        self.waited += 1;
        let was_near = self.near;
        let record = self.in_value(&line).unwrap_or_else(|| unwrap::unwrap(&line));
        (self.wrapping, self.depth) = (record.wrapping, record.depth);
        if self.is_left(line.trim_end(), record.wrapping) {
            self.assembler.damage_newest_in(&place);
            let message = format!("this is what is left of a line: {}", excerpt(&line));
            self.report(ProblemKind::Damaged, &place, message);
        } else {
            self.record(place, record)?;
        }
        self.is_at_start = false;
        if self.near == was_near {
            self.near = was_near.saturating_sub(1);
        }
        if self.waited > MAX_WAIT {
            self.stop_waiting()?;
        }
        (self.drain)(self.assembler)
    }

    fn packed(&mut self, number: u64) -> io::Result<()> {
        let place = Place { file: Arc::clone(&self.file), line: number };
        let message = "what begins here is packed by gzip, and is not read: give it as a file of \
                       its own";
        self.report(ProblemKind::Unreadable, &place, message.to_owned());
        (self.drain)(self.assembler)
    }

    fn too_long(&mut self, number: u64) -> io::Result<()> {
        let place = Place { file: Arc::clone(&self.file), line: number };
        self.report(ProblemKind::Limit, &place, "the line is too long to be read".to_owned());
        (self.drain)(self.assembler)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;

    const MIB: usize = 1 << 20;

    /// Feeds `lines`; returns the problems, and how much was kept of lines that are not whole when
    /// that was most.
    fn fed(lines: impl Iterator<Item = String>) -> (Vec<Problem>, usize) {
        let mut assembler = Assembler::new(16);
        let mut problems = Vec::new();
        let mut most = 0;
        let mut drain = |assembler: &mut Assembler| {
            problems.append(&mut assembler.problems);
            Ok(())
        };
        let mut feed = Feed::new("log".into(), &mut assembler, &mut drain);
        for (number, line) in (1..).zip(lines) {
            feed.line(number, line.as_bytes()).unwrap();
            most = most.max(feed.waiting());
        }
        feed.finish().unwrap();
        (problems, most)
    }

    #[test]
    fn what_one_record_has_in_it_does_not_pile_up() {
        // 1. One JSON record has very many lines, and in each is something wrong.
        // 2. Another has many blocks, and a third has many texts that are no JSON.
        let broken = "Trace[1\n".repeat(100_000);
        let mut blocks = String::new();
        for number in 0..10_000 {
            let _ = write!(
                blocks,
                "Trace[{number}]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n\
                 Trace[{number}]: [5ms] [5ms] END\n"
            );
        }
        let texts: Vec<_> = (0..10_000).map(|number| format!("{{Trace[{number}]: ")).collect();
        for (text, expected) in [
            (json!(broken), (100_000, 0)),
            (json!(blocks), (0, 10_000)),
            (json!(texts), (10_000, 0)),
        ] {
            let mut assembler = Assembler::new(16);
            let (mut most, mut problems, mut blocks) = (0, 0, 0);
            let mut drain = |assembler: &mut Assembler| {
                most = most.max(assembler.found());
                problems += assembler.problems.drain(..).count();
                blocks += assembler.done.drain(..).count();
                Ok(())
            };
            let mut feed = Feed::new("log".into(), &mut assembler, &mut drain);
            let line = json!({ "msg": text }).to_string();
            feed.line(1, line.as_bytes()).unwrap();
            feed.finish().unwrap();
            assert_eq!((problems, blocks), expected);
            assert!(most <= MAX_FOUND + 1, "{most}");
        }
    }

    fn limits(problems: &[Problem]) -> Vec<u64> {
        let of_limit = problems.iter().filter(|problem| problem.kind() == ProblemKind::Limit);
        let told = of_limit.filter(|problem| problem.to_string().contains("more than 64 MiB wait"));
        told.map(Problem::line).collect()
    }

    #[test]
    fn parts_of_lines_are_kept_to_a_limit_for_all_streams_together() {
        // 1. Six streams write up to 12 MiB of a line, in parts of a MiB, one after the other.
        // 2. With the fifth part of the sixth it is more than 64 MiB: its line is taken as it is.
        let part = "x".repeat(MIB);
        let line = |number| {
            let stream = number / 12;
            format!(r#"{{"log":"{part}","stream":"s{stream}","logtag":"P"}}"#)
        };
        let (problems, most) = fed((0..68).map(line));
        assert_eq!(limits(&problems), [61], "{problems:?}");
        assert_eq!(most, MAX_WAITING);
        let cut = problems.iter().filter(|problem| problem.kind() == ProblemKind::Truncated);
        assert_eq!(cut.count(), 6, "{problems:?}");
    }

    #[test]
    fn values_that_go_on_are_kept_to_a_limit_for_all_streams_together() {
        // 1. Each of 80 streams is within a value of half a MiB.
        // 2. Each goes on with as much, but its end does not come.
        let half = "x".repeat(MIB / 2 - 100);
        let line = |number| match number / 80 {
            0 => format!(r#"{{"log":"Trace[{number}]: \"x\" k:{half}\n","stream":"{number}"}}"#),
            _ => format!(r#"{{"log":"{half}\n","stream":"{}"}}"#, number - 80),
        };
        let (problems, most) = fed((0..160).map(line));
        assert!(most <= MAX_WAITING && most > MAX_WAITING - MIB, "{most}");
        assert!(!limits(&problems).is_empty());
        // Each is told of once.
        assert_eq!(problems.len(), 80);
    }
}
