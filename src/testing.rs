//! For tests of code that is traced: spans kept in memory, and printed as a tree.
//!
//! # Examples
//!
//! ```
//! use spanbridge::testing::InMemory;
//! use tracing_subscriber::prelude::*;
//!
//! let (memory, layer) = InMemory::new();
//! tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
//!     let _request = tracing::info_span!("request", items = 2).entered();
//!     tracing::info_span!("storage").in_scope(|| tracing::info!("read"));
//! });
//! assert_eq!(memory.tree(), "request {items=2}\n  storage\n    * read\n");
//! ```
//!
//! Tests may run beside each other, each with a subscriber of its own or with none: a pipeline in
//! memory makes sure that each gets the spans of its own thread.
//!
//! What is exported can be narrowed down and customised like any other pipeline:
//!
//! ```
//! use spanbridge::testing::InMemory;
//! let (memory, layer) = InMemory::with(spanbridge::layer().with_max_live_spans(1));
//! # drop(layer);
//! assert!(memory.spans().is_empty());
//! ```

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use crate::{BridgeLayer, LayerBuilder, Stats, TracingGuard};

/// A pipeline that ends in memory.
#[derive(Debug)]
pub struct InMemory {
    guard: TracingGuard,
    spans: Collected,
}

/// An exporter that keeps what it is given.
#[derive(Clone, Debug, Default)]
struct Collected(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collected {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}

/// How long [`InMemory::spans`] waits for its own thread. It never comes near.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// A second subscriber for as long as the process lives, which wants nothing.
///
/// While there is only one, `tracing` asks the current thread alone whether a callsite that is
/// passed for the first time is of interest, and keeps the answer for all (`Rebuilder::JustOne` in
/// `tracing-core`'s callsite.rs). A thread without a subscriber says no: the test that has one
/// would miss its spans.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

impl InMemory {
    /// A pipeline with the defaults but for `target` and code location, which would make every
    /// tree longer and differ from line to line.
    pub fn new() -> (Self, BridgeLayer) {
        Self::with(crate::layer().with_location(false).with_target(false))
    }

    /// A pipeline as `builder` says, but for its exporter.
    pub fn with(builder: LayerBuilder) -> (Self, BridgeLayer) {
        LazyLock::force(&SECOND);
        let spans = Collected::default();
        let (layer, guard) = builder.with_exporter(spans.clone()).build();
        (Self { guard, spans }, layer)
    }

    /// All spans closed so far, in the order in which they were exported.
    ///
    /// # Panics
    ///
    /// If the pipeline does not export them within a minute.
    pub fn spans(&self) -> Vec<SpanData> {
        match self.guard.force_flush(FLUSH_TIMEOUT) {
            Ok(()) | Err(crate::FlushError::ShutDown) => {}
            Err(error) => panic!("the in-memory pipeline is stuck: {error}"),
        }
        self.spans.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All spans closed so far as text: one line a span, children indented, siblings by start time,
    /// events marked with `*` and links with `~`.
    pub fn tree(&self) -> String {
        tree(&self.spans())
    }

    /// What became of the spans so far.
    pub fn stats(&self) -> Stats {
        self.guard.stats()
    }

    /// The pipeline's guard.
    pub fn guard(&self) -> &TracingGuard {
        &self.guard
    }
}

/// Prints spans as a tree; see [`InMemory::tree`]. Spans whose parent is not among them are roots.
pub fn tree(spans: &[SpanData]) -> String {
    let mut children: HashMap<SpanId, Vec<&SpanData>> = HashMap::new();
    let mut roots = Vec::new();
    for span in spans {
        let has_parent =
            spans.iter().any(|other| other.span_context.span_id() == span.parent_span_id);
        if has_parent {
            children.entry(span.parent_span_id).or_default().push(span);
        } else {
            roots.push(span);
        }
    }
    let mut out = String::new();
    print(&mut out, roots, &children, 0);
    out
}

fn print(
    out: &mut String,
    mut spans: Vec<&SpanData>,
    children: &HashMap<SpanId, Vec<&SpanData>>,
    depth: usize,
) {
    spans.sort_by_key(|span| span.start_time);
    for span in spans {
        let indent = "  ".repeat(depth);
        out.push_str(&indent);
        out.push_str(&span.name);
        if span.span_kind != SpanKind::Internal {
            let kind = format!("{:?}", span.span_kind).to_lowercase();
            let _ = write!(out, " [{kind}]");
        }
        match &span.status {
            Status::Unset => {}
            Status::Ok => out.push_str(" ok"),
            Status::Error { description } if description.is_empty() => out.push_str(" error"),
            Status::Error { description } => {
                let _ = write!(out, " error({description})");
            }
        }
        print_attributes(out, &span.attributes, &[]);
        out.push('\n');
        for event in &span.events.events {
            let _ = write!(out, "{indent}  * {}", event.name);
            print_attributes(out, &event.attributes, &["level", "target"]);
            out.push('\n');
        }
        for link in &span.links.links {
            let _ = write!(out, "{indent}  ~ {}", link.span_context.span_id());
            print_attributes(out, &link.attributes, &[]);
            out.push('\n');
        }
        let below = children.get(&span.span_context.span_id()).cloned().unwrap_or_default();
        print(out, below, children, depth + 1);
    }
}

fn print_attributes(out: &mut String, attributes: &[KeyValue], but: &[&str]) {
    let shown: Vec<_> = attributes
        .iter()
        .filter(|attribute| !but.contains(&attribute.key.as_str()))
        .map(|attribute| match &attribute.value {
            Value::String(text) => format!("{}={:?}", attribute.key, text.as_str()),
            value => format!("{}={value}", attribute.key),
        })
        .collect();
    if !shown.is_empty() {
        let _ = write!(out, " {{{}}}", shown.join(", "));
    }
}
