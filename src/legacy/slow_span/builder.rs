//! Setting up a [`SlowSpanLayer`].

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use super::SlowSpanLayer;
use super::clock::Clock;
use super::limiter::Limiter;
use super::output::{Output, SlowSpan};
use super::print::Printer;
use super::recording::Limits;
use super::threshold::{Rule, Thresholds};
use crate::legacy::go::Zone;
use crate::legacy::text::Style;

/// Settings of a [`SlowSpanLayer`]. Made by [`SlowSpanLayer::builder`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use spanbridge::legacy::SlowSpanLayer;
///
/// let layer = SlowSpanLayer::builder()
///     .with_threshold(Duration::from_millis(200))
///     .with_target_threshold("shop::reports", Duration::from_secs(5))
///     .with_ignored_target("h2")
///     .with_writer(std::io::stdout)
///     .build();
/// assert_eq!(layer.stats().printed(), 0);
/// ```
#[derive(Debug)]
#[must_use]
pub struct SlowSpanLayerBuilder {
    pub(super) clock: Clock,
    pub(super) style: Style,
    every: Duration,
    burst: u32,
    limits: Limits,
    max_level: Level,
    max_trees: usize,
    output: Output,
    pub(super) thresholds: Thresholds,
}

impl SlowSpanLayerBuilder {
    pub(super) fn new() -> Self {
        let mut thresholds = Thresholds::new(Duration::from_millis(500), "slow_after_ms");
        // A legacy trace prints itself; its span and its text's event would print it again.
        thresholds.set("spanbridge::legacy".to_owned(), Rule::Ignore);
        Self {
            clock: Clock::system(),
            style: Style::default(),
            every: Duration::from_secs(1),
            burst: 10,
            limits: Limits { bytes: 32 * 1_024, items: 512 },
            max_level: Level::TRACE,
            max_trees: 1_024,
            output: Output::writer(io::stderr),
            thresholds,
        }
    }

    /// A span tree is slow if its root takes at least this long; 500 milliseconds by default.
    ///
    /// It holds for roots that have neither a threshold of their own nor one of their target. Zero
    /// prints every tree.
    pub fn with_threshold(mut self, threshold: Duration) -> Self {
        self.thresholds.default = threshold;
        self
    }

    /// Measures the spans of `target`, and of the modules below it, by this threshold. The longest
    /// target that fits holds; the empty one fits all.
    ///
    /// It holds for spans anywhere in a tree: one that exceeds it is printed although its root was
    /// quick enough, and one that does not is left out of the text.
    pub fn with_target_threshold(mut self, target: impl Into<String>, threshold: Duration) -> Self {
        self.thresholds.set(target.into(), Rule::SlowAfter(threshold));
        self
    }

    /// Looks at no span and no event of `target`, and of the modules below it. Spans within them
    /// belong to the nearest span that is looked at.
    ///
    /// By default that is so for `spanbridge::legacy`, the target of a
    /// [`Trace`](crate::legacy::Trace), which prints itself.
    ///
    /// # Performance
    ///
    /// Such a span costs a comparison of its target with those that were named. A per-layer filter
    /// costs less still: a callsite that no layer wants is off.
    pub fn with_ignored_target(mut self, target: impl Into<String>) -> Self {
        self.thresholds.set(target.into(), Rule::Ignore);
        self
    }

    /// The field with which a span sets its own threshold, in milliseconds; `slow_after_ms` by
    /// default. The field's value may be any number, also recorded late, and is not printed.
    ///
    /// It goes before its target's threshold, and holds anywhere in a tree as that one does.
    pub fn with_threshold_field(mut self, name: impl Into<String>) -> Self {
        self.thresholds.field = name.into();
        self
    }

    /// Looks at no span and no event above this level of detail; all levels by default.
    pub fn with_max_level(mut self, level: Level) -> Self {
        self.max_level = level;
        self
    }

    /// Prints all that was recorded of a slow tree. By default an event, or a nested span without a
    /// threshold of its own, is printed if it took its share of the threshold above it.
    pub fn with_all_steps(mut self, all: bool) -> Self {
        self.style.verbosity = if all { 4 } else { 2 };
        self
    }

    /// Prints times in UTC, and not in the system's time zone.
    pub fn with_utc(mut self, utc: bool) -> Self {
        self.style.zone = if utc { Zone::Utc } else { Zone::Local };
        self
    }

    /// Watches at most this many trees at a time; 1,024 by default. A root beyond that is not
    /// watched, and counted; the next print tells of it as `slow.unwatched_trees`.
    ///
    /// Together with [`with_max_tree_bytes`](Self::with_max_tree_bytes) it bounds the memory: 32
    /// MiB by default, were all trees full.
    pub fn with_max_trees(mut self, trees: usize) -> Self {
        self.max_trees = trees;
        self
    }

    /// Keeps at most this many spans and events of one tree; 512 by default.
    ///
    /// Where that is too few, nested spans that took less than a thousandth of the root's threshold
    /// make room; if that is not enough, further spans are roots of their own. The text tells how
    /// many are missing from it as `slow.not_recorded`.
    pub fn with_max_tree_items(mut self, items: usize) -> Self {
        self.limits.items = items;
        self
    }

    /// Keeps at most about this many bytes of one tree; 32 KiB by default. What does not fit is
    /// treated as [`with_max_tree_items`](Self::with_max_tree_items) says. A single value is cut
    /// after 1,024 bytes.
    pub fn with_max_tree_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Prints at most `burst` trees at once, and over time one for each `every`; ten, and one a
    /// second, by default. What is held back is counted, and the next print tells of it as
    /// `slow.suppressed_trees`. A zero `every` sets no limit.
    pub fn with_rate_limit(mut self, burst: u32, every: Duration) -> Self {
        self.burst = burst;
        self.every = every;
        self
    }

    /// Writes the text there, each tree at once; [`std::io::stderr`] by default.
    pub fn with_writer<W>(mut self, make_writer: W) -> Self
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        self.output = Output::writer(make_writer);
        self
    }

    /// Calls `callback` with each slow operation, in place of writing it.
    ///
    /// It is called on the thread that closes the root, while no lock is held. Spans and events that
    /// it makes itself are not looked at by this layer; a panic in it is counted as a failure.
    pub fn with_callback(
        mut self,
        callback: impl Fn(&SlowSpan<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.output = Output::callback(callback);
        self
    }

    /// The layer.
    pub fn build(self) -> SlowSpanLayer {
        static LAYERS: AtomicU64 = AtomicU64::new(0);
        let limiter = Limiter::new(self.burst, self.every, self.clock.now());
        SlowSpanLayer {
            // Only has to differ from the others.
            number: LAYERS.fetch_add(1, Ordering::Relaxed),
            clock: self.clock,
            limits: self.limits,
            max_level: self.max_level,
            max_trees: self.max_trees,
            thresholds: self.thresholds,
            printer: Printer::new(limiter, self.output, self.style),
        }
    }
}
