//! Setting a layer up by hand.

use std::fmt;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, ShouldSample, SpanExporter};
use tracing::level_filters::LevelFilter;

use crate::config::env::EnvSettings;
use crate::config::settings::Settings;
use crate::export::decode::Decoder;
use crate::export::sink::{Exporter, Sink};
use crate::export::worker::{self, BatchSettings, Problems, Worker};
use crate::export::{MetadataAttributes, TracingGuard};
use crate::layer::BridgeLayer;
use crate::layer::encoding::ValueLimits;
use crate::layer::engine::{Engine, EngineOptions, Limits};
use crate::layer::sampling::Decider;

/// Starts a [`LayerBuilder`].
///
/// # Examples
///
/// ```
/// use opentelemetry_sdk::trace::InMemorySpanExporter;
/// use tracing_subscriber::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let exporter = InMemorySpanExporter::default();
/// let (layer, guard) = spanbridge::layer().with_exporter(exporter.clone()).build();
/// let subscriber = tracing_subscriber::registry().with(layer);
/// tracing::subscriber::with_default(subscriber, || {
///     tracing::info_span!("list", items = 3).in_scope(|| tracing::info!("from storage"));
/// });
/// guard.force_flush(std::time::Duration::from_secs(5))?;
///
/// let spans = exporter.get_finished_spans()?;
/// assert_eq!(spans[0].name, "list");
/// assert_eq!(spans[0].events[0].name, "from storage");
/// # Ok(())
/// # }
/// ```
pub fn layer() -> LayerBuilder {
    LayerBuilder::new()
}

/// Collects what a layer and its pipeline are made of.
///
/// The defaults are those of the `OTEL_BSP_*`, `OTEL_*_LIMIT` and `OTEL_TRACES_SAMPLER*` variables
/// where they are set. A variable that cannot be read is reported through `tracing` (target
/// `spanbridge::config`) once the layer is built, and has no effect.
///
/// # Attributes
///
/// Fields become attributes of their own type where OTLP has it: text, Booleans, floating point
/// numbers, integers up to 64 bits. Larger integers become text, and so do bytes (`&[u8]`), in
/// hexadecimal like `[01 ff]`; of everything else it is what its `Debug` or `Display` prints.
#[must_use = "a builder does nothing until it is built"]
pub struct LayerBuilder {
    exporter: Option<Exporter>,
    decider: Decider,
    id_generator: Option<Box<dyn IdGenerator>>,
    resource: Option<Resource>,
    scope: InstrumentationScope,
    with: MetadataAttributes,
    limits: Limits,
    max_level: LevelFilter,
    max_live_spans: usize,
    max_queue_size: usize,
    batch: BatchSettings,
    runtime: Option<worker::OwnRuntime>,
    /// What was ignored of the variables, for the worker to log.
    warnings: Vec<String>,
}

/// Open spans at a time; see `docs/adr/` for the memory behind it.
const MAX_LIVE_SPANS: usize = 65_536;
/// Beyond this the id table alone would take half a gigabyte.
const MOST_LIVE_SPANS: usize = 1 << 24;
/// Closed spans waiting for export. As records they take about 400 bytes each, a sixth of what the
/// SDK's 2,048 default was sized for.
const MAX_QUEUE_SIZE: usize = 16_384;

/// The semantic conventions that this crate's attributes follow.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

impl LayerBuilder {
    fn new() -> Self {
        // Without a configuration there is nothing in the settings that could be invalid.
        let env = EnvSettings::from_env();
        Settings::new(None, env).map_or_else(|_| Self::with_defaults(), Self::from_settings)
    }

    /// A builder that starts with what a configuration and the variables say.
    pub(crate) fn from_settings(settings: Settings) -> Self {
        let Settings { batch, limits, .. } = settings;
        let defaults = Self::with_defaults();
        Self {
            decider: Decider::from_setting(settings.sampler),
            limits: Limits {
                attributes: limits.attributes,
                events: limits.events,
                links: limits.links,
                event_attributes: limits.attributes_per_event,
                link_attributes: limits.attributes_per_link,
                values: ValueLimits {
                    length: limits.attribute_value_length.unwrap_or(usize::MAX),
                    ..defaults.limits.values
                },
            },
            max_queue_size: batch.max_queue_size.unwrap_or(MAX_QUEUE_SIZE),
            batch: BatchSettings {
                schedule_delay: batch.schedule_delay,
                max_export_batch_size: batch.max_export_batch_size,
                export_timeout: batch.export_timeout,
            },
            warnings: settings.warnings,
            ..defaults
        }
    }

    fn with_defaults() -> Self {
        Self {
            exporter: None,
            decider: Decider::default(),
            id_generator: None,
            resource: None,
            scope: default_scope(),
            with: MetadataAttributes::default(),
            limits: Limits::default(),
            max_level: LevelFilter::TRACE,
            max_live_spans: MAX_LIVE_SPANS,
            max_queue_size: MAX_QUEUE_SIZE,
            batch: BatchSettings {
                schedule_delay: Duration::from_secs(5),
                max_export_batch_size: None,
                export_timeout: Duration::from_secs(30),
            },
            runtime: None,
            warnings: Vec::new(),
        }
    }

    /// Where spans go: any exporter made for `opentelemetry_sdk`. Without one they are recorded,
    /// their context is propagated, and they are counted as dropped.
    ///
    /// It runs on a thread of the pipeline's own, in a current-thread `tokio` runtime of its own.
    pub fn with_exporter(mut self, exporter: impl SpanExporter + 'static) -> Self {
        self.exporter = Some(Exporter::Any(Box::new(exporter)));
        self
    }

    /// Decides which traces are recorded. By default the parent's decision is followed, and a trace
    /// that starts here is always sampled.
    ///
    /// It is asked once for each local trace, when the entry span's parent is settled: at its first
    /// child, when its context is handed out, or at its end. A sampler that panics has turned the
    /// trace down.
    pub fn with_sampler(mut self, sampler: impl ShouldSample + 'static) -> Self {
        self.decider = Decider::new(sampler);
        self
    }

    /// Makes trace and span ids. By default they are random, and the W3C random flag says so; with
    /// a generator of yours it is not set on traces that start here.
    pub fn with_id_generator(mut self, generator: impl IdGenerator + 'static) -> Self {
        self.id_generator = Some(Box::new(generator));
        self
    }

    /// What the spans tell of the service they come from. By default what `OTEL_SERVICE_NAME` and
    /// `OTEL_RESOURCE_ATTRIBUTES` say.
    pub fn with_resource(mut self, resource: Resource) -> Self {
        self.resource = Some(resource);
        self
    }

    /// The instrumentation scope of all spans; by default this crate's name and version.
    pub fn with_instrumentation_scope(mut self, scope: InstrumentationScope) -> Self {
        self.scope = scope;
        self
    }

    /// Whether `code.file.path`, `code.module.name` and `code.line.number` are set on spans and
    /// events. On by default; costs nothing where spans are made.
    pub fn with_location(mut self, location: bool) -> Self {
        self.with.location = location;
        self
    }

    /// Whether `target` is set on spans and events. On by default.
    pub fn with_target(mut self, target: bool) -> Self {
        self.with.target = target;
        self
    }

    /// Whether `level` is set on spans; events always have it. Off by default.
    pub fn with_level(mut self, level: bool) -> Self {
        self.with.level = level;
        self
    }

    /// Whether `thread.id` and `thread.name` of the creating thread are set on spans. Off by
    /// default.
    pub fn with_threads(mut self, threads: bool) -> Self {
        self.with.threads = threads;
        self
    }

    /// Ignores spans and events that are more verbose. Cheaper than a per-layer filter, which does
    /// the same and more.
    pub fn with_max_level(mut self, level: impl Into<LevelFilter>) -> Self {
        self.max_level = level.into();
        self
    }

    /// How many sampled spans may be open at once (65,536 by default, 16,777,216 at most); one more
    /// is dropped and counted. Each thread keeps up to a thousandth of the number in reserve, at
    /// most 63, so that with many threads the limit may be felt a little earlier.
    pub fn with_max_live_spans(mut self, spans: usize) -> Self {
        self.max_live_spans = spans.clamp(1, MOST_LIVE_SPANS);
        self
    }

    /// How many closed spans may wait for export (16,384 by default); one more is dropped and
    /// counted.
    pub fn with_max_queue_size(mut self, spans: usize) -> Self {
        self.max_queue_size = spans.max(1);
        self
    }

    /// Spans in one export at most, and how many wake the exporter.
    ///
    /// By default 512 wake it. It sends as many at once, and over OTLP up to 4,096 where more have
    /// gathered while the last ones were on their way.
    pub fn with_max_export_batch_size(mut self, spans: usize) -> Self {
        self.batch.max_export_batch_size = Some(spans.max(1));
        self
    }

    /// How long a span waits for others to make a batch with (5 s by default).
    pub fn with_schedule_delay(mut self, delay: Duration) -> Self {
        self.batch.schedule_delay = delay;
        self
    }

    /// How long one export may take (30 s by default); its spans are then dropped and counted.
    pub fn with_export_timeout(mut self, timeout: Duration) -> Self {
        self.batch.export_timeout = timeout;
        self
    }

    /// An exporter with the runtime that it was built in.
    pub(crate) fn with_exporter_in(
        mut self,
        exporter: Exporter,
        runtime: worker::OwnRuntime,
    ) -> Self {
        self.exporter = Some(exporter);
        self.runtime = Some(runtime);
        self
    }

    /// The layer, and the guard that keeps its exporter running.
    ///
    /// # Panics
    ///
    /// If the operating system gives no thread or runtime for the exporter, as
    /// [`std::thread::spawn`] does. [`try_build`](Self::try_build) returns the error.
    pub fn build(self) -> (BridgeLayer, TracingGuard) {
        match self.try_build() {
            Ok(built) => built,
            Err(error) => panic!("the exporter's thread could not be started: {error}"),
        }
    }

    /// The layer, and the guard that keeps its exporter running.
    ///
    /// # Errors
    ///
    /// If the operating system gives no thread or runtime for the exporter.
    pub fn try_build(self) -> std::io::Result<(BridgeLayer, TracingGuard)> {
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => worker::OwnRuntime::new()?,
        };
        let mut exporter = self.exporter;
        if let Some(exporter) = &mut exporter {
            let resource = self.resource.unwrap_or_else(|| Resource::builder().build());
            worker::build_in(&runtime, || exporter.set_resource(&resource));
        }
        let engine = Engine::new(EngineOptions {
            limits: self.limits,
            max_level: self.max_level,
            decider: self.decider,
            id_generator: self.id_generator,
            names_threads: self.with.threads,
            max_live_spans: self.max_live_spans,
            max_queue_size: self.max_queue_size,
            max_export_batch_size: self.batch.batch_size(),
        });
        worker::spawn(Worker {
            sink: Sink::new(exporter, Decoder::new(engine.clone(), self.scope, self.with)),
            engine: engine.clone(),
            runtime,
            settings: self.batch,
            problems: Problems::default(),
            warnings: self.warnings,
        })?;
        Ok((BridgeLayer { engine: engine.clone() }, TracingGuard::new(engine)))
    }
}

/// A layer whose chunks stay in the queue, for tests that look at them there.
#[cfg(test)]
pub(crate) fn without_worker(limits: Limits) -> (BridgeLayer, std::sync::Arc<Engine>) {
    let LayerBuilder { decider, max_live_spans, max_queue_size, batch, .. } = layer();
    let engine = Engine::new(EngineOptions {
        limits,
        max_level: LevelFilter::TRACE,
        decider,
        id_generator: None,
        names_threads: false,
        max_live_spans,
        max_queue_size,
        max_export_batch_size: batch.batch_size(),
    });
    (BridgeLayer { engine: engine.clone() }, engine)
}

fn default_scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build()
}

impl fmt::Debug for LayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerBuilder")
            .field("exporter", &self.exporter)
            .field("decider", &self.decider)
            .field("limits", &self.limits)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
