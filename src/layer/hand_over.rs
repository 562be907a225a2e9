//! From the threads that close spans to the one that exports them: what each holds, who takes it
//! when, what is counted, and how it ends.
//!
//! The slow parts (formats, clocks, exporters) are elsewhere: loom's models run this file as it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::Metadata;

use crate::export::chunk::{Chunk, SpanRecord};
use crate::export::queue::{Queue, Swap, WaitError};
use crate::export::stats::{Counts, DropReason, DroppedSpans, Stats};
use crate::layer::outbound::{Outbound, ThreadShared};
use crate::layer::prefetch;
use crate::layer::record::{Body, Identity, Side};
use crate::layer::sync::{AtomicBool, AtomicU32, Mutex, MutexGuard, Ordering};

/// Closed spans of one pipeline, on their way to its exporter's thread.
#[derive(Debug)]
pub(crate) struct HandOver {
    is_open: AtomicBool,
    is_shut_down: AtomicBool,
    pub(crate) queue: Queue,
    chunk_spans: usize,
    pub(crate) counts: Counts,
    threads: Mutex<Threads>,
    next_thread: AtomicU32,
    names_threads: bool,
}

#[derive(Debug, Default)]
struct Threads {
    running: Vec<Arc<ThreadShared>>,
    /// Names by thread number, of threads that ended too: their spans may still be queued. Kept
    /// only where they are wanted.
    names: HashMap<u32, String>,
    ended: Totals,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) started: u64,
    pub(super) restarted: u64,
    closed: u64,
    pub(super) not_sampled: u64,
    no_slot: u64,
    after_shutdown: u64,
}

impl HandOver {
    pub(super) fn new(queue: Queue, chunk_spans: usize, names_threads: bool) -> Self {
        Self {
            is_open: AtomicBool::new(true),
            is_shut_down: AtomicBool::new(false),
            queue,
            chunk_spans,
            counts: Counts::default(),
            threads: Mutex::default(),
            next_thread: AtomicU32::new(0),
            names_threads,
        }
    }

    /// False once shutdown began: nothing new is recorded.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    fn stop_recording(&self) {
        self.is_open.store(false, Ordering::Release);
    }

    // ----- a span is closed

    /// Appends a closed span to the thread's chunk, and hands a full one over. What rode along with
    /// spans that were lost goes to `lost`.
    #[inline]
    pub(super) fn write_out(
        &self,
        shared: &ThreadShared,
        id: u64,
        metadata: &'static Metadata<'static>,
        body: &mut Body,
        end: u64,
        lost: &mut Vec<Side>,
    ) {
        let mut outbound = shared.outbound();
        shared.counters.closed.increment();
        // Looked at under the lock: the last collection takes it after recording has stopped, so
        // nothing is left behind in a chunk that nobody will take.
        if !self.is_open() {
            shared.counters.after_shutdown.increment();
            return;
        }
        push(&mut outbound.chunk, id, metadata, body, end);
        if outbound.chunk.is_full(self.chunk_spans) {
            self.hand_over_full(&mut outbound, lost);
        }
    }

    #[cold]
    fn hand_over_full(&self, outbound: &mut Outbound, lost: &mut Vec<Side>) {
        outbound.remember();
        // The queue's lock nests in the thread's; nobody takes them the other way round.
        let full = std::mem::take(&mut outbound.chunk);
        outbound.chunk = self.hand_over(full);
        take_sides(&mut outbound.chunk, lost);
        outbound.chunk.clear();
        if outbound.chunk.spans.capacity() == 0 {
            outbound.chunk = self.new_chunk();
        }
    }

    /// Hands a closed span over by itself, where the thread's state is gone.
    pub(super) fn write_out_without_thread(
        &self,
        id: u64,
        metadata: &'static Metadata<'static>,
        body: &mut Body,
        end: u64,
        lost: &mut Vec<Side>,
    ) {
        let mut chunk = Chunk::default();
        push(&mut chunk, id, metadata, body, end);
        self.count_ended(|ended| ended.closed += 1);
        if self.is_open() {
            chunk = self.hand_over(chunk);
        } else {
            self.counts.add_dropped(DropReason::AfterShutdown, 1);
        }
        take_sides(&mut chunk, lost);
    }

    /// Gives a chunk to reuse, which the caller has to clear: it holds the spans where they are
    /// lost.
    fn hand_over(&self, chunk: Chunk) -> Chunk {
        match self.queue.swap(chunk) {
            Swap::Taken(empty) => empty,
            Swap::Full(lost) => {
                self.counts.add_dropped(DropReason::QueueFull, lost.len());
                lost
            }
            // They were closed before shutdown, or they would not be in a chunk.
            Swap::Finished(lost) => {
                self.counts.add_dropped(DropReason::Shutdown, lost.len());
                lost
            }
        }
    }

    // ----- threads come and go

    pub(super) fn add_thread(&self, name: Option<&str>) -> Arc<ThreadShared> {
        let number = self.next_thread.fetch_add(1, Ordering::Relaxed);
        let shared =
            Arc::new(ThreadShared::new(number, name.map(str::to_owned), self.empty_chunk()));
        let mut threads = self.threads();
        if let (true, Some(name)) = (self.names_threads, &shared.name) {
            threads.names.insert(number, name.clone());
        }
        threads.running.push(Arc::clone(&shared));
        drop(threads);
        shared
    }

    pub(super) fn thread_ended(&self, shared: &Arc<ThreadShared>) {
        self.take_over(shared, Chunk::default());
        let mut threads = self.threads();
        if let Some(at) = threads.running.iter().position(|other| Arc::ptr_eq(other, shared)) {
            threads.running.swap_remove(at);
            let counters = &shared.counters;
            threads.ended.closed += counters.closed.load();
            threads.ended.not_sampled += counters.not_sampled.load();
            threads.ended.restarted += counters.restarted.load();
            threads.ended.started += counters.started.load();
            threads.ended.no_slot += counters.no_slot.load();
            threads.ended.after_shutdown += counters.after_shutdown.load();
        }
    }

    /// The name of a thread by its number.
    pub(crate) fn thread_name(&self, number: u32) -> Option<String> {
        self.threads().names.get(&number).cloned()
    }

    /// When a span was closed, and its identity, if that is a short while ago.
    pub(super) fn recently_closed(&self, id: u64) -> Option<(u64, Identity)> {
        let running = self.threads().running.clone();
        let closed = running.iter().filter_map(|thread| thread.recently_closed(id));
        closed.max_by_key(|(ticks, _)| *ticks)
    }

    // ----- chunks are collected

    /// Moves what idle threads hold into the queue.
    pub(crate) fn collect(&self) {
        let running = self.threads().running.clone();
        for thread in running {
            if thread.outbound().chunk.is_empty() {
                continue;
            }
            self.take_over(&thread, self.empty_chunk());
        }
    }

    /// Moves what a thread holds into the queue, and leaves it `empty`.
    fn take_over(&self, thread: &ThreadShared, empty: Chunk) {
        let mut outbound = thread.outbound();
        outbound.remember();
        let chunk = std::mem::replace(&mut outbound.chunk, empty);
        // Before the lock is let go: whoever flushes or shuts down meanwhile waits for it, and
        // then finds the spans in the queue.
        let used = if chunk.is_empty() { chunk } else { self.hand_over(chunk) };
        drop(outbound);
        // Cleared here, unlocked: what rides along may have a destructor of the user's.
        self.queue.recycle(used);
    }

    fn empty_chunk(&self) -> Chunk {
        self.queue.spare().unwrap_or_else(|| self.new_chunk())
    }

    fn new_chunk(&self) -> Chunk {
        Chunk::with_capacity(self.chunk_spans)
    }

    // ----- the end

    /// Stops recording, waits for the last drain, and counts what is left as lost. Only the first
    /// call does anything.
    pub(crate) fn shut_down(&self, timeout: Duration) -> Result<(), WaitError> {
        if self.is_shut_down.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.stop_recording();
        let closed = self.queue.close(timeout);
        // What is left, or came in during the last drain, is lost but counted.
        self.give_up();
        self.collect();
        closed
    }

    /// The worker has ended, or died: nobody waits for it from now on.
    pub(crate) fn worker_ended(&self) {
        self.stop_recording();
        self.give_up();
    }

    fn give_up(&self) {
        self.counts.add_dropped(DropReason::Shutdown, self.queue.abandon());
    }

    // ----- counts

    /// Counts spans that were in flight, so many of them as lost.
    pub(crate) fn settle(&self, spans: usize, lost: usize, reason: DropReason) {
        // What shutdown has given up meanwhile is counted already.
        if self.queue.settle(spans) {
            self.counts.add_exported(spans - lost);
            self.counts.add_dropped(reason, lost);
        }
    }

    /// Counts what a thread does whose state is gone.
    pub(super) fn count_ended(&self, count: impl FnOnce(&mut Totals)) {
        count(&mut self.threads().ended);
    }

    pub(crate) fn stats(&self) -> Stats {
        // Read against the life of a span, so that a later stage never outruns an earlier one.
        let mut stats = Stats {
            exported: self.counts.exported(),
            dropped: DroppedSpans::read(&self.counts),
            ..Stats::default()
        };
        let threads = self.threads();
        let sum = |pick: fn(&ThreadShared) -> u64| -> u64 {
            threads.running.iter().map(|thread| pick(thread)).sum()
        };
        stats.dropped.after_shutdown +=
            threads.ended.after_shutdown + sum(|thread| thread.counters.after_shutdown.load());
        let no_slot = threads.ended.no_slot + sum(|thread| thread.counters.no_slot.load());
        stats.closed = threads.ended.closed + sum(|thread| thread.counters.closed.load());
        stats.not_sampled =
            threads.ended.not_sampled + sum(|thread| thread.counters.not_sampled.load());
        let restarted = threads.ended.restarted + sum(|thread| thread.counters.restarted.load());
        let started = threads.ended.started + sum(|thread| thread.counters.started.load());
        stats.started = started.saturating_sub(restarted);
        stats.dropped.live_limit = no_slot;
        // A span without a slot was started and closed in one.
        stats.started += stats.dropped.live_limit;
        stats.closed += stats.dropped.live_limit;
        stats
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock()
    }
}

/// What rides along with the spans of a chunk that nobody has taken.
fn take_sides(chunk: &mut Chunk, lost: &mut Vec<Side>) {
    let sides = chunk.spans.iter_mut().filter_map(|span| span.side.take());
    lost.extend(sides.map(|side| *side));
}

#[inline]
fn push(
    chunk: &mut Chunk,
    id: u64,
    metadata: &'static Metadata<'static>,
    body: &mut Body,
    end: u64,
) {
    let bytes = body.attributes.bytes();
    chunk.bytes.extend_from_slice(bytes);
    if !body.events.is_empty() {
        chunk.events.extend_from_slice(&body.events);
    }
    chunk.spans.push(SpanRecord {
        id,
        metadata,
        head: body.head,
        end: end.max(body.head.start),
        bytes: bytes.len() as u32,
        events: body.events.len() as u32,
        dropped_attributes: body.attributes.dropped(),
        side: body.side.take(),
    });
    // Where the next span goes.
    prefetch::for_writing::<4>(chunk.bytes.as_ptr().wrapping_add(chunk.bytes.len()));
    let next = chunk.spans.as_ptr().wrapping_add(chunk.spans.len());
    prefetch::for_writing::<3>(next.cast());
}
