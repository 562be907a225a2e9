//! The rounds of the exporter's thread: what is taken from where, in which order, and who is told.

use std::time::{Duration, Instant};

use crate::export::chunk::Chunk;
use crate::export::queue::Wake;
use crate::layer::HandOver;

/// Where spans go that a round takes.
pub(crate) trait Output {
    /// What the spans of one drain are converted with.
    type Calibration: Copy;

    fn calibrate(&self) -> Self::Calibration;

    /// Takes the chunk's spans over.
    fn take(&mut self, chunk: &mut Chunk, calibration: Self::Calibration);

    /// Exports what waits: whole batches, or `all`. `is_last` where nothing comes after it at
    /// shutdown. False if an export failed.
    fn export(&mut self, all: bool, is_last: bool) -> bool;

    /// False if the exporter says that it failed.
    fn flush(&mut self) -> bool;
}

#[derive(Debug)]
pub(crate) struct Rounds<'a> {
    hand_over: &'a HandOver,
    /// How long idle threads wait for their turn.
    delay: Duration,
    deadline: Option<Instant>,
    failed: bool,
}

impl<'a> Rounds<'a> {
    pub(crate) fn new(hand_over: &'a HandOver, delay: Duration) -> Self {
        Self { hand_over, delay, deadline: deadline(delay), failed: false }
    }

    /// Blocks until there is something to do.
    pub(crate) fn wait(&self) -> Wake {
        self.hand_over.queue.wait_for_work(self.deadline)
    }

    /// Does what is to be done. False where that was the last round.
    pub(crate) fn run(&mut self, wake: Wake, output: &mut impl Output) -> bool {
        // What is queued goes first, so that there is room for what idle threads hold.
        self.drain(wake != Wake::Batch, false, output);
        if wake != Wake::Batch {
            self.hand_over.collect();
            self.drain(true, true, output);
        }
        match wake {
            Wake::Batch => {}
            Wake::Delay => {
                self.hand_over.queue.trim();
                self.deadline = deadline(self.delay);
            }
            Wake::Flush(number) => {
                self.failed |= !output.flush();
                self.hand_over.queue.flushed(number, self.failed);
                self.failed = false;
            }
            Wake::Shutdown => return false,
        }
        true
    }

    /// Exports what is queued by now: all of it, or whole batches only. What comes in meanwhile is
    /// left for the next round, so that flushes and idle threads get their turn however much that
    /// is.
    fn drain(&mut self, all: bool, is_last: bool, output: &mut impl Output) {
        let queue = &self.hand_over.queue;
        let calibration = output.calibrate();
        let mut budget = queue.len();
        if !all {
            budget -= budget % queue.wakes_at();
        }
        while budget > 0 {
            let Some(mut chunk) = queue.pop() else { break };
            budget = budget.saturating_sub(chunk.len());
            output.take(&mut chunk, calibration);
            queue.recycle(chunk);
            self.failed |= !output.export(false, is_last);
        }
        self.failed |= !output.export(true, is_last);
    }
}

impl Drop for Rounds<'_> {
    fn drop(&mut self) {
        // Here, so that the waiters are told even if a defect unwinds: nobody waits for a dead
        // worker.
        self.hand_over.worker_ended();
    }
}

/// A delay too long for the clock is no delay that will ever be over.
fn deadline(delay: Duration) -> Option<Instant> {
    Instant::now().checked_add(delay)
}
