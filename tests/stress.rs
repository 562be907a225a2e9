//! A million spans from eight threads through a real receiver: every one is accounted for.
//!
//! Threads nest spans, put events into some, close spans that other threads opened, and end while
//! spans of theirs are open.

#[allow(dead_code, reason = "each test binary uses its own part")]
mod support;

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use spanbridge::TracingGuard;
use tracing::{Dispatch, Span, dispatcher, info, info_span};
use tracing_subscriber::prelude::*;

use support::otlp_receiver::{Behaviour, OtlpReceiver};

const THREADS: usize = 8;
const SPANS: usize = 1_000_000;
const SPANS_OF_A_THREAD: usize = SPANS / THREADS;
/// A parent with two descendants, then a span that another thread closes.
const SPANS_OF_A_ROUND: usize = 4;
/// Spans that are open when their thread ends.
const LEFT_OPEN: usize = 100;

/// How long the last spans may take on a busy machine without optimisation.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_million_spans_arrive_where_the_queue_is_large_enough() {
    let receiver = OtlpReceiver::grpc();
    receiver.keep_spans(false);
    let (dispatch, guard) = pipeline(&receiver, SPANS);
    let open = make_spans(&receiver, &dispatch, &guard);

    guard.force_flush(LONG).unwrap();
    let stats = guard.stats();
    let still_open = (THREADS * LEFT_OPEN) as u64;
    assert_eq!((stats.started(), stats.dropped().total()), (SPANS as u64, 0), "{stats}");
    assert_eq!((stats.live(), stats.open()), (still_open, still_open), "{stats}");
    assert_eq!(stats.exported(), SPANS as u64 - still_open, "{stats}");
    assert_eq!(receiver.counts().spans_accepted, stats.exported());

    dispatcher::with_default(&dispatch, || drop(open));
    guard.shutdown(LONG).unwrap();
    let stats = guard.stats();
    assert_eq!((stats.started(), stats.exported()), (SPANS as u64, SPANS as u64), "{stats}");
    assert_eq!((stats.dropped().total(), stats.live()), (0, 0), "{stats}");
    let counts = receiver.counts();
    assert_eq!((counts.spans_accepted, counts.malformed), (SPANS as u64, 0), "{counts:?}");
}

#[test]
fn a_million_spans_add_up_where_the_queue_is_small() {
    let receiver = OtlpReceiver::grpc();
    receiver.keep_spans(false);
    // Slower than eight threads by far, so that most has to go.
    receiver.set_behaviour(Behaviour::Delay(Duration::from_millis(10)));
    let (dispatch, guard) = pipeline(&receiver, 1_024);
    let open = make_spans(&receiver, &dispatch, &guard);
    let still_open = (THREADS * LEFT_OPEN) as u64;
    let stats = guard.stats();
    assert_eq!((stats.started(), stats.open()), (SPANS as u64, still_open), "{stats}");

    guard.shutdown(LONG).unwrap();
    let stats = guard.stats();
    assert_eq!(stats.exported() + stats.dropped().total() + still_open, SPANS as u64, "{stats}");
    assert_eq!((stats.live(), stats.queued()), (still_open, 0), "{stats}");
    assert!(stats.dropped().queue_full() > 0, "{stats}");
    assert_eq!(stats.dropped().total(), stats.dropped().queue_full(), "{stats}");
    assert_eq!(receiver.counts().spans_accepted, stats.exported());

    dispatcher::with_default(&dispatch, || drop(open));
    let after = guard.stats();
    assert_eq!((after.live(), after.dropped().after_shutdown()), (0, still_open), "{after}");
    assert_eq!(after.exported(), stats.exported());
}

fn pipeline(receiver: &OtlpReceiver, queue: usize) -> (Dispatch, TracingGuard) {
    let exporter = Otlp { endpoint: receiver.endpoint().to_owned(), built: None };
    let (layer, guard) = spanbridge::layer()
        .with_exporter(exporter)
        .with_max_queue_size(queue)
        .with_export_timeout(LONG)
        // Attributes are another test's; here they would only take time.
        .with_location(false)
        .with_target(false)
        .build();
    (Dispatch::new(tracing_subscriber::registry().with(layer)), guard)
}

/// Makes a million spans, and gives back those that are open when all threads have ended.
fn make_spans(receiver: &OtlpReceiver, dispatch: &Dispatch, guard: &TracingGuard) -> Vec<Span> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel()).unzip();
    std::thread::scope(|scope| {
        let threads: Vec<_> = receivers
            .into_iter()
            .enumerate()
            .map(|(number, foreign)| {
                let neighbour = senders[(number + 1) % THREADS].clone();
                scope.spawn(move || {
                    dispatcher::with_default(dispatch, || work(number, &neighbour, foreign))
                })
            })
            .collect();
        drop(senders);
        while threads.iter().any(|thread| !thread.is_finished()) {
            // Nothing is ever ahead of what it follows from.
            let stats = guard.stats();
            let settled = stats.exported() + stats.dropped().total();
            assert!(settled + stats.open() <= stats.started(), "{stats}");
            // A look for each request, or once in a while.
            let requests = receiver.counts().requests;
            let _ = receiver
                .wait_for_counts(|counts| counts.requests > requests, Duration::from_millis(20));
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// One thread's share.
fn work(thread: usize, neighbour: &Sender<Span>, foreign: Receiver<Span>) -> Vec<Span> {
    let mut open = Vec::with_capacity(LEFT_OPEN);
    for round in 0..(SPANS_OF_A_THREAD - LEFT_OPEN) / SPANS_OF_A_ROUND {
        info_span!("request", thread, round).in_scope(|| {
            info_span!("handler").in_scope(|| {
                info_span!("storage").in_scope(|| ());
                if round % 16 == 0 {
                    info!(round, "a step");
                }
            });
            // Closed by another thread, mostly after its parent.
            let _ = neighbour.send(info_span!("task"));
        });
        drop(foreign.try_recv());
    }
    // Here, not later: the registry lets go of a parent through the current subscriber.
    drop(foreign);
    for _ in 0..LEFT_OPEN / 2 {
        let parent = info_span!("left open");
        let child = info_span!(parent: &parent, "child left open");
        open.extend([child, parent]);
    }
    open
}

/// The stock OTLP exporter, built in the runtime of the exporter's thread.
#[derive(Debug)]
struct Otlp {
    endpoint: String,
    built: Option<opentelemetry_otlp::SpanExporter>,
}

impl SpanExporter for Otlp {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.built.as_ref().expect("the resource is set before anything is exported").export(batch)
    }

    fn set_resource(&mut self, resource: &Resource) {
        let mut built = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .with_timeout(LONG)
            .build()
            .expect("the endpoint is valid");
        built.set_resource(resource);
        self.built = Some(built);
    }
}
