//! Telling awc's time limit from a caller that lost interest.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use awc::SendClientRequest;
use awc::error::SendRequestError;

thread_local! {
    static TIMED_OUT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a request that is dropped right now has been given up by awc.
pub(super) fn is_timed_out() -> bool {
    TIMED_OUT.get()
}

/// Lets the span of a request know that awc has given it up.
///
/// awc's time limit works outside of its hooks and drops what is inside. Without this that looks
/// like a caller that dropped its request, and leaves the span without a status.
///
/// # Examples
///
/// ```no_run
/// use spanbridge::client::RecordTimeout as _;
///
/// # async fn f(client: awc::Client) -> Result<(), awc::error::SendRequestError> {
/// let response = client.get("http://api/pods").send().record_timeout().await?;
/// # drop(response);
/// # Ok(())
/// # }
/// ```
pub trait RecordTimeout {
    /// Resolves as the request does; where that is [`SendRequestError::Timeout`], the request's
    /// span has failed with the `error.type` `timeout`.
    fn record_timeout(self) -> TimeoutRecorded;
}

impl RecordTimeout for SendClientRequest {
    fn record_timeout(self) -> TimeoutRecorded {
        TimeoutRecorded { send: Some(self) }
    }
}

/// A request whose span knows whether awc has given it up. Made by [`RecordTimeout`].
///
/// # Cancel safety
///
/// Dropping it drops the request.
#[must_use = "futures do nothing unless polled"]
pub struct TimeoutRecorded {
    // `None` once resolved.
    send: Option<SendClientRequest>,
}

impl Future for TimeoutRecorded {
    type Output = <SendClientRequest as Future>::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let send = self.send.as_mut().expect("polled after it resolved");
        let polled = Pin::new(send).poll(cx);
        if let Poll::Ready(result) = &polled {
            let is_timeout = matches!(result, Err(SendRequestError::Timeout));
            let _reset = is_timeout.then(TimedOut::set);
            self.send = None;
        }
        polled
    }
}

impl fmt::Debug for TimeoutRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutRecorded").finish_non_exhaustive()
    }
}

struct TimedOut;

impl TimedOut {
    fn set() -> Self {
        TIMED_OUT.set(true);
        Self
    }
}

impl Drop for TimedOut {
    fn drop(&mut self) {
        TIMED_OUT.set(false);
    }
}
