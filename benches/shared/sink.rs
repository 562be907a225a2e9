//! An exporter that counts spans and throws them away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

#[derive(Clone, Debug, Default)]
pub(crate) struct Sink(Arc<AtomicU64>);

impl Sink {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

static IS_HELD: Mutex<bool> = Mutex::new(false);
static RELEASED: Condvar = Condvar::new();

/// No sink of this process takes anything while `make_spans` runs: what it makes stays in queues.
pub(crate) fn while_held(make_spans: impl FnOnce()) {
    *is_held() = true;
    make_spans();
    *is_held() = false;
    RELEASED.notify_all();
}

fn is_held() -> MutexGuard<'static, bool> {
    IS_HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SpanExporter for Sink {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        // It blocks: whose thread exports has nothing else to do.
        drop(RELEASED.wait_while(is_held(), |is_held| *is_held));
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
