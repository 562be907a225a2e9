//! The hand-off from the threads that close spans to the one that exports them.
//!
//! What runs is the crate's: `HandOver`, the queue, and the rounds of the exporter's thread. Not so
//! what is around them. A thread's state is a `thread_local!`, of which loom would need its own:
//! [`Closer`] stands for it. The sink has an exporter and a runtime of tokio's, which knows no
//! loom: [`Counting`] stands for it. `Engine::close` needs both state and a clock; what it does to
//! a slot is in `models.rs`.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;
use tracing::callsite::{Callsite, Identifier};
use tracing::field::FieldSet;
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};

use super::hand_over::HandOver;
use super::outbound::ThreadShared;
use super::record::Body;
use crate::Model;
use crate::export::chunk::Chunk;
use crate::export::queue::{Queue, WaitError, Wake};
use crate::export::rounds::{Output, Rounds};
use crate::export::stats::{DropReason, Stats};

pub(crate) const ALL: &[Model] = &[
    ("queue: what is swapped in comes out once", what_is_swapped_in_comes_out),
    ("queue: what does not fit is given back", what_does_not_fit),
    ("queue: a flush waits for what was closed before", a_flush),
    ("queue: two flushes are answered", two_flushes),
    ("hand-off: idle threads get their turn", idle_threads),
    ("hand-off: a thread that ends takes nothing with it", a_thread_that_ends),
    ("hand-off: a shutdown loses nothing uncounted", a_shutdown),
    ("hand-off: a shutdown that gives up loses nothing uncounted", a_shutdown_that_gives_up),
    ("hand-off: a worker that hangs loses nothing uncounted", a_worker_that_hangs),
    ("hand-off: one of two shutdowns is the first", two_shutdowns),
    ("hand-off: a worker that dies loses nothing uncounted", a_worker_that_dies),
    ("hand-off: a span without a thread is counted", a_span_without_a_thread),
    ("counts: no stage is ahead of the one before", snapshots),
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

/// What is waited for until it comes.
const LONG: Duration = Duration::MAX;

fn pipeline(max_spans: usize, batch: usize, chunk_spans: usize) -> Arc<HandOver> {
    let queue = Queue::new(max_spans, batch, chunk_spans);
    Arc::new(HandOver::new(queue, chunk_spans, false))
}

/// A thread that closes spans. A model may go on with it elsewhere, having closed some before.
struct Closer(std::sync::Arc<ThreadShared>);

impl Closer {
    fn new(hand_over: &HandOver) -> Self {
        Self(hand_over.add_thread(None))
    }

    fn close(&self, hand_over: &HandOver, spans: usize) {
        for _ in 0..spans {
            self.0.counters.decided(true);
            let (mut body, mut lost) = (Body::default(), Vec::new());
            hand_over.write_out(&self.0, 1, &METADATA, &mut body, 0, &mut lost);
        }
    }

    fn end(self, hand_over: &HandOver) {
        hand_over.thread_ended(&self.0);
    }
}

/// An exporter that counts.
struct Counting<'a> {
    hand_over: &'a HandOver,
    waiting: usize,
}

impl Output for Counting<'_> {
    type Calibration = ();

    fn calibrate(&self) {}

    fn take(&mut self, chunk: &mut Chunk, (): ()) {
        self.waiting += chunk.len();
    }

    fn export(&mut self, all: bool, _: bool) -> bool {
        let spans = if all { std::mem::take(&mut self.waiting) } else { 0 };
        if spans > 0 {
            self.hand_over.settle(spans, 0, DropReason::ExportFailed);
        }
        true
    }

    fn flush(&mut self) -> bool {
        true
    }
}

/// The worker, which dies after so many rounds.
fn work(hand_over: &HandOver, delay: Duration, rounds: usize) {
    let mut output = Counting { hand_over, waiting: 0 };
    let mut worker = Rounds::new(hand_over, delay);
    for _ in 0..rounds {
        let wake = worker.wait();
        if !worker.run(wake, &mut output) {
            break;
        }
    }
}

fn spawn(hand_over: &Arc<HandOver>, f: impl FnOnce(&HandOver) + 'static) -> thread::JoinHandle<()> {
    let hand_over = Arc::clone(hand_over);
    thread::spawn(move || f(&hand_over))
}

fn worker(hand_over: &Arc<HandOver>) -> thread::JoinHandle<()> {
    spawn(hand_over, |hand_over| work(hand_over, LONG, usize::MAX))
}

fn closer(hand_over: &Arc<HandOver>, spans: usize) -> thread::JoinHandle<()> {
    spawn(hand_over, move |hand_over| Closer::new(hand_over).close(hand_over, spans))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("a model that panics is over"));
}

/// So many spans were closed, and each is counted once.
fn assert_all(hand_over: &HandOver, spans: u64) -> Stats {
    let stats = hand_over.stats();
    assert_eq!((stats.started(), stats.open()), (spans, 0), "{stats}");
    assert_eq!(stats.exported() + stats.dropped().total(), spans, "{stats}");
    stats
}

fn what_is_swapped_in_comes_out() {
    let hand_over = pipeline(8, 2, 2);
    let threads = [closer(&hand_over, 2), closer(&hand_over, 2)];
    let mut output = Counting { hand_over: &hand_over, waiting: 0 };
    let mut worker = Rounds::new(&hand_over, LONG);
    worker.run(Wake::Batch, &mut output);
    join(threads);
    worker.run(Wake::Batch, &mut output);
    assert_eq!((assert_all(&hand_over, 4).exported(), hand_over.queue.len()), (4, 0));
}

fn what_does_not_fit() {
    let hand_over = pipeline(3, 2, 2);
    let threads = [closer(&hand_over, 2), closer(&hand_over, 2)];
    let length = hand_over.queue.len();
    assert!(length == 0 || length == 2, "{length}");
    join(threads);
    assert_eq!((hand_over.queue.len(), hand_over.stats().dropped().queue_full()), (2, 2));
    assert_eq!(hand_over.shut_down(Duration::ZERO), Err(WaitError::TimedOut));
    assert_eq!(assert_all(&hand_over, 4).dropped().shutdown(), 2);
}

fn a_flush() {
    let hand_over = pipeline(8, 4, 2);
    let worker = worker(&hand_over);
    let closer = Closer::new(&hand_over);
    closer.close(&hand_over, 1);
    // Its chunk is full then, and goes to the queue.
    let closer = spawn(&hand_over, move |hand_over| closer.close(hand_over, 1));
    assert_eq!(hand_over.queue.flush(LONG), Ok(()));
    assert!(hand_over.stats().exported() >= 1);
    assert_eq!(hand_over.shut_down(LONG), Ok(()));
    join([worker, closer]);
    assert_all(&hand_over, 2);
}

fn two_flushes() {
    let hand_over = pipeline(8, 4, 2);
    let worker = worker(&hand_over);
    let other = spawn(&hand_over, |hand_over| {
        Closer::new(hand_over).close(hand_over, 1);
        let flushed = hand_over.queue.flush(LONG);
        assert!(matches!(flushed, Ok(()) | Err(WaitError::Finished)), "{flushed:?}");
        if flushed.is_ok() {
            // Closed after the other has stopped recording, it is counted as lost.
            assert_all(hand_over, 1);
        }
    });
    assert_eq!(hand_over.queue.flush(LONG), Ok(()));
    assert_eq!(hand_over.shut_down(LONG), Ok(()));
    join([worker, other]);
    assert_all(&hand_over, 1);
}

fn idle_threads() {
    let hand_over = pipeline(8, 4, 2);
    let idle = Closer::new(&hand_over);
    idle.close(&hand_over, 1);
    let worker = spawn(&hand_over, |hand_over| work(hand_over, Duration::ZERO, 1));
    let closer = closer(&hand_over, 1);
    join([worker]);
    // What was idle before the round. Of the rest, what was closed by then may be.
    assert!(hand_over.stats().exported() >= 1);
    join([closer]);
    assert_eq!(hand_over.shut_down(LONG), Ok(()));
    assert_all(&hand_over, 2);
}

fn a_thread_that_ends() {
    let hand_over = pipeline(8, 4, 2);
    let worker = worker(&hand_over);
    let closer = Closer::new(&hand_over);
    closer.close(&hand_over, 1);
    let closer = spawn(&hand_over, move |hand_over| closer.end(hand_over));
    assert_eq!(hand_over.queue.flush(LONG), Ok(()));
    assert_eq!(hand_over.stats().exported(), 1);
    assert_eq!(hand_over.shut_down(LONG), Ok(()));
    join([worker, closer]);
    assert_all(&hand_over, 1);
}

fn a_shutdown() {
    let hand_over = pipeline(4, 2, 2);
    let worker = worker(&hand_over);
    let closer = closer(&hand_over, 3);
    assert_eq!(hand_over.shut_down(LONG), Ok(()));
    join([worker, closer]);
    assert_all(&hand_over, 3);
}

fn a_shutdown_that_gives_up() {
    let hand_over = pipeline(4, 2, 2);
    let worker = worker(&hand_over);
    let closer = closer(&hand_over, 3);
    let closed = hand_over.shut_down(Duration::ZERO);
    assert!(matches!(closed, Ok(()) | Err(WaitError::TimedOut)), "{closed:?}");
    join([worker, closer]);
    assert_all(&hand_over, 3);
}

/// It is in an export for longer than shutdown waits, and collects nothing any more.
fn a_worker_that_hangs() {
    let hand_over = pipeline(4, 2, 2);
    let worker = spawn(&hand_over, |hand_over| {
        if let Some(chunk) = hand_over.queue.pop() {
            hand_over.settle(chunk.len(), 0, DropReason::ExportFailed);
        }
    });
    let closer = closer(&hand_over, 3);
    assert_eq!(hand_over.shut_down(Duration::ZERO), Err(WaitError::TimedOut));
    join([worker, closer]);
    assert_all(&hand_over, 3);
}

fn two_shutdowns() {
    let hand_over = pipeline(4, 2, 2);
    let closer = Closer::new(&hand_over);
    closer.close(&hand_over, 1);
    let worker = worker(&hand_over);
    let other = spawn(&hand_over, |hand_over| assert_eq!(hand_over.shut_down(LONG), Ok(())));
    assert_eq!(hand_over.shut_down(LONG), Ok(()));
    join([worker, other]);
    assert_eq!(assert_all(&hand_over, 1).exported(), 1);
}

fn a_worker_that_dies() {
    let hand_over = pipeline(4, 1, 1);
    let worker = spawn(&hand_over, |hand_over| work(hand_over, LONG, 1));
    let closer = closer(&hand_over, 2);
    join([worker, closer]);
    assert_eq!(hand_over.shut_down(LONG), Ok(()));
    assert_all(&hand_over, 2);
}

fn a_span_without_a_thread() {
    let hand_over = pipeline(4, 1, 1);
    let worker = worker(&hand_over);
    let closer = spawn(&hand_over, |hand_over| {
        hand_over.count_ended(|ended| ended.started += 1);
        let (mut body, mut lost) = (Body::default(), Vec::new());
        hand_over.write_out_without_thread(1, &METADATA, &mut body, 0, &mut lost);
    });
    assert_eq!(hand_over.shut_down(LONG), Ok(()));
    join([worker, closer]);
    assert_all(&hand_over, 1);
}

fn snapshots() {
    let hand_over = pipeline(1, 1, 1);
    let worker = spawn(&hand_over, |hand_over| work(hand_over, LONG, 1));
    let closer = spawn(&hand_over, |hand_over| {
        let closer = Closer::new(hand_over);
        closer.close(hand_over, 2);
        closer.end(hand_over);
    });
    let stats = hand_over.stats();
    let gone = stats.exported() + stats.dropped().total();
    assert!(gone <= stats.closed && stats.closed <= stats.started, "{stats}");
    join([worker, closer]);
    assert_all(&hand_over, 2);
}
