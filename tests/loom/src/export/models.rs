//! The hand-off from the threads that close spans to the one that exports them.

use std::time::Duration;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use tracing::callsite::{Callsite, Identifier};
use tracing::field::FieldSet;
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};

use super::chunk::{Chunk, SpanRecord};
use super::queue::{Queue, Swap, WaitError, Wake};
use crate::Model;
use crate::layer::Head;

pub(crate) const ALL: &[Model] = &[
    ("queue: what is swapped in comes out once", what_is_swapped_in_comes_out),
    ("queue: what does not fit is given back", what_does_not_fit),
    ("queue: a flush waits for what was closed before", a_flush),
    ("queue: two flushes are answered", two_flushes),
    ("hand-off: a shutdown loses nothing uncounted", a_shutdown),
    ("hand-off: a worker that dies loses nothing uncounted", a_worker_that_dies),
    ("hand-off: a shutdown that gives up loses nothing uncounted", a_shutdown_that_gives_up),
];

struct Site;
static SITE: Site = Site;
static METADATA: Metadata<'static> = Metadata::new(
    "span",
    "loom",
    Level::INFO,
    None,
    None,
    None,
    FieldSet::new(&[], Identifier(&SITE)),
    Kind::SPAN,
);

impl Callsite for Site {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        &METADATA
    }
}

fn push(chunk: &mut Chunk) {
    chunk.spans.push(SpanRecord {
        id: 1,
        metadata: &METADATA,
        head: Head::default(),
        end: 0,
        bytes: 0,
        events: 0,
        dropped_attributes: 0,
        side: None,
    });
}

fn chunk_of(spans: usize) -> Chunk {
    let mut chunk = Chunk::default();
    (0..spans).for_each(|_| push(&mut chunk));
    chunk
}

const LONG: Duration = Duration::from_secs(60);

/// What `Engine`, the worker and the guard do with the queue, in the same order and without what
/// does not concern it.
struct Pipeline {
    queue: Queue,
    is_open: AtomicBool,
    /// One for each thread that closes spans.
    outbound: Vec<Mutex<Chunk>>,
    chunk_spans: usize,
    exported: AtomicUsize,
    lost: AtomicUsize,
}

impl Pipeline {
    fn new(max_spans: usize, batch: usize, chunk_spans: usize, threads: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::new(max_spans, batch, chunk_spans),
            is_open: AtomicBool::new(true),
            outbound: (0..threads).map(|_| Mutex::default()).collect(),
            chunk_spans,
            exported: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        })
    }

    fn lose(&self, spans: usize) {
        self.lost.fetch_add(spans, Ordering::AcqRel);
    }

    fn hand_over(&self, chunk: Chunk) -> Chunk {
        match self.queue.swap(chunk) {
            Swap::Taken(empty) => {
                assert!(empty.is_empty());
                empty
            }
            Swap::Finished(lost) | Swap::Full(lost) => {
                self.lose(lost.len());
                lost
            }
        }
    }

    /// A thread closes a span.
    fn close_span(&self, thread: usize) {
        let mut outbound = self.outbound[thread].lock().expect("no panic");
        if !self.is_open.load(Ordering::Relaxed) {
            return self.lose(1);
        }
        push(&mut outbound);
        if outbound.is_full(self.chunk_spans) {
            *outbound = self.hand_over(std::mem::take(&mut outbound));
            outbound.clear();
        }
    }

    /// Takes what idle threads hold.
    fn collect(&self) {
        for outbound in &self.outbound {
            let mut outbound = outbound.lock().expect("no panic");
            if outbound.is_empty() {
                continue;
            }
            let used = self.hand_over(std::mem::take(&mut outbound));
            drop(outbound);
            self.queue.recycle(used);
        }
    }

    fn drain(&self) {
        while let Some(chunk) = self.queue.pop() {
            let spans = chunk.len();
            self.queue.recycle(chunk);
            if self.queue.settle(spans) {
                self.exported.fetch_add(spans, Ordering::AcqRel);
            }
        }
    }

    /// The worker, which dies after so many rounds.
    fn work(&self, rounds: usize) {
        for _ in 0..rounds {
            let wake = self.queue.wait_for_work(None);
            self.drain();
            if wake != Wake::Batch {
                self.collect();
                self.drain();
            }
            match wake {
                Wake::Batch | Wake::Delay => {}
                Wake::Flush(number) => self.queue.flushed(number, false),
                Wake::Shutdown => break,
            }
        }
        self.is_open.store(false, Ordering::Release);
        self.lose(self.queue.abandon());
    }

    fn shut_down(&self, waits: bool) {
        self.is_open.store(false, Ordering::Release);
        if waits {
            assert_eq!(self.queue.close(LONG), Ok(()));
        }
        self.lose(self.queue.abandon());
        self.collect();
    }

    fn assert_all(&self, spans: usize) {
        let exported = self.exported.load(Ordering::Acquire);
        let lost = self.lost.load(Ordering::Acquire);
        assert_eq!(exported + lost, spans, "{exported} exported, {lost} lost");
        for outbound in &self.outbound {
            assert!(outbound.lock().expect("no panic").is_empty(), "left in a thread's chunk");
        }
    }
}

fn spawn(pipeline: &Arc<Pipeline>, f: impl FnOnce(&Pipeline) + 'static) -> thread::JoinHandle<()> {
    let pipeline = Arc::clone(pipeline);
    thread::spawn(move || f(&pipeline))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("a model that panics is over"));
}

fn what_is_swapped_in_comes_out() {
    let pipeline = Pipeline::new(8, 2, 2, 0);
    let threads = (0..2).map(|_| {
        spawn(&pipeline, |pipeline| {
            let spare = pipeline.hand_over(chunk_of(2));
            pipeline.queue.recycle(spare);
        })
    });
    let threads: Vec<_> = threads.collect();
    pipeline.drain();
    join(threads);
    pipeline.drain();
    assert_eq!((pipeline.exported.load(Ordering::Acquire), pipeline.queue.len()), (4, 0));
    pipeline.assert_all(4);
}

fn what_does_not_fit() {
    let pipeline = Pipeline::new(3, 2, 2, 0);
    let threads =
        (0..2).map(|_| spawn(&pipeline, |pipeline| drop(pipeline.hand_over(chunk_of(2)))));
    let threads: Vec<_> = threads.collect();
    let length = pipeline.queue.len();
    assert!(length == 0 || length == 2, "{length}");
    join(threads);
    assert_eq!((pipeline.queue.len(), pipeline.lost.load(Ordering::Acquire)), (2, 2));
    pipeline.drain();
    pipeline.assert_all(4);
}

fn a_flush() {
    let pipeline = Pipeline::new(8, 4, 2, 1);
    let worker = spawn(&pipeline, |pipeline| pipeline.work(usize::MAX));
    pipeline.close_span(0);
    assert_eq!(pipeline.queue.flush(LONG), Ok(()));
    assert_eq!(pipeline.exported.load(Ordering::Acquire), 1);
    pipeline.shut_down(true);
    join([worker]);
    pipeline.assert_all(1);
}

fn two_flushes() {
    let pipeline = Pipeline::new(8, 4, 2, 1);
    let worker = spawn(&pipeline, |pipeline| pipeline.work(usize::MAX));
    let other = spawn(&pipeline, |pipeline| {
        pipeline.close_span(0);
        let flushed = pipeline.queue.flush(LONG);
        assert!(matches!(flushed, Ok(()) | Err(WaitError::Finished)), "{flushed:?}");
        if flushed.is_ok() {
            // Closed after the other has stopped recording, it is counted as lost.
            let lost = pipeline.lost.load(Ordering::Acquire);
            assert_eq!(pipeline.exported.load(Ordering::Acquire) + lost, 1);
        }
    });
    assert_eq!(pipeline.queue.flush(LONG), Ok(()));
    pipeline.shut_down(true);
    join([worker, other]);
    pipeline.assert_all(1);
}

fn a_shutdown() {
    let pipeline = Pipeline::new(4, 2, 2, 1);
    let worker = spawn(&pipeline, |pipeline| pipeline.work(usize::MAX));
    let closer = spawn(&pipeline, |pipeline| {
        (0..3).for_each(|_| pipeline.close_span(0));
    });
    pipeline.shut_down(true);
    join([worker, closer]);
    pipeline.assert_all(3);
}

fn a_worker_that_dies() {
    let pipeline = Pipeline::new(4, 1, 1, 1);
    let worker = spawn(&pipeline, |pipeline| pipeline.work(1));
    let closer = spawn(&pipeline, |pipeline| {
        (0..2).for_each(|_| pipeline.close_span(0));
    });
    join([worker, closer]);
    pipeline.shut_down(true);
    pipeline.assert_all(2);
}

fn a_shutdown_that_gives_up() {
    let pipeline = Pipeline::new(4, 2, 2, 1);
    let worker = spawn(&pipeline, Pipeline::drain);
    let closer = spawn(&pipeline, |pipeline| {
        (0..3).for_each(|_| pipeline.close_span(0));
    });
    pipeline.shut_down(false);
    join([worker, closer]);
    pipeline.assert_all(3);
}
