//! When spans leave, and that nothing keeps them from it.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tracing::{Dispatch, dispatcher, info_span};

use crate::harness::{LONG, NEVER, Pipeline, assert_adds_up};

/// An exporter that is always behind: while it exports spans, another thread closes as many.
#[derive(Debug)]
struct Behind {
    refill: SyncSender<usize>,
    refilled: Mutex<Receiver<()>>,
    exported: mpsc::Sender<Vec<SpanData>>,
}

impl SpanExporter for Behind {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let _ = self.exported.send(batch);
        // Once the test lets go of the other side, exports end at once.
        if self.refill.send(count).is_ok() {
            let _ = self.refilled.lock().unwrap().recv();
        }
        Ok(())
    }
}

/// A pipeline whose queue is never empty, until it is let go.
struct Flooded {
    pipeline: Pipeline,
    exported: Receiver<Vec<SpanData>>,
    ending: Arc<Mutex<bool>>,
    flood: JoinHandle<()>,
}

impl Flooded {
    const BATCH: usize = 64;

    fn new(schedule_delay: Duration) -> Self {
        let (refill, refills) = mpsc::sync_channel(0);
        let (done, refilled) = mpsc::channel();
        let (sent, exported) = mpsc::channel();
        let exporter = Behind { refill, refilled: Mutex::new(refilled), exported: sent };
        let pipeline = Pipeline::new(
            spanbridge::layer()
                .with_exporter(exporter)
                .with_schedule_delay(schedule_delay)
                .with_max_export_batch_size(Self::BATCH)
                .with_max_queue_size(1_000 * Self::BATCH),
        );
        let ending = Arc::new(Mutex::new(false));
        let flood = std::thread::spawn({
            let (dispatch, ending) = (pipeline.dispatch.clone(), Arc::clone(&ending));
            move || flood(&dispatch, &refills, &done, &ending)
        });
        pipeline.close_spans(2 * Self::BATCH);
        Self { pipeline, exported, ending, flood }
    }

    fn let_go(self) -> Pipeline {
        *self.ending.lock().unwrap() = true;
        self.pipeline.guard.shutdown(LONG).unwrap();
        // The exporter is gone with its side of the channel, which ends the flood.
        self.flood.join().unwrap();
        self.pipeline
    }
}

fn flood(
    dispatch: &Dispatch,
    refills: &Receiver<usize>,
    done: &mpsc::Sender<()>,
    ending: &Mutex<bool>,
) {
    while let Ok(count) = refills.recv() {
        if !*ending.lock().unwrap() {
            dispatcher::with_default(dispatch, || {
                for _ in 0..count {
                    info_span!("flood").in_scope(|| ());
                }
            });
        }
        let _ = done.send(());
    }
}

#[test]
fn a_flush_ends_while_more_spans_keep_coming() {
    let flooded = Flooded::new(NEVER);
    flooded.pipeline.run(|| info_span!("mine").in_scope(|| ()));
    flooded.pipeline.guard.force_flush(LONG).unwrap();
    let mut exported = flooded.exported.try_iter().flatten();
    assert!(exported.any(|span| span.name == "mine"));
    let pipeline = flooded.let_go();
    let started = pipeline.stats().started();
    assert_adds_up(pipeline.stats(), started, 0);
}

#[test]
fn a_quiet_thread_is_not_forgotten_while_others_are_busy() {
    let flooded = Flooded::new(Duration::from_millis(5));
    flooded.pipeline.run(|| info_span!("quiet").in_scope(|| ()));
    loop {
        let batch = flooded.exported.recv_timeout(LONG).expect("the flood goes on");
        if batch.iter().any(|span| span.name == "quiet") {
            break;
        }
        let exported = flooded.pipeline.stats().exported();
        assert!(exported < 200_000, "{exported} others were exported before it");
    }
    flooded.let_go();
}

/// An exporter that hands every batch to the test.
#[derive(Debug)]
struct Handing(mpsc::Sender<Vec<SpanData>>);

impl SpanExporter for Handing {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let _ = self.0.send(batch);
        Ok(())
    }
}

#[test]
fn a_queue_smaller_than_a_batch_is_emptied_before_it_overflows_for_good() {
    for (queue, batch) in [(100, 512), (63, 512), (65, 64), (1, 1), (700, 650)] {
        let (sent, exported) = mpsc::channel();
        let pipeline = Pipeline::new(
            spanbridge::layer()
                .with_exporter(Handing(sent))
                .with_schedule_delay(NEVER)
                .with_max_queue_size(queue)
                .with_max_export_batch_size(batch),
        );
        // With no schedule to help, each round has to wake the exporter by what it queues.
        for round in 0..5 {
            pipeline.close_spans(queue + 64);
            let batch = exported.recv_timeout(LONG);
            assert!(batch.is_ok(), "queue of {queue}, batches of {batch:?}, round {round}");
        }
        pipeline.guard.shutdown(LONG).unwrap();
        assert_adds_up(pipeline.stats(), 5 * (queue as u64 + 64), 0);
    }
}

#[test]
fn the_last_span_of_a_batch_wakes_the_exporter_whoever_closed_it() {
    let (sent, exported) = mpsc::channel();
    let pipeline = Pipeline::new(
        spanbridge::layer()
            .with_exporter(Handing(sent))
            .with_schedule_delay(NEVER)
            .with_max_export_batch_size(64),
    );
    // Threads that end hand over what they have, here one span each.
    for _ in 0..64 {
        std::thread::scope(|scope| {
            scope.spawn(|| pipeline.close_spans(1)).join().unwrap();
        });
    }
    assert_eq!(exported.recv_timeout(LONG).map(|batch| batch.len()), Ok(64));
}

#[test]
fn batches_are_no_larger_than_asked_and_in_order() {
    let (sent, exported) = mpsc::channel();
    let pipeline = Pipeline::new(
        spanbridge::layer()
            .with_exporter(Handing(sent))
            .with_schedule_delay(NEVER)
            .with_max_export_batch_size(100),
    );
    pipeline.close_spans(1_234);
    pipeline.guard.force_flush(LONG).unwrap();
    let batches: Vec<_> = exported.try_iter().collect();
    assert!(batches.iter().all(|batch| batch.len() <= 100));
    let numbers: Vec<_> = batches.iter().flatten().map(|span| &span.attributes[0].value).collect();
    let expected: Vec<_> = (0..1_234_i64).map(opentelemetry::Value::I64).collect();
    assert_eq!(numbers, expected.iter().collect::<Vec<_>>());
}

#[test]
fn the_schedule_brings_out_what_no_batch_would() {
    let (sent, exported) = mpsc::channel();
    let pipeline = Pipeline::new(
        spanbridge::layer()
            .with_exporter(Handing(sent))
            .with_schedule_delay(Duration::from_millis(1)),
    );
    pipeline.close_spans(1);
    assert_eq!(exported.recv_timeout(LONG).unwrap().len(), 1);
}

#[test]
fn a_flush_sees_the_spans_of_threads_that_are_just_ending() {
    let (sent, exported) = mpsc::channel();
    let pipeline = Pipeline::with(Handing(sent));
    for round in 1..=2_000 {
        // A scope ends when its threads have run, not when their locals are gone.
        std::thread::scope(|scope| {
            scope.spawn(|| pipeline.close_spans(1));
        });
        pipeline.guard.force_flush(LONG).unwrap();
        assert_eq!(exported.try_iter().flatten().count(), 1, "round {round}");
    }
}
