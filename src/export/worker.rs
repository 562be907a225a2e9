//! The exporter's thread: decodes, exports, counts.
//!
//! It owns a current-thread runtime, so that nothing an exporter spawns runs anywhere else and
//! waiting on it from any other runtime cannot dead-lock. Everything that it does, the exporter's
//! own spans included, is kept out of the traces.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use tokio::runtime::Runtime;

use crate::export::chunk::Chunk;
use crate::export::rounds::{Output, Rounds};
use crate::export::sink::{Exported, Outcome, Sink};
use crate::export::stats::DropReason;
use crate::layer::{Calibration, Engine, suppress_this_thread};

/// How the worker batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchSettings {
    pub(crate) schedule_delay: Duration,
    /// `None` where nobody has said how many spans go at once.
    pub(crate) max_export_batch_size: Option<usize>,
    pub(crate) export_timeout: Duration,
}

impl BatchSettings {
    /// How many spans wake the worker, and go at once to an exporter that is not ours.
    pub(crate) fn batch_size(&self) -> usize {
        self.max_export_batch_size.unwrap_or(512)
    }

    /// How many go at once over OTLP, if as many have gathered while the last ones were sent: where
    /// spans come faster than requests of 512 can be answered, larger ones keep up.
    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
    pub(crate) fn largest_request(&self) -> usize {
        self.max_export_batch_size.unwrap_or(4_096)
    }
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) engine: Arc<Engine>,
    pub(crate) runtime: OwnRuntime,
    pub(crate) sink: Sink,
    pub(crate) settings: BatchSettings,
    pub(crate) problems: Problems,
    /// What was ignored of the configuration, logged once a subscriber had time to be installed.
    pub(crate) warnings: Vec<String>,
}

impl Worker {
    /// Runs until shutdown is asked for and everything is drained.
    pub(crate) fn run(mut self) {
        suppress_this_thread();
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let engine = Arc::clone(&self.engine);
        let mut rounds = Rounds::new(&engine.hand_over, self.settings.schedule_delay);
        loop {
            let wake = rounds.wait();
            for warning in self.warnings.drain(..) {
                tracing::warn!(target: "spanbridge::config", "{warning}");
            }
            if !rounds.run(wake, &mut self) {
                break;
            }
        }
        self.sink.shutdown(&self.runtime);
    }

    /// Counts a batch, and tells of what went wrong. False if something did.
    fn account(&mut self, spans: usize, outcome: Outcome) -> bool {
        let (lost, reason, problem) = match outcome {
            Outcome::Delivered => (0, DropReason::ExportFailed, None),
            Outcome::NoExporter => (spans, DropReason::NoExporter, None),
            Outcome::Failed(problem) => (spans, DropReason::ExportFailed, Some(problem)),
            Outcome::Partly { rejected, message } => {
                (rejected, DropReason::Rejected, Some(message))
            }
        };
        self.engine.hand_over.settle(spans, lost, reason);
        match problem {
            // A warning, and no reason to be silent about the next failure.
            Some(problem) if lost == 0 => {
                tracing::warn!(target: "spanbridge::export", "the collector says: {problem}");
            }
            Some(problem) if reason == DropReason::Rejected => {
                self.problems.report(lost, &format!("the collector took only a part: {problem}"));
            }
            Some(problem) => self.problems.report(lost, &problem),
            None => return true,
        }
        lost == 0
    }
}

impl Output for Worker {
    type Calibration = Calibration;

    fn calibrate(&self) -> Calibration {
        self.engine.clock.calibrate()
    }

    fn take(&mut self, chunk: &mut Chunk, calibration: Calibration) {
        self.sink.take(chunk, calibration);
    }

    fn export(&mut self, all: bool, is_last: bool) -> bool {
        let mut succeeded = true;
        let export_timeout = self.settings.export_timeout;
        let max_spans = self.sink.batch_size(&self.settings);
        let engine = Arc::clone(&self.engine);
        let queue = &engine.hand_over.queue;
        // Each batch has its share of the time that shutdown has, and what idle threads hold too;
        // a tenth is for the end itself.
        let urgency = |after: usize| {
            let left = queue.time_left()?;
            let queued = queue.len().div_ceil(max_spans.max(1));
            let shares = 1 + after + queued + usize::from(!is_last);
            Some((left - left / 10) / u32::try_from(shares).unwrap_or(u32::MAX))
        };
        while let Some(Exported { spans, outcome }) =
            self.sink.export(&self.runtime, max_spans, all, export_timeout, urgency)
        {
            succeeded &= self.account(spans, outcome);
        }
        succeeded
    }

    fn flush(&mut self) -> bool {
        self.sink.flush(&self.runtime)
    }
}

/// Tells of failed exports, but not of each one while a destination is down.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    last_report: Option<Instant>,
    spans_since: usize,
}

const REPORT_EVERY: Duration = Duration::from_secs(60);

impl Problems {
    fn report(&mut self, spans: usize, problem: &str) {
        self.spans_since += spans;
        if self.last_report.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        tracing::warn!(
            target: "spanbridge::export",
            spans = self.spans_since,
            "spans were not exported: {problem}"
        );
        self.last_report = Some(Instant::now());
        self.spans_since = 0;
    }
}

/// The runtime that an exporter is built and run in.
///
/// tokio refuses to drop a runtime inside another one, since that waits for blocking tasks. This
/// one does not wait, so that a set-up that fails inside an async `main` is an error and no panic.
#[derive(Debug)]
pub(crate) struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    pub(crate) fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("spanbridge-export")
            .on_thread_start(suppress_this_thread)
            .build()?;
        Ok(Self(Some(runtime)))
    }
}

impl Deref for OwnRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("taken only when it is dropped")
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `f` where an exporter may spawn and connect, and where none of it is traced.
pub(crate) fn build_in<T>(runtime: &Runtime, f: impl FnOnce() -> T) -> T {
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    let _entered = runtime.enter();
    f()
}

/// Starts the worker on its own thread.
pub(crate) fn spawn(worker: Worker) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("spanbridge-export".to_owned()).spawn(move || worker.run())
}
