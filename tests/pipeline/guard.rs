//! The guard on every kind of runtime, from `Drop`, twice, and from two threads.

use std::sync::Barrier;
use std::time::Duration;

use spanbridge::{FlushError, TracingConfig, TracingGuard};
use tracing::{Dispatch, dispatcher, info_span};
use tracing_subscriber::prelude::*;

use crate::harness::{Answer, Asking, LONG, Otlp, Pipeline, assert_adds_up, within};
use crate::support::otlp_receiver::{OtlpReceiver, Protocol};

/// The paved path, to a receiver in a thread of its own.
fn set_up(receiver: &OtlpReceiver) -> (Dispatch, TracingGuard) {
    let config = TracingConfig::default()
        .with_url(receiver.endpoint())
        .with_sampling_rate_per_million(1_000_000);
    let (layer, guard) = spanbridge::layer_from(Some(config)).unwrap().unwrap();
    (Dispatch::new(tracing_subscriber::registry().with(layer)), guard)
}

/// Everything that blocks, called where it stands.
fn use_the_guard(receiver: &OtlpReceiver) {
    let (dispatch, guard) = set_up(receiver);
    dispatcher::with_default(&dispatch, || info_span!("flushed").in_scope(|| ()));
    guard.force_flush(LONG).unwrap();
    assert_eq!(receiver.take_spans().len(), 1);
    dispatcher::with_default(&dispatch, || info_span!("shut down").in_scope(|| ()));
    guard.shutdown(LONG).unwrap();
    assert_eq!(receiver.take_spans().len(), 1);
    assert_adds_up(guard.stats(), 2, 0);

    let (dispatch, guard) = set_up(receiver);
    dispatcher::with_default(&dispatch, || info_span!("dropped guard").in_scope(|| ()));
    drop(guard);
    assert_eq!(receiver.take_spans().len(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn on_a_current_thread_runtime() {
    use_the_guard(&OtlpReceiver::grpc());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn on_a_runtime_with_one_worker() {
    // In a task, so that it is the one worker that blocks.
    tokio::spawn(async { use_the_guard(&OtlpReceiver::grpc()) }).await.unwrap();
}

#[actix_web::test]
async fn on_an_actix_system() {
    use_the_guard(&OtlpReceiver::grpc());
}

#[actix_web::test]
async fn in_a_task_on_an_actix_system() {
    actix_web::rt::spawn(async { use_the_guard(&OtlpReceiver::grpc()) }).await.unwrap();
}

#[test]
fn without_a_runtime() {
    use_the_guard(&OtlpReceiver::grpc());
}

#[tokio::test(flavor = "current_thread")]
async fn a_receiver_on_the_thread_that_waits_ends_in_a_timeout() {
    // The guard's one exception: who waits here keeps the answer from being given.
    let receiver = OtlpReceiver::grpc();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let target = receiver.addr();
    let proxy = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    let pipeline = Pipeline::with(Otlp::at(Protocol::Grpc, endpoint));
    pipeline.close_spans(1);
    let short = Duration::from_millis(100);
    let flushed = within(short, || pipeline.guard.force_flush(short));
    assert_eq!(flushed, Err(FlushError::TimedOut(short)));
    // Waiting elsewhere, as the guard's documentation says, is all it takes.
    tokio::task::spawn_blocking(move || {
        pipeline.guard.force_flush(LONG).unwrap();
        assert_eq!(pipeline.stats().exported(), 1);
    })
    .await
    .unwrap();
    proxy.abort();
}

#[test]
fn in_the_drop_of_something_that_owns_it() {
    struct Service {
        pipeline: Pipeline,
    }
    impl Drop for Service {
        fn drop(&mut self) {
            self.pipeline.close_spans(3);
            self.pipeline.guard.shutdown(LONG).unwrap();
        }
    }
    let receiver = OtlpReceiver::grpc();
    drop(Service { pipeline: Pipeline::with(Otlp::to(&receiver, Protocol::Grpc)) });
    assert_eq!(receiver.spans().len(), 3);
}

#[test]
fn while_unwinding() {
    let receiver = OtlpReceiver::grpc();
    let pipeline = Pipeline::with(Otlp::to(&receiver, Protocol::Grpc));
    let panicked = std::thread::spawn(move || {
        pipeline.close_spans(3);
        panic!("as a service does");
    });
    assert!(panicked.join().is_err());
    assert_eq!(receiver.spans().len(), 3);
}

#[test]
fn shutdown_twice_and_flush_after_it() {
    let receiver = OtlpReceiver::grpc();
    let pipeline = Pipeline::with(Otlp::to(&receiver, Protocol::Grpc));
    pipeline.close_spans(2);
    assert!(pipeline.guard.is_enabled());
    assert_eq!(pipeline.guard.shutdown(LONG), Ok(()));
    let stats = pipeline.stats();
    assert_eq!(pipeline.guard.shutdown(LONG), Ok(()));
    assert_eq!(pipeline.guard.force_flush(LONG), Err(FlushError::ShutDown));
    assert!(!pipeline.guard.is_enabled());
    // Nothing is recorded any more, so nothing is started either.
    pipeline.close_spans(5);
    assert_eq!(pipeline.stats(), stats);
    assert_adds_up(stats, 2, 0);
}

#[test]
fn a_flush_that_waits_when_shutdown_comes_is_answered() {
    let (exporter, asked) = Asking::new();
    let pipeline = Pipeline::with(exporter);
    pipeline.close_spans(1);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| pipeline.guard.force_flush(LONG));
        // The exporter has the batch, so the flush has been taken up.
        assert_eq!(asked.batch().len(), 1);
        let shutdown = scope.spawn(|| pipeline.guard.shutdown(LONG));
        asked.answer(Answer::Succeed);
        assert_eq!(flush.join().unwrap(), Ok(()));
        assert_eq!(shutdown.join().unwrap(), Ok(()));
    });
    assert_adds_up(pipeline.stats(), 1, 0);
}

#[test]
fn from_two_threads_at_once() {
    let receiver = OtlpReceiver::grpc();
    receiver.keep_spans(false);
    for _ in 0..20 {
        let pipeline = Pipeline::with(Otlp::to(&receiver, Protocol::Grpc));
        let (flush, end) = (Barrier::new(2), Barrier::new(2));
        let before = receiver.counts().spans_accepted;
        std::thread::scope(|scope| {
            let work = || {
                pipeline.close_spans(10);
                flush.wait();
                pipeline.guard.force_flush(LONG).unwrap();
                pipeline.close_spans(10);
                end.wait();
                pipeline.guard.shutdown(LONG).unwrap();
            };
            let threads = [scope.spawn(work), scope.spawn(work)];
            for thread in threads {
                thread.join().unwrap();
            }
        });
        assert_adds_up(pipeline.stats(), 40, 0);
        assert_eq!(pipeline.stats().exported(), 40);
        assert_eq!(receiver.counts().spans_accepted - before, 40);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_exporter_that_cannot_be_built_is_an_error_on_any_runtime() {
    let config = TracingConfig::default().with_endpoint("unix-abstract:collector");
    let error = spanbridge::layer_from(Some(config)).unwrap_err().to_string();
    assert!(error.contains("abstract sockets are not supported"), "{error}");
}
