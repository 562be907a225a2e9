//! Between the threads that close spans and the one that exports them.
//!
//! One lock, taken once per chunk. Nobody who closes a span ever waits for the exporter: what does
//! not fit is dropped and counted.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::export::chunk::Chunk;
use crate::export::sync::{Condvar, Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// For the worker: enough spans for a batch, a flush, or shutdown.
    work: Condvar,
    /// For those who wait on a flush or on the worker's end.
    done: Condvar,
    max_spans: usize,
    /// The worker is woken when this many are queued.
    wake_at: usize,
    /// Emptied chunks kept for reuse at most: as many as the queue may hold full ones.
    max_spare: usize,
}

#[derive(Debug, Default)]
struct State {
    full: VecDeque<Chunk>,
    spare: Vec<Chunk>,
    /// The fewest there were of these since the last [trim](Queue::trim).
    unused: usize,
    spans: usize,
    /// Spans taken by the worker and not settled yet.
    in_flight: usize,
    flushes_asked: u64,
    flushes_done: u64,
    /// The last flush before whose end an export failed. A flush that waits meanwhile reports it
    /// too, which errs on the safe side.
    last_failed_flush: u64,
    closed: bool,
    /// When whoever shuts down will have waited long enough; `None` if never.
    closes_at: Option<Instant>,
    finished: bool,
}

/// One wait where there is no deadline; it is followed by another.
const LONG: Duration = Duration::from_secs(3600);

/// Emptied chunks kept for reuse, however long they have not been used.
const KEPT_SPARE: usize = 64;

/// What woke the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Enough spans for a batch.
    Batch,
    /// The schedule's delay is over.
    Delay,
    /// Somebody waits for everything closed so far: the number to report back.
    Flush(u64),
    /// The last drain.
    Shutdown,
}

/// What became of a chunk that was handed in.
#[derive(Debug)]
pub(crate) enum Swap {
    /// The worker is gone; here is the chunk back.
    Finished(Chunk),
    /// No room; here is the chunk back.
    Full(Chunk),
    /// An empty chunk in return.
    Taken(Chunk),
}

/// Why waiting for the worker ended without success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitError {
    Failed,
    Finished,
    TimedOut,
}

impl Queue {
    /// A queue for `max_spans`, filled by chunks of up to `chunk` of them.
    pub(crate) fn new(max_spans: usize, batch: usize, chunk: usize) -> Self {
        // Woken while there is room for one more chunk.
        let wake_at = batch.min(max_spans.saturating_sub(chunk)).max(1);
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            max_spans: max_spans.max(1),
            wake_at,
            max_spare: max_spans.div_ceil(chunk.max(1)).max(KEPT_SPARE),
        }
    }

    /// How long shutdown still waits, once it has begun.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let state = self.lock();
        state.closed.then(|| {
            let left = state.closes_at.map(|at| at.saturating_duration_since(Instant::now()));
            left.unwrap_or(LONG)
        })
    }

    /// Takes a chunk in and gives an empty one back, or says why it does not.
    pub(crate) fn swap(&self, chunk: Chunk) -> Swap {
        let mut state = self.lock();
        if state.finished {
            return Swap::Finished(chunk);
        }
        if state.spans + chunk.len() > self.max_spans {
            drop(state);
            self.work.notify_one();
            return Swap::Full(chunk);
        }
        let before = state.spans;
        state.spans += chunk.len();
        let wake = before < self.wake_at && state.spans >= self.wake_at;
        // Threads that come and go leave chunks of few spans; these share memory.
        let mut chunk = chunk;
        let empty = match state.full.back_mut().filter(|back| back.has_room_for(&chunk)) {
            Some(back) => {
                back.append(&mut chunk);
                chunk
            }
            None => {
                state.full.push_back(chunk);
                state.take_spare().unwrap_or_default()
            }
        };
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Swap::Taken(empty)
    }

    /// The oldest chunk; its spans are in flight until they are [settled](Self::settle).
    pub(crate) fn pop(&self) -> Option<Chunk> {
        let mut state = self.lock();
        let chunk = state.full.pop_front()?;
        state.spans -= chunk.len();
        state.in_flight += chunk.len();
        Some(chunk)
    }

    /// Whether spans that were in flight are the caller's to count. They are not once the queue was
    /// [abandoned](Self::abandon).
    pub(crate) fn settle(&self, spans: usize) -> bool {
        let mut state = self.lock();
        if state.finished {
            return false;
        }
        state.in_flight = state.in_flight.saturating_sub(spans);
        true
    }

    /// Takes nothing in from now on, and gives up what is queued and in flight: how many spans.
    pub(crate) fn abandon(&self) -> usize {
        let mut state = self.lock();
        state.finished = true;
        let lost = state.spans + state.in_flight;
        (state.spans, state.in_flight) = (0, 0);
        let chunks = std::mem::take(&mut state.full);
        drop(state);
        self.done.notify_all();
        // Dropped unlocked: what rides along may have a destructor of the user's.
        drop(chunks);
        lost
    }

    /// How many spans wake the worker: a batch, or less where the queue is small.
    pub(crate) fn wakes_at(&self) -> usize {
        self.wake_at
    }

    /// How many spans are queued.
    pub(crate) fn len(&self) -> usize {
        self.lock().spans
    }

    /// Takes an emptied chunk back for reuse.
    pub(crate) fn recycle(&self, mut chunk: Chunk) {
        chunk.clear();
        let mut state = self.lock();
        if state.spare.len() < self.max_spare {
            state.spare.push(chunk);
        }
    }

    pub(crate) fn spare(&self) -> Option<Chunk> {
        self.lock().take_spare()
    }

    /// Lets go of half the chunks that nobody has used since this was called last: after a burst,
    /// its memory goes back bit by bit.
    pub(crate) fn trim(&self) {
        let mut state = self.lock();
        let spare = state.spare.len();
        let surplus = state.unused.min(spare.saturating_sub(KEPT_SPARE)).div_ceil(2);
        let freed = state.spare.split_off(spare - surplus);
        state.unused = state.spare.len();
        drop(state);
        drop(freed);
    }

    /// Blocks the worker until there is something to do.
    pub(crate) fn wait_for_work(&self, deadline: Option<Instant>) -> Wake {
        let mut state = self.lock();
        loop {
            if state.flushes_asked > state.flushes_done {
                return Wake::Flush(state.flushes_asked);
            }
            if state.closed {
                return Wake::Shutdown;
            }
            let left = deadline
                .map_or(LONG, |deadline| deadline.saturating_duration_since(Instant::now()));
            // Before the next batch: idle threads must get their turn under any load.
            if left.is_zero() {
                return Wake::Delay;
            }
            if state.spans >= self.wake_at {
                return Wake::Batch;
            }
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Reports a flush as done.
    pub(crate) fn flushed(&self, number: u64, failed: bool) {
        let mut state = self.lock();
        state.flushes_done = state.flushes_done.max(number);
        if failed {
            state.last_failed_flush = number;
        }
        drop(state);
        self.done.notify_all();
    }

    /// Asks for a flush and waits for it.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), WaitError> {
        let mut state = self.lock();
        if state.finished || state.closed {
            return Err(WaitError::Finished);
        }
        state.flushes_asked += 1;
        let mine = state.flushes_asked;
        self.work.notify_one();
        let (state, waited) = self
            .done
            .wait_timeout_while(state, timeout, |state| {
                state.flushes_done < mine && !state.finished
            })
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(WaitError::TimedOut);
        }
        if state.flushes_done < mine {
            return Err(WaitError::Finished);
        }
        if state.last_failed_flush >= mine { Err(WaitError::Failed) } else { Ok(()) }
    }

    /// Tells the worker to drain and end, and waits for that.
    pub(crate) fn close(&self, timeout: Duration) -> Result<(), WaitError> {
        let mut state = self.lock();
        state.closed = true;
        state.closes_at = Instant::now().checked_add(timeout);
        self.work.notify_one();
        let (_state, waited) = self
            .done
            .wait_timeout_while(state, timeout, |state| !state.finished)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() { Err(WaitError::TimedOut) } else { Ok(()) }
    }

    /// Nothing under this lock runs foreign code, so a poisoned state is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_spare(&mut self) -> Option<Chunk> {
        let spare = self.spare.pop();
        self.unused = self.unused.min(self.spare.len());
        spare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue that has been full of chunks, all of which have been emptied again.
    fn after_a_burst(max_spans: usize, chunk: usize) -> Queue {
        let queue = Queue::new(max_spans, 512, chunk);
        (0..max_spans / chunk).for_each(|_| queue.recycle(Chunk::with_capacity(chunk)));
        queue
    }

    #[test]
    fn as_many_chunks_are_kept_as_the_queue_may_hold() {
        let queue = after_a_burst(16_384, 64);
        queue.recycle(Chunk::default());
        let kept = std::iter::from_fn(|| queue.spare()).count();
        assert_eq!(kept, 256);
    }

    #[test]
    fn chunks_that_nobody_uses_are_let_go() {
        let queue = after_a_burst(16_384, 64);
        let spare = || queue.lock().spare.len();
        // The first time tells what is used from what is not.
        queue.trim();
        assert_eq!(spare(), 256);
        // 150 are in use at some time.
        let used: Vec<_> = (0..150).filter_map(|_| queue.spare()).collect();
        used.into_iter().for_each(|chunk| queue.recycle(chunk));
        queue.trim();
        assert_eq!(spare(), 256 - 106 / 2);
        for _ in 0..20 {
            queue.trim();
        }
        assert_eq!(spare(), KEPT_SPARE);
    }

    #[test]
    fn what_is_left_of_a_shutdown_is_known_once_it_has_begun() {
        let queue = Queue::new(1, 1, 1);
        assert_eq!(queue.time_left(), None);
        let _ = queue.close(Duration::ZERO);
        assert_eq!(queue.time_left(), Some(Duration::ZERO));
        let queue = Queue::new(1, 1, 1);
        queue.lock().finished = true;
        let _ = queue.close(Duration::MAX);
        assert_eq!(queue.time_left(), Some(LONG));
    }
}
