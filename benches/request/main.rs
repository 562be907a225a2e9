//! What tracing costs a request: extract, a SERVER span with 10 attributes, in it a CLIENT span with
//! 5, inject. Run by `cargo bench --bench request`.
//!
//! Each stack runs in a process of its own, since `tracing` is at its fastest only under a *global*
//! subscriber, of which a process has one. Criterion drives the processes and does the statistics.
//! All end in an exporter that throws spans away.
//!
//! What is unequal: `spanbridge` reads and writes headers as its middleware does, by `start_span`
//! and `inject_span`; tracing-opentelemetry has the OpenTelemetry API for that, a `TextMapPropagator`
//! with `set_parent` and `context`, and so has `spanbridge, by TextMapPropagator`, for comparison.
//! `registry alone` makes the spans, and propagates nothing. The SDK's batch processor queues 2,048 spans and drops what is more, which costs
//! it less than exporting would; ours queues 16,384. How many each dropped is printed at the end.

mod child;
mod stacks;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    if let Some(stack) = std::env::args().skip_while(|arg| arg != child::FLAG).nth(1) {
        child::run(&stack);
        return;
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let mut group = criterion.benchmark_group("request");
    let mut reports = Vec::new();
    for stack in stacks::ALL {
        // One process for warm-up and all samples: the closure runs once for each of them.
        let mut process = child::Process::start(stack.name);
        group.bench_function(stack.name, |bencher| {
            bencher.iter_custom(|iterations| process.time(iterations));
        });
        reports.push((stack.name, process.finish()));
    }
    group.finish();
    report(&reports);
}

#[allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn report(reports: &[(&str, String)]) {
    for (stack, spans) in reports {
        println!("{stack}: {spans}");
    }
}
