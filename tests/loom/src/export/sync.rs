//! What stands in for `src/export/sync.rs`. Time does not pass: a wait ends when it is notified, or
//! at once where there is no time to wait.

use std::sync::LockResult;
use std::time::Duration;

pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
pub(super) use loom::sync::{Mutex, MutexGuard};

#[derive(Debug, Default)]
pub(super) struct Condvar(loom::sync::Condvar);

pub(super) struct WaitTimeoutResult {
    timed_out: bool,
}

impl WaitTimeoutResult {
    pub(super) fn timed_out(&self) -> bool {
        self.timed_out
    }
}

type Waited<'a, T> = LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>;

impl Condvar {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(super) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(super) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> Waited<'a, T> {
        if timeout.is_zero() {
            return Ok((guard, WaitTimeoutResult { timed_out: true }));
        }
        let guard = self.0.wait(guard).expect("a model that panics is over");
        Ok((guard, WaitTimeoutResult { timed_out: false }))
    }

    pub(super) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        while condition(&mut guard) {
            let waited;
            (guard, waited) = self.wait_timeout(guard, timeout)?;
            if waited.timed_out() {
                return Ok((guard, waited));
            }
        }
        Ok((guard, WaitTimeoutResult { timed_out: false }))
    }
}
