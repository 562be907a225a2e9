//! A `legacy::Trace` with two steps, and the ways in which it may be set up.
//!
//! Needs nothing else of this folder: `#[path = "shared/trace.rs"] mod trace;`.

use std::hint::black_box;
use std::io;
use std::time::Duration;

use spanbridge::legacy::{TextLog, Trace, fields};

/// No trace takes as long: what is kept for the text is never printed, as with nearly all.
pub(crate) const NEVER: Duration = Duration::from_secs(3_600);

/// What becomes of a trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) has_text: bool,
    /// Whether a layer is to be there that makes a span of it.
    pub(crate) has_span: bool,
    /// Slow ones are printed.
    pub(crate) threshold: Duration,
}

const UNUSED: Setting = Setting { name: "off", has_text: false, has_span: false, threshold: NEVER };

pub(crate) const OFF: Setting = UNUSED;
pub(crate) const TEXT: Setting = Setting { name: "text only", has_text: true, ..UNUSED };
pub(crate) const SPAN: Setting = Setting { name: "span only", has_span: true, ..UNUSED };
pub(crate) const BOTH: Setting = Setting { name: "both", has_text: true, has_span: true, ..UNUSED };
pub(crate) const PRINTED: Setting =
    Setting { name: "text only, printed", threshold: Duration::ZERO, ..TEXT };

pub(crate) const ALL: [Setting; 5] = [OFF, TEXT, SPAN, BOTH, PRINTED];

impl Setting {
    /// A text log that throws away what is printed.
    pub(crate) fn log(&self) -> TextLog {
        let builder = TextLog::builder().with_writer(io::sink);
        if self.has_text { builder.build() } else { builder.with_verbosity(0).build() }
    }
}

/// A list request, as an API server traces it: two fields, a step with one, a step without.
pub(crate) fn operation(log: &TextLog, threshold: Duration) {
    let path = black_box("/api/v1/pods");
    let trace = Trace::new_in(log, "List", fields!["url" => path, "limit" => 500]);
    trace.step("listed from storage", fields!["count" => black_box(3)]);
    trace.step("encoded", fields![]);
    trace.log_if_long(threshold);
}
