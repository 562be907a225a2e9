//! A process that runs one stack, and what its processor time was.

use std::process::Command;
use std::time::Duration;

use crate::stacks;

/// What the parent starts a child with: the stack, the receiver, the number of spans.
pub(crate) const FLAG: &str = "--stack";

/// Runs a stack in a process of its own: the processor time from the first span to the last.
pub(crate) fn start(stack: &str, endpoint: &str, spans: u64) -> Duration {
    let program = std::env::current_exe().expect("a running benchmark has a path");
    let output = Command::new(program)
        .args([FLAG, stack, endpoint, &spans.to_string()])
        .output()
        .expect("the benchmark can start itself");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    Duration::from_nanos(text.trim().parse().expect("the child prints nanoseconds"))
}

#[allow(clippy::print_stdout, reason = "it answers on standard output")]
pub(crate) fn run(stack: &str, endpoint: &str, spans: u64) {
    const BURST: u64 = 250;
    let stack = stacks::ALL
        .iter()
        .find(|known| known.name == stack)
        .unwrap_or_else(|| panic!("no stack {stack}"));
    let flush = (stack.set_up)(endpoint);
    // Connected, with buffers of their size.
    stacks::spans(1_000);
    flush();
    let before = processor_time();
    let mut left = spans.saturating_sub(1_000);
    while left > 0 {
        stacks::spans(left.min(BURST));
        left -= left.min(BURST);
        // Time for the exporter, which costs nothing here: only work is counted.
        std::thread::sleep(Duration::from_millis(10));
    }
    flush();
    println!("{}", (processor_time() - before).as_nanos());
}

/// User and system time of all threads so far, those that ended too.
fn processor_time() -> Duration {
    // proc_pid_stat(5): fields 14 and 15, in ticks of 10 ms, which Linux shows to user space.
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let (_, fields) = stat.rsplit_once(')').expect("the name of the program stands in brackets");
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("is a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}
