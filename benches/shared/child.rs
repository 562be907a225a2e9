//! A process that runs one work on one stack, told by its standard input how often.
//!
//! Each has its own, since `tracing` is at its fastest only under a *global* subscriber, of which a
//! process has one, and since no stack is to run beside the threads of another.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use super::alone::{Burst, as_soon_as_alone, first};
use super::stack::{Outcome, Running, Stack};
use super::work::{Op, Work};

/// What the parent starts a child with, before the names of stack and work.
pub(crate) const FLAG: &str = "--child";

/// What the parent says in place of a number of threads for [`Process::time_alone`].
const ALONE: &str = "alone";

/// What each of several threads does before its time counts: of eight threads, no more than every
/// queue holds.
const WARM_UP: u64 = 100;

/// What became of the spans that a child made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spans {
    pub(crate) started: u64,
    pub(crate) exported: u64,
    /// What the stack says that it dropped.
    pub(crate) dropped: Option<u64>,
}

/// A child, as its parent sees it. Dropping it ends the child.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// `None` where the stack cannot do the work.
    pub(crate) fn start(stack: &str, work: Work) -> Option<Self> {
        let program = std::env::current_exe().expect("a running benchmark has a path");
        let mut child = Command::new(program)
            .args([FLAG, stack, work.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the benchmark can start itself");
        let input = child.stdin.take().expect("its input is a pipe");
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut process = Self { child, input, output };
        (process.line() == "ready").then_some(process)
    }

    /// Does the work so many times over there, with everything exported now and then, off the
    /// clock, so that nobody is faster for dropping spans.
    pub(crate) fn time(&mut self, iterations: u64) -> Duration {
        self.ask(0, iterations)
    }

    /// Does the work so many times on each of so many threads at once, until the last is done, and
    /// without pauses: queues are empty at first, and may become full.
    pub(crate) fn time_on_threads(&mut self, threads: usize, iterations: u64) -> Duration {
        self.ask(threads, iterations)
    }

    /// Does the work so many times in one go, as soon as nobody else is on the core; `limit` says
    /// what [`as_soon_as_alone`] takes for that.
    pub(crate) fn time_alone(&mut self, iterations: u64, limit: u64) -> Burst {
        writeln!(self.input, "{ALONE} {iterations} {limit}").expect("the child listens");
        let line = self.line();
        let mut numbers = line.split(' ').map(|number| number.parse().expect("is a number"));
        let mut next = || numbers.next().expect("the child answers with four numbers");
        Burst { nanos: next(), whole: next(), probe: next(), quickest: next() }
    }

    /// No threads: on the main one, in bursts.
    fn ask(&mut self, threads: usize, iterations: u64) -> Duration {
        writeln!(self.input, "{threads} {iterations}").expect("the child listens");
        let nanos = self.line().parse().expect("the child answers with nanoseconds");
        Duration::from_nanos(nanos)
    }

    /// Ends the process.
    pub(crate) fn finish(mut self) -> Spans {
        writeln!(self.input, "end").expect("the child listens");
        let line = self.line();
        let status = self.child.wait().expect("the child ends");
        assert!(status.success(), "{status}");
        let mut numbers = line.split(' ').map(|number| number.parse().ok());
        let mut next = || numbers.next().expect("the child answers with three numbers");
        Spans {
            started: next().expect("is a number"),
            exported: next().expect("is a number"),
            dropped: next(),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the child answers");
        line.trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After `finish` it is gone already, which is no error worth a word.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's side, if this process is one.
pub(crate) fn run_if_child(stacks: &[Stack]) -> bool {
    let mut args = std::env::args().skip_while(|arg| arg != FLAG).skip(1);
    let (Some(stack), Some(work)) = (args.next(), args.next()) else { return false };
    let (running, work) = set_up(stacks, &stack, &work);
    run(&running, work);
    true
}

/// The stack and work of these names, or a word on what there is.
pub(crate) fn set_up(stacks: &[Stack], stack: &str, work: &str) -> (Running, Work) {
    let found = stacks.iter().find(|known| known.name == stack).unwrap_or_else(|| {
        let known: Vec<_> = stacks.iter().map(|stack| stack.name).collect();
        panic!("no stack {stack:?}; there are {known:?}")
    });
    let work = Work::named(work).unwrap_or_else(|| {
        panic!("no work {work:?}; there are {:?}", Work::ALL.map(Work::name));
    });
    ((found.set_up)(work), work)
}

#[allow(clippy::print_stdout, reason = "it answers on standard output")]
fn run(running: &Running, work: Work) {
    let Some(mut op) = (running.op)(work) else {
        println!("cannot");
        return;
    };
    println!("ready");
    let mut started = 0;
    for line in std::io::stdin().lines() {
        let line = line.expect("the parent writes text");
        let Some((how, numbers)) = line.split_once(' ') else { break };
        let mut numbers = numbers.split(' ').map(|number| number.parse().expect("is a number"));
        let iterations: u64 = numbers.next().expect("the parent says how often");
        if how == ALONE {
            let limit = numbers.next().expect("the parent says what is quick");
            let (burst, spans) = in_one_go(running, work, &mut op, iterations, limit);
            started += spans;
            let Burst { nanos, whole, probe, quickest } = burst;
            println!("{nanos} {whole} {probe} {quickest}");
            continue;
        }
        let threads: u64 = how.parse().expect("is a number of threads");
        let time = match threads {
            0 => {
                let (time, spans) = in_bursts(running, work, &mut op, iterations);
                started += spans;
                time
            }
            _ => {
                started += threads * (work.spans(WARM_UP) + work.spans(iterations));
                on_threads(running, work, threads, iterations)
            }
        };
        println!("{}", time.as_nanos());
    }
    let Outcome { records, exported, dropped } = (running.finish)();
    let started = if records { started } else { 0 };
    println!("{started} {exported} {}", dropped.map_or_else(|| "?".to_owned(), |n| n.to_string()));
}

fn in_bursts(running: &Running, work: Work, op: &mut Op, iterations: u64) -> (Duration, u64) {
    let (mut time, mut spans, mut left) = (Duration::ZERO, 0, iterations);
    while left > 0 {
        let some = left.min(work.burst());
        time += op(some);
        spans += work.spans(some);
        left -= some;
        (running.finish)();
    }
    (time, spans)
}

fn in_one_go(
    running: &Running,
    work: Work,
    op: &mut Op,
    iterations: u64,
    limit: u64,
) -> (Burst, u64) {
    let first = first(iterations);
    let burst = as_soon_as_alone(limit, || {
        op(first);
        op(iterations)
    });
    (running.finish)();
    (burst, work.spans(first) + work.spans(iterations))
}

/// Each thread first does some of the work off the clock, and what it made is exported: neither its
/// set-up nor a queue that another has filled is measured.
fn on_threads(running: &Running, work: Work, threads: u64, iterations: u64) -> Duration {
    let barrier = Arc::new(Barrier::new(threads as usize + 1));
    let make = running.op;
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            std::thread::spawn(move || {
                let mut op = make(work).expect("the stack does this work");
                op(WARM_UP);
                barrier.wait();
                barrier.wait();
                let start = Instant::now();
                op(iterations);
                (start, Instant::now())
            })
        })
        .collect();
    barrier.wait();
    (running.finish)();
    barrier.wait();
    // By the threads' own clocks: this thread may be the last that gets a processor.
    let (starts, ends): (Vec<_>, Vec<_>) =
        threads.into_iter().map(|thread| thread.join().expect("the work does not panic")).unzip();
    let first = starts.into_iter().min().expect("there is a thread");
    ends.into_iter().max().expect("there is a thread") - first
}
