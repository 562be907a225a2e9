//! How a log is set up.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use super::{Output, Settings, TextLog};
use crate::legacy::go::Zone;

/// Sets up a [`TextLog`].
#[must_use = "a builder does nothing until it is built"]
#[derive(Debug)]
pub struct TextLogBuilder(pub(super) Settings);

impl TextLogBuilder {
    /// How much is printed, 2 unless set; see [`TextLog::set_verbosity`].
    pub fn with_verbosity(self, verbosity: u8) -> Self {
        Self(Settings { verbosity: AtomicU8::new(verbosity), ..self.0 })
    }

    /// Writes each block, in one call, to what `make` returns: [`std::io::stderr`], or a closure that
    /// clones an `Arc<File>`. What it fails to take is counted by [`TextLog::lost_blocks`].
    ///
    /// Without a writer blocks are `tracing` events.
    pub fn with_writer<W: Write>(self, make: impl Fn() -> W + Send + Sync + 'static) -> Self {
        let write = move |text: &str| make().write_all(text.as_bytes());
        Self(Settings { output: Output::Writer(Arc::new(write)), ..self.0 })
    }

    /// Whether klog's header (`I1122 07:30:00.123456   12345 list.rs:42] `) comes before each block
    /// that is given to a writer; it does unless set.
    pub fn with_header(self, has_header: bool) -> Self {
        Self(Settings { has_header, ..self.0 })
    }

    /// Whether the first line of a block ends its fields with `trace_id` and `span_id` of the span
    /// that stands for it, where there is one. Not unless set.
    pub fn with_ids(self, has_ids: bool) -> Self {
        Self(Settings { has_ids, ..self.0 })
    }

    /// Prints what `k8s.io/utils/trace` prints for the same calls, without the corrections that are
    /// made otherwise:
    ///
    /// * a nested operation's time would run on until the text is written;
    /// * an operation that is not finished, or was dropped without being logged, would not be shown;
    /// * errors would not reach the text;
    /// * klog's header would name `trace.go` instead of the line that logged;
    /// * a trace would keep steps without limit;
    /// * the verbosity would count when a root is logged, and not when it starts. So it keeps its
    ///   steps below verbosity 2, too, and costs as much.
    ///
    /// Which characters are quoted as they are goes by the Unicode version of the toolchain that
    /// this is built with, as in Go by that of Go's.
    ///
    /// Spans are the same: [`Trace::record_error`](crate::legacy::Trace::record_error) sets their
    /// status, which component-base leaves to its callers.
    pub fn with_upstream_exact(self, is_exact: bool) -> Self {
        Self(Settings { is_exact, ..self.0 })
    }

    /// Whether a trace gets sampled spans after all if it was slow enough to be printed and its own
    /// span was not sampled. Not unless set.
    ///
    /// That holds also where nobody wants the text: below verbosity 2, or if the event that it would
    /// be is filtered out. Then nothing is printed, but traces with a span record what happens in
    /// them as if it were.
    ///
    /// They are in the same trace, below the span that was not sampled, and as it would have been:
    /// of the operation that is printed and all that is nested in it, with fields, steps and their
    /// times. The topmost carries the block in the attribute `slow_operation.text`. A parent-based
    /// sampler, which is the default, samples them; any other is free not to.
    ///
    /// Spans that other code has made within are lost. tracing-opentelemetry's layer cannot set
    /// starts, which are then the time of writing.
    pub fn with_unsampled_kept(self, keeps_unsampled: bool) -> Self {
        Self(Settings { keeps_unsampled, ..self.0 })
    }

    /// Whether times are printed in UTC instead of in the system's time zone. Not unless set.
    pub fn with_utc(self, is_utc: bool) -> Self {
        let zone = if is_utc { Zone::Utc } else { Zone::Local };
        Self(Settings { zone, ..self.0 })
    }

    /// The log as it is set up.
    pub fn build(self) -> TextLog {
        TextLog(Arc::new(self.0))
    }
}
