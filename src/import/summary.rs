//! What an import came to.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use opentelemetry::TraceId;
use opentelemetry_sdk::trace::SpanData;

use super::problem::ProblemKind;

/// What was found, and what could not be used.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub(super) bytes: u64,
    pub(super) blocks: u64,
    pub(super) duplicates: u64,
    pub(super) interleaved: u64,
    pub(super) spans: u64,
    pub(super) events: u64,
    pub(super) assumed_utc: u64,
    pub(super) problems: BTreeMap<ProblemKind, u64>,
    pub(super) slowest: Vec<SlowOperation>,
}

/// One of the operations that took longest.
#[derive(Clone, Debug, PartialEq)]
pub struct SlowOperation {
    name: String,
    trace_id: TraceId,
    start: SystemTime,
    duration: Duration,
}

impl Summary {
    /// How many bytes of text were read, unpacked and as UTF-8.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many blocks became spans.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// How many blocks were there again, as in files that overlap, and are not counted with
    /// [`blocks`](Self::blocks).
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// In how many blocks lines of others stood, and each was put together all the same. Their roots
    /// have the attribute `spanbridge.interleaved`, and say where they are.
    pub fn interleaved(&self) -> u64 {
        self.interleaved
    }

    /// How many spans were made.
    pub fn spans(&self) -> u64 {
        self.spans
    }

    /// How many steps became events.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// In how many blocks nothing says which time zone their times are in, so that UTC was assumed.
    pub fn assumed_utc(&self) -> u64 {
        self.assumed_utc
    }

    /// How many problems there were of each kind.
    pub fn problems(&self) -> impl Iterator<Item = (ProblemKind, u64)> + '_ {
        self.problems.iter().map(|(kind, count)| (*kind, *count))
    }

    /// The operations that took longest, the longest first.
    pub fn slowest(&self) -> &[SlowOperation] {
        &self.slowest
    }

    pub(super) fn count(&mut self, spans: &[SpanData], slowest: usize) {
        self.blocks += 1;
        self.spans += spans.len() as u64;
        self.events += spans.iter().map(|span| span.events.events.len() as u64).sum::<u64>();
        let Some(root) = spans.first() else { return };
        let duration = root.end_time.duration_since(root.start_time).unwrap_or_default();
        let rank = self.slowest.partition_point(|other| other.duration >= duration);
        if rank >= slowest {
            return;
        }
        self.slowest.truncate(slowest - 1);
        let operation = SlowOperation {
            name: root.name.to_string(),
            trace_id: root.span_context.trace_id(),
            start: root.start_time,
            duration,
        };
        self.slowest.insert(rank, operation);
    }
}

impl SlowOperation {
    /// The name of its root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The trace to look for.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// When it began.
    pub fn start(&self) -> SystemTime {
        self.start
    }

    /// How long it took.
    pub fn duration(&self) -> Duration {
        self.duration
    }
}
