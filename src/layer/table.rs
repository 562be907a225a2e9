//! tracing id -> slot, without locks.
//!
//! Cells stand in cache lines. The first cell of a line is the home of the ids that lead there; an id
//! that finds its home taken lives in one of the other cells of this line or of the two after it, or,
//! where all of these are taken, in an overflow map. Each line counts the ids whose home it is and that
//! live elsewhere: mostly that is none, and the one line that was looked at tells that an id is not
//! here. A search never stops at an empty cell, so removal needs no tombstones.
//!
//! A cell's slot is written after its key. That is sound to read because an id is only ever
//! looked up by someone who learnt it from the insertion's caller: `on_new_span` returns before
//! the subscriber hands the id out.

use std::collections::HashMap;

use crate::layer::record::Slot;
use crate::layer::slots::At;
use crate::layer::sync::{AtomicPtr, AtomicU64, AtomicUsize, Mutex, Ordering};

/// In how many lines an id may be.
const WINDOW: usize = 3;
/// Besides the cells, a line has room for its count.
const IN_LINE: usize = 3;

#[derive(Debug)]
pub(super) struct Table {
    lines: Box<[Line]>,
    /// One less than the number of homes, which is a power of two.
    mask: usize,
    overflow: Mutex<HashMap<u64, At>>,
    overflow_len: AtomicUsize,
}

#[derive(Debug)]
#[repr(align(64))]
struct Line {
    home: Cell,
    others: [Cell; IN_LINE - 1],
    /// How many ids whose home this is live elsewhere. Counted before they are put there, so that who
    /// has learnt of one sees that there is one.
    elsewhere: AtomicUsize,
}

#[derive(Debug)]
struct Cell {
    /// The tracing id, 0 where the cell is empty.
    key: AtomicU64,
    slot: AtomicPtr<Slot>,
}

impl Line {
    fn empty() -> Self {
        Self {
            home: Cell::empty(),
            others: std::array::from_fn(|_| Cell::empty()),
            elsewhere: AtomicUsize::new(0),
        }
    }
}

impl Cell {
    fn empty() -> Self {
        Self { key: AtomicU64::new(0), slot: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Makes the cell `id`'s. False where it is another's.
    #[inline]
    fn take(&self, id: u64, slot: At) -> bool {
        // Relaxed look first: a failed compare-exchange would still take the cache line.
        let is_taken = self.key.load(Ordering::Relaxed) == 0
            && self.key.compare_exchange(0, id, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_taken {
            self.slot.store(slot.as_ptr(), Ordering::Release);
        }
        is_taken
    }

    #[inline]
    fn is(&self, id: u64) -> bool {
        self.key.load(Ordering::Acquire) == id
    }

    #[inline]
    fn slot(&self) -> Option<At> {
        At::from_ptr(self.slot.load(Ordering::Acquire))
    }

    /// Lets go of the id that is here.
    #[inline]
    fn empty_out(&self) -> Option<At> {
        let slot = self.slot();
        self.key.store(0, Ordering::Release);
        slot
    }
}

impl Table {
    /// A table for `max_live` ids at a time; more still fit, in the overflow map.
    pub(super) fn new(max_live: usize) -> Self {
        let homes = max_live.max(8).next_power_of_two() / 2;
        Self {
            lines: std::iter::repeat_with(Line::empty).take(homes + WINDOW - 1).collect(),
            mask: homes - 1,
            overflow: Mutex::default(),
            overflow_len: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(super) fn insert(&self, id: u64, slot: At) {
        if !self.line(id).home.take(id, slot) {
            self.insert_elsewhere(id, slot);
        }
    }

    #[cold]
    fn insert_elsewhere(&self, id: u64, slot: At) {
        self.line(id).elsewhere.fetch_add(1, Ordering::AcqRel);
        if self.beyond_home(id).any(|cell| cell.take(id, slot)) {
            return;
        }
        let mut overflow = self.overflow.lock();
        overflow.insert(id, slot);
        self.overflow_len.store(overflow.len(), Ordering::Release);
    }

    #[inline]
    pub(super) fn get(&self, id: u64) -> Option<At> {
        let line = self.line(id);
        if line.home.is(id) {
            return line.home.slot();
        }
        if line.elsewhere.load(Ordering::Acquire) == 0 { None } else { self.search(id) }
    }

    #[cold]
    fn search(&self, id: u64) -> Option<At> {
        if let Some(cell) = self.beyond_home(id).find(|cell| cell.is(id)) {
            return cell.slot();
        }
        if self.overflow_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.overflow.lock().get(&id).copied()
    }

    #[inline]
    pub(super) fn remove(&self, id: u64) -> Option<At> {
        let line = self.line(id);
        if line.home.is(id) {
            return line.home.empty_out();
        }
        if line.elsewhere.load(Ordering::Acquire) == 0 { None } else { self.remove_elsewhere(id) }
    }

    #[cold]
    fn remove_elsewhere(&self, id: u64) -> Option<At> {
        let removed = match self.beyond_home(id).find(|cell| cell.is(id)) {
            Some(cell) => cell.empty_out(),
            None => self.remove_from_overflow(id),
        };
        if removed.is_some() {
            self.line(id).elsewhere.fetch_sub(1, Ordering::AcqRel);
        }
        removed
    }

    fn remove_from_overflow(&self, id: u64) -> Option<At> {
        if self.overflow_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut overflow = self.overflow.lock();
        let slot = overflow.remove(&id);
        self.overflow_len.store(overflow.len(), Ordering::Release);
        slot
    }

    /// How many ids live elsewhere than at home.
    #[allow(dead_code, reason = "for tests and the models of tests/loom")]
    pub(super) fn elsewhere(&self) -> usize {
        self.lines.iter().map(|line| line.elsewhere.load(Ordering::Acquire)).sum()
    }

    #[inline]
    fn line(&self, id: u64) -> &Line {
        &self.lines[home(id) & self.mask]
    }

    fn beyond_home(&self, id: u64) -> impl Iterator<Item = &Cell> {
        let home = home(id) & self.mask;
        self.lines[home..home + WINDOW].iter().flat_map(|line| &line.others)
    }
}

/// The registry reuses an id's low bits and changes its high ones, so ids that differ in the high
/// bits alone share a home: the cells of the spans of one thread stay in its cache. Neighbouring ids
/// do not write to one line, nor those of two threads unless one of them has very many spans open.
/// Nothing but speed hangs on where the registry has a thread's number in the id.
#[inline]
fn home(id: u64) -> usize {
    let low = id as u32 as usize;
    let thread = (id >> 38) as usize & 0x1fff;
    low.wrapping_add(thread.wrapping_mul(0x9e5))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Stands for a slot; nobody looks there.
    fn at(number: u64) -> At {
        let address = usize::try_from(number).expect("has so many bits") * align_of::<Slot>();
        At::from_ptr(std::ptr::without_provenance_mut(address)).expect("no test asks for 0")
    }

    #[test]
    fn finds_what_was_inserted_until_it_is_removed() {
        let table = Table::new(16);
        table.insert(7, at(70));
        table.insert(8, at(80));
        assert_eq!((table.get(7), table.get(8), table.get(9)), (Some(at(70)), Some(at(80)), None));
        assert_eq!(table.remove(7), Some(at(70)));
        assert_eq!((table.get(7), table.remove(7)), (None, None));
    }

    #[test]
    fn ids_beyond_the_window_go_to_the_overflow_and_come_back() {
        let table = Table::new(8);
        for id in 1..=1_000_u64 {
            table.insert(id, at(id * 2));
        }
        assert!(table.overflow_len.load(Ordering::Relaxed) > 0);
        for id in 1..=1_000_u64 {
            assert_eq!(table.get(id), Some(at(id * 2)));
        }
        for id in 1..=1_000_u64 {
            assert_eq!(table.remove(id), Some(at(id * 2)));
            assert_eq!(table.get(id), None);
        }
        assert_eq!(table.overflow_len.load(Ordering::Relaxed), 0);
        assert_eq!(table.elsewhere(), 0);
    }

    /// Ids as the registry makes them: a place of its own for each open span of a thread in the low
    /// bits, the thread's number from bit 38 on, and from bit 51 on how often the place was used.
    #[test]
    fn spans_that_are_open_together_write_to_no_line_together() {
        let mask = Table::new(65_536).mask;
        let mut lines = HashMap::new();
        for thread in 0..64_u64 {
            for place in 1..=128_u64 {
                for used in [0, 1, 77] {
                    let id = place | thread << 38 | used << 51;
                    let line = home(id) & mask;
                    let owner = lines.insert(line, (thread, place));
                    assert!(owner.is_none_or(|owner| owner == (thread, place)), "{owner:?}");
                }
            }
        }
    }

    #[test]
    fn whoever_has_no_id_in_common_with_others_writes_to_no_line_of_theirs() {
        // 1. One home is full, and so is what is beyond it.
        // 2. Only its line and the two after it are written to, and the overflow.
        let table = Table::new(64);
        let ids: Vec<_> = (0..12_u64).map(|used| 5 | used << 51).collect();
        for &id in &ids {
            table.insert(id, at(id));
        }
        let is_written = |line: &Line| {
            let mut keys = [&line.home].into_iter().chain(&line.others);
            keys.any(|cell| cell.key.load(Ordering::Relaxed) != 0)
                || line.elsewhere.load(Ordering::Relaxed) != 0
        };
        let written: Vec<_> =
            (0..table.lines.len()).filter(|&n| is_written(&table.lines[n])).collect();
        assert_eq!(written, [5, 6, 7]);
        assert_eq!(table.overflow_len.load(Ordering::Relaxed), 5);
        assert_eq!(size_of::<Line>(), 64);
        for id in ids {
            assert_eq!(table.remove(id), Some(at(id)));
        }
        assert!(!table.lines.iter().any(is_written));
    }

    #[test]
    fn threads_with_ids_of_their_own_never_see_another_slot() {
        let table = Arc::new(Table::new(64));
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let table = Arc::clone(&table);
                std::thread::spawn(move || {
                    for round in 0..20_000_u64 {
                        let id = 1 + thread + 4 * (round % 50) + (round << 40);
                        table.insert(id, at(id));
                        assert_eq!(table.get(id), Some(at(id)));
                        assert_eq!(table.remove(id), Some(at(id)));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
