//! The result file: tables, ratios, goals, what is unequal.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::hot::Row;
use crate::instructions::Instructions;
use crate::loss::Loss;
use crate::machine::{self, Machine};
use crate::plan::Plan;
use crate::propagation::Propagation;
use crate::shared::alone::Alone;
use crate::shared::ours;
use crate::shared::work::Work;
use crate::{export, goals, http, http_stacks, legacy, plot, scaling, stacks, theirs};

/// Of all parts; empty where a part was left out.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) hot: Vec<Row>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) instructions: Instructions,
    pub(crate) scaling: Vec<scaling::Row>,
    pub(crate) export: Vec<export::Row>,
    pub(crate) legacy: Vec<Row>,
    pub(crate) http: Vec<http::Row>,
    /// Nanoseconds.
    pub(crate) quickest_probe: u64,
    pub(crate) seconds: u64,
}

impl Results {
    /// Says of all works what they took undisturbed, now that the quickest probe of the run is known.
    pub(crate) fn judge(&mut self, quickest_probe: u64) {
        self.quickest_probe = quickest_probe;
        for row in self.hot.iter_mut().chain(&mut self.legacy) {
            row.alone = row.bursts.alone(quickest_probe);
        }
    }

    pub(crate) fn hot(&self, work: Work, stack: &str) -> Option<&Row> {
        row_of(&self.hot, work, stack)
    }
}

fn row_of<'a>(rows: &'a [Row], work: Work, stack: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.work == work && row.stack == stack)
}

/// Writes everything, and gives the files.
pub(crate) fn write(
    plan: &Plan,
    machine: &Machine,
    results: &Results,
) -> Result<Vec<PathBuf>, String> {
    let folder = plan.folder();
    let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(fail)?;
    let (commit, is_changed) = machine::commit(&plan.repository);
    let date = jiff::Zoned::now().date();
    let kind = if plan.quick { "quick" } else { "all" };
    let name = format!("{date}-{commit}-{kind}");
    let plots = plot::draw(results, &folder, &name)?;
    let mut text = String::new();
    head(&mut text, plan, machine, results, &format!("{date}, commit {commit}"), is_changed);
    for plot in &plots {
        let file = plot.file_name().unwrap_or_default().to_string_lossy();
        line(&mut text, &format!("![{}]({file})\n", plot::title(plot)));
    }
    goals_table(&mut text, results);
    hot_table(&mut text, results);
    instructions_table(&mut text, results);
    scaling_table(&mut text, results);
    export_table(&mut text, results);
    legacy_table(&mut text, results);
    http_table(&mut text, results);
    text.push_str(UNEQUAL);
    let file = folder.join(format!("{name}.md"));
    fs::write(&file, text).map_err(fail)?;
    if !plan.quick && plan.out.is_none() {
        show_in_readme(plan, &name, &plots)?;
    }
    Ok([vec![file], plots].concat())
}

/// What is between these two lines in the README is the newest result's plot and a link to it.
const README_MARKS: [&str; 2] = ["<!-- newest benchmark -->", "<!-- /newest benchmark -->"];

fn show_in_readme(plan: &Plan, name: &str, plots: &[PathBuf]) -> Result<(), String> {
    let readme = plan.repository.join("README.md");
    let fail = |problem: String| format!("{}: {problem}", readme.display());
    let Some(plot) = plots.first() else { return Ok(()) };
    let text = fs::read_to_string(&readme).map_err(|error| fail(error.to_string()))?;
    let plot = plot.file_name().unwrap_or_default().to_string_lossy();
    let shown = format!(
        "![Cost of spanbridge and its peers](benches/results/{plot})\n\n\
         Tables, what is unequal, and the machine: [{name}](benches/results/{name}.md).\n"
    );
    let text = between(&text, README_MARKS, &shown)
        .ok_or_else(|| fail(format!("has no lines {README_MARKS:?}, one after the other")))?;
    fs::write(&readme, text).map_err(|error| fail(error.to_string()))
}

fn between(text: &str, [start, end]: [&str; 2], new: &str) -> Option<String> {
    let (before, rest) = text.split_once(start)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{start}\n{new}{end}{after}"))
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a String does not fail");
}

fn head(
    text: &mut String,
    plan: &Plan,
    machine: &Machine,
    results: &Results,
    what: &str,
    is_changed: bool,
) {
    line(text, &format!("# All benchmarks, {what}\n"));
    if plan.quick {
        line(text, "**A quick run, to see that it works: these figures say nothing.**\n");
    }
    if is_changed {
        line(text, "**The folder had changes that are not in that commit.**\n");
    }
    line(
        text,
        &format!(
            "`just bench-all`; {} s. {}, {} processors, {}, Linux {}, {}, release profile with fat \
             LTO. Load average before the run: {}. The quickest probe (below) took {} ns.\n",
            results.seconds,
            machine.processor,
            machine.processors,
            machine.memory,
            machine.kernel,
            machine.rustc,
            machine.load,
            results.quickest_probe,
        ),
    );
    let versions = machine::versions();
    let versions: Vec<_> =
        versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    line(text, &format!("{}.\n", versions.join(", ")));
    line(
        text,
        "Each stack runs in a process of its own. In each round all of them are measured, one after \
         the other, so that what the machine does meets all of them; ratios and differences are \
         medians over the rounds of what two stacks did in the same one. `least` is the fastest \
         round. The spread is how far the middle half of the rounds lies apart, as a part of the \
         median: no smaller difference counts.\n\n\
         `alone` is the median of bursts of a quarter of a millisecond or less that nothing disturbed, \
         as a piece of work tells that is always the same and stands before and after each burst: a \
         virtual processor often shares its core with another guest, beside whom everything takes \
         half as long again or more. A burst fills no batch, so that no exporter works beside it; `of \
         all` is of longer ones, in which they do. `bursts` says how many were undisturbed, of how many. \
         Where all that is compared has such a figure, ratios and differences are of these.\n",
    );
}

fn goals_table(text: &mut String, results: &Results) {
    line(text, "## Goals\n\n| | goal | measured | |\n|---|---|---|---|");
    for goal in goals::goals(results) {
        line(
            text,
            &format!("| {} | {} | {} | {} |", goal.what, goal.limit, goal.measured, goal.verdict),
        );
    }
    line(text, "");
}

fn hot_table(text: &mut String, results: &Results) {
    if results.hot.is_empty() {
        return;
    }
    line(text, "## One thread, nanoseconds for one\n");
    line(
        text,
        "Spans are made in bursts of at most 1,000, after which all are exported off the clock.\n",
    );
    for work in Work::ALL {
        line(text, &format!("### {}\n", work.name()));
        times_table(text, &results.hot, work, ("the registry", ours::REGISTRY.name));
    }
}

/// Times of one work, and what they are over those of the stack that `base` names, as it is called
/// there.
fn times_table(text: &mut String, rows: &[Row], work: Work, base: (&str, &str)) {
    let (called, base) = base;
    line(
        text,
        &format!(
            "| stack | alone | spread | bursts | over {called} | of t-o with defaults | of all | least | \
             spread | spans lost |"
        ),
    );
    line(text, "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let base = row_of(rows, work, base);
    let defaults = row_of(rows, work, theirs::DEFAULTS.name);
    for row in rows.iter().filter(|row| row.work == work) {
        let nanos = &row.nanos;
        let alone = row.alone.map_or_else(
            || "- | | ".to_owned(),
            |Alone { median, spread, bursts, of }| {
                format!("{} | {:.0} % | {bursts} of {of}", rounded(median), spread * 100.0)
            },
        );
        line(
            text,
            &format!(
                "| {} | {alone} | {} | {} | {} | {} | {:.0} % | {} |",
                row.stack,
                base.map_or_else(String::new, |base| rounded(row.less(base).value())),
                defaults.map_or_else(String::new, |base| format!("{:.2}", row.by(base).value())),
                rounded(nanos.median()),
                rounded(nanos.least()),
                nanos.spread() * 100.0,
                row.loss().lost,
            ),
        );
    }
    line(text, "");
}

/// With a tenth where few of them are.
pub(crate) fn rounded(nanos: f64) -> String {
    format!("{nanos:.*}", usize::from(nanos.abs() < 10.0))
}

fn instructions_table(text: &mut String, results: &Results) {
    let found = &results.instructions;
    if let Some(problem) = &found.problem {
        line(text, &format!("Instructions were not all counted: {problem}.\n"));
    }
    if found.rows.is_empty() {
        return;
    }
    line(text, "## Instructions (and heap allocations) of one, on the thread that does it\n");
    line(text, "By callgrind: noise of a thousandth. A dash: not what this stack does.\n");
    let works: Vec<_> =
        Work::ALL.into_iter().filter(|work| found.rows.iter().any(|row| row.0 == *work)).collect();
    let names: Vec<_> = works.iter().map(|work| work.name()).collect();
    line(text, &format!("| stack | {} |", names.join(" | ")));
    line(text, &format!("|---|{}", "---:|".repeat(works.len())));
    for stack in stacks::ALL {
        let cells: Vec<_> = works
            .iter()
            .map(|work| {
                found.of(*work, stack.name).map_or_else(
                    || "-".to_owned(),
                    |count| format!("{:.0} ({:.1})", count.instructions, count.allocations + 0.0),
                )
            })
            .collect();
        line(text, &format!("| {} | {} |", stack.name, cells.join(" | ")));
    }
    line(text, "");
}

fn scaling_table(text: &mut String, results: &Results) {
    if results.scaling.is_empty() {
        return;
    }
    line(text, "## Requests a second on several threads, thousands\n");
    line(
        text,
        "At full speed, without pauses, by threads that are warm, and from empty queues, which run \
         full; in brackets what part of the spans was lost.\n",
    );
    let threads: Vec<_> = scaling::THREADS.iter().map(|n| format!("{n} threads")).collect();
    line(text, &format!("| stack | {} |", threads.join(" | ")));
    line(text, &format!("|---|{}", "---:|".repeat(threads.len())));
    for first in results.scaling.iter().filter(|row| row.threads == scaling::THREADS[0]) {
        let cells: Vec<_> = results
            .scaling
            .iter()
            .filter(|row| row.stack == first.stack)
            .map(|row| {
                let part = match row.loss() {
                    Loss { of: 0, .. } => String::new(),
                    loss => format!(" ({:.0} %)", loss.part() * 100.0),
                };
                format!("{:.0}{part}", row.rate.median() / 1_000.0)
            })
            .collect();
        line(text, &format!("| {} | {} |", first.stack, cells.join(" | ")));
    }
    line(text, "");
}

fn export_table(text: &mut String, results: &Results) {
    let Some(defaults) =
        results.export.iter().find(|row| row.stack == theirs::DEFAULTS.name).map(|row| &row.micros)
    else {
        return;
    };
    line(text, "## Processor time of the whole process for a span that arrives, microseconds\n");
    line(
        text,
        "Over gRPC to a receiver in another process. Bursts of 250 spans, in pairs with ten and \
         five attributes, and pauses of 10 ms.\n",
    );
    line(text, "| stack | median | least | most | of t-o with defaults | lost |");
    line(text, "|---|---:|---:|---:|---:|---:|");
    for row in &results.export {
        let micros = &row.micros;
        line(
            text,
            &format!(
                "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {} of {} |",
                row.stack,
                micros.median(),
                micros.least(),
                micros.most(),
                micros.by(defaults),
                row.lost,
                row.spans
            ),
        );
    }
    line(text, "");
}

fn legacy_table(text: &mut String, results: &Results) {
    if results.legacy.is_empty() {
        return;
    }
    line(text, "## An operation of two steps, nanoseconds for one\n");
    line(
        text,
        "`legacy` is a `legacy::Trace`; a timer reads the clock by hand and has a line to write; the \
         others make a span with two events. Nobody is slow, but where it says `printed`. Spans are \
         made in bursts of at most 1,000, after which all are exported off the clock.\n",
    );
    times_table(text, &results.legacy, Work::Trace, ("the timer", legacy::TIMER.name));
}

fn http_table(text: &mut String, results: &Results) {
    let Some(bare) = results.http.iter().find(|row| row.stack == http_stacks::BARE) else { return };
    line(text, "## actix-web under wrk\n");
    line(
        text,
        &format!(
            "One worker, a handler that answers `ok`, {} connections on one thread of wrk; the \
             client, the exporter and the receiver share the processors with the server. \
             Processor time is the server's, with its exporter.\n",
            http::CONNECTIONS
        ),
    );
    line(
        text,
        "| server | requests/s | spread | throughput lost | µs of processor for a request | added | spans lost |",
    );
    line(text, "|---|---:|---:|---:|---:|---:|---:|");
    for row in &results.http {
        let lost = match row.spans {
            0 => "-".to_owned(),
            spans => format!("{} of {spans}", row.lost),
        };
        line(
            text,
            &format!(
                "| {} | {:.0} | {:.1} % | {:.1} % | {:.2} | {:.2} | {lost} |",
                row.stack,
                row.rate.median(),
                row.rate.spread() * 100.0,
                (1.0 - row.rate.by(&bare.rate)) * 100.0,
                row.cpu.median(),
                row.cpu.less(&bare.cpu),
            ),
        );
    }
    line(text, "");
}

const UNEQUAL: &str = "\
## What is unequal

* `registry alone` makes the spans and does not propagate; `spanbridge, off` has no subscriber, and
  `no layer` a registry without ours: both pass context on and record nothing.
* `spanbridge` reads and writes headers as its middleware does; tracing-opentelemetry, the SDK and
  `by TextMapPropagator` through the propagators of the OpenTelemetry API, with baggage; fastrace by
  its own function, `traceparent` only.
* The SDK's rows do not go through `tracing` at all: no filter, no metadata, no code location.
  fastrace neither; all its attributes are text, so that numbers are formatted where they are set,
  a span's id is the last one of its thread plus one, and there is no sampler. Its children are
  local spans, which belong to their thread and cannot outlive their parent's scope.
* `unsampled` means a caller that does not record and, for spans without one, a sampler that says no.
* The SDK queues 2,048 spans, spanbridge 16,384, and both drop what is more; fastrace keeps what its
  channel of 10,240 messages has no room for on the thread that made it, without a bound. Where
  spans were lost, work was saved.
* On one thread, on several, and for operations of two steps, the exporter throws `SpanData` away.
  spanbridge decodes to it on the exporter's thread, beside the work, as for any exporter that is not its
  own; its OTLP exporter, which rows of export and wrk have unless they name another, makes none.
  tracing-opentelemetry and the SDK make it where the span ends, fastrace on its reporter's thread.
* In the rows of export one filter, above all layers, keeps the exporters' own spans out, for every
  stack on `tracing`. spanbridge and the SDK send at each 512th span and else after 5 s; fastrace
  sends all it has every 100 ms, where its default is 1 s.
* tracing-actix-web is measured with the newest OpenTelemetry it supports, which is older than the
  others' (see the versions above). It and opentelemetry-instrumentation-actix-web are set up to
  propagate `traceparent` without baggage, as their examples are. What is recorded of a request is
  each one's own choice. Above spanbridge is a filter at `INFO`, as `spanbridge::init` sets one; above
  tracing-actix-web one by target, which keeps the exporter's own spans out; and
  opentelemetry-instrumentation-actix-web does not go through `tracing`.
* Of the operations of two steps, the timer's makes no span, belongs to no other operation, and looks at
  its fields only where it prints them, on one line. A `legacy::Trace` keeps its fields, since it may
  have to be printed later, with the operations around it, and prints what Kubernetes prints. Spans
  with two events are never printed. What is printed goes to a writer that throws it away.
* `large batches` sets `OTEL_BSP_MAX_EXPORT_BATCH_SIZE=4096` and `OTEL_BSP_MAX_QUEUE_SIZE=32768`; every
  other row has its stack's defaults.
* `thrown away` shows what the middleware and the layer cost without a client of gRPC on the same
  processors.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Samples;
    use crate::shared::alone::Bursts;
    use crate::shared::child::Spans;

    #[test]
    fn an_operation_is_compared_with_the_timer_round_by_round() {
        // The machine is twice as slow in the second round.
        let row = |stack, nanos: [f64; 3]| Row {
            work: Work::Trace,
            stack,
            nanos: Samples(nanos.to_vec()),
            bursts: Bursts::default(),
            alone: None,
            spans: Spans { started: 9, exported: 8, dropped: Some(1) },
        };
        let rows = [
            row(legacy::TIMER.name, [100.0, 200.0, 100.0]),
            row(ours::SAMPLED.name, [300.0, 400.0, 300.0]),
            row(theirs::DEFAULTS.name, [600.0, 800.0, 600.0]),
        ];
        let mut text = String::new();
        times_table(&mut text, &rows, Work::Trace, ("the timer", legacy::TIMER.name));
        assert!(text.contains("| over the timer |"), "{text}");
        let ours = text.lines().find(|line| line.starts_with("| spanbridge |")).unwrap();
        assert_eq!(ours, "| spanbridge | - | |  | 200 | 0.50 | 300 | 300 | 0 % | 1 |");
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = "a\n<1>\nold\n<2>\nb\n";
        assert_eq!(between(text, ["<1>", "<2>"], "new\n").unwrap(), "a\n<1>\nnew\n<2>\nb\n");
        assert_eq!(between("no marks", ["<1>", "<2>"], "new"), None);
    }
}
