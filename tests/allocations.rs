//! What a thread that makes spans allocates once everything has its size: nothing.
//!
//! Each operation is measured by itself, by an allocator that counts for each thread, so that one
//! allocation in a hundred thousand fails the test and the exporter's thread counts for nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use allocation_counter::measure;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SpanData, SpanExporter};
use spanbridge::{SpanExt as _, TracingGuard};
use tracing::field::Empty;
use tracing::{Dispatch, Span, debug_span, dispatcher, info, info_span};
use tracing_subscriber::prelude::*;

/// Chunks are full every 64 spans, so that most are handed over many times.
const ROUNDS: usize = 2_000;
const QUEUE: usize = 1_024;
const LONG: Duration = Duration::from_secs(600);

/// Takes batches while it is open.
#[derive(Clone, Debug, Default)]
struct Gate(Arc<(Mutex<State>, Condvar, AtomicUsize)>);

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    /// Whether a batch has come, and so is not in the queue.
    has_batch: bool,
}

impl Gate {
    fn set_open(&self, open: bool) {
        self.0.0.lock().unwrap().is_open = open;
        self.0.1.notify_all();
    }

    fn wait_for_batch(&self) {
        let state = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(state, |state| !state.has_batch).unwrap());
    }

    fn spans(&self) -> usize {
        self.0.2.load(Ordering::Acquire)
    }
}

impl SpanExporter for Gate {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut state = self.0.0.lock().unwrap();
        state.has_batch = true;
        self.0.1.notify_all();
        drop(self.0.1.wait_while(state, |state| !state.is_open).unwrap());
        self.0.2.fetch_add(batch.len(), Ordering::AcqRel);
        Ok(())
    }
}

fn pipeline(sampler: Sampler) -> (Dispatch, TracingGuard, Gate) {
    let gate = Gate::default();
    let (layer, guard) = spanbridge::layer()
        .with_exporter(gate.clone())
        .with_sampler(sampler)
        .with_max_queue_size(QUEUE)
        .with_export_timeout(LONG)
        // Chunks are taken from idle threads by a flush only, which nothing here contends with.
        .with_schedule_delay(LONG)
        .build();
    (Dispatch::new(tracing_subscriber::registry().with(layer)), guard, gate)
}

/// Operations that allocated: which, in which round, how often.
#[derive(Default)]
struct Found(Vec<(&'static str, usize, u64)>);

impl Found {
    fn count<R>(&mut self, what: &'static str, round: usize, f: impl FnOnce() -> R) -> R {
        let mut result = None;
        let info = measure(|| result = Some(f()));
        if info.count_total > 0 {
            self.0.push((what, round, info.count_total));
        }
        result.expect("it ran")
    }
}

/// Two spans with all kinds of typed values and short text, events, late values, two polls.
fn request(round: usize, found: &mut Found) {
    let text = "a short text";
    let root = found.count("new root", round, || {
        info_span!(
            parent: None,
            "request",
            otel.kind = "server",
            http.request.method = "GET",
            url.path = "/pods/web-1",
            round,
            size = 512_u64,
            offset = -3_i64,
            ratio = 0.25,
            retried = false,
            wide = 1_u128 << 70,
            http.response.status_code = Empty,
            detail = Empty,
        )
    });
    found.count("enter", round, || root.with_subscriber(|(id, d)| d.enter(id)));
    let child = found.count("new child", round, || debug_span!("storage", table = "pods", round));
    found.count("enter child", round, || child.with_subscriber(|(id, d)| d.enter(id)));
    found.count("event", round, || info!(round, text, ok = true, "read {round} rows"));
    found.count("event without a message", round, || info!(round));
    found.count("exit child", round, || child.with_subscriber(|(id, d)| d.exit(id)));
    found.count("close child", round, || drop(child));
    found.count("record a number", round, || root.record("http.response.status_code", 200));
    found.count("record it again", round, || root.record("http.response.status_code", 404));
    found.count("record text", round, || root.record("detail", text));
    found.count("record formatted", round, || root.record("detail", tracing::field::debug(round)));
    found.count("exit", round, || root.with_subscriber(|(id, d)| d.exit(id)));
    found.count("enter again", round, || root.with_subscriber(|(id, d)| d.enter(id)));
    found.count("exit again", round, || root.with_subscriber(|(id, d)| d.exit(id)));
    found.count("close", round, || drop(root));
}

fn requests(rounds: usize) -> Found {
    let mut found = Found::default();
    for round in 0..rounds {
        request(round, &mut found);
    }
    found
}

fn assert_none(when: &str, found: &Found) {
    let Found(found) = found;
    assert!(found.is_empty(), "{when}: {} operations, {:?}", found.len(), found.iter().take(20));
}

#[test]
fn nothing_is_allocated_for_a_sampled_span_in_steady_state() {
    let (dispatch, guard, gate) = pipeline(Sampler::AlwaysOn);
    let flushed = || {
        gate.set_open(true);
        guard.force_flush(LONG).unwrap();
    };
    // The most chunks there ever are is when a batch is on its way and the queue is full behind it.
    dispatcher::with_default(&dispatch, || requests(QUEUE / 2));
    gate.wait_for_batch();
    dispatcher::with_default(&dispatch, || requests(QUEUE / 2));
    assert!(guard.stats().dropped().queue_full() > 0, "{}", guard.stats());
    flushed();

    let mut found = dispatcher::with_default(&dispatch, || requests(ROUNDS));
    // One chunk more, of three vectors, is needed once where the exporter's thread is interrupted
    // while it reads one and the queue fills up meanwhile, which no warming up can bring about.
    let is_chunk =
        |(what, _, allocations): &(&str, usize, u64)| (*what, *allocations) == ("close", 3);
    if let Some(at) = found.0.iter().position(is_chunk) {
        found.0.remove(at);
    }
    assert_none("while all is exported", &found);
    flushed();
    gate.set_open(false);
    let lost = guard.stats().dropped().queue_full();
    let found = dispatcher::with_default(&dispatch, || requests(ROUNDS));
    assert_none("while the queue is full", &found);
    assert!(guard.stats().dropped().queue_full() > lost, "{}", guard.stats());
    flushed();

    let stats = guard.stats();
    assert_eq!(stats.started(), 2 * (QUEUE + 2 * ROUNDS) as u64, "{stats}");
    assert_eq!(stats.exported(), gate.spans() as u64, "{stats}");
    assert_eq!(stats.live(), 0, "{stats}");
}

#[test]
fn an_allocation_is_found() {
    let (dispatch, _guard, _gate) = pipeline(Sampler::AlwaysOn);
    dispatcher::with_default(&dispatch, || {
        requests(10);
        let mut found = Found::default();
        let span = info_span!("span");
        found.count("an attribute without a field", 0, || span.set_attribute("key", "value"));
        assert_eq!(found.0.len(), 1);
    });
}

#[test]
fn nothing_is_allocated_where_nothing_is_sampled() {
    let (dispatch, guard, _gate) = pipeline(Sampler::AlwaysOff);
    dispatcher::with_default(&dispatch, || {
        requests(10);
        assert_none("not sampled", &requests(ROUNDS));
    });
    let stats = guard.stats();
    assert_eq!((stats.started(), stats.not_sampled()), (0, (10 + ROUNDS) as u64), "{stats}");
}

#[test]
fn nothing_is_allocated_where_another_thread_closes_the_span() {
    let (dispatch, guard, gate) = pipeline(Sampler::AlwaysOn);
    let (send, spans) = mpsc::sync_channel::<Span>(1);
    let (done, next) = mpsc::sync_channel::<()>(1);
    let closing = dispatch.clone();
    let closer = std::thread::spawn(move || {
        dispatcher::with_default(&closing, || {
            let mut found = Found::default();
            for (round, span) in spans.into_iter().enumerate() {
                found.count("close elsewhere", round, || drop(span));
                done.send(()).unwrap();
            }
            found
        })
    });
    let mut found = Found::default();
    // A batch is on its way, and the queue fills behind it; then it empties.
    let warm = 3 * QUEUE;
    dispatcher::with_default(&dispatch, || {
        for round in 0..warm + ROUNDS {
            let span = found.count("new", round, || info_span!(parent: None, "task", round));
            send.send(span).unwrap();
            next.recv().unwrap();
            if round == QUEUE {
                gate.wait_for_batch();
            }
            if round == warm {
                gate.set_open(true);
            }
        }
    });
    drop(send);
    let mut elsewhere = closer.join().unwrap();
    found.0.append(&mut elsewhere.0);
    found.0.retain(|(_, round, _)| *round >= warm);
    assert_none("closed elsewhere", &found);
    guard.force_flush(LONG).unwrap();
    assert_eq!(guard.stats().exported(), gate.spans() as u64);
}
