//! What a span costs from its start to the collector: processor time of the whole process.

use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

/// What a child starts with, before the stack's name, where the collector is, and how many spans.
pub(crate) const FLAG: &str = "--export";

/// A way to trace and export, by name; `set_up` is told where the collector is.
#[derive(Clone, Copy)]
pub(crate) struct Exporting {
    pub(crate) name: &'static str,
    pub(crate) set_up: fn(&str) -> Pipeline,
}

/// A stack that is connected.
pub(crate) struct Pipeline {
    /// Makes so many spans, in pairs of a SERVER span with ten attributes and a CLIENT span with five.
    pub(crate) spans: fn(u64),
    /// Waits until everything has been sent.
    pub(crate) flush: Box<dyn Fn()>,
}

/// Spans at once, fewer than any queue holds.
const BURST: u64 = 250;

/// Until connections are there and buffers have their size.
pub(crate) const WARM_UP: u64 = 1_000;

/// Runs a stack in a process of its own, for `WARM_UP` spans and so many more, and gives the
/// processor time of the latter.
pub(crate) fn start(stack: &str, endpoint: &str, spans: u64) -> Duration {
    let program = std::env::current_exe().expect("a running benchmark has a path");
    let output = Command::new(program)
        .args([FLAG, stack, endpoint, &spans.to_string()])
        .output()
        .expect("the benchmark can start itself");
    assert!(output.status.success(), "{stack}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    Duration::from_nanos(text.trim().parse().expect("the child prints nanoseconds"))
}

/// The child's side, if this process is one.
#[allow(clippy::print_stdout, reason = "it answers on standard output")]
pub(crate) fn run_if_exporting(stacks: &[Exporting]) -> bool {
    let mut args = std::env::args().skip_while(|arg| arg != FLAG).skip(1);
    let (Some(stack), Some(endpoint), Some(spans)) = (args.next(), args.next(), args.next()) else {
        return false;
    };
    let stack = stacks
        .iter()
        .find(|known| known.name == stack)
        .unwrap_or_else(|| panic!("no stack {stack}"));
    let mut left: u64 = spans.parse().expect("a number of spans");
    let pipeline = (stack.set_up)(&endpoint);
    for _ in 0..WARM_UP / BURST {
        (pipeline.spans)(BURST);
        (pipeline.flush)();
    }
    let before = processor_time(std::process::id());
    while left > 0 {
        (pipeline.spans)(left.min(BURST));
        left -= left.min(BURST);
        // Time for the exporter, which costs nothing here: only work is counted.
        thread::sleep(Duration::from_millis(10));
    }
    (pipeline.flush)();
    println!("{}", (processor_time(std::process::id()) - before).as_nanos());
    true
}

/// What all threads of a process have used that still run: by the nanosecond where the kernel says
/// so, else by the tick of 10 ms.
pub(crate) fn processor_time(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    // proc(5): time on the processor, in nanoseconds, comes first.
    let nanos: Option<u64> = tasks
        .map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        })
        .sum();
    match nanos {
        Some(nanos) if nanos > 0 => Duration::from_nanos(nanos),
        _ => by_ticks(process),
    }
}

fn by_ticks(process: u32) -> Duration {
    // proc_pid_stat(5): fields 14 and 15, in ticks of 10 ms, which Linux shows to user space.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("this is Linux");
    let (_, fields) = stat.rsplit_once(')').expect("the name of the program stands in brackets");
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("is a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}
