//! Timings as services have had them for long: `k8s.io/utils/trace`, and what became of it.

#[allow(dead_code, reason = "its users follow")]
pub(crate) mod go;
#[allow(dead_code, reason = "its users follow")]
pub(crate) mod text;

mod slow_span;
mod timed;

#[doc(hidden)]
pub use tracing as __tracing;

pub use self::slow_span::{SlowSpan, SlowSpanLayer, SlowSpanLayerBuilder, SlowSpanStats};
pub use self::timed::Timed;
#[doc(inline)]
pub use crate::timed;
