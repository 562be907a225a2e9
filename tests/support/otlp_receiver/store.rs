//! What a receiver has been sent, how it is told to answer, and who waits for it.

use std::error::Error;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::sync::watch;

use super::behaviour::{Behaviour, Refusal};
use super::span::{self, ReceivedSpan};

/// How much has arrived, and what became of it.
///
/// Spans of requests that were cut, hang, or whose client left during a delay are in
/// `spans_offered` only, so a test can tell lost from never sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests that were read to their end.
    pub(crate) requests: u64,
    /// Requests answered with success, in part or whole.
    pub(crate) accepted: u64,
    /// Requests answered with an error because of [`Behaviour::Refuse`].
    pub(crate) refused: u64,
    /// Requests that break the protocol: not protobuf, ids of the wrong length, wrong path.
    pub(crate) malformed: u64,
    /// Spans in all well-formed requests.
    pub(crate) spans_offered: u64,
    /// Spans that were accepted.
    pub(crate) spans_accepted: u64,
    /// Spans that were named as rejected in a partial success.
    pub(crate) spans_rejected: u64,
}

/// What to tell the client.
#[derive(Debug)]
pub(super) enum Answer {
    Accepted,
    Partial { rejected: u64 },
    Refused(Refusal),
    Malformed(String),
}

/// An answer that is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Nonsense {
    Garbage,
    Page,
}

/// Shared by the server's tasks and the test that waits.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
    changed: Condvar,
    /// Every change makes all open connections close.
    cut: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    keep: bool,
    spans: Vec<ReceivedSpan>,
    counts: Counts,
    last_headers: HeaderMap,
    last_message: Option<ExportTraceServiceRequest>,
}

/// What the behaviour in force means for one request.
enum Verdict {
    Keep { reject: usize, after: Option<Duration> },
    Claim(u64),
    Refuse(Refusal),
    Cut,
    Hang,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                behaviour: Behaviour::default(),
                keep: true,
                spans: Vec::new(),
                counts: Counts::default(),
                last_headers: HeaderMap::new(),
                last_message: None,
            }),
            changed: Condvar::new(),
            cut: watch::Sender::new(()),
        }
    }
}

impl Store {
    /// Treats one export request as the behaviour in force says. Dropping the future, as a server
    /// does when its client leaves, keeps nothing.
    pub(super) async fn receive(&self, request: ExportTraceServiceRequest) -> Answer {
        let size = request.encoded_len();
        {
            let mut state = self.lock();
            state.last_message = state.keep.then(|| request.clone());
        }
        let spans = match span::flatten(request) {
            Ok(spans) => spans,
            Err(reason) => return self.malformed(reason),
        };
        let verdict = {
            let mut state = self.lock();
            state.counts.requests += 1;
            state.counts.spans_offered += spans.len() as u64;
            let verdict = state.behaviour.verdict(size);
            if matches!(verdict, Verdict::Refuse(_)) {
                state.counts.refused += 1;
            }
            verdict
        };
        self.changed.notify_all();
        match verdict {
            Verdict::Keep { reject, after } => {
                if let Some(delay) = after {
                    tokio::time::sleep(delay).await;
                }
                self.keep(spans, reject)
            }
            Verdict::Claim(rejected) => {
                self.keep(spans, 0);
                Answer::Partial { rejected }
            }
            Verdict::Refuse(refusal) => Answer::Refused(refusal),
            Verdict::Cut => {
                self.cut.send_replace(());
                std::future::pending().await
            }
            Verdict::Hang => std::future::pending().await,
        }
    }

    /// Counts a request that cannot be understood.
    pub(super) fn malformed(&self, reason: String) -> Answer {
        let mut state = self.lock();
        state.counts.requests += 1;
        state.counts.malformed += 1;
        drop(state);
        self.changed.notify_all();
        Answer::Malformed(reason)
    }

    /// Counts a request that is answered with nonsense.
    pub(super) fn garbled(&self) {
        self.lock().counts.requests += 1;
        self.changed.notify_all();
    }

    /// What to answer with, where that takes no look at the request.
    pub(super) fn nonsense(&self) -> Option<Nonsense> {
        match self.lock().behaviour {
            Behaviour::Garbage => Some(Nonsense::Garbage),
            Behaviour::Page => Some(Nonsense::Page),
            _ => None,
        }
    }

    pub(super) fn note_headers(&self, headers: &HeaderMap) {
        self.lock().last_headers.clone_from(headers);
    }

    /// Resolves when this connection has to close.
    pub(super) fn cut(&self) -> watch::Receiver<()> {
        self.cut.subscribe()
    }

    pub(super) fn set_behaviour(&self, behaviour: Behaviour) {
        self.lock().behaviour = behaviour;
    }

    pub(super) fn keep_spans(&self, keep: bool) {
        self.lock().keep = keep;
    }

    pub(super) fn take_spans(&self) -> Vec<ReceivedSpan> {
        std::mem::take(&mut self.lock().spans)
    }

    pub(super) fn spans(&self) -> Vec<ReceivedSpan> {
        self.lock().spans.clone()
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub(super) fn last_headers(&self) -> HeaderMap {
        self.lock().last_headers.clone()
    }

    pub(super) fn last_message(&self) -> Option<ExportTraceServiceRequest> {
        self.lock().last_message.clone()
    }

    pub(super) fn wait_until(
        &self,
        mut done: impl FnMut(&[ReceivedSpan]) -> bool,
        timeout: Duration,
    ) -> Result<Vec<ReceivedSpan>, TimedOut> {
        self.wait(timeout, |state| done(&state.spans), |state| state.spans.clone())
    }

    pub(super) fn wait_for_counts(
        &self,
        mut done: impl FnMut(&Counts) -> bool,
        timeout: Duration,
    ) -> Result<Counts, TimedOut> {
        self.wait(timeout, |state| done(&state.counts), |state| state.counts)
    }

    fn wait<T>(
        &self,
        timeout: Duration,
        mut done: impl FnMut(&State) -> bool,
        result: impl FnOnce(&State) -> T,
    ) -> Result<T, TimedOut> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if done(&state) {
                return Ok(result(&state));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TimedOut {
                    waited: timeout,
                    counts: state.counts,
                    names: state.spans.iter().map(|span| span.name.clone()).collect(),
                });
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn keep(&self, mut spans: Vec<ReceivedSpan>, reject: usize) -> Answer {
        let rejected = reject.min(spans.len());
        spans.truncate(spans.len() - rejected);
        let mut state = self.lock();
        state.counts.accepted += 1;
        state.counts.spans_accepted += spans.len() as u64;
        state.counts.spans_rejected += rejected as u64;
        if state.keep {
            state.spans.append(&mut spans);
        }
        drop(state);
        self.changed.notify_all();
        match rejected as u64 {
            0 => Answer::Accepted,
            rejected => Answer::Partial { rejected },
        }
    }

    // A predicate that panics, as a failed assertion does, must not take the receiver with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Behaviour {
    /// For a request of `size` bytes.
    fn verdict(&mut self, size: usize) -> Verdict {
        match self {
            // Nonsense is answered before a request is read; this one raced with the change.
            Self::Accept | Self::Garbage | Self::Page => Verdict::Keep { reject: 0, after: None },
            Self::Claim(rejected) => Verdict::Claim(*rejected),
            Self::CloseAfter(0) => Verdict::Cut,
            Self::CloseAfter(left) => {
                *left -= 1;
                Verdict::Keep { reject: 0, after: None }
            }
            Self::Delay(delay) => Verdict::Keep { reject: 0, after: Some(*delay) },
            Self::Hang => Verdict::Hang,
            Self::PartialSuccess(reject) => Verdict::Keep { reject: *reject, after: None },
            Self::RefuseFirst(0, _) => Verdict::Keep { reject: 0, after: None },
            Self::RefuseFirst(left, refusal) => {
                *left -= 1;
                Verdict::Refuse(refusal.clone())
            }
            Self::RefuseOver(limit, refusal) if size > *limit => Verdict::Refuse(refusal.clone()),
            Self::RefuseOver(..) => Verdict::Keep { reject: 0, after: None },
            Self::Refuse(refusal) => Verdict::Refuse(refusal.clone()),
        }
    }
}

/// A wait ran out of time. `Display` lists what did arrive.
#[derive(Debug)]
pub(crate) struct TimedOut {
    pub(crate) waited: Duration,
    pub(crate) counts: Counts,
    pub(crate) names: Vec<String>,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 50;
        write!(f, "not there after {:?}; received {:?}", self.waited, self.counts)?;
        for name in self.names.iter().take(SHOWN) {
            write!(f, "\n  {name}")?;
        }
        match self.names.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl Error for TimedOut {}
