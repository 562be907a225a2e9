//! Where the text goes.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// A slow operation: the root of a span tree, or a span with a threshold of its own below a root
/// that was not slow.
#[derive(Debug)]
pub struct SlowSpan<'a> {
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) name: &'a str,
    pub(super) started: SystemTime,
    pub(super) duration: Duration,
    pub(super) threshold: Duration,
    pub(super) text: &'a str,
}

impl SlowSpan<'_> {
    /// How long it took.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// What its callsite says of it: target, level, place in the source.
    pub fn metadata(&self) -> &'static Metadata<'static> {
        self.metadata
    }

    /// Its name, or `otel.name` where that is set.
    pub fn name(&self) -> &str {
        self.name
    }

    /// When it started.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// The lines of its tree, the last with its newline.
    pub fn text(&self) -> &str {
        self.text
    }

    /// The threshold that it exceeded.
    pub fn threshold(&self) -> Duration {
        self.threshold
    }
}

type Put = dyn Fn(&SlowSpan<'_>) -> io::Result<()> + Send + Sync;

pub(super) struct Output(Box<Put>);

impl Output {
    pub(super) fn callback(callback: impl Fn(&SlowSpan<'_>) + Send + Sync + 'static) -> Self {
        Self(Box::new(move |slow| {
            callback(slow);
            Ok(())
        }))
    }

    pub(super) fn writer<W>(make_writer: W) -> Self
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        Self(Box::new(move |slow| {
            // At once, so that the lines of two trees do not mix.
            make_writer.make_writer_for(slow.metadata).write_all(slow.text.as_bytes())
        }))
    }

    /// Whether it was put out. Panics end here: a span that closes must not fail because of this.
    pub(super) fn put(&self, slow: &SlowSpan<'_>) -> bool {
        matches!(catch_unwind(AssertUnwindSafe(|| (self.0)(slow))), Ok(Ok(())))
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

thread_local! {
    static IS_PRINTING: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, this thread's spans and events are nobody's business here: they are the
/// output's own.
#[derive(Debug)]
pub(super) struct Printing(());

impl Printing {
    /// `None` within another one.
    pub(super) fn begin() -> Option<Self> {
        // A thread that is ending has lost its flag, and prints no more.
        let was = IS_PRINTING.try_with(|is_printing| is_printing.replace(true)).unwrap_or(true);
        (!was).then_some(Self(()))
    }

    pub(super) fn is_going_on() -> bool {
        IS_PRINTING.try_with(Cell::get).unwrap_or(true)
    }
}

impl Drop for Printing {
    fn drop(&mut self) {
        let _ = IS_PRINTING.try_with(|is_printing| is_printing.set(false));
    }
}
