//! What a span costs from its start to the collector: processor time of the whole process, by the
//! number of spans that arrived. Run by `cargo bench --bench export`; Linux only.
//!
//! Each stack runs in a process of its own and sends over gRPC to a receiver in this one. Spans come
//! in bursts with pauses between them, so that no queue fills; what was dropped all the same is
//! printed. Half of the spans have ten attributes, half of them five, as in `request`.
//!
//! What is unequal: the SDK's batch processor sends what it has at each 512th span, as ours does, but
//! builds and sends on its own thread with a runtime beside it. A filter above all layers, the same for
//! each stack, keeps the exporters' own spans out.

#[path = "../shared/mod.rs"]
mod shared;
mod stacks;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../shared/theirs.rs"]
mod theirs;

use shared::export;
use support::otlp_receiver::OtlpReceiver;

/// Rounds of all stacks, one after the other: what a machine does meanwhile meets all of them.
const ROUNDS: usize = 5;
const SPANS: u64 = 50_000;

#[allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn main() {
    if export::run_if_exporting(stacks::ALL) {
        return;
    }
    // `cargo test --benches` only wants to see that it works.
    let is_test = std::env::args().any(|arg| arg == "--test");
    let (rounds, spans) = if is_test { (1, 1_000) } else { (ROUNDS, SPANS) };
    // Names of stacks on the command line are those to run; all, where there are none.
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| name == wanted);
    let stacks: Vec<_> = stacks::ALL.iter().filter(|stack| is_wanted(stack.name)).collect();
    let mut costs = vec![Vec::new(); stacks.len()];
    for round in 0..rounds {
        for turn in 0..stacks.len() {
            // Each is first in some round, and none always follows the same pause.
            let at = (turn + round) % stacks.len();
            let (stack, costs) = (stacks[at], &mut costs[at]);
            let receiver = OtlpReceiver::grpc();
            receiver.keep_spans(false);
            let cpu = export::start(stack.name, receiver.endpoint(), spans);
            let arrived = receiver.counts().spans_accepted.saturating_sub(export::WARM_UP);
            assert!(arrived > 0, "{}: nothing arrived", stack.name);
            assert!(arrived <= spans, "{}: traces its own exporter: {arrived} spans", stack.name);
            costs.push((cpu.as_nanos() as f64 / arrived as f64, arrived));
        }
    }
    println!("{:<46} {:>10} {:>8} {:>8} {:>10}", "stack", "µs a span", "least", "most", "lost");
    for (stack, mut costs) in stacks.iter().zip(costs) {
        let lost: u64 = costs.iter().map(|(_, arrived)| spans - (*arrived).min(spans)).sum();
        costs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let micros = |at: usize| costs[at].0 / 1_000.0;
        println!(
            "{:<46} {:>10.2} {:>8.2} {:>8.2} {:>10}",
            stack.name,
            micros(costs.len() / 2),
            micros(0),
            micros(costs.len() - 1),
            lost
        );
    }
}
