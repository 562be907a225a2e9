//! Off the hot path: drains chunks, builds spans, exports them, counts what became of them.

mod callsite;
pub(crate) mod chunk;
mod closed_span;
pub(crate) mod decode;
pub(crate) mod exporter;
pub(crate) mod fan_out;
pub(crate) mod guard;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
pub(crate) mod otlp;
pub(crate) mod queue;
pub(crate) mod rounds;
pub(crate) mod sink;
pub(crate) mod stats;
mod stdout;
mod sync;
pub(crate) mod worker;

pub(crate) use self::callsite::MetadataAttributes;
pub use self::guard::{FlushError, ShutdownError, TracingGuard};
pub use self::stats::{DroppedSpans, Stats};
pub use self::stdout::StdoutExporter;
