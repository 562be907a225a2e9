//! Any [`SpanExporter`], behind one object-safe trait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::export::sink::Outcome;

/// An export that is under way, on the exporter's own thread.
pub(crate) type Exporting<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// How long a batch may take, where shutdown waits for it: asked again and again meanwhile.
pub(crate) type Urgency<'a> = &'a dyn Fn() -> Option<Duration>;

/// [`SpanExporter`] returns an opaque future, so it cannot be a trait object itself; nor does it
/// know of haste, or of batches that were taken in part.
pub(crate) trait DynExporter: fmt::Debug + Send + Sync {
    /// Where it is urgent, a failure is not followed by another try.
    fn export<'a>(&'a self, batch: Vec<SpanData>, urgency: Urgency<'a>) -> Exporting<'a>;
    fn force_flush(&self) -> OTelSdkResult;
    /// Without a timeout: exporters have one of the trait's two methods or the other, and this one
    /// reaches both. Who waits for it has a timeout already.
    fn shutdown(&self) -> OTelSdkResult;
    fn set_resource(&mut self, resource: &Resource);
}

impl<E: SpanExporter> DynExporter for E {
    fn export<'a>(&'a self, batch: Vec<SpanData>, _: Urgency<'a>) -> Exporting<'a> {
        Box::pin(async move {
            match SpanExporter::export(self, batch).await {
                Ok(()) => Outcome::Delivered,
                Err(error) => Outcome::Failed(error.to_string()),
            }
        })
    }

    fn force_flush(&self) -> OTelSdkResult {
        SpanExporter::force_flush(self)
    }

    fn shutdown(&self) -> OTelSdkResult {
        SpanExporter::shutdown(self)
    }

    fn set_resource(&mut self, resource: &Resource) {
        SpanExporter::set_resource(self, resource);
    }
}
