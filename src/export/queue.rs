//! Between the threads that close spans and the one that exports them.
//!
//! One lock, taken once per chunk. Nobody who closes a span ever waits for the exporter: what does
//! not fit is dropped and counted.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::export::chunk::Chunk;

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
}

#[derive(Debug, Default)]
struct State {
    full: VecDeque<Chunk>,
    spare: Vec<Chunk>,
    spans: usize,
    /// Spans taken by the worker and not settled yet.
    in_flight: usize,
    flushes_asked: u64,
    flushes_done: u64,
    /// Whether an export failed since the flush before the last one ended.
    flush_failed: bool,
    closed: bool,
    finished: bool,
}

/// Emptied chunks kept for reuse.
const MAX_SPARE: usize = 64;

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
    pub(crate) fn new(max_spans: usize, wake_at: usize) -> Self {
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            max_spans: max_spans.max(1),
            wake_at: wake_at.clamp(1, max_spans.max(1)),
        }
    }

    /// Takes a chunk in and gives an empty one back, or says why it does not.
    pub(crate) fn swap(&self, chunk: Chunk) -> Swap {
        let mut state = self.lock();
        if state.finished {
            return Swap::Finished(chunk);
        }
        if state.spans + chunk.len() > self.max_spans {
            return Swap::Full(chunk);
        }
        let before = state.spans;
        state.spans += chunk.len();
        let wake = before < self.wake_at && state.spans >= self.wake_at;
        state.full.push_back(chunk);
        let spare = state.spare.pop();
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Swap::Taken(spare.unwrap_or_default())
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

    /// Whether a whole batch is waiting.
    pub(crate) fn has_batch(&self) -> bool {
        self.lock().spans >= self.wake_at
    }

    /// Takes an emptied chunk back for reuse.
    pub(crate) fn recycle(&self, mut chunk: Chunk) {
        chunk.clear();
        let mut state = self.lock();
        if state.spare.len() < MAX_SPARE {
            state.spare.push(chunk);
        }
    }

    pub(crate) fn spare(&self) -> Option<Chunk> {
        self.lock().spare.pop()
    }

    /// Blocks the worker until there is something to do.
    pub(crate) fn wait_for_work(&self, deadline: Instant) -> Wake {
        let mut state = self.lock();
        loop {
            if state.flushes_asked > state.flushes_done {
                return Wake::Flush(state.flushes_asked);
            }
            if state.closed {
                return Wake::Shutdown;
            }
            if state.spans >= self.wake_at {
                return Wake::Batch;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Wake::Delay;
            }
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Reports a flush as done.
    pub(crate) fn flushed(&self, number: u64, failed: bool) {
        let mut state = self.lock();
        state.flushes_done = state.flushes_done.max(number);
        state.flush_failed = failed;
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
        if state.flush_failed { Err(WaitError::Failed) } else { Ok(()) }
    }

    /// Tells the worker to drain and end, and waits for that.
    pub(crate) fn close(&self, timeout: Duration) -> Result<(), WaitError> {
        let mut state = self.lock();
        state.closed = true;
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
