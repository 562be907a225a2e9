//! What a span costs from its start to the collector: processor time of the whole process, by the
//! number of spans that arrived. Run by `cargo bench --bench export`; Linux only.
//!
//! Each stack runs in a process of its own and sends over gRPC to a receiver in this one. Spans come
//! in bursts with pauses between them, so that no queue fills; what was dropped all the same is
//! printed. Names of stacks as arguments run only these. Half of the spans have ten attributes, half of them five, as in `request`.
//!
//! What is unequal: the SDK's batch processor sends what it has at each 512th span, as ours does, but
//! builds and sends on its own thread with a runtime beside it.

mod child;
mod stacks;
#[path = "../../tests/support/mod.rs"]
mod support;

use support::otlp_receiver::OtlpReceiver;

/// Rounds of all stacks, one after the other: what a machine does meanwhile meets all of them.
const ROUNDS: usize = 5;
const SPANS: u64 = 50_000;

#[allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(child::FLAG) {
        let (stack, endpoint, spans) = (args.next(), args.next(), args.next());
        let spans = spans.and_then(|spans| spans.parse().ok()).expect("a number of spans");
        child::run(&stack.expect("a stack"), &endpoint.expect("an endpoint"), spans);
        return;
    }
    // `cargo test --benches` only wants to see that it works.
    let is_test = std::env::args().any(|arg| arg == "--test");
    let (rounds, spans) = if is_test { (1, 1_000) } else { (ROUNDS, SPANS) };
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| name == wanted);
    let stacks: Vec<_> = stacks::ALL.iter().filter(|stack| is_wanted(stack.name)).collect();
    let mut costs = vec![Vec::new(); stacks.len()];
    for _ in 0..rounds {
        for (stack, costs) in stacks.iter().zip(&mut costs) {
            let receiver = OtlpReceiver::grpc();
            receiver.keep_spans(false);
            let cpu = child::start(stack.name, receiver.endpoint(), spans);
            let arrived = receiver.counts().spans_accepted;
            assert!(arrived > 0, "{}: nothing arrived", stack.name);
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
