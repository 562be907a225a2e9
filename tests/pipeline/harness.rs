//! A pipeline of a test's own, and exporters to put into it.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use opentelemetry_otlp::{
    RetryPolicy, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use spanbridge::{LayerBuilder, Stats, TracingGuard};
use tracing::{Dispatch, Span, dispatcher, info_span};
use tracing_subscriber::prelude::*;

use crate::support::otlp_receiver::{OtlpReceiver, Protocol};

/// For what must happen, but not at once on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);
/// What a wait may take beyond its timeout before it counts as late, on a busy machine.
pub(crate) const SLACK: Duration = Duration::from_secs(3);
/// No schedule: spans leave by batches, by a flush, or by shutdown.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

pub(crate) const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

/// A subscriber with one layer, and that layer's guard.
pub(crate) struct Pipeline {
    pub(crate) dispatch: Dispatch,
    pub(crate) guard: TracingGuard,
}

impl Pipeline {
    pub(crate) fn new(builder: LayerBuilder) -> Self {
        let (layer, guard) = builder.build();
        Self { dispatch: Dispatch::new(tracing_subscriber::registry().with(layer)), guard }
    }

    pub(crate) fn with(exporter: impl SpanExporter + 'static) -> Self {
        Self::new(spanbridge::layer().with_schedule_delay(NEVER).with_exporter(exporter))
    }

    /// Runs `f` with this pipeline's subscriber.
    pub(crate) fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        dispatcher::with_default(&self.dispatch, f)
    }

    /// Opens and closes `count` spans on this thread.
    pub(crate) fn close_spans(&self, count: usize) {
        self.run(|| {
            for number in 0..count {
                info_span!("request", number).in_scope(|| ());
            }
        });
    }

    /// A parent and its child, both open and both counted as started. They have to be dropped
    /// under this pipeline's subscriber: the registry lets go of a parent through the current one.
    pub(crate) fn open_two(&self) -> [Span; 2] {
        self.run(|| {
            let parent = info_span!("open parent");
            let child = info_span!(parent: &parent, "open child");
            [child, parent]
        })
    }

    pub(crate) fn stats(&self) -> Stats {
        self.guard.stats()
    }
}

/// Every span is exported, dropped, or still open.
#[track_caller]
pub(crate) fn assert_adds_up(stats: Stats, started: u64, open: u64) {
    assert_eq!(stats.started(), started, "{stats}");
    assert_eq!(stats.exported() + stats.dropped().total() + open, started, "{stats}");
    assert_eq!((stats.live(), stats.open(), stats.queued()), (open, open, 0), "{stats}");
}

/// Runs `f`, which has a timeout of its own, and fails if that did not hold.
#[track_caller]
pub(crate) fn within<R>(timeout: Duration, f: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = f();
    let took = start.elapsed();
    assert!(took < timeout + SLACK, "took {took:?} with a timeout of {timeout:?}");
    result
}

/// The stock OTLP exporter, built where `init` builds it: in the runtime of the exporter's thread.
#[derive(Debug)]
pub(crate) struct Otlp {
    protocol: Protocol,
    endpoint: String,
    timeout: Duration,
    built: Option<opentelemetry_otlp::SpanExporter>,
}

impl Otlp {
    pub(crate) fn to(receiver: &OtlpReceiver, protocol: Protocol) -> Self {
        Self::at(protocol, receiver.traces_endpoint())
    }

    pub(crate) fn at(protocol: Protocol, endpoint: String) -> Self {
        Self { protocol, endpoint, timeout: LONG, built: None }
    }

    /// How long one request may take, retries included.
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl SpanExporter for Otlp {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.built.as_ref().expect("the resource is set before anything is exported").export(batch)
    }

    fn set_resource(&mut self, resource: &Resource) {
        let retries = RetryPolicy::default().with_initial_delay(Duration::from_millis(10));
        let builder = opentelemetry_otlp::SpanExporter::builder();
        let built = match self.protocol {
            Protocol::Grpc => builder
                .with_tonic()
                .with_endpoint(&self.endpoint)
                .with_timeout(self.timeout)
                .with_retry_policy(retries)
                .build(),
            Protocol::Http => builder
                .with_http()
                .with_endpoint(&self.endpoint)
                .with_timeout(self.timeout)
                .with_retry_policy(retries)
                .build(),
        };
        let mut built = built.expect("the endpoint is valid");
        built.set_resource(resource);
        self.built = Some(built);
    }
}

/// An exporter that hands each batch to the test and does what the test answers.
#[derive(Debug)]
pub(crate) struct Asking {
    batches: Sender<Vec<SpanData>>,
    answers: Mutex<Receiver<Answer>>,
}

/// The test's side of [`Asking`].
pub(crate) struct Asked {
    pub(crate) batches: Receiver<Vec<SpanData>>,
    pub(crate) answers: Sender<Answer>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Fail,
    Panic,
    Succeed,
}

impl Asking {
    pub(crate) fn new() -> (Self, Asked) {
        let (batches, received) = mpsc::channel();
        let (answers, given) = mpsc::channel();
        (Self { batches, answers: Mutex::new(given) }, Asked { batches: received, answers })
    }
}

impl Asked {
    /// The next batch, which the exporter is working on from now on.
    #[track_caller]
    pub(crate) fn batch(&self) -> Vec<SpanData> {
        self.batches.recv_timeout(LONG).expect("a batch is exported")
    }

    /// What the exporter does with this batch, or with the next one that comes.
    pub(crate) fn answer(&self, answer: Answer) {
        self.answers.send(answer).expect("the exporter is there");
    }

    /// Blocks until the exporter is gone, which is the last thing its thread does.
    #[track_caller]
    pub(crate) fn wait_for_end(self) {
        drop(self.answers);
        loop {
            match self.batches.recv_timeout(LONG) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the exporter is still there"),
            }
        }
    }
}

impl SpanExporter for Asking {
    /// Blocks the thread, as an exporter without a notion of async does.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let _ = self.batches.send(batch);
        let answer = self.answers.lock().unwrap().recv();
        match answer {
            Ok(Answer::Succeed) => Ok(()),
            Ok(Answer::Panic) => panic!("as told"),
            Ok(Answer::Fail) => Err(OTelSdkError::InternalFailure("as told".to_owned())),
            Err(_) => Err(OTelSdkError::InternalFailure("the test is over".to_owned())),
        }
    }
}
