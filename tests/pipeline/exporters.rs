//! Exporters that panic, block, never end, or fail.

use std::sync::mpsc;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use spanbridge::{FlushError, ShutdownError};

use crate::harness::{Answer, Asking, LONG, NEVER, Pipeline, assert_adds_up, within};

const SHORT: Duration = Duration::from_millis(200);

#[test]
fn a_panicking_export_costs_its_batch_and_no_more() {
    let (exporter, asked) = Asking::new();
    let pipeline = Pipeline::with(exporter);
    let open = pipeline.open_two();
    for (answer, flushed) in [
        (Answer::Panic, Err(FlushError::ExportFailed)),
        (Answer::Succeed, Ok(())),
        (Answer::Panic, Err(FlushError::ExportFailed)),
    ] {
        pipeline.close_spans(10);
        asked.answer(answer);
        assert_eq!(pipeline.guard.force_flush(LONG), flushed);
        assert_eq!(asked.batch().len(), 10);
    }
    assert_eq!(pipeline.guard.shutdown(LONG), Ok(()));
    let stats = pipeline.stats();
    assert_adds_up(stats, 32, 2);
    assert_eq!((stats.exported(), stats.dropped().export_failed()), (10, 20));
    pipeline.run(|| drop(open));
    assert_adds_up(pipeline.stats(), 32, 0);
}

#[test]
fn a_failed_export_is_told_of_once() {
    let (exporter, asked) = Asking::new();
    let pipeline = Pipeline::with(exporter);
    pipeline.close_spans(3);
    asked.answer(Answer::Fail);
    assert_eq!(pipeline.guard.force_flush(LONG), Err(FlushError::ExportFailed));
    assert_eq!(pipeline.guard.force_flush(LONG), Ok(()));
    pipeline.close_spans(3);
    asked.answer(Answer::Succeed);
    assert_eq!(pipeline.guard.force_flush(LONG), Ok(()));
    assert_adds_up(pipeline.stats(), 6, 0);
    assert_eq!(pipeline.stats().dropped().export_failed(), 3);
}

#[test]
fn an_export_that_failed_before_the_flush_is_told_of_by_it() {
    let (exporter, asked) = Asking::new();
    let pipeline = Pipeline::with(exporter);
    asked.answer(Answer::Fail);
    asked.answer(Answer::Succeed);
    // A whole batch goes out by itself.
    pipeline.close_spans(512);
    assert_eq!(asked.batch().len(), 512);
    pipeline.close_spans(1);
    assert_eq!(pipeline.guard.force_flush(LONG), Err(FlushError::ExportFailed));
    assert_adds_up(pipeline.stats(), 513, 0);
}

#[test]
fn shutdown_does_not_wait_for_a_blocked_export_and_nothing_is_counted_twice() {
    for answer in [Answer::Succeed, Answer::Fail, Answer::Panic] {
        let (exporter, asked) = Asking::new();
        let pipeline = Pipeline::with(exporter);
        let open = pipeline.open_two();
        // 1. One batch is with the exporter, which blocks its thread; more is queued, and some is
        //    still with this thread.
        pipeline.close_spans(512);
        assert_eq!(asked.batch().len(), 512);
        pipeline.close_spans(1_000);
        assert_eq!(pipeline.stats().queued(), 1_512);
        // 2. Shutdown gives up on it.
        let shut_down = within(SHORT, || pipeline.guard.shutdown(SHORT));
        assert_eq!(shut_down, Err(ShutdownError::TimedOut(SHORT)));
        let stats = pipeline.stats();
        assert_adds_up(stats, 1_514, 2);
        assert_eq!(stats.exported(), 0);
        assert!(!pipeline.guard.is_enabled());
        // 3. The export ends after all, and the exporter's thread with it.
        asked.answer(answer);
        asked.wait_for_end();
        assert_eq!(pipeline.stats(), stats, "{answer:?}");
        pipeline.run(|| drop(open));
        assert_adds_up(pipeline.stats(), 1_514, 0);
    }
}

#[test]
fn a_flush_gives_up_on_a_blocked_export_and_the_next_one_succeeds() {
    let (exporter, asked) = Asking::new();
    let pipeline = Pipeline::with(exporter);
    pipeline.close_spans(5);
    let flushed = within(SHORT, || pipeline.guard.force_flush(SHORT));
    assert_eq!(flushed, Err(FlushError::TimedOut(SHORT)));
    asked.answer(Answer::Succeed);
    assert_eq!(pipeline.guard.force_flush(LONG), Ok(()));
    assert_eq!(pipeline.stats().exported(), 5);
}

/// Waits for ever, as async code should: without blocking the thread.
#[derive(Debug)]
struct Endless;

impl SpanExporter for Endless {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        std::future::pending().await
    }
}

#[test]
fn an_export_ends_with_the_export_timeout() {
    let pipeline = Pipeline::new(
        spanbridge::layer()
            .with_exporter(Endless)
            .with_schedule_delay(NEVER)
            .with_export_timeout(Duration::from_millis(50)),
    );
    pipeline.close_spans(7);
    assert_eq!(pipeline.guard.force_flush(LONG), Err(FlushError::ExportFailed));
    assert_eq!(pipeline.stats().dropped().export_failed(), 7);
    assert_eq!(pipeline.guard.shutdown(LONG), Ok(()));
    assert_adds_up(pipeline.stats(), 7, 0);
}

/// Does harm wherever the pipeline calls it but in `export`.
#[derive(Debug)]
struct Hostile {
    blocks_until: Option<std::sync::Mutex<mpsc::Receiver<()>>>,
}

impl Hostile {
    fn harm(&self) -> OTelSdkResult {
        match &self.blocks_until {
            None => panic!("as told"),
            Some(end) => {
                let _ = end.lock().unwrap().recv();
                Ok(())
            }
        }
    }
}

impl SpanExporter for Hostile {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.harm()
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.harm()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = self.harm();
    }
}

#[test]
fn an_exporter_that_panics_in_flush_shutdown_and_drop() {
    let pipeline = Pipeline::with(Hostile { blocks_until: None });
    pipeline.close_spans(4);
    assert_eq!(pipeline.guard.force_flush(LONG), Err(FlushError::ExportFailed));
    assert_eq!(pipeline.guard.shutdown(LONG), Ok(()));
    assert_adds_up(pipeline.stats(), 4, 0);
    assert_eq!(pipeline.stats().exported(), 4);
}

#[test]
fn an_exporter_that_blocks_in_flush() {
    let (end, blocks_until) = mpsc::channel();
    let pipeline = Pipeline::with(Hostile { blocks_until: Some(blocks_until.into()) });
    pipeline.close_spans(4);
    let flushed = within(SHORT, || pipeline.guard.force_flush(SHORT));
    assert_eq!(flushed, Err(FlushError::TimedOut(SHORT)));
    let shut_down = within(SHORT, || pipeline.guard.shutdown(SHORT));
    assert_eq!(shut_down, Err(ShutdownError::TimedOut(SHORT)));
    assert_adds_up(pipeline.stats(), 4, 0);
    drop(end);
}

#[test]
fn an_exporter_that_blocks_in_shutdown() {
    let (end, blocks_until) = mpsc::channel();
    let pipeline = Pipeline::with(Hostile { blocks_until: Some(blocks_until.into()) });
    pipeline.close_spans(4);
    let shut_down = within(SHORT, || pipeline.guard.shutdown(SHORT));
    assert_eq!(shut_down, Err(ShutdownError::TimedOut(SHORT)));
    // What it has taken is exported all the same.
    assert_adds_up(pipeline.stats(), 4, 0);
    assert_eq!(pipeline.stats().exported(), 4);
    drop(end);
}

/// Has only the older of the trait's two methods for the end.
#[derive(Debug)]
struct Ended(mpsc::Sender<()>);

impl SpanExporter for Ended {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown(&self) -> OTelSdkResult {
        let _ = self.0.send(());
        Ok(())
    }
}

#[test]
fn an_exporter_is_told_of_the_end_by_the_method_that_it_has() {
    let (exporter, ended) = mpsc::channel();
    let pipeline = Pipeline::with(Ended(exporter));
    pipeline.guard.shutdown(LONG).unwrap();
    ended.try_recv().expect("shutdown was called before the guard's returned");
}
