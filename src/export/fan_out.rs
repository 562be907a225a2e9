//! Several exporters as one.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;

use crate::export::exporter::{DynExporter, Exporting, Urgency};
use crate::export::sink::{Exporter, Outcome};

/// Gives every batch to all exporters at once, so that one that is slow, down or broken costs the
/// others nothing of it. A span counts as exported if all took it.
///
/// The next batch starts when all are done with the last one; at shutdown, when its share of the time
/// is over.
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
    fn export<'a>(&'a self, batch: Vec<SpanData>, urgency: Urgency<'a>) -> Exporting<'a> {
        Box::pin(async move {
            let exporters = self.0.iter();
            let mut parts: Vec<_> = exporters
                .map(|exporter| Part::Running(exporter.export(batch.clone(), urgency)))
                .collect();
            drop(batch);
            let mut time = pin!(time_for(urgency));
            poll_fn(|cx| {
                let mut is_done = true;
                for part in &mut parts {
                    is_done &= part.poll(cx).is_ready();
                }
                if is_done { Poll::Ready(()) } else { time.as_mut().poll(cx) }
            })
            .await;
            let outcomes = parts.into_iter().map(|part| match part {
                Part::Done(outcome) => outcome,
                Part::Running(_) => {
                    Outcome::Failed("an exporter did not end in time for shutdown".to_owned())
                }
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

/// Waits until a batch must be left for the sake of the next one.
async fn time_for(urgency: Urgency<'_>) {
    const STEP: Duration = Duration::from_millis(50);
    loop {
        if let Some(left) = urgency() {
            return tokio::time::sleep(left).await;
        }
        tokio::time::sleep(STEP).await;
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
    use std::sync::mpsc::{self, Sender};
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use opentelemetry_sdk::testing::trace::new_test_export_span_data;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanExporter};

    use tracing::info_span;
    use tracing_subscriber::prelude::*;

    use super::*;
    use crate::export::worker::OwnRuntime;

    const LONG: Duration = Duration::from_secs(30);

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
        fn export<'a>(&'a self, _: Vec<SpanData>, urgency: Urgency<'a>) -> Exporting<'a> {
            Box::pin(async move {
                tokio::task::yield_now().await;
                self.saw_haste.lock().unwrap().push(urgency().is_some());
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
        let urgency = || Some(LONG);
        let outcome = runtime.block_on(async {
            let batch = vec![new_test_export_span_data()];
            let exporting = fan_out.export(batch, &urgency);
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

    /// Tells how many spans it gets.
    #[derive(Debug)]
    struct Tells {
        spans: Sender<usize>,
        never_ends: bool,
    }

    impl SpanExporter for Tells {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            let _ = self.spans.send(batch.len());
            if self.never_ends { std::future::pending().await } else { Ok(()) }
        }
    }

    #[test]
    fn one_that_hangs_does_not_keep_the_last_batches_from_the_others() {
        // 1. Both exporters have a batch, and one of them hangs.
        let ((hanging, at_hanging), (sound, at_sound)) = (mpsc::channel(), mpsc::channel());
        let exporters =
            [Tells { spans: hanging, never_ends: true }, Tells { spans: sound, never_ends: false }];
        let exporters = exporters.map(|exporter| Exporter::Any(Box::new(exporter)));
        let fan_out = FanOut::of(exporters.into()).expect("there are two");
        let (layer, guard) = crate::layer()
            .with_exporter_in(fan_out, OwnRuntime::new().unwrap())
            .with_max_export_batch_size(4)
            .with_schedule_delay(Duration::from_millis(10))
            .with_export_timeout(LONG)
            .build();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let close = |spans| (0..spans).for_each(|_| drop(info_span!("a")));
            close(4);
            at_hanging.recv_timeout(LONG).expect("a batch is exported");
            // 2. More spans, for several batches, which this thread still holds.
            close(10);
            // 3. Shutdown, which is in time, and gives the sound one all of it.
            // What hangs takes nine tenths of it; the rest is for a machine with too much to do.
            let timeout = Duration::from_secs(15);
            let start = Instant::now();
            guard.shutdown(timeout).unwrap();
            assert!(start.elapsed() < timeout, "{:?}", start.elapsed());
        });
        assert_eq!(at_sound.try_iter().sum::<usize>(), 14);
        let stats = guard.stats();
        assert_eq!((stats.exported(), stats.dropped().export_failed()), (0, 14), "{stats}");
        assert_eq!(stats.started(), 14);
    }
}
