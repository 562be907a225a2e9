//! A process that runs one stack, told by its standard input how often.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::stacks;

/// What the parent starts a child with, before the stack's name.
pub(crate) const FLAG: &str = "--stack";

pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(stack: &str) -> Self {
        let program = std::env::current_exe().expect("a running benchmark has a path");
        let mut child = Command::new(program)
            .args([FLAG, stack])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the benchmark can start itself");
        let input = child.stdin.take().expect("its input is a pipe");
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        Self { child, input, output }
    }

    /// Runs the request so many times over there.
    pub(crate) fn time(&mut self, iterations: u64) -> Duration {
        writeln!(self.input, "{iterations}").expect("the child listens");
        let nanos = self.line().parse().expect("the child answers with nanoseconds");
        Duration::from_nanos(nanos)
    }

    /// Ends the process, and gives what it says of its spans.
    pub(crate) fn finish(mut self) -> String {
        writeln!(self.input, "end").expect("the child listens");
        let report = self.line();
        let status = self.child.wait().expect("the child ends");
        assert!(status.success(), "{status}");
        report
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the child answers");
        line.trim().to_owned()
    }
}

/// The child's side.
#[allow(clippy::print_stdout, reason = "it answers on standard output")]
pub(crate) fn run(stack: &str) {
    let stack = stacks::ALL
        .iter()
        .find(|known| known.name == stack)
        .unwrap_or_else(|| panic!("no stack {stack}"));
    let (request, report) = (stack.set_up)();
    for line in std::io::stdin().lines() {
        let line = line.expect("the parent writes text");
        let Ok(iterations) = line.parse::<u64>() else { break };
        let start = Instant::now();
        for _ in 0..iterations {
            request();
        }
        println!("{}", start.elapsed().as_nanos());
    }
    println!("{}", report());
}
