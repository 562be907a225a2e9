//! One line for what is mostly written by hand: start a clock, work, warn if it took too long.

use std::fmt;
use std::time::{Duration, Instant};

use tracing::Span;

/// Measures a block, a future, or the rest of a scope in a span of its own, and warns if it took
/// at least as long as a threshold.
///
/// It is for `let start = Instant::now(); ...; if start.elapsed() > LIMIT { warn!(...) }`. The
/// warning is an event within the span, of the caller's module, with the fields `duration` and
/// `threshold`. It is due whether the span is enabled or not, also if the block is left early, by
/// `?`, `return` or a panic, and if the future is dropped before it is done.
///
/// The span is at INFO level and has the threshold in its field `slow_after_ms`, by which
/// [`SlowSpanLayer`](crate::legacy::SlowSpanLayer) also prints what happened within it.
///
/// ```text
/// timed!("name", threshold, expression)
/// timed!("name", threshold, async { ... })         // or async move; a future, to be awaited
/// timed!("name", threshold)                        // a guard: until it is dropped
/// timed!("name", { field = value, ... }, threshold, ...)
/// ```
///
/// The fields are those of [`tracing::info_span!`]. A guard does not enter its span, so it may be
/// held across `.await`; what happens meanwhile is not within the span, unless it is
/// [asked for](Timed::span).
///
/// What awaits belongs into the `async` form: the span of a plain expression stays entered while
/// other tasks run on its thread.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use spanbridge::legacy::timed;
///
/// fn load(shard: u64) -> Result<u64, std::num::TryFromIntError> {
///     let rows = timed!("load rows", { shard, table = "orders" }, Duration::from_millis(100), {
///         tracing::info!("connected");
///         u8::try_from(shard)? // leaves the function, as ever
///     });
///     Ok(rows.into())
/// }
/// assert_eq!(load(7)?, 7);
/// assert!(load(700).is_err());
/// # Ok::<_, std::num::TryFromIntError>(())
/// ```
///
/// A future, which may move between threads, and the rest of a function:
///
/// ```
/// use std::time::Duration;
///
/// use spanbridge::legacy::timed;
///
/// async fn fetch(url: &str) -> usize {
///     let _timed = timed!("fetch", { url }, Duration::from_secs(1));
///     let body = timed!("download", Duration::from_millis(500), async {
///         tokio::task::yield_now().await;
///         "body"
///     });
///     body.await.len()
/// }
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// assert_eq!(runtime.block_on(fetch("/")), 4);
/// ```
#[macro_export]
macro_rules! timed {
    ($name:literal, { $($fields:tt)* }, $threshold:expr, async move $body:block $(,)?) => {
        async move {
            let timed = $crate::timed!(@new $name, { $($fields)* }, $threshold);
            $crate::legacy::__tracing::Instrument::instrument(
                async move $body,
                $crate::legacy::Timed::span(&timed).clone(),
            )
            .await
        }
    };
    ($name:literal, { $($fields:tt)* }, $threshold:expr, async $body:block $(,)?) => {
        async {
            let timed = $crate::timed!(@new $name, { $($fields)* }, $threshold);
            $crate::legacy::__tracing::Instrument::instrument(
                async $body,
                $crate::legacy::Timed::span(&timed).clone(),
            )
            .await
        }
    };
    ($name:literal, { $($fields:tt)* }, $threshold:expr, $body:expr $(,)?) => {{
        let timed = $crate::timed!(@new $name, { $($fields)* }, $threshold);
        let _entered = $crate::legacy::Timed::span(&timed).enter();
        $body
    }};
    ($name:literal, { $($fields:tt)* }, $threshold:expr $(,)?) => {
        $crate::timed!(@new $name, { $($fields)* }, $threshold)
    };
    ($name:literal, $threshold:expr, async move $body:block $(,)?) => {
        $crate::timed!($name, {}, $threshold, async move $body)
    };
    ($name:literal, $threshold:expr, async $body:block $(,)?) => {
        $crate::timed!($name, {}, $threshold, async $body)
    };
    ($name:literal, $threshold:expr, $body:expr $(,)?) => {
        $crate::timed!($name, {}, $threshold, $body)
    };
    ($name:literal, $threshold:expr $(,)?) => {
        $crate::timed!(@new $name, {}, $threshold)
    };
    (@new $name:literal, { $($fields:tt)* }, $threshold:expr) => {
        $crate::legacy::Timed::__new(
            $threshold,
            |slow_after_ms| {
                $crate::legacy::__tracing::info_span!($name, slow_after_ms, $($fields)*)
            },
            |duration, threshold| {
                $crate::legacy::__tracing::warn!(
                    ?duration,
                    ?threshold,
                    ::core::concat!($name, " was slow"),
                );
            },
        )
    };
}

/// A guard that warns when it is dropped, if it was held too long. Made by [`timed!`].
#[must_use = "it measures until it is dropped"]
pub struct Timed {
    span: Span,
    started: Instant,
    threshold: Duration,
    warn: fn(Duration, Duration),
}

impl Timed {
    /// For [`timed!`]: callsites have to be the caller's.
    #[doc(hidden)]
    pub fn __new(
        threshold: Duration,
        span: impl FnOnce(f64) -> Span,
        warn: fn(Duration, Duration),
    ) -> Self {
        let span = span(threshold.as_secs_f64() * 1_000.0);
        Self { span, started: Instant::now(), threshold, warn }
    }

    /// The span, for what is to happen within it.
    pub fn span(&self) -> &Span {
        &self.span
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        if elapsed >= self.threshold {
            // In scope, not by parent: without a span it belongs to the one around.
            self.span.in_scope(|| (self.warn)(elapsed, self.threshold));
        }
    }
}

impl fmt::Debug for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed")
            .field("span", &self.span)
            .field("started", &self.started)
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}
