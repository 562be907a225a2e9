//! What became of the spans: counted by reason, never silent.

use std::fmt;

use crate::export::sync::{AtomicU64, Ordering};

/// Why a span did not reach the exporter's destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// Closed after the pipeline was shut down.
    AfterShutdown,
    /// The exporter reported an error, timed out, or panicked.
    ExportFailed,
    /// More spans open at once than the limit allows.
    LiveLimit,
    /// The layer was built without an exporter.
    NoExporter,
    /// The export queue was full.
    QueueFull,
    /// The collector took the rest of the batch, but not this span.
    Rejected,
    /// Still queued or in flight when shutdown ran out of time.
    Shutdown,
}

const REASONS: usize = 7;

/// Counters that only the exporter's thread, a full queue and shutdown write.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    exported: AtomicU64,
    dropped: [AtomicU64; REASONS],
}

impl Counts {
    pub(crate) fn add_exported(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Ordering::AcqRel);
    }

    pub(crate) fn add_dropped(&self, reason: DropReason, spans: usize) {
        self.dropped[reason as usize].fetch_add(spans as u64, Ordering::AcqRel);
    }

    pub(crate) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Acquire)
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Acquire)
    }
}

/// A snapshot of what became of every span so far.
///
/// `started() == exported() + dropped() + live()` holds in every snapshot. Only sampled spans are
/// counted; an entry span counts from its sampling decision on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub(crate) started: u64,
    pub(crate) closed: u64,
    pub(crate) not_sampled: u64,
    pub(crate) exported: u64,
    pub(crate) dropped: DroppedSpans,
}

impl Stats {
    /// Sampled spans started.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Spans that the exporter took without an error.
    pub fn exported(&self) -> u64 {
        self.exported
    }

    /// Spans lost, by reason.
    pub fn dropped(&self) -> DroppedSpans {
        self.dropped
    }

    /// Spans started and neither exported nor dropped yet: [`open`](Self::open) and
    /// [`queued`](Self::queued) together.
    pub fn live(&self) -> u64 {
        self.started.saturating_sub(self.exported + self.dropped.total())
    }

    /// Spans not closed yet.
    pub fn open(&self) -> u64 {
        self.started.saturating_sub(self.closed)
    }

    /// Spans closed and waiting for export, those in flight included.
    pub fn queued(&self) -> u64 {
        self.live().saturating_sub(self.open())
    }

    /// Local traces that the sampler turned down. Their spans are not in [`started`](Self::started).
    pub fn not_sampled(&self) -> u64 {
        self.not_sampled
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spans: {} started, {} exported, {} live ({} open, {} queued), {} dropped",
            self.started,
            self.exported,
            self.live(),
            self.open(),
            self.queued(),
            self.dropped.total(),
        )?;
        let reasons = [
            ("after shutdown", self.dropped.after_shutdown),
            ("export failed", self.dropped.export_failed),
            ("live limit", self.dropped.live_limit),
            ("no exporter", self.dropped.no_exporter),
            ("queue full", self.dropped.queue_full),
            ("rejected", self.dropped.rejected),
            ("shutdown timed out", self.dropped.shutdown),
        ];
        let mut separator = " (";
        for (reason, count) in reasons.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{reason} {count}")?;
            separator = ", ";
        }
        f.write_str(if separator == ", " { ")" } else { "" })?;
        write!(f, "; {} traces not sampled", self.not_sampled)
    }
}

/// Spans lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DroppedSpans {
    pub(crate) after_shutdown: u64,
    pub(crate) export_failed: u64,
    pub(crate) live_limit: u64,
    pub(crate) no_exporter: u64,
    pub(crate) queue_full: u64,
    pub(crate) rejected: u64,
    pub(crate) shutdown: u64,
}

impl DroppedSpans {
    pub(crate) fn read(counts: &Counts) -> Self {
        Self {
            after_shutdown: counts.dropped(DropReason::AfterShutdown),
            export_failed: counts.dropped(DropReason::ExportFailed),
            live_limit: counts.dropped(DropReason::LiveLimit),
            no_exporter: counts.dropped(DropReason::NoExporter),
            queue_full: counts.dropped(DropReason::QueueFull),
            rejected: counts.dropped(DropReason::Rejected),
            shutdown: counts.dropped(DropReason::Shutdown),
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.after_shutdown
            + self.export_failed
            + self.live_limit
            + self.no_exporter
            + self.queue_full
            + self.rejected
            + self.shutdown
    }

    /// Closed after the pipeline was shut down.
    pub fn after_shutdown(&self) -> u64 {
        self.after_shutdown
    }

    /// The exporter reported an error, ran into the export timeout, or panicked.
    pub fn export_failed(&self) -> u64 {
        self.export_failed
    }

    /// More spans were open at once than the layer's limit allows.
    pub fn live_limit(&self) -> u64 {
        self.live_limit
    }

    /// The layer was built without an exporter.
    pub fn no_exporter(&self) -> u64 {
        self.no_exporter
    }

    /// The export queue was full: the exporter is slower than the spans come.
    pub fn queue_full(&self) -> u64 {
        self.queue_full
    }

    /// The collector took a part of a batch, and these were not in it (OTLP's partial success).
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Still queued or in flight when shutdown ran out of time.
    pub fn shutdown(&self) -> u64 {
        self.shutdown
    }
}
