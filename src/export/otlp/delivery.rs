//! How sending a request can end, and whether it is worth another try.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::Rng as _;

use super::response::ExportResponse;
use super::tls::Refusal;
use crate::export::sink::Outcome;

/// The collector has the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Spans that it did not take.
    pub(crate) rejected: usize,
    /// What it has to say, be it a warning.
    pub(crate) message: String,
}

impl Delivered {
    /// Whether there is nothing to tell.
    pub(crate) fn is_whole(&self) -> bool {
        self.rejected == 0 && self.message.is_empty()
    }
}

/// The collector does not have the request, or that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) problem: String,
    pub(crate) retry: Retry,
    pub(crate) cause: Cause,
}

/// What a failure is about, for who can do more than try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Who sends, or where to: no other request would be answered otherwise.
    Access,
    Other,
    /// That the request is too large, most likely.
    Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The collector refuses these spans; others it may take.
    No,
    /// The collector takes nothing from us until somebody changes how one of us is set up.
    Hopeless,
    /// Without a pause, however little time is left: only the connection was too old.
    Now,
    /// After a pause of our own choice.
    Soon,
    /// Not before this long: the collector says so.
    After(Duration),
}

impl Failure {
    /// Of a request that broke off with `error`, which may say less than TLS does.
    pub(super) fn of_connection(
        error: &(dyn std::error::Error + 'static),
        refusal: Option<Refusal>,
        connection: &KeptConnection,
    ) -> Self {
        let problem = chain(error);
        match refusal {
            Some(refusal) => Self {
                problem: refusal.told_of(problem),
                retry: Retry::Hopeless,
                cause: Cause::Access,
            },
            None => Self { problem, retry: connection.broke(), cause: Cause::Other },
        }
    }
}

impl From<Result<Delivered, Failure>> for Outcome {
    fn from(sent: Result<Delivered, Failure>) -> Self {
        match sent {
            Ok(delivered) if delivered.is_whole() => Self::Delivered,
            Ok(Delivered { rejected, message }) => Self::Partly { rejected, message },
            Err(failure) => Self::Failed(failure.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        match self.retry {
            Retry::After(delay) => write!(f, " (to be tried again after {delay:?})"),
            Retry::No | Retry::Hopeless | Retry::Now | Retry::Soon => Ok(()),
        }
    }
}

/// Whether a failure may be the connection's age and not the collector's state.
///
/// A collector, or what stands before it, may have closed a connection that was kept for the next
/// request, and nobody has looked at it since: it is not even read from between exports.
#[derive(Debug, Default)]
pub(super) struct KeptConnection(AtomicBool);

impl KeptConnection {
    /// There was an answer, so the connection may be used again.
    pub(super) fn answered(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// A request broke off without an answer: what to do about it. The next one goes over a fresh
    /// connection, so that there is one try more and not several.
    pub(super) fn broke(&self) -> Retry {
        if self.0.swap(false, Ordering::Relaxed) { Retry::Now } else { Retry::Soon }
    }
}

/// The pause before the first repetition.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Exponential back-off with jitter, as the OTLP specification asks.
#[derive(Debug)]
pub(super) struct BackOff(Duration);

impl BackOff {
    pub(super) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    /// How long to wait before the next try; `None` if there is none.
    pub(super) fn pause(&mut self, retry: Retry) -> Option<Duration> {
        let own = self.0.mul_f64(rand::rng().random_range(0.5..=1.0));
        let pause = match retry {
            Retry::No | Retry::Hopeless => return None,
            Retry::Now => return Some(Duration::ZERO),
            Retry::Soon => own,
            Retry::After(least) => least.max(own),
        };
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

/// An error and its sources.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

impl From<ExportResponse> for Delivered {
    fn from(response: ExportResponse) -> Self {
        let partial = response.partial_success.unwrap_or_default();
        let rejected = usize::try_from(partial.rejected_spans).unwrap_or_default();
        Self { rejected, message: partial.error_message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_never_the_same_for_all() {
        let mut back_off = BackOff::new();
        let mut limit = FIRST_PAUSE;
        for _ in 0..6 {
            let pause = back_off.pause(Retry::Soon).unwrap();
            assert!(pause <= limit && pause >= limit / 2, "{pause:?} {limit:?}");
            limit = (limit * 2).min(LONGEST_PAUSE);
        }
        assert_eq!(back_off.pause(Retry::No), None);
        assert_eq!(back_off.pause(Retry::Hopeless), None);
        assert_eq!(back_off.pause(Retry::Now), Some(Duration::ZERO));
        let asked = Duration::from_secs(20);
        assert_eq!(back_off.pause(Retry::After(asked)), Some(asked));
    }

    #[test]
    fn who_asks_for_no_pause_is_not_asked_ever_again_at_once() {
        let mut back_off = BackOff::new();
        for _ in 0..3 {
            let pause = back_off.pause(Retry::After(Duration::ZERO)).unwrap();
            assert!(pause >= FIRST_PAUSE / 2, "{pause:?}");
        }
        assert!(back_off.pause(Retry::After(Duration::ZERO)).unwrap() >= LONGEST_PAUSE / 2);
    }
}
