//! A span recorder per test, whichever layer makes the spans.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::Value;
use opentelemetry::trace::{Status, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    RandomIdGenerator, Sampler, SdkTracer, SdkTracerProvider, ShouldSample, SpanData, SpanExporter,
};
use spanbridge::{BridgeLayer, Stats, TracingGuard};
use tokio::sync::Notify;
use tracing::dispatcher::DefaultGuard;
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Level, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer as _, Registry, reload};

use crate::registry;

/// Collects finished spans. Clones share what they collected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    spans: Arc<Mutex<Vec<SpanData>>>,
    grown: Arc<Notify>,
}

impl SpanExporter for Recorder {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.spans.lock().unwrap().extend(batch);
        self.grown.notify_waiters();
        std::future::ready(Ok(()))
    }
}

/// Which layers a test's subscriber is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Our layer alone.
    Ours,
    /// Our layer beside one that sees everything, with a per-layer filter that lets spans through.
    OursBesideAnother,
    /// Our layer, below a filter for the whole subscriber.
    OursBelowEnvFilter,
    /// Our layer, where it cannot be reached from the subscriber.
    OursBehindReload,
    /// Our layer and tracing-opentelemetry's on one registry.
    Both,
    /// tracing-opentelemetry's layer in place of ours.
    Theirs,
    /// No layer at all.
    Nothing,
}

impl Setup {
    /// All in which spans are recorded.
    pub(crate) const RECORDING: [Self; 6] = [
        Self::Ours,
        Self::OursBesideAnother,
        Self::OursBelowEnvFilter,
        Self::OursBehindReload,
        Self::Both,
        Self::Theirs,
    ];
}

/// How the spans of some targets are kept from the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hidden {
    /// By a filter for the whole subscriber: the span is disabled.
    FromAll,
    /// By the layer's own filter, and no other layer wants them: the span is disabled too.
    ByTheOnlyFilter,
    /// By the layer's own filter; another layer sees them.
    FromTheLayer,
}

impl Hidden {
    pub(crate) const ALL: [Self; 3] = [Self::FromAll, Self::ByTheOnlyFilter, Self::FromTheLayer];
}

/// A layer that sees every span and event, and does nothing.
struct Another;

impl<S: Subscriber> tracing_subscriber::Layer<S> for Another {}

/// One test's subscriber and what it recorded.
///
/// The subscriber is the default of the test's thread and of the threads of its servers, so tests
/// run side by side.
#[derive(Clone)]
pub(crate) struct Tracing {
    pub dispatch: Dispatch,
    recorder: Recorder,
    /// What tracing-opentelemetry's layer recorded where ours is installed too.
    beside: Recorder,
    guard: Option<Arc<TracingGuard>>,
    // Shut down with the last clone.
    _provider: Option<SdkTracerProvider>,
}

impl Tracing {
    /// All spans, made by our layer alone.
    pub(crate) fn ours() -> Self {
        Self::new(Setup::Ours)
    }

    /// All spans, made by what `setup` says.
    pub(crate) fn new(setup: Setup) -> Self {
        Self::with_sampler(setup, Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    /// One for each setup in which spans are recorded.
    pub(crate) fn each() -> impl Iterator<Item = (Setup, Self)> {
        Setup::RECORDING.into_iter().map(|setup| (setup, Self::new(setup)))
    }

    /// One for each setup, but nothing is sampled unless the caller's span is.
    pub(crate) fn each_unsampled() -> impl Iterator<Item = (Setup, Self)> {
        Setup::RECORDING.into_iter().map(|setup| (setup, Self::unsampled(setup)))
    }

    /// Nothing is sampled unless the caller's span is.
    pub(crate) fn unsampled(setup: Setup) -> Self {
        Self::with_sampler(setup, Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
    }

    /// No layer at all.
    pub(crate) fn none() -> Self {
        Self::new(Setup::Nothing)
    }

    /// Spans as `sampler` says, made by what `setup` says.
    pub(crate) fn with_sampler(setup: Setup, sampler: impl ShouldSample + Clone + 'static) -> Self {
        let registry = Registry::default();
        let info = || EnvFilter::new("info");
        let (recorder, beside) = (Recorder::default(), Recorder::default());
        let (mut guard, mut provider) = (None, None);
        let mut ours = || {
            let (layer, made) = ours(&recorder, sampler.clone());
            guard = Some(Arc::new(made));
            layer
        };
        let dispatch = match setup {
            Setup::Ours => Dispatch::new(registry.with(ours())),
            Setup::OursBesideAnother => {
                Dispatch::new(registry.with(Another).with(ours().with_filter(info())))
            }
            Setup::OursBelowEnvFilter => Dispatch::new(registry.with(ours()).with(info())),
            Setup::OursBehindReload => Dispatch::new(registry.with(reload::Layer::new(ours()).0)),
            Setup::Both => {
                let (theirs, made) = theirs(&beside, sampler.clone());
                provider = Some(made);
                Dispatch::new(registry.with(ours()).with(theirs))
            }
            Setup::Theirs => {
                let (theirs, made) = theirs(&recorder, sampler);
                provider = Some(made);
                Dispatch::new(registry.with(theirs))
            }
            Setup::Nothing => Dispatch::new(NoSubscriber::default()),
        };
        Self { dispatch, recorder, beside, guard, _provider: provider }
    }

    /// Our layer, or tracing-opentelemetry's, without the spans of `target`.
    pub(crate) fn without_target(target: &str, setup: Setup, hidden: Hidden) -> Self {
        Self::hiding(target, setup, hidden, Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    /// The same, with a sampler.
    pub(crate) fn hiding(target: &str, setup: Setup, hidden: Hidden, sampler: Sampler) -> Self {
        let recorder = Recorder::default();
        let filter =
            Targets::new().with_default(Level::TRACE).with_target(target, LevelFilter::OFF);
        let (mut guard, mut provider) = (None, None);
        let layer = match setup {
            Setup::Ours => {
                let (ours, made) = ours(&recorder, sampler);
                guard = Some(Arc::new(made));
                ours.boxed()
            }
            Setup::Theirs => {
                let (theirs, made) = theirs(&recorder, sampler);
                provider = Some(made);
                theirs.boxed()
            }
            other => panic!("{other:?} is not among those that hide"),
        };
        let registry = Registry::default();
        let dispatch = match hidden {
            Hidden::FromAll => Dispatch::new(registry.with(layer).with(filter)),
            Hidden::ByTheOnlyFilter => {
                let filter = EnvFilter::new(format!("trace,{target}=off"));
                Dispatch::new(registry.with(layer.with_filter(filter)))
            }
            Hidden::FromTheLayer => {
                Dispatch::new(registry.with(layer.with_filter(filter)).with(Another))
            }
        };
        Self { dispatch, recorder, beside: Recorder::default(), guard, _provider: provider }
    }

    /// Makes the subscriber this thread's default.
    pub(crate) fn install(&self) -> DefaultGuard {
        tracing::dispatcher::set_default(&self.dispatch)
    }

    /// Waits until `count` spans have ended, and gives all that have: parents before their
    /// children, otherwise in order of their start.
    pub(crate) async fn ended(&self, count: usize) -> Vec<SpanData> {
        self.recorder.ended(count).await
    }

    /// The same for the spans of requests that were not for nothing: neither what libraries record,
    /// which over HTTP/2 is much, nor a 404.
    #[cfg(feature = "metrics")]
    pub(crate) async fn requests_ended(&self, count: usize) -> Vec<SpanData> {
        let not_found = Some(Value::I64(404));
        self.recorder
            .ended_of(count, |span| {
                let status = attribute(span, "http.response.status_code");
                span.span_kind == opentelemetry::trace::SpanKind::Server
                    && status != not_found.as_ref()
            })
            .await
    }

    /// The same for tracing-opentelemetry's layer beside ours.
    pub(crate) async fn ended_beside(&self, count: usize) -> Vec<SpanData> {
        self.beside.ended(count).await
    }

    /// What has ended so far, as [`tree`] prints it.
    pub(crate) fn tree(&self) -> String {
        if let Some(guard) = &self.guard {
            guard.force_flush(PATIENCE).unwrap();
        }
        let spans = [&self.recorder, &self.beside].map(|recorder| recorder.spans());
        tree(&spans.concat())
    }

    /// What our layer counted.
    pub(crate) fn stats(&self) -> Stats {
        self.guard.as_ref().map(|guard| guard.stats()).unwrap_or_default()
    }
}

/// Long enough for everything; a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

impl Recorder {
    fn spans(&self) -> Vec<SpanData> {
        self.spans.lock().unwrap().clone()
    }

    async fn ended(&self, count: usize) -> Vec<SpanData> {
        self.ended_of(count, |_| true).await
    }

    async fn ended_of(&self, count: usize, is_one: impl Fn(&SpanData) -> bool) -> Vec<SpanData> {
        let wait = async {
            loop {
                let grown = self.grown.notified();
                let mut spans = self.spans();
                spans.retain(&is_one);
                if spans.len() >= count {
                    return spans;
                }
                grown.await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        let Ok(spans) = waited else {
            panic!("fewer than {count} spans:\n{}", tree(&self.spans()))
        };
        for span in &spans {
            registry::check_span(span);
        }
        in_tree_order(&spans).into_iter().map(|(_, span)| span.clone()).collect()
    }
}

/// Our layer, whose worker looks for closed spans all the time, so that nobody has to ask it to.
fn ours(recorder: &Recorder, sampler: impl ShouldSample + 'static) -> (BridgeLayer, TracingGuard) {
    spanbridge::layer()
        .with_exporter(recorder.clone())
        .with_sampler(sampler)
        .with_location(false)
        .with_target(false)
        .with_schedule_delay(Duration::from_millis(1))
        .build()
}

fn theirs<S>(
    recorder: &Recorder,
    sampler: impl ShouldSample + 'static,
) -> (OpenTelemetryLayer<S, SdkTracer>, SdkTracerProvider)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .with_id_generator(RandomIdGenerator::default())
        .with_simple_exporter(recorder.clone())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("test"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false);
    (layer, provider)
}

/// The spans as indented lines, children below their parents, otherwise in order of their start.
pub(crate) fn tree(spans: &[SpanData]) -> String {
    let mut out = String::new();
    for (depth, span) in in_tree_order(spans) {
        let (indent, kind) = ("  ".repeat(depth), format!("{:?}", span.span_kind).to_lowercase());
        write!(out, "{indent}{kind} {}", span.name).unwrap();
        for key in ["http.response.status_code", "error.type"] {
            if let Some(value) = attribute(span, key) {
                write!(out, " {}", value.as_str()).unwrap();
            }
        }
        if span.status != Status::Unset {
            out.push_str(" failed");
        }
        out.push('\n');
    }
    out
}

/// Each span after its parent, with the number of its ancestors among them.
fn in_tree_order(spans: &[SpanData]) -> Vec<(usize, &SpanData)> {
    let mut spans: Vec<_> = spans.iter().collect();
    spans.sort_by_key(|span| span.start_time);
    let ids: HashSet<_> = spans.iter().map(|span| span.span_context.span_id()).collect();
    let mut ordered = Vec::new();
    for root in spans.iter().filter(|span| !ids.contains(&span.parent_span_id)) {
        add_subtree(&spans, root, 0, &mut ordered);
    }
    ordered
}

fn add_subtree<'a>(
    spans: &[&'a SpanData],
    span: &'a SpanData,
    depth: usize,
    ordered: &mut Vec<(usize, &'a SpanData)>,
) {
    ordered.push((depth, span));
    for child in spans {
        if child.parent_span_id == span.span_context.span_id() {
            add_subtree(spans, child, depth + 1, ordered);
        }
    }
}

/// One attribute; panics if it is there twice.
pub(crate) fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let mut values = span.attributes.iter().filter(|kv| kv.key.as_str() == key);
    let value = values.next().map(|kv| &kv.value);
    assert!(values.next().is_none(), "{key} is there twice");
    value
}
