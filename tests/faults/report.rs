//! What a service has seen of itself, handed over as a line of JSON.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spanbridge::Stats;

/// Before the line, which stands among those of the test harness.
const MARK: &str = "report: ";

/// A service that has ended, and what its collector has of it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) report: Report,
    /// Spans that the collector took; `None` where it cannot tell.
    pub(crate) accepted: Option<u64>,
    pub(crate) stderr: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    /// How long each request took with the faulty collector, and, at about the same time, one with
    /// the sound one.
    pub(crate) faulty: Vec<Duration>,
    pub(crate) sound: Vec<Duration>,
    /// The most spans that were seen waiting.
    pub(crate) most_queued: u64,
    /// By how many bytes the process has grown under a burst of [`BURST_BYTES`].
    ///
    /// [`BURST_BYTES`]: crate::service::BURST_BYTES
    pub(crate) grown: u64,
    pub(crate) flush: Result<(), String>,
    pub(crate) flush_took: Duration,
    pub(crate) shutdown: Result<(), String>,
    pub(crate) shutdown_took: Duration,
    /// After shutdown, with one span open.
    pub(crate) shut_down: Spans,
    /// With all spans closed.
    pub(crate) closed: Spans,
    /// Spans that an exporter of the service's own took.
    pub(crate) taken: Option<u64>,
}

/// [`Stats`], to be sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Spans {
    pub(crate) started: u64,
    pub(crate) exported: u64,
    pub(crate) live: u64,
    pub(crate) not_sampled: u64,
    /// By reason, without those that are zero.
    pub(crate) dropped: BTreeMap<String, u64>,
}

impl Report {
    pub(crate) fn print(&self) {
        let line = serde_json::to_string(self).unwrap();
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "\n{MARK}{line}").unwrap();
    }

    pub(crate) fn find_in(output: &str) -> Option<Self> {
        let line = output.lines().find_map(|line| line.strip_prefix(MARK))?;
        serde_json::from_str(line).ok()
    }
}

impl From<Stats> for Spans {
    fn from(stats: Stats) -> Self {
        let dropped = stats.dropped();
        let reasons = [
            ("after shutdown", dropped.after_shutdown()),
            ("export failed", dropped.export_failed()),
            ("live limit", dropped.live_limit()),
            ("no exporter", dropped.no_exporter()),
            ("queue full", dropped.queue_full()),
            ("rejected", dropped.rejected()),
            ("shutdown", dropped.shutdown()),
        ];
        let dropped: BTreeMap<_, _> = reasons
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect();
        Self {
            started: stats.started(),
            exported: stats.exported(),
            live: stats.live(),
            not_sampled: stats.not_sampled(),
            dropped,
        }
    }
}
