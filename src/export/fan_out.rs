//! Several exporters as one.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;

use crate::export::exporter::{DynExporter, Exporting};
use crate::export::sink::{Exporter, Outcome};

/// Gives every batch to all exporters at once, so that one that is slow, down or broken costs the
/// others nothing of it. A span counts as exported if all took it.
///
/// The next batch starts when all are done with the last one.
#[derive(Debug)]
pub(crate) struct FanOut(Vec<Box<dyn DynExporter>>);

/// One exporter's part.
enum Part<'a> {
    Running(Exporting<'a>),
    Done(Outcome),
}

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
    fn export<'a>(
        &'a self,
        batch: Vec<SpanData>,
        is_urgent: &'a dyn Fn() -> bool,
    ) -> Exporting<'a> {
        Box::pin(async move {
            let exporters = self.0.iter();
            let mut parts: Vec<_> = exporters
                .map(|exporter| Part::Running(exporter.export(batch.clone(), is_urgent)))
                .collect();
            drop(batch);
            poll_fn(|cx| {
                let mut is_done = true;
                for part in &mut parts {
                    is_done &= part.poll(cx).is_ready();
                }
                if is_done { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            let outcomes = parts.into_iter().map(|part| match part {
                Part::Done(outcome) => outcome,
                Part::Running(_) => Outcome::Failed("the export was left".to_owned()),
            });
            outcomes.fold(Outcome::Delivered, Outcome::and)
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

impl Part<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self::Running(exporting) = self else { return Poll::Ready(()) };
        // What panics is polled no more.
        let outcome = match catch_unwind(AssertUnwindSafe(|| exporting.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(outcome)) => outcome,
            Err(_) => Outcome::panicked(),
        };
        *self = Self::Done(outcome);
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use opentelemetry_sdk::testing::trace::new_test_export_span_data;
    use opentelemetry_sdk::trace::InMemorySpanExporter;

    use super::*;
    use crate::export::worker::OwnRuntime;

    /// An exporter that ends in one of these ways, and notes whether there was haste.
    #[derive(Clone, Debug)]
    struct Ends {
        how: How,
        saw_haste: Arc<Mutex<Vec<bool>>>,
    }

    #[derive(Clone, Copy, Debug)]
    enum How {
        Fails,
        Never,
        Panics,
        Partly(usize),
    }

    impl Ends {
        fn new(how: How) -> Self {
            Self { how, saw_haste: Arc::default() }
        }
    }

    impl DynExporter for Ends {
        fn export<'a>(
            &'a self,
            _: Vec<SpanData>,
            is_urgent: &'a dyn Fn() -> bool,
        ) -> Exporting<'a> {
            Box::pin(async move {
                tokio::task::yield_now().await;
                self.saw_haste.lock().unwrap().push(is_urgent());
                match self.how {
                    How::Fails => Outcome::Failed("the disk is full".to_owned()),
                    How::Never => std::future::pending().await,
                    How::Panics => panic!("as told"),
                    How::Partly(rejected) => {
                        Outcome::Partly { rejected, message: format!("{rejected} are too long") }
                    }
                }
            })
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown(&self) -> OTelSdkResult {
            Ok(())
        }

        fn set_resource(&mut self, _: &Resource) {}
    }

    /// Exports a batch to exporters that end so, with a sound one last: the outcome, and what the
    /// sound one has.
    fn export(ends: &[&Ends]) -> (Option<Outcome>, usize) {
        let sound = InMemorySpanExporter::default();
        let mut exporters: Vec<Box<dyn DynExporter>> = Vec::new();
        for end in ends {
            exporters.push(Box::new((*end).clone()));
        }
        exporters.push(Box::new(sound.clone()));
        let fan_out = FanOut(exporters);
        let runtime = OwnRuntime::new().unwrap();
        let polls = Cell::new(0);
        let is_urgent = || {
            polls.set(polls.get() + 1);
            true
        };
        let outcome = runtime.block_on(async {
            let batch = vec![new_test_export_span_data()];
            let exporting = fan_out.export(batch, &is_urgent);
            tokio::time::timeout(Duration::from_millis(200), exporting).await.ok()
        });
        (outcome, sound.get_finished_spans().unwrap().len())
    }

    #[test]
    fn one_that_fails_panics_or_never_ends_costs_the_others_nothing() {
        for (how, expected) in [
            (How::Fails, Some("Failed(\"the disk is full\")")),
            (How::Panics, Some("Failed(\"the exporter panicked\")")),
            (How::Never, None),
        ] {
            let (outcome, spans) = export(&[&Ends::new(how)]);
            let outcome = outcome.map(|outcome| format!("{outcome:?}"));
            assert_eq!((outcome.as_deref(), spans), (expected, 1), "{how:?}");
        }
    }

    #[test]
    fn all_are_told_of_haste() {
        let ends = [Ends::new(How::Partly(0)), Ends::new(How::Fails)];
        export(&[&ends[0], &ends[1]]);
        for end in ends {
            assert_eq!(*end.saw_haste.lock().unwrap(), [true]);
        }
    }

    #[test]
    fn a_part_that_one_did_not_take_is_no_more_than_that() {
        let (outcome, _) = export(&[&Ends::new(How::Partly(3))]);
        let Some(Outcome::Partly { rejected: 3, message }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(message, "3 are too long");
        // Which ones they are nobody says, so they may all be others.
        let (outcome, _) = export(&[&Ends::new(How::Partly(3)), &Ends::new(How::Partly(2))]);
        let Some(Outcome::Partly { rejected: 5, message }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(message, "3 are too long; 2 are too long");
        let (outcome, _) = export(&[&Ends::new(How::Partly(3)), &Ends::new(How::Fails)]);
        assert!(matches!(outcome, Some(Outcome::Failed(_))), "{outcome:?}");
    }
}
