//! Processor time for each span that arrives at a collector over gRPC.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::loss::Loss;
use crate::plan::{Part, Plan};
use crate::receiver::Receiver;
use crate::samples::Samples;
use crate::shared::export::{self, Exporting, Pipeline};
use crate::{export_stacks, fastrace_stack, sdk};

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) stack: &'static str,
    /// Microseconds for one, round by round.
    pub(crate) micros: Samples,
    pub(crate) spans: u64,
    pub(crate) lost: u64,
}

impl Row {
    pub(crate) fn loss(&self) -> Loss {
        Loss { lost: self.lost, of: self.spans }
    }
}

pub(crate) fn stacks() -> Vec<Exporting> {
    let mut stacks = export_stacks::ALL.to_vec();
    stacks.push(Exporting { name: "OpenTelemetry SDK", set_up: with_sdk });
    stacks.push(Exporting { name: "fastrace", set_up: with_fastrace });
    stacks
}

pub(crate) fn measure(plan: &Plan, say: &dyn Fn(&str)) -> Vec<Row> {
    if !plan.wants(Part::Export) {
        return Vec::new();
    }
    let spans = if plan.quick { 1_000 } else { 50_000 };
    let row =
        |stack: Exporting| Row { stack: stack.name, micros: Samples::default(), spans: 0, lost: 0 };
    let mut rows: Vec<_> = stacks().into_iter().map(row).collect();
    for round in 1..=plan.rounds(5) {
        say(&format!("export, round {round}"));
        for turn in 0..rows.len() {
            // As `hot` does: each is first in some round.
            let at = (turn + round) % rows.len();
            let row = &mut rows[at];
            let receiver = Receiver::start().expect("loopback has a free port");
            let cpu = export::start(row.stack, receiver.endpoint(), spans);
            let arrived = receiver.spans().saturating_sub(export::WARM_UP);
            assert!(arrived > 0, "{}: nothing arrived", row.stack);
            assert!(arrived <= spans, "{}: traces its own exporter: {arrived} spans", row.stack);
            row.micros.push(cpu.as_secs_f64() * 1e6 / arrived as f64);
            row.spans += spans;
            row.lost += spans.saturating_sub(arrived);
        }
    }
    rows
}

fn with_sdk(endpoint: &str) -> Pipeline {
    let entered = export_stacks::runtime().enter();
    let exporter = export_stacks::stock_exporter(endpoint);
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    drop(entered);
    sdk::use_tracer(provider.tracer("bench"));
    Pipeline { spans: sdk::pairs, flush: Box::new(move || drop(provider.force_flush())) }
}

fn with_fastrace(endpoint: &str) -> Pipeline {
    let runtime = export_stacks::runtime();
    let entered = runtime.enter();
    let exporter = export_stacks::stock_exporter(endpoint);
    drop(entered);
    // It would poll the exporter outside of the runtime whose timers that uses.
    let reporter =
        fastrace_stack::reporter(exporter).with_block_on(|export| runtime.block_on(export));
    let config = fastrace::collector::Config::default().report_interval(Duration::from_millis(100));
    fastrace::set_reporter(reporter, config);
    Pipeline { spans: fastrace_stack::pairs, flush: Box::new(fastrace::flush) }
}
