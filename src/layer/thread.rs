//! What one thread keeps to itself: free slots, the span stack, ids.
//!
//! No user code runs while this state is borrowed.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, Weak};

use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};

use crate::layer::departures::{Entered, Found};
use crate::layer::encoding::Attributes;
use crate::layer::engine::Engine;
use crate::layer::outbound::ThreadShared;
use crate::layer::record::Identity;
use crate::layer::slots::At;
use crate::propagation::Carried;

thread_local! {
    static THREAD: ThreadState = const {
        ThreadState {
            is_asking: Cell::new(false),
            given: Cell::new(ptr::null()),
            locals: RefCell::new(Vec::new()),
        }
    };
}

pub(super) struct ThreadState {
    /// A sampler or an id generator is being asked: the spans that it makes are not ours to record,
    /// or it would be asked about them in turn.
    is_asking: Cell<bool>,
    /// What the next span is to take as its parent, or null. It lives in the frame of
    /// [`with_given_parent`], which takes it away again.
    given: Cell<*const Given<'static>>,
    /// One for each layer this thread has met, mostly one in all. Borrowed for good where nothing is to
    /// be recorded.
    locals: RefCell<Vec<Local>>,
}

/// What the next span is to take as its parent, be it that it is a root.
pub(super) struct Given<'a> {
    pub(super) carried: &'a Carried,
    is_taken: Cell<bool>,
}

impl Given<'_> {
    /// Tells [`with_given_parent`] that a span has it.
    #[inline]
    pub(super) fn take(&self) {
        self.is_taken.set(true);
    }
}

impl ThreadState {
    /// Whether a sampler or an id generator is at work: what it starts is not recorded.
    #[inline]
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking.get()
    }

    /// The parent that [`with_given_parent`] has for the next span.
    #[inline]
    #[allow(unsafe_code, reason = "a parent is not copied to where the next span looks for it")]
    pub(super) fn given(&self) -> Option<&Given<'_>> {
        // SAFETY: it is null, or its frame is below this one, on this thread, and it is only shared.
        // Who has it from here has it no longer than `self`, which nobody keeps beyond a callback.
        unsafe { self.given.get().as_ref() }
    }
}

/// This thread's state for one layer.
#[derive(Debug)]
pub(super) struct Local {
    engine_id: u64,
    engine: Weak<Engine>,
    /// Slots for the next spans; the last one freed is the first one used, while it is warm.
    pub(super) free: Vec<At>,
    pub(super) stack: Vec<Entered>,
    /// The last span made here that has no record since its trace is not sampled, and its nearest
    /// ancestor with one. The registry makes an id again on the same thread only.
    pub(super) unrecorded: Option<(u64, Found)>,
    /// For values encoded before a lock is taken; away while it is in use.
    pub(super) scratch: Attributes,
    pub(super) shared: Arc<ThreadShared>,
    pub(super) number: u32,
    rng: SmallRng,
}

/// Runs `f` on this thread's state for `engine`. `None` where nothing may be recorded: on the
/// exporter's thread, and while the thread's locals are being torn down.
#[inline]
pub(super) fn with_local<R>(engine: &Arc<Engine>, f: impl FnOnce(&mut Local) -> R) -> Option<R> {
    with_thread(engine, |_, local| f(local))
}

/// As [`with_local`], with what the thread keeps for all layers.
#[inline]
pub(super) fn with_thread<R>(
    engine: &Arc<Engine>,
    f: impl FnOnce(&ThreadState, &mut Local) -> R,
) -> Option<R> {
    THREAD
        .try_with(|thread| {
            let mut locals = thread.locals.try_borrow_mut().ok()?;
            if locals.first().is_none_or(|local| local.engine_id != engine.id) {
                put_first(&mut locals, engine);
            }
            locals.first_mut().map(|local| f(thread, local))
        })
        .ok()
        .flatten()
}

/// As [`with_local`], where this thread has met the layer already.
#[inline]
pub(super) fn with_known<R>(engine: &Engine, f: impl FnOnce(&mut Local) -> R) -> Option<R> {
    let known = THREAD.try_with(|thread| {
        let mut locals = thread.locals.try_borrow_mut().ok()?;
        locals.iter_mut().find(|local| local.engine_id == engine.id).map(f)
    });
    known.ok().flatten()
}

/// Puts the state for `engine` where it is looked for: with one layer it is there for good.
#[cold]
fn put_first(locals: &mut Vec<Local>, engine: &Arc<Engine>) {
    let known = locals.iter().position(|local| local.engine_id == engine.id);
    let at = known.unwrap_or_else(|| add_local(locals, engine));
    locals.swap(0, at);
}

fn add_local(locals: &mut Vec<Local>, engine: &Arc<Engine>) -> usize {
    locals.retain(|local| local.engine.strong_count() > 0);
    let thread = std::thread::current();
    let shared = engine.hand_over.add_thread(thread.name());
    locals.push(Local {
        engine_id: engine.id,
        engine: Arc::downgrade(engine),
        free: Vec::new(),
        stack: Vec::with_capacity(16),
        unrecorded: None,
        scratch: Attributes::default(),
        number: shared.number,
        shared,
        rng: seeded_rng(),
    });
    locals.len() - 1
}

/// Where the operating system has no randomness to give, the standard library's hash keys serve.
fn seeded_rng() -> SmallRng {
    use std::hash::{BuildHasher as _, RandomState};
    SmallRng::try_from_os_rng().unwrap_or_else(|_| {
        SmallRng::seed_from_u64(RandomState::new().hash_one(std::thread::current().id()))
    })
}

/// Ids on a thread whose locals are gone: a generator for this once.
pub(super) fn ids_without_thread() -> (u128, u64) {
    let mut rng = seeded_rng();
    (trace_id(&mut rng), span_id(&mut rng))
}

/// A random trace id; never zero.
fn trace_id(rng: &mut SmallRng) -> u128 {
    loop {
        let id = (u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64());
        if id != 0 {
            return id;
        }
    }
}

/// A random span id; never zero.
fn span_id(rng: &mut SmallRng) -> u64 {
    loop {
        let id = rng.next_u64();
        if id != 0 {
            return id;
        }
    }
}

impl Local {
    /// A slot for the next span of this thread; `None`, and counted, where all are in use.
    #[inline]
    pub(super) fn take(&mut self, engine: &Engine) -> Option<At> {
        let slot = self.free.pop().or_else(|| engine.refill(&mut self.free));
        if slot.is_none() {
            self.shared.counters.no_slot.increment();
        }
        slot
    }

    #[inline]
    pub(super) fn trace_id(&mut self) -> u128 {
        trace_id(&mut self.rng)
    }

    #[inline]
    pub(super) fn span_id(&mut self) -> u64 {
        span_id(&mut self.rng)
    }

    /// The innermost span that this thread has entered and not exited. Spans that were exited on
    /// another thread, or are closed, are forgotten here: a guard that travelled must not make
    /// itself the parent of what this thread does next.
    #[inline]
    pub(super) fn current(&mut self, engine: &Engine) -> Option<Entered> {
        while let Some(top) = self.stack.last_mut() {
            let is_open = top.slot.is_none_or(|slot| engine.slot(slot).is(top.id));
            if is_open && !engine.departures.took(top) {
                return Some(*top);
            }
            self.stack.pop();
        }
        None
    }

    /// Whose trace span `id` is in, if it is the last span made here that has no record, since that
    /// one's trace is not sampled, and both are open.
    #[inline]
    pub(super) fn unsampled_above(&self, engine: &Engine, id: u64) -> Option<Identity> {
        let (_, above) = self.unrecorded.filter(|(unrecorded, _)| *unrecorded == id)?;
        engine.slot(above.slot).settle(above.id)
    }

    /// A span without a record is closed; its id may come to be another's.
    #[inline]
    pub(super) fn forget_unrecorded(&mut self, id: u64) {
        if self.unrecorded.is_some_and(|(unrecorded, _)| unrecorded == id) {
            self.unrecorded = None;
        }
    }

    pub(super) fn has_entered(&self, id: u64) -> bool {
        self.stack.iter().rev().any(|entered| entered.id == id)
    }

    /// Takes the span off the stack; mostly it is on top. `None` where this thread has not entered
    /// it, or has but that entry was exited on another thread: then this exit is of an entry there.
    #[inline]
    pub(super) fn exit(&mut self, engine: &Engine, id: u64) -> Option<Entered> {
        match self.stack.last_mut() {
            Some(top) if top.id == id && top.departures == engine.departures.so_far() => {
                self.stack.pop()
            }
            _ => self.exit_any(engine, id),
        }
    }

    #[cold]
    fn exit_any(&mut self, engine: &Engine, id: u64) -> Option<Entered> {
        loop {
            let at = self.stack.iter().rposition(|entered| entered.id == id)?;
            let mut entered = self.stack.remove(at);
            if !engine.departures.took(&mut entered) {
                return Some(entered);
            }
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.upgrade() {
            engine.thread_ended(&self.shared, std::mem::take(&mut self.free));
        }
    }
}

/// Nothing that this thread does is recorded from now on.
pub(crate) fn suppress_this_thread() {
    let _ = THREAD.try_with(|thread| thread.locals.try_borrow_mut().map(std::mem::forget));
}

/// Runs a sampler or an id generator. `None` if it panics.
pub(super) fn asking<R>(ask: impl FnOnce() -> R) -> Option<R> {
    let before = THREAD.try_with(|thread| thread.is_asking.replace(true));
    let answer = catch_unwind(AssertUnwindSafe(ask));
    if let Ok(before) = before {
        let _ = THREAD.try_with(|thread| thread.is_asking.set(before));
    }
    answer.ok()
}

/// Runs `make` so that the span it starts takes what is `carried` as its parent. False where no
/// layer of ours took it.
#[inline]
pub(crate) fn with_given_parent<R>(carried: &Carried, make: impl FnOnce() -> R) -> (R, bool) {
    let given = Given { carried, is_taken: Cell::new(false) };
    let made = with_given(&raw const given, make);
    (made, given.is_taken.get())
}

/// Runs code of the user's that formats a value: a span that it makes must not take the parent of
/// the span whose value that is.
#[inline]
pub(super) fn without_given_parent(format: impl FnOnce()) {
    with_given(ptr::null(), format);
}

/// Runs `f` while `given` is what the next span takes.
#[inline]
fn with_given<R>(given: *const Given<'_>, f: impl FnOnce() -> R) -> R {
    struct PutBack(*const Given<'static>);
    impl Drop for PutBack {
        fn drop(&mut self) {
            let _ = THREAD.try_with(|thread| thread.given.set(self.0));
        }
    }
    let _put_back = THREAD.try_with(|thread| PutBack(thread.given.replace(given.cast())));
    f()
}

#[cfg(all(test, feature = "testing"))]
#[path = "thread_tests.rs"]
mod tests;
