//! Slots, their pool, and the table that leads to them.

use loom::sync::Arc;
use loom::thread;

use super::departures::{Departures, Entered};
use super::record::{Identity, Slot, State};
use super::slots::{At, Slots};
use super::table::Table;
use crate::Model;

pub(crate) const ALL: &[Model] = &[
    ("slot: a stale id learns nothing of the next owner", a_stale_id_learns_nothing),
    ("slot: a stale id does not settle the next owner", a_stale_id_settles_nobody),
    ("slot: ids that were seen do not change", seen_ids_do_not_change),
    ("slot: a stale id does not get at the next owner's values", a_stale_id_reads_no_body),
    ("departures: each ends one entry", a_departure_ends_one_entry),
    ("table: ids of one home do not hinder each other", ids_of_one_home),
    ("table: an id that was handed on is found", an_id_that_was_handed_on),
    ("table: beyond the window ids are found too", ids_beyond_the_window),
    ("table: neighbours' ids take the same cells", neighbours_take_the_same_cells),
    ("table: ids displaced from one home go and stay", ids_displaced_from_one_home),
    ("table: a cell that is let go is a neighbour's next", a_cell_that_is_let_go),
    ("table: a stale id is not found, or leads to a slot that is not its", a_stale_id_in_the_table),
    ("pool: no slot is given out twice, none is lost", the_pool),
];

/// Tracing ids of one home in the table.
const fn id(number: u64) -> u64 {
    (number << 44) | 1
}

/// Tracing ids of the home after that: of its line and the next, cells are for those of both.
const fn next_id(number: u64) -> u64 {
    (number << 44) | 2
}

/// Stands for a slot; nobody looks there.
fn at(number: u64) -> At {
    let address = usize::try_from(number).expect("has so many bits") * align_of::<Slot>();
    At::from_ptr(std::ptr::without_provenance_mut(address)).expect("no model asks for 0")
}

/// An identity whose every part tells whose it is.
fn identity(owner: u64) -> Identity {
    let flags = u8::try_from(owner & 0xff).expect("one byte");
    let trace_id = (u128::from(owner) << 64) | u128::from(owner);
    Identity { trace_id, span_id: owner, flags, has_entries: owner % 2 == 0 }
}

/// What starting a span does to its slot. In the crate it is amid a registry and a sampler.
fn start(slot: &Slot, owner: u64, state: State) {
    let mut body = slot.prepare();
    body.head.start = owner;
    slot.decide(identity(owner), state);
    drop(body);
    slot.publish(owner);
}

/// What closing a span does to its slot. In the crate it is amid a thread's state and a clock.
fn close(slot: &Slot, owner: u64) {
    let mut body = slot.lock_if(owner).expect("it is open");
    drop(body.clear());
    slot.retire();
}

/// A slot of span 7, whose owner makes it span 8's while `other` goes by 7.
fn reused(state: State, other: fn(&Slot)) -> Arc<Slot> {
    let slot = Arc::new(Slot::default());
    start(&slot, 7, State::Recording);
    let stale = Arc::clone(&slot);
    let thread = thread::spawn(move || other(&stale));
    close(&slot, 7);
    start(&slot, 8, state);
    thread.join().expect("a model that panics is over");
    slot
}

fn a_stale_id_learns_nothing() {
    reused(State::Settled, |slot| {
        let read = slot.read();
        assert!(read == identity(7) || !slot.is(7), "{read:?}");
        let settled = slot.settle(7);
        assert!(settled.is_none_or(|settled| settled == identity(7)), "{settled:?}");
    });
}

fn a_stale_id_settles_nobody() {
    let slot = reused(State::Recording, |slot| {
        let settled = slot.settle(7);
        assert!(settled.is_none_or(|settled| settled == identity(7)), "{settled:?}");
    });
    assert_eq!(slot.state(), State::Recording);
    assert!(slot.undecide(), "nobody has seen the ids of 8");
}

fn seen_ids_do_not_change() {
    let slot = Arc::new(Slot::default());
    start(&slot, 7, State::Recording);
    let shared = Arc::clone(&slot);
    let thread = thread::spawn(move || shared.settle(7));
    // As where a parent is set, and the decision made again.
    if let Some(body) = slot.lock_if(7)
        && slot.undecide()
    {
        slot.decide(identity(9), State::Recording);
        drop(body);
    }
    let seen = thread.join().expect("a model that panics is over");
    assert!(seen.is_none_or(|seen| seen == slot.read()), "{seen:?}, then {:?}", slot.read());
}

fn a_stale_id_reads_no_body() {
    reused(State::Recording, |slot| {
        if let Some(body) = slot.lock_if(7) {
            assert_eq!(body.head.start, 7);
        }
    });
}

fn a_departure_ends_one_entry() {
    let departures = Arc::new(Departures::default());
    let entered = || Entered { id: 7, slot: None, departures: departures.so_far() };
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let (departures, mut entered) = (Arc::clone(&departures), entered());
            thread::spawn(move || (usize::from(departures.took(&mut entered)), entered))
        })
        .collect();
    departures.add(7);
    let taken: usize = takers
        .into_iter()
        .map(|taker| {
            let (taken, mut entered) = taker.join().expect("a model that panics is over");
            // Who looked too early looks again.
            taken + if taken == 0 { usize::from(departures.took(&mut entered)) } else { 0 }
        })
        .sum();
    assert_eq!(taken, 1);
}

fn ids_of_one_home() {
    let table = Arc::new(Table::new(1));
    let threads: Vec<_> = (1..3)
        .map(|number| {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                table.insert(id(number), at(number));
                assert_eq!(table.get(id(number)), Some(at(number)));
                assert_eq!(table.remove(id(number)), Some(at(number)));
                assert_eq!(table.get(id(number)), None);
            })
        })
        .collect();
    join(threads);
}

fn an_id_that_was_handed_on() {
    let table = Arc::new(Table::new(1));
    let handed = Arc::new(super::sync::Mutex::<Option<u64>>::default());
    let (other, from) = (Arc::clone(&table), Arc::clone(&handed));
    let thread = thread::spawn(move || {
        let handed = from.lock().take();
        if let Some(handed) = handed {
            assert_eq!(other.get(handed), Some(at(1)));
            assert_eq!(other.remove(handed), Some(at(1)));
        }
        handed.is_some()
    });
    table.insert(id(1), at(1));
    *handed.lock() = Some(id(1));
    table.insert(id(2), at(2));
    assert_eq!(table.get(id(2)), Some(at(2)));
    let is_removed = thread.join().expect("a model that panics is over");
    assert_eq!(table.get(id(1)), (!is_removed).then_some(at(1)));
    assert_eq!(table.get(id(2)), Some(at(2)));
}

fn ids_beyond_the_window() {
    let table = Arc::new(Table::new(1));
    // The window, of seven, and one more.
    for number in 1..9 {
        table.insert(id(number), at(number));
    }
    let other = Arc::clone(&table);
    let thread = thread::spawn(move || {
        other.insert(id(10), at(10));
        assert_eq!(other.get(id(8)), Some(at(8)));
        assert_eq!(other.get(id(10)), Some(at(10)));
        assert_eq!(other.remove(id(10)), Some(at(10)));
    });
    // Takes the place of one that goes.
    assert_eq!(table.remove(id(3)), Some(at(3)));
    table.insert(id(11), at(11));
    assert_eq!(table.get(id(11)), Some(at(11)));
    thread.join().expect("a model that panics is over");
    assert_eq!((table.get(id(8)), table.get(id(10))), (Some(at(8)), None));
    assert_eq!((table.remove(id(8)), table.get(id(8))), (Some(at(8)), None));
}

/// A table where ids 1 to 3 have all that is theirs alone, so that 4 and 5 live in the next line,
/// and where the home of that line is taken too.
fn displaced(others: impl IntoIterator<Item = u64>) -> Arc<Table> {
    let table = Table::new(1);
    for id in (1..4).map(id).chain([next_id(1)]).chain(others) {
        table.insert(id, at_of(id));
    }
    Arc::new(table)
}

/// A slot for each id of the two homes.
fn at_of(id: u64) -> At {
    at(2 * (id >> 44) + (id & 1))
}

fn assert_there(table: &Table, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        assert_eq!(table.get(id), Some(at_of(id)), "{id:#x}");
    }
}

fn remove(table: &Table, id: u64) {
    assert_eq!(table.remove(id), Some(at_of(id)), "{id:#x}");
    assert_eq!((table.get(id), table.remove(id)), (None, None), "{id:#x}");
}

fn share(table: &Arc<Table>, f: impl FnOnce(&Table) + 'static) -> thread::JoinHandle<()> {
    let table = Arc::clone(table);
    thread::spawn(move || f(&table))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("a model that panics is over"));
}

/// Each line's count is of its own ids, wherever they live, and is none when they are gone.
fn assert_empties(table: &Table, there: impl IntoIterator<Item = u64>, elsewhere: usize) {
    assert_eq!(table.elsewhere(), elsewhere);
    for id in there {
        assert_there(table, [id]);
        remove(table, id);
    }
    assert_eq!(table.elsewhere(), 0);
}

fn neighbours_take_the_same_cells() {
    let table = displaced([]);
    let neighbour = share(&table, |table| {
        table.insert(next_id(2), at_of(next_id(2)));
        assert_there(table, [next_id(2), next_id(1), id(2)]);
        remove(table, next_id(2));
        // At home, where it was taken before.
        remove(table, next_id(1));
        table.insert(next_id(3), at_of(next_id(3)));
        assert_there(table, [next_id(3)]);
    });
    table.insert(id(4), at_of(id(4)));
    assert_there(&table, [id(4), id(3)]);
    remove(&table, id(3));
    assert_there(&table, [id(4)]);
    join([neighbour]);
    assert_empties(&table, [id(1), id(2), id(4), next_id(3)], 2);
}

fn ids_displaced_from_one_home() {
    let table = displaced([id(4), id(5)]);
    // What is left of the line's own lives in the next line, and not in the first cell there.
    remove(&table, id(2));
    remove(&table, id(3));
    let goes = share(&table, |table| remove(table, id(4)));
    let comes = share(&table, |table| {
        table.insert(id(6), at_of(id(6)));
        assert_there(table, [id(6)]);
    });
    assert_there(&table, [id(5), id(1), next_id(1)]);
    join([goes, comes]);
    assert_there(&table, [id(5), id(6)]);
    remove(&table, id(6));
    assert_empties(&table, [id(5), id(1), next_id(1)], 1);
}

fn a_cell_that_is_let_go() {
    let table = displaced([id(4)]);
    let goes = share(&table, |table| remove(table, id(4)));
    let comes = share(&table, |table| {
        table.insert(next_id(2), at_of(next_id(2)));
        assert_there(table, [next_id(2)]);
    });
    assert_there(&table, [id(2), next_id(1)]);
    join([goes, comes]);
    assert_eq!(table.get(id(4)), None);
    assert_empties(&table, [next_id(2), id(3), id(2), id(1), next_id(1)], 3);
}

/// Who looks a stale id up may be led to the slot of the next id in its cell, but no further.
fn a_stale_id_in_the_table() {
    let table = Arc::new(Table::new(1));
    let slots = Arc::new(Slots::new(2));
    let [first, second] = [(); 2].map(|()| {
        let mut free = Vec::new();
        slots.refill(&mut free);
        free[0]
    });
    start(slots.get(first), id(1), State::Recording);
    table.insert(id(1), first);
    let (other, others) = (Arc::clone(&table), Arc::clone(&slots));
    let thread = thread::spawn(move || {
        if let Some(at) = other.get(id(1)) {
            let body = others.get(at).lock_if(id(1));
            assert!(body.is_none_or(|body| body.head.start == id(1)));
        }
    });
    assert_eq!(table.remove(id(1)), Some(first));
    close(slots.get(first), id(1));
    start(slots.get(second), id(2), State::Recording);
    table.insert(id(2), second);
    assert_eq!(table.get(id(2)), Some(second));
    thread.join().expect("a model that panics is over");
}

fn the_pool() {
    let slots = Arc::new(Slots::new(3));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let slots = Arc::clone(&slots);
            thread::spawn(move || {
                let (mut kept, mut returned) = (Vec::new(), Vec::new());
                slots.refill(&mut returned);
                slots.refill(&mut kept);
                slots.give_back(returned.into_iter());
                kept
            })
        })
        .collect();
    let mut all: Vec<At> =
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect();
    for _ in 0..4 {
        let mut free = Vec::new();
        slots.refill(&mut free);
        all.append(&mut free);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 3, "{all:?}");
}
