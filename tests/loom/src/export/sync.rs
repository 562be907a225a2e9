//! What stands in for `src/export/sync.rs`. Time does not pass: a wait ends when it is notified.

use std::sync::LockResult;
use std::time::Duration;

pub(super) use loom::sync::{Mutex, MutexGuard};

#[derive(Debug, Default)]
pub(super) struct Condvar(loom::sync::Condvar);

pub(super) struct WaitTimeoutResult;

impl WaitTimeoutResult {
    pub(super) fn timed_out(&self) -> bool {
        false
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
        _: Duration,
    ) -> Waited<'a, T> {
        let guard = self.0.wait(guard).expect("a model that panics is over");
        Ok((guard, WaitTimeoutResult))
    }

    pub(super) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        while condition(&mut guard) {
            (guard, _) = self.wait_timeout(guard, timeout)?;
        }
        Ok((guard, WaitTimeoutResult))
    }
}
