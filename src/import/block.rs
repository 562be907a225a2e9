//! Lines -> blocks: which line belongs to which, when a block is complete, what is wrong with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::line::{First, Format, Item, Line};
use super::problem::{Problem, ProblemKind};
use super::source::{Source, Stream};
use super::text::Nanos;
use super::time::HeaderTime;

/// Where a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    /// From 1.
    pub(super) line: u64,
}

/// What is printed for one trace.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// `None` in the oldest format.
    pub(super) number: Option<u32>,
    /// Of the first line that was found.
    pub(super) place: Place,
    /// `None` if it was not found.
    pub(super) first: Option<First>,
    pub(super) items: Vec<Item>,
    /// What the last line says, if there is one.
    pub(super) end: Option<Nanos>,
    /// When the wrapping says that it was logged.
    pub(super) logged_at: Option<Nanos>,
    pub(super) header: Option<HeaderTime>,
    /// Something of it could not be read or is missing.
    pub(super) is_incomplete: bool,
    /// Lines of others stand between its own.
    pub(super) is_interleaved: bool,
    source: Source,
    /// Of the last line that was found.
    last_file: Arc<str>,
    bytes: usize,
    /// How many first lines had been seen when this one was.
    age: u64,
}

/// A line of a block and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) number: Option<u32>,
    pub(super) place: Place,
    pub(super) source: Source,
    pub(super) line: Line,
    pub(super) logged_at: Option<Nanos>,
    pub(super) header: Option<HeaderTime>,
    /// How long it is.
    pub(super) bytes: usize,
}

/// What is kept of unfinished blocks, all together, besides the limit on their number.
const MAX_BYTES: usize = 64 << 20;
/// What is kept of one: its spans take several times that.
const MAX_BLOCK: usize = 16 << 20;
/// A block's lines are no further apart, where one of them is damaged and nothing is mixed in.
pub(super) const NEAR: u64 = 16;
/// A block of a format whose last line is optional is complete when this many more have begun:
/// only lines of different processes mix, and not by more.
const MIXED: u64 = 64;

/// Blocks that are not finished yet.
#[derive(Debug)]
pub(super) struct Assembler {
    /// By age.
    open: BTreeMap<u64, Block>,
    by_number: HashMap<Option<u32>, Vec<u64>>,
    max_open: usize,
    bytes: usize,
    next_key: u64,
    firsts: u64,
    /// The block that the last line was of.
    last: Option<u64>,
    /// The last line that could not be used while no block was open that it may have been of.
    lost: Option<Place>,
    /// What a file begins with, where it may be what is left of a line: it is one if lines of its block
    /// follow.
    edge: Option<Problem>,
    pub(super) done: Vec<Block>,
    pub(super) problems: Vec<Problem>,
}

impl Assembler {
    pub(super) fn new(max_open: usize) -> Self {
        Self {
            open: BTreeMap::new(),
            by_number: HashMap::new(),
            max_open: max_open.max(1),
            bytes: 0,
            next_key: 0,
            firsts: 0,
            last: None,
            lost: None,
            edge: None,
            done: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, found: Found) {
        let key = match &found.line {
            Line::First(_) => self.begin(&found),
            Line::Item(_) | Line::End(_) => self
                .find(found.number, &found.source, &found.place)
                .unwrap_or_else(|| self.begin_without_first(&found)),
        };
        let Some(block) = self.open.get_mut(&key) else { return };
        let bytes = found.bytes + size_of::<Item>();
        block.bytes += bytes;
        self.bytes += bytes;
        let is_too_large = block.bytes > MAX_BLOCK;
        // What begins here stands between no lines of others, be it a part in another file.
        let is_begin = block.bytes == bytes;
        block.is_interleaved |= !is_begin && self.last.is_some_and(|last| last != key);
        self.last = Some(key);
        if !Arc::ptr_eq(&block.last_file, &found.place.file) {
            block.last_file = Arc::clone(&found.place.file);
        }
        // What began in another file.
        let goes_on = !matches!(found.line, Line::First(_))
            && (block.first.is_none() || block.place.file != found.place.file);
        if let Some(edge) = self.edge.take_if(|edge| {
            goes_on && edge.file() == &*found.place.file && found.place.line <= edge.line() + NEAR
        }) {
            block.is_incomplete = true;
            self.problems.push(edge);
        }
        match found.line {
            Line::First(first) => block.first = Some(first),
            Line::Item(item) => block.items.push(item),
            Line::End(total) => {
                block.end = Some(total);
                // One that is not in one file waits: what is missing may be in a file that comes later.
                if block.first.is_some() && block.place.file == found.place.file {
                    self.close(key);
                }
            }
        }
        if is_too_large {
            let limit = format!("a block takes more than {} MiB", MAX_BLOCK >> 20);
            self.give_up(key, Some(&limit));
        }
        self.keep_within_limits();
    }

    /// How much is done and not yet taken.
    pub(super) fn found(&self) -> usize {
        self.done.len() + self.problems.len()
    }

    /// A line of a block cannot be used: what is wrong with it is told elsewhere.
    pub(super) fn damage(&mut self, number: Option<u32>, place: &Place, source: &Source) {
        let key = self.find(number, source, place);
        if let Some(block) = key.and_then(|key| self.open.get_mut(&key)) {
            block.is_incomplete = true;
        }
    }

    /// A line cannot be used, and what would tell which block it is of cannot be read: most likely
    /// the newest of the stream, be it from the file before.
    pub(super) fn damage_newest(&mut self, stream: Stream, place: &Place) {
        let is_one = |block: &Block| block.source.stream == stream;
        // What is left of a line has no wrapping.
        let is_known = stream.is_some() || self.open.values().any(is_one);
        self.damage_newest_of(place, |block| !is_known || is_one(block));
    }

    /// The same where not even the stream is known.
    pub(super) fn damage_newest_in(&mut self, place: &Place) {
        self.damage_newest_of(place, |_| true);
    }

    fn damage_newest_of(&mut self, place: &Place, is_one: impl Fn(&Block) -> bool) {
        let mut newest_first = self.open.values_mut().rev();
        // Those of the file before may go on at the beginning of this one.
        let is_near = |block: &Block| block.last_file == place.file || place.line <= NEAR;
        let is_open = |block: &&mut Block| block.end.is_none() && is_near(block) && is_one(block);
        match newest_first.find(is_open) {
            Some(block) => block.is_incomplete = true,
            None => self.lost = Some(place.clone()),
        }
    }

    /// This may be what the edge of a file has left of a line.
    pub(super) fn may_be_rest(&mut self, problem: Problem) {
        self.edge = Some(problem);
    }

    /// Whether any block must go on, since it is not at its end.
    pub(super) fn must_go_on(&self) -> bool {
        self.open.values().any(|block| block.first.is_some() && block.lacks_end())
    }

    /// Whether any block is not at its end.
    pub(super) fn is_within_any(&self) -> bool {
        self.open.values().any(|block| block.end.is_none())
    }

    /// Whether the stream is within a block of the oldest format, whose lines have no number.
    pub(super) fn is_bare(&self, stream: Stream) -> bool {
        self.bare(stream).is_some()
    }

    /// Whether any stream is.
    pub(super) fn has_bare(&self) -> bool {
        self.by_number.get(&None).is_some_and(|keys| !keys.is_empty())
    }

    /// Other lines follow, so that the stream's block of the oldest format has come to its end.
    pub(super) fn end_bare(&mut self, stream: Stream) {
        if let Some(key) = self.bare(stream) {
            self.close(key);
        }
    }

    /// None is waited for any longer.
    pub(super) fn end_all_bare(&mut self) {
        for key in self.by_number.get(&None).cloned().unwrap_or_default() {
            self.close(key);
        }
    }

    fn bare(&self, stream: Stream) -> Option<u64> {
        let keys = self.by_number.get(&None)?;
        keys.iter()
            .copied()
            .find(|key| self.open.get(key).is_some_and(|block| block.source.stream == stream))
    }

    /// There is nothing more to read.
    pub(super) fn finish(&mut self) {
        self.join_rotated();
        while let Some((&key, _)) = self.open.first_key_value() {
            self.close(key);
        }
    }

    /// Rotation splits blocks over files, which may be read from the newest to the oldest: parts whose
    /// beginning was read after them, of which the last to be read is the first.
    fn join_rotated(&mut self) {
        let mut parts: BTreeMap<Option<u32>, Vec<(u64, Source)>> = BTreeMap::new();
        for (&key, block) in self.open.iter().filter(|(_, block)| block.first.is_none()) {
            parts.entry(block.number).or_default().push((key, block.source.clone()));
        }
        for parts in parts.values_mut() {
            let (first, _) = parts[0];
            if self.open.get(&first).is_some_and(|part| part.end.is_some()) {
                parts.reverse();
            }
        }
        let parts = parts.into_iter().flat_map(|(number, parts)| {
            parts.into_iter().map(move |(key, source)| (key, number, source))
        });
        // The end is put on last, whichever of the parts has it: a block that has one goes no further.
        let mut endings = Vec::new();
        for (part, number, source) in parts {
            let starts = self.by_number.get(&number).into_iter().flatten().copied();
            let start = starts.filter_map(|key| {
                let block = self.open.get(&key)?;
                let is_one = block.first.is_some() && block.continues_with(&source);
                is_one.then_some((block.source == source, key))
            });
            let Some((_, start)) = start.max() else { continue };
            let has_end = endings.iter().any(|(other, _)| *other == start);
            if has_end && self.open.get(&part).is_some_and(|part| part.end.is_some()) {
                continue;
            }
            let Some(part) = self.take(part) else { continue };
            if let Some(block) = self.open.get_mut(&start) {
                block.items.extend(part.items);
                block.is_incomplete |= part.is_incomplete;
                block.is_interleaved |= part.is_interleaved;
                block.bytes += part.bytes;
                self.bytes += part.bytes;
                endings.extend(part.end.map(|end| (start, end)));
            }
        }
        for (start, end) in endings {
            if let Some(block) = self.open.get_mut(&start) {
                block.end = Some(end);
            }
        }
        self.find_unordered();
    }

    /// Parts of blocks that seem whole without them, as where files are given in no order.
    fn find_unordered(&mut self) {
        let parts: Vec<_> = self.open.values().filter(|block| block.first.is_none()).collect();
        let is_one = |block: &Block| {
            let mut of_number = parts.iter().filter(|part| part.number == block.number);
            of_number.any(|part| part.source.continues(&block.source) && !block.is_in(&part.place))
        };
        let with_parts = self.open.iter().filter(|(_, block)| block.end.is_some() && is_one(block));
        for key in with_parts.map(|(&key, _)| key).collect::<Vec<_>>() {
            if let Some(block) = self.open.get_mut(&key) {
                block.is_incomplete = true;
            }
        }
    }

    fn begin(&mut self, found: &Found) -> u64 {
        self.firsts += 1;
        let same: Vec<_> = self.by_number.get(&found.number).cloned().unwrap_or_default();
        for key in same {
            // Numbers are random, but not always seeded: processes may share them. One process
            // does not begin a block before the last is written.
            let is_same_source = self.open.get(&key).is_some_and(|block| {
                block.first.is_some()
                    && block.source == found.source
                    && block.place.file == found.place.file
            });
            if is_same_source {
                self.close(key);
            }
        }
        for key in self.complete() {
            self.close(key);
        }
        self.open(found)
    }

    /// Blocks without a last line that are old enough to be complete, unless a part without a first
    /// line waits for them.
    fn complete(&self) -> Vec<u64> {
        let is_old = |block: &Block| block.age + MIXED <= self.firsts;
        let has_part = |block: &Block| {
            let same = self.by_number.get(&block.number).into_iter().flatten();
            let mut same = same.filter_map(|key| self.open.get(key));
            same.any(|part| part.first.is_none() && block.continues_with(&part.source))
        };
        let old = self.open.iter().take_while(|(_, block)| is_old(block));
        let is_complete = |block: &Block| {
            block.first.is_some() && !block.lacks_end() && block.end.is_none() && !has_part(block)
        };
        old.filter(|(_, block)| is_complete(block)).map(|(&key, _)| key).collect()
    }

    /// A line whose block is not there. One of the same number may lack it: what stands before the line
    /// may be damaged.
    fn begin_without_first(&mut self, found: &Found) -> u64 {
        for key in self.by_number.get(&found.number).into_iter().flatten() {
            let Some(block) = self.open.get_mut(key) else { continue };
            block.is_incomplete |=
                block.is_in(&found.place) && found.source.may_hide(&block.source);
        }
        // The first line that is left of it may be the one that could not be used.
        let follows = |lost: &Place| {
            lost.file == found.place.file && found.place.line.saturating_sub(lost.line) <= NEAR
        };
        let is_incomplete = self.lost.take().as_ref().is_some_and(follows);
        let key = self.open(found);
        if let Some(block) = self.open.get_mut(&key) {
            block.is_incomplete = is_incomplete;
        }
        key
    }

    fn open(&mut self, found: &Found) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        let block = Block {
            number: found.number,
            place: found.place.clone(),
            first: None,
            items: Vec::new(),
            end: None,
            logged_at: found.logged_at,
            header: found.header,
            is_incomplete: false,
            is_interleaved: false,
            source: found.source.clone(),
            last_file: Arc::clone(&found.place.file),
            bytes: 0,
            age: self.firsts,
        };
        self.open.insert(key, block);
        self.by_number.entry(found.number).or_default().push(key);
        key
    }

    /// The block that a line most likely continues: of the same source, else of the same file,
    /// else, over the edge of a rotated file, the newest.
    fn find(&self, number: Option<u32>, source: &Source, place: &Place) -> Option<u64> {
        let keys = self.by_number.get(&number)?.iter().copied();
        let near = keys.filter_map(|key| {
            let block = self.open.get(&key).filter(|block| block.continues_with(source))?;
            let is_same_file = block.place.file == place.file;
            // Which of two parts without a first line comes first is known in the end.
            if block.first.is_none() && !is_same_file {
                return None;
            }
            Some((is_same_file && block.source == *source, is_same_file, key))
        });
        near.max().map(|(.., key)| key)
    }

    fn keep_within_limits(&mut self) {
        while self.open.len() > self.max_open || self.bytes > MAX_BYTES {
            let limit = if self.open.len() > self.max_open {
                format!("more than {} blocks are unfinished", self.max_open)
            } else {
                format!("unfinished blocks take more than {} MiB", MAX_BYTES >> 20)
            };
            let Some((&key, _)) = self.open.first_key_value() else { break };
            self.give_up(key, Some(&limit));
        }
    }

    fn take(&mut self, key: u64) -> Option<Block> {
        let block = self.open.remove(&key)?;
        self.bytes = self.bytes.saturating_sub(block.bytes);
        if let Some(keys) = self.by_number.get_mut(&block.number) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_number.remove(&block.number);
            }
        }
        Some(block)
    }

    fn close(&mut self, key: u64) {
        self.give_up(key, None);
    }

    /// Closes a block, because of a limit if there is one. Whatever is wrong with it is told once.
    fn give_up(&mut self, key: u64, limit: Option<&str>) {
        let Some(mut block) = self.take(key) else { return };
        let name = name(block.number);
        let (kind, message) = match (&block.first, limit) {
            (None, limit) => {
                let lines = block.items.len() + usize::from(block.end.is_some());
                let message = format!(
                    "the first line of {name} is missing: {lines} of its lines are left out"
                );
                let why = limit.map(|limit| format!(", not waited for since {limit}"));
                (ProblemKind::Headless, message + &why.unwrap_or_default())
            }
            (Some(_), _) if !block.lacks_end() => return self.done.push(block),
            (Some(_), Some(limit)) => {
                (ProblemKind::Limit, format!("{limit}: this one is not waited for any longer"))
            }
            (Some(_), None) => {
                let message = format!("{name} is cut off: its last line, with END, is missing");
                (ProblemKind::Truncated, message)
            }
        };
        self.problems.push(Problem::new(kind, &block.place, message));
        if block.first.is_some() {
            block.is_incomplete = true;
            self.done.push(block);
        }
    }
}

impl Block {
    /// Whether a line of this source may be of it. One that has ended does not go on.
    fn continues_with(&self, source: &Source) -> bool {
        // The oldest format's lines are only known by who wrote them.
        let is_bare = self.number.is_none();
        let is_one = match self.first {
            _ if is_bare => self.source.stream == source.stream,
            Some(_) => source.continues(&self.source),
            None => source.continues(&self.source) || self.source.continues(source),
        };
        is_one && self.end.is_none()
    }

    /// Whether it begins in this file.
    fn is_in(&self, place: &Place) -> bool {
        self.first.is_some() && self.place.file == place.file
    }

    /// Whether a last line must follow and is not there.
    fn lacks_end(&self) -> bool {
        let is_optional = self.first.as_ref().is_some_and(|first| first.format == Format::Elapsed);
        self.end.is_none() && !is_optional
    }
}

/// What a message calls the block with this number.
pub(crate) fn name(number: Option<u32>) -> String {
    match number {
        Some(number) => format!("Trace[{number}]"),
        None => "the trace".to_owned(),
    }
}

/// The beginning of a text, for a message.
pub(super) fn excerpt(text: &str) -> String {
    const LEN: usize = 120;
    match text.char_indices().nth(LEN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::line;

    const MIB: usize = 1 << 20;

    fn found(number: u32, text: &str, bytes: usize) -> Found {
        Found {
            number: Some(number),
            place: Place { file: "log".into(), line: number.into() },
            source: Source::new(None, ""),
            line: line::parse(text).expect("it is a line of a block"),
            logged_at: None,
            header: None,
            bytes,
        }
    }

    #[test]
    fn unfinished_blocks_are_kept_to_a_limit_all_together() {
        // 1. Each of 63 blocks has a line of half a MiB, and another of as much.
        // 2. One more line makes it more than 64 MiB: the oldest is taken as it is.
        // 3. The lines of the others, and their ends, find them still there.
        let first = "\"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):";
        let step = "---\"step\" 5ms (11:12:14.005)";
        let mut assembler = Assembler::new(1_024);
        for number in 1..=63 {
            assembler.add(found(number, first, MIB / 2));
            assembler.add(found(number, step, MIB / 2));
        }
        assert_eq!((assembler.open.len(), assembler.found()), (63, 0));
        assembler.add(found(64, first, MIB));
        assert_eq!((assembler.open.len(), assembler.done.len()), (63, 1));
        assert!(assembler.done[0].is_incomplete);
        assert_eq!(assembler.done[0].number, Some(1));
        let expected = "log:1: unfinished blocks take more than 64 MiB: this one is not waited for \
                        any longer";
        assert_eq!(assembler.problems[0].to_string(), expected);
        assert_eq!(assembler.problems[0].kind(), ProblemKind::Limit);
        for number in 2..=64 {
            assembler.add(found(number, "[5ms] [5ms] END", 0));
        }
        assert_eq!((assembler.done.len(), assembler.problems.len()), (64, 1));
        assert_eq!((assembler.open.len(), assembler.bytes), (0, 0));
    }

    #[test]
    fn one_block_is_kept_to_a_limit_of_its_own() {
        let mut assembler = Assembler::new(1_024);
        assembler.add(found(1, "\"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):", MIB));
        for _ in 1..MAX_BLOCK / MIB {
            assert_eq!(assembler.done.len(), 0);
            assembler.add(found(1, "---\"step\" 5ms (11:12:14.005)", MIB));
        }
        assert_eq!((assembler.done.len(), assembler.open.len(), assembler.bytes), (1, 0, 0));
        assert!(assembler.done[0].is_incomplete);
        let expected =
            "log:1: a block takes more than 16 MiB: this one is not waited for any longer";
        assert_eq!(assembler.problems[0].to_string(), expected);
    }

    #[test]
    fn what_is_kept_of_a_line_is_counted_however_short_it_was() {
        let mut assembler = Assembler::new(1_024);
        assembler.add(found(1, "\"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):", 60));
        for _ in 0..1_000 {
            assembler.add(found(1, "---\"\" 5ms (11:12:14.005)", 0));
        }
        assert_eq!(assembler.bytes, 60 + 1_001 * size_of::<Item>());
        assembler.finish();
        assert_eq!(assembler.bytes, 0);
    }
}
