//! A span recorder per test, whichever layer makes the spans.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};
use opentelemetry::Value;
use opentelemetry::trace::{Status, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    RandomIdGenerator, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use spanbridge::ServerTracing;
use tokio::sync::Notify;
use tracing::Dispatch;
use tracing::dispatcher::DefaultGuard;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry};

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

/// One test's subscriber and what it recorded.
///
/// The subscriber is the default of the test's thread and of the threads of its servers, so tests
/// run side by side.
#[derive(Clone)]
pub(crate) struct Tracing {
    dispatch: Dispatch,
    recorder: Recorder,
    // Shut down with the last clone.
    _provider: Option<SdkTracerProvider>,
}

impl Tracing {
    /// All spans, made by tracing-opentelemetry's layer.
    pub(crate) fn tracing_opentelemetry() -> Self {
        Self::with_sampler(
            Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
            Targets::new().with_default(tracing::Level::TRACE),
        )
    }

    /// The same, but nothing is sampled unless the caller's span is.
    pub(crate) fn unsampled() -> Self {
        Self::with_sampler(
            Sampler::ParentBased(Box::new(Sampler::AlwaysOff)),
            Targets::new().with_default(tracing::Level::TRACE),
        )
    }

    /// The same, but without the spans of `target`.
    pub(crate) fn without_target(target: &str) -> Self {
        Self::with_sampler(
            Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
            Targets::new()
                .with_default(tracing::Level::TRACE)
                .with_target(target, LevelFilter::OFF),
        )
    }

    /// No layer at all.
    pub(crate) fn none() -> Self {
        Self {
            dispatch: Dispatch::new(tracing::subscriber::NoSubscriber::default()),
            recorder: Recorder::default(),
            _provider: None,
        }
    }

    fn with_sampler(sampler: Sampler, targets: Targets) -> Self {
        let recorder = Recorder::default();
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
        Self {
            dispatch: Dispatch::new(Registry::default().with(layer.with_filter(targets))),
            recorder,
            _provider: Some(provider),
        }
    }

    /// Makes the subscriber this thread's default.
    pub(crate) fn install(&self) -> DefaultGuard {
        tracing::dispatcher::set_default(&self.dispatch)
    }

    /// Waits until `count` spans have ended, and gives all that have, in order of their start.
    pub(crate) async fn ended(&self, count: usize) -> Vec<SpanData> {
        let wait = async {
            loop {
                let grown = self.recorder.grown.notified();
                let mut spans = self.recorder.spans.lock().unwrap().clone();
                if spans.len() >= count {
                    spans.sort_by_key(|span| span.start_time);
                    return spans;
                }
                grown.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
        waited.unwrap_or_else(|_| panic!("fewer than {count} spans:\n{}", self.tree()))
    }

    /// What has ended so far, as [`tree`] prints it.
    pub(crate) fn tree(&self) -> String {
        tree(&self.recorder.spans.lock().unwrap())
    }
}

/// A server on a loopback port, stopped when dropped.
pub(crate) struct TestServer {
    pub address: SocketAddr,
    handle: ServerHandle,
}

impl TestServer {
    /// Serves what `configure` adds, below `middleware`; spans go to `tracing`.
    pub(crate) fn start<C>(tracing: &Tracing, middleware: ServerTracing, configure: C) -> Self
    where
        C: Fn(&mut ServiceConfig) + Send + Clone + 'static,
    {
        let dispatch = tracing.dispatch.clone();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (send_handle, handle) = std::sync::mpsc::channel();
        // On a thread of its own, so that tests may block theirs.
        std::thread::spawn(move || {
            let server = HttpServer::new(move || {
                // Runs on the worker's thread, which is this server's alone.
                std::mem::forget(tracing::dispatcher::set_default(&dispatch));
                App::new().configure(configure.clone()).wrap(middleware.clone())
            });
            // Not half-closed: a client that closes its side has left.
            let server = server.h1_allow_half_closed(false).workers(1).disable_signals();
            let server = server.listen(listener).unwrap();
            actix_web::rt::System::new().block_on(async move {
                let server = server.run();
                send_handle.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self { address, handle: handle.recv().unwrap() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Told to stop at once; nobody waits.
        drop(self.handle.stop(false));
    }
}

/// The spans as indented lines, children below their parents, in order of their start.
pub(crate) fn tree(spans: &[SpanData]) -> String {
    let mut spans: Vec<_> = spans.iter().collect();
    spans.sort_by_key(|span| span.start_time);
    let ids: HashSet<_> = spans.iter().map(|span| span.span_context.span_id()).collect();
    let mut out = String::new();
    for root in &spans {
        if !ids.contains(&root.parent_span_id) {
            write_subtree(&spans, root, 0, &mut out);
        }
    }
    out
}

fn write_subtree(spans: &[&SpanData], span: &SpanData, depth: usize, out: &mut String) {
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
    for child in spans {
        if child.parent_span_id == span.span_context.span_id() {
            write_subtree(spans, child, depth + 1, out);
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
