//! What an import is told of its logs.

#[cfg(doc)]
use super::Summary;
use super::time::TimeZone;

/// How logs are read.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) time_zone: Option<TimeZone>,
    pub(super) year: Option<i16>,
    pub(super) max_open_blocks: usize,
    pub(super) slowest: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { time_zone: None, year: None, max_open_blocks: 1_024, slowest: 10 }
    }
}

impl Options {
    /// The zone of times that are printed without one.
    ///
    /// By default it is worked out from what wraps a block, to the quarter of an hour: container
    /// runtimes, journald's JSON and JSON loggers note the moment. Where nothing does, UTC is
    /// assumed, and [`Summary::assumed_utc`] counts it.
    #[must_use]
    pub fn with_time_zone(mut self, zone: TimeZone) -> Self {
        self.time_zone = Some(zone);
        self
    }

    /// The year of klog's headers, which have none. Needed only for blocks whose own time cannot be
    /// read, in logs whose wrapping has no time either.
    #[must_use]
    pub fn with_year(mut self, year: i16) -> Self {
        self.year = Some(year);
        self
    }

    /// How many blocks may be unfinished at once before the oldest is taken as it is. At least one;
    /// by default 1,024. All together they may also hold no more than 64 MiB.
    #[must_use]
    pub fn with_max_open_blocks(mut self, blocks: usize) -> Self {
        self.max_open_blocks = blocks;
        self
    }

    /// How many operations [`Summary::slowest`] lists; by default ten.
    #[must_use]
    pub fn with_slowest(mut self, operations: usize) -> Self {
        self.slowest = operations;
        self
    }
}
