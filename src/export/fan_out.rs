//! Several exporters as one.

use std::future::Future;
use std::pin::Pin;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;

use crate::export::exporter::DynExporter;
use crate::export::sink::Exporter;

/// Gives every batch to each exporter in turn. A span counts as exported if all took it.
#[derive(Debug)]
pub(crate) struct FanOut(Vec<Box<dyn DynExporter>>);

impl FanOut {
    /// `exporters` as one; a single one stands for itself.
    pub(crate) fn of(mut exporters: Vec<Exporter>) -> Option<Exporter> {
        if exporters.len() < 2 {
            return exporters.pop();
        }
        let exporters = exporters.into_iter().map(Exporter::into_any).collect();
        Some(Exporter::Any(Box::new(Self(exporters))))
    }

    /// Asks all of them, and gives the last error.
    fn each(&self, ask: impl Fn(&dyn DynExporter) -> OTelSdkResult) -> OTelSdkResult {
        let mut result = Ok(());
        for exporter in &self.0 {
            result = ask(&**exporter).and(result);
        }
        result
    }
}

impl DynExporter for FanOut {
    fn export(
        &self,
        batch: Vec<SpanData>,
    ) -> Pin<Box<dyn Future<Output = OTelSdkResult> + Send + '_>> {
        Box::pin(async move {
            let mut result = Ok(());
            for exporter in &self.0 {
                result = exporter.export(batch.clone()).await.and(result);
            }
            result
        })
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.each(|exporter| exporter.force_flush())
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.each(|exporter| exporter.shutdown())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.iter_mut().for_each(|exporter| exporter.set_resource(resource));
    }
}
