//! Where chunks go: to an exporter as `SpanData`, to a collector as OTLP, or nowhere.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use tokio::runtime::Runtime;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
use tracing::Dispatch;

use crate::export::chunk::Chunk;
use crate::export::decode::Decoder;
use crate::export::exporter::DynExporter;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
use crate::export::otlp::{EncodedSpans, MAX_REQUEST, OtlpExporter, SpanEncoder};
use crate::export::worker::BatchSettings;
use crate::layer::Calibration;

/// What spans are handed to.
#[derive(Debug)]
pub(crate) enum Exporter {
    /// One made for `opentelemetry_sdk`.
    Any(Box<dyn DynExporter>),
    /// Ours, which does without `SpanData`.
    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
    Otlp(Box<OtlpExporter>),
}

impl Exporter {
    pub(crate) fn set_resource(&mut self, resource: &Resource) {
        match self {
            Self::Any(exporter) => exporter.set_resource(resource),
            #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
            Self::Otlp(exporter) => exporter.set_resource(resource),
        }
    }

    /// As one among several, which all take `SpanData`.
    pub(crate) fn into_any(self) -> Box<dyn DynExporter> {
        match self {
            Self::Any(exporter) => exporter,
            #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
            Self::Otlp(exporter) => exporter,
        }
    }
}

/// Spans on their way out, in the form that their exporter takes.
#[derive(Debug)]
pub(crate) enum Sink {
    Nowhere {
        spans: usize,
    },
    Any {
        exporter: Box<dyn DynExporter>,
        decoder: Box<Decoder>,
        waiting: Vec<SpanData>,
    },
    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
    Otlp {
        exporter: Box<OtlpExporter>,
        encoder: Box<SpanEncoder>,
        waiting: EncodedSpans,
        /// What is sent, or was sent last.
        batch: EncodedSpans,
    },
}

/// What became of one batch.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) spans: usize,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Delivered,
    /// All but so many spans were, and what the receiver says of them.
    Partly {
        rejected: usize,
        message: String,
    },
    Failed(String),
    NoExporter,
}

impl Outcome {
    pub(crate) fn panicked() -> Self {
        Self::Failed("the exporter panicked".to_owned())
    }

    /// No more is rejected than there was.
    fn within(self, spans: usize) -> Self {
        match self {
            Self::Partly { rejected, message } => {
                Self::Partly { rejected: rejected.min(spans), message }
            }
            other => other,
        }
    }

    /// Of a batch that went two ways, where what one of them did not take counts as lost. Which
    /// spans a receiver rejects it does not say, so those of two are taken for others.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Failed(first), Self::Failed(second)) => Self::Failed(joined(first, &second)),
            (failed @ Self::Failed(_), _) | (_, failed @ Self::Failed(_)) => failed,
            (
                Self::Partly { rejected, message },
                Self::Partly { rejected: more, message: other },
            ) => Self::Partly {
                rejected: rejected.saturating_add(more),
                message: joined(message, &other),
            },
            (partly @ Self::Partly { .. }, _) | (_, partly @ Self::Partly { .. }) => partly,
            (Self::NoExporter, other) => other,
            (Self::Delivered, _) => Self::Delivered,
        }
    }
}

fn joined(first: String, second: &str) -> String {
    if first.is_empty() || second.is_empty() || first == second {
        return if first.is_empty() { second.to_owned() } else { first };
    }
    format!("{first}; {second}")
}

impl Sink {
    pub(crate) fn new(exporter: Option<Exporter>, decoder: Decoder) -> Self {
        match exporter {
            None => Self::Nowhere { spans: 0 },
            Some(Exporter::Any(exporter)) => {
                Self::Any { exporter, decoder: Box::new(decoder), waiting: Vec::new() }
            }
            #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
            Some(Exporter::Otlp(mut exporter)) => {
                exporter.set_scope(decoder.scope());
                Self::Otlp {
                    exporter,
                    encoder: Box::new(SpanEncoder::new(decoder)),
                    waiting: EncodedSpans::default(),
                    batch: EncodedSpans::default(),
                }
            }
        }
    }

    /// Takes the chunk's spans over.
    pub(crate) fn take(&mut self, chunk: &mut Chunk, calibration: Calibration) {
        match self {
            Self::Nowhere { spans } => *spans += chunk.len(),
            Self::Any { decoder, waiting, .. } => decoder.decode(chunk, calibration, waiting),
            #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
            Self::Otlp { encoder, waiting, .. } => encoder.encode(chunk, calibration, waiting),
        }
    }

    /// Spans in a batch at most.
    pub(crate) fn batch_size(&self, settings: &BatchSettings) -> usize {
        match self {
            Self::Nowhere { .. } | Self::Any { .. } => settings.batch_size(),
            #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
            Self::Otlp { .. } => settings.largest_request(),
        }
    }

    /// Exports one batch, if there are spans for a whole one, or, with `all`, if there are any.
    ///
    /// `urgency` says how long a batch may take, where shutdown waits for it, if so many batches
    /// are to come after it.
    pub(crate) fn export(
        &mut self,
        runtime: &Runtime,
        max_spans: usize,
        all: bool,
        timeout: Duration,
        urgency: impl Fn(usize) -> Option<Duration>,
    ) -> Option<Exported> {
        match self {
            Self::Nowhere { spans } => {
                let spans = std::mem::take(spans);
                (spans > 0).then_some(Exported { spans, outcome: Outcome::NoExporter })
            }
            Self::Any { exporter, waiting, .. } => {
                if waiting.is_empty() || (waiting.len() < max_spans && !all) {
                    return None;
                }
                let rest = waiting.split_off(max_spans.min(waiting.len()));
                let batch = std::mem::replace(waiting, rest);
                let spans = batch.len();
                let after = waiting.len().div_ceil(max_spans.max(1));
                let urgency = || urgency(after);
                let exporting = async || exporter.export(batch, &urgency).await;
                let outcome = run(runtime, timeout, exporting).within(spans);
                Some(Exported { spans, outcome })
            }
            #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
            Self::Otlp { exporter, waiting, batch, .. } => {
                if !waiting.take_batch(batch, max_spans, MAX_REQUEST, all) {
                    return None;
                }
                let spans = batch.len();
                let is_urgent = || urgency(0).is_some();
                let sending = async || exporter.send(batch, is_urgent).await.into();
                // What the transport has to say of each frame costs more than the frame.
                let _muted = tracing::dispatcher::set_default(&Dispatch::none());
                let outcome = match runtime.block_on(exporter.ready(|| urgency(0))) {
                    Ok(()) => run(runtime, timeout, sending).within(spans),
                    Err(failure) => Outcome::Failed(failure.to_string()),
                };
                Some(Exported { spans, outcome })
            }
        }
    }

    /// False if the exporter says that it failed.
    pub(crate) fn flush(&self, runtime: &Runtime) -> bool {
        let Self::Any { exporter, .. } = self else { return true };
        let _entered = runtime.enter();
        catch_unwind(AssertUnwindSafe(|| exporter.force_flush()))
            .is_ok_and(|flushed| flushed.is_ok())
    }

    pub(crate) fn shutdown(&self, runtime: &Runtime) {
        let Self::Any { exporter, .. } = self else { return };
        let _entered = runtime.enter();
        let _ = catch_unwind(AssertUnwindSafe(|| exporter.shutdown()));
    }
}

fn run(runtime: &Runtime, timeout: Duration, export: impl AsyncFnOnce() -> Outcome) -> Outcome {
    let exported = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async { tokio::time::timeout(timeout, export()).await })
    }));
    match exported {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            Outcome::Failed(format!("no answer within the export timeout of {timeout:?}"))
        }
        Err(_) => Outcome::panicked(),
    }
}
