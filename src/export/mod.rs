//! Off the hot path: drains chunks, builds spans, exports them, counts what became of them.

mod callsite;
pub(crate) mod chunk;
pub(crate) mod decode;
pub(crate) mod exporter;
pub(crate) mod guard;
pub(crate) mod queue;
pub(crate) mod stats;
pub(crate) mod worker;

pub(crate) use self::callsite::MetadataAttributes;
pub use self::guard::{FlushError, ShutdownError, TracingGuard};
pub use self::stats::{DroppedSpans, Stats};
