//! What can go wrong in the service itself: exporters, samplers and values of the user's.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::trace::{Link, SpanKind};
use opentelemetry::{Context, KeyValue, SpanId, TraceId};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{IdGenerator, SamplingResult, ShouldSample, SpanData, SpanExporter};
use spanbridge::{LayerBuilder, TracingConfig, TracingGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// What is wrong in the service's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InService {
    /// Nothing: the fault is the collector's.
    Nothing,
    BlockedExporter,
    EndlessExporter,
    ExportsOnTheRequestPath,
    FailingExporter,
    NoExporter,
    PanickingDebug,
    PanickingDisplay,
    PanickingExporter,
    PanickingIds,
    PanickingSampler,
    SlowExporter,
    SometimesWaitsOnTheRequestPath,
    /// Nothing, with an exporter of the service's own.
    Sound,
    /// An exporter that never ends, behind a queue without a bound.
    UnboundedQueue,
    WaitsOnTheRequestPath,
}

impl InService {
    const ALL: [Self; 16] = [
        Self::Nothing,
        Self::BlockedExporter,
        Self::EndlessExporter,
        Self::ExportsOnTheRequestPath,
        Self::FailingExporter,
        Self::NoExporter,
        Self::PanickingDebug,
        Self::PanickingDisplay,
        Self::PanickingExporter,
        Self::PanickingIds,
        Self::PanickingSampler,
        Self::SlowExporter,
        Self::SometimesWaitsOnTheRequestPath,
        Self::Sound,
        Self::UnboundedQueue,
        Self::WaitsOnTheRequestPath,
    ];

    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }

    pub(crate) fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|known| known.name() == name).expect("a fault that is known")
    }
}

type Taken = Box<dyn Fn() -> u64>;

/// Makes the process's subscriber. Where the service has an exporter of its own, what that took can
/// be asked for.
pub(crate) fn install(
    fault: InService,
    config: impl FnOnce() -> TracingConfig,
) -> (TracingGuard, Option<Taken>) {
    if matches!(
        fault,
        InService::Nothing
            | InService::ExportsOnTheRequestPath
            | InService::SometimesWaitsOnTheRequestPath
            | InService::WaitsOnTheRequestPath
    ) {
        return (spanbridge::init(Some(config())).unwrap(), None);
    }
    // Thousands of panics, and each is as told.
    std::panic::set_hook(Box::new(|_| ()));
    let exporter = Own { fault, taken: Arc::default() };
    let taken = Arc::clone(&exporter.taken);
    // The variables say how much may wait, also here.
    let builder = spanbridge::layer().with_export_timeout(Duration::from_secs(1));
    let builder = match fault {
        InService::NoExporter => builder,
        InService::PanickingSampler => builder.with_sampler(Bomb).with_exporter(exporter),
        InService::PanickingIds => builder.with_id_generator(Bomb).with_exporter(exporter),
        InService::UnboundedQueue => {
            builder.with_max_queue_size(usize::MAX).with_exporter(exporter)
        }
        InService::SlowExporter => {
            builder.with_export_timeout(Duration::from_secs(30)).with_exporter(exporter)
        }
        _ => builder.with_exporter(exporter),
    };
    (set_global(builder), Some(Box::new(move || taken.load(Ordering::Relaxed))))
}

/// Our warnings go to standard error, as with [`spanbridge::init`].
fn set_global(builder: LayerBuilder) -> TracingGuard {
    let (layer, guard) = builder.build();
    let warnings = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_filter(Targets::new().with_target("spanbridge", tracing::Level::WARN));
    tracing_subscriber::registry().with(layer).with(warnings).init();
    guard
}

/// What the handler does beside its work.
pub(crate) fn on_request(fault: InService) {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    // A request makes two spans; this one has four batches to export.
    if fault == InService::ExportsOnTheRequestPath
        && REQUESTS.fetch_add(1, Ordering::Relaxed).is_multiple_of(4 * crate::service::BATCH / 2)
    {
        std::thread::sleep(Duration::from_secs(1));
    }
    if fault == InService::SometimesWaitsOnTheRequestPath
        && REQUESTS.fetch_add(1, Ordering::Relaxed).is_multiple_of(20)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    if fault == InService::WaitsOnTheRequestPath {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An exporter of the service's own.
#[derive(Debug)]
struct Own {
    fault: InService,
    taken: Arc<AtomicU64>,
}

impl SpanExporter for Own {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        match self.fault {
            InService::BlockedExporter => loop {
                std::thread::park();
            },
            InService::EndlessExporter | InService::UnboundedQueue => pending().await,
            InService::FailingExporter => {
                return Err(OTelSdkError::InternalFailure("the disk is full".to_owned()));
            }
            InService::PanickingExporter => panic!("as told"),
            InService::SlowExporter => tokio::time::sleep(Duration::from_secs(1)).await,
            _ => {}
        }
        self.taken.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Panics, whatever it is asked.
#[derive(Clone)]
pub(crate) struct Bomb;

impl fmt::Debug for Bomb {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("as told")
    }
}

impl fmt::Display for Bomb {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("as told")
    }
}

impl ShouldSample for Bomb {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        panic!("as told")
    }
}

impl IdGenerator for Bomb {
    fn new_trace_id(&self) -> TraceId {
        panic!("as told")
    }

    fn new_span_id(&self) -> SpanId {
        panic!("as told")
    }
}
