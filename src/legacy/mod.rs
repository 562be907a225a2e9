//! Timings as services have had them for long, printed if slow, and now also spans.
//!
//! [`Trace`] is `k8s.io/utils/trace`; [`component_base`] is what Kubernetes replaced that with,
//! `k8s.io/component-base/tracing`. In both, one call feeds the text log of slow operations and the
//! distributed trace.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use spanbridge::legacy::{Trace, fields};
//!
//! # fn list_from_storage() -> Vec<u8> { Vec::new() }
//! let trace = Trace::new("List", fields!["url" => "/api/v1/pods"]);
//! let pods = list_from_storage();
//! trace.step("listed from storage", fields!["count" => pods.len()]);
//! trace.log_if_long(Duration::from_millis(500));
//! ```
//!
//! Had this taken 605 ms, a `tracing` event would say, or klog's standard error if
//! [`TextLog`] is told so:
//!
//! ```text
//! Trace[1234567890]: "List" url:/api/v1/pods (22-Nov-2025 07:30:00.123) (total time: 605ms):
//! Trace[1234567890]: ---"listed from storage" count:3 600ms (07:30:00.723)
//! Trace[1234567890]: [605ms] [605ms] END
//! ```
//!
//! And in any case, where [`spanbridge::layer()`](crate::layer()) is installed, there is a span
//! `List` with the attribute `url` and the event `listed from storage`.
//!
//! In a process whose klog flags stay as they were:
//!
//! ```
//! use spanbridge::legacy::TextLog;
//!
//! # let verbosity = 4;
//! TextLog::builder()
//!     .with_writer(std::io::stderr)
//!     .with_verbosity(verbosity)
//!     .with_ids(true)
//!     .build()
//!     .install()?;
//! # Ok::<_, spanbridge::legacy::AlreadyInstalledError>(())
//! ```
//!
//! # What is printed
//!
//! A root trace that is logged, if it took as long as its threshold, with the nested ones that took
//! as long as theirs. The topmost nested traces that were slow within a fast one take that one's
//! place. A step is printed if it took its share of the threshold: what the thresholds of nested
//! traces leave, a quarter at least, spread over the steps and the rest at the end.
//!
//! All this and each byte of it is as upstream has it, but for corrections that
//! [`TextLogBuilder::with_upstream_exact`] undoes. A root keeps 10,000 steps and nested traces, and
//! says how many it has left out.
//!
//! # The current trace
//!
//! Go code hands the trace on in its `ctx`. Here [`Trace::in_scope`] and [`Trace::in_future`] make
//! it the current one for a closure, or whenever a future is polled, on whichever thread that is;
//! [`Trace::current`] finds it, and is safe where there is none.

mod callsite;
mod clock;
pub mod component_base;
mod field;
pub(crate) mod go;
#[cfg(all(test, feature = "testing"))]
mod golden_tests;
mod kept;
mod klog;
mod node;
mod scope;
mod slow_span;
pub(crate) mod text;
mod text_log;
mod timed;
mod trace;
mod tree;
#[cfg(test)]
mod upstream_tests;
mod value;
mod writer;

#[doc(hidden)]
pub use tracing as __tracing;

pub use self::field::{Field, IntoFields, LazyFields};
pub use self::scope::InTrace;
pub use self::slow_span::{SlowSpan, SlowSpanLayer, SlowSpanLayerBuilder, SlowSpanStats};
pub use self::text_log::{AlreadyInstalledError, TextLog, TextLogBuilder};
pub use self::timed::Timed;
pub use self::trace::Trace;
pub use self::value::FieldValue;
#[doc(inline)]
pub use crate::__legacy_fields as fields;
#[doc(inline)]
pub use crate::timed;
