//! actix-web under `wrk`: requests in a second, and processor time for each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::account::Account;
use crate::http_stacks::{self, HttpStack};
use crate::loss::Loss;
use crate::plan::{Part, Plan};
use crate::receiver::Receiver;
use crate::samples::Samples;
use crate::shared::{export, spans};

/// Connections of the client, each with one request at a time.
pub(crate) const CONNECTIONS: u64 = 8;

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) stack: &'static str,
    /// Requests in a second, round by round.
    pub(crate) rate: Samples,
    /// Microseconds of all threads of the server for a request.
    pub(crate) cpu: Samples,
    /// What should have arrived at the collector, and what did not.
    pub(crate) spans: u64,
    pub(crate) lost: u64,
    /// What a server that counts says to have started, and how many spans nobody accounts for.
    pub(crate) started: u64,
    pub(crate) missing: u64,
}

impl Row {
    pub(crate) fn loss(&self) -> Loss {
        Loss { lost: self.lost, of: self.spans }
    }
}

/// That there is a `wrk`, before anything else takes its time.
pub(crate) fn find_wrk() -> Result<(), String> {
    // It has no option that succeeds without a server: `--version` prints and fails.
    match Command::new("wrk").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "wrk, which puts the servers under load, cannot be started: {error}; install it \
             (apt-get install wrk), or leave that part out: --only hot,instructions,scaling,export"
        )),
    }
}

pub(crate) fn measure(plan: &Plan, say: &dyn Fn(&str)) -> Result<Vec<Row>, String> {
    if !plan.wants(Part::Http) {
        return Ok(Vec::new());
    }
    let seconds = if plan.quick { 1 } else { 2 };
    let row = |stack: &HttpStack| Row {
        stack: stack.name,
        rate: Samples::default(),
        cpu: Samples::default(),
        spans: 0,
        lost: 0,
        started: 0,
        missing: 0,
    };
    let mut rows: Vec<_> = http_stacks::ALL.iter().map(row).collect();
    let mut servers =
        http_stacks::ALL.iter().map(Server::start).collect::<Result<Vec<_>, String>>()?;
    let mut accounts = Vec::new();
    for (stack, server) in http_stacks::ALL.iter().zip(&mut servers) {
        wrk(stack, server.port, 1)?;
        accounts.push(server.flush());
    }
    for round in 1..=plan.rounds(11) {
        say(&format!("HTTP, round {round}"));
        for turn in 0..servers.len() {
            let at = (turn + round) % servers.len();
            let (stack, server, row) = (&http_stacks::ALL[at], &mut servers[at], &mut rows[at]);
            let arrived = server.receiver.spans();
            let cpu = export::processor_time(server.child.id());
            let load = wrk(stack, server.port, seconds)?;
            let before = std::mem::replace(&mut accounts[at], server.flush());
            let cpu = export::processor_time(server.child.id()) - cpu;
            row.rate.push(load.rate);
            row.cpu.push(cpu.as_secs_f64() * 1e6 / load.requests as f64);
            let arrived = stack.exports.then(|| server.receiver.spans() - arrived);
            if let Some(arrived) = arrived {
                row.spans += load.requests;
                // What was under way when `wrk` stopped comes as well, and is not counted by it.
                row.lost += load.requests.saturating_sub(arrived);
            }
            if let (Some(before), Some(now)) = (before, accounts[at]) {
                let account = now.since(before);
                let requests = if stack.sampled { load.requests } else { 0 };
                row.started += account.started;
                row.missing += account.missing(requests, CONNECTIONS, arrived);
            }
        }
    }
    Ok(rows)
}

/// A server's process. Dropping it ends that.
struct Server {
    /// Its own: what another server sends late is not to be taken for its spans.
    receiver: Receiver,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start(stack: &HttpStack) -> Result<Self, String> {
        let receiver =
            Receiver::start().map_err(|error| format!("the receiver cannot start: {error}"))?;
        let program = std::env::current_exe().expect("a running benchmark has a path");
        let mut child = Command::new(program)
            .args([http_stacks::FLAG, stack.name, receiver.endpoint()])
            .envs(stack.variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the benchmark can start itself");
        let input = child.stdin.take().expect("its input is a pipe");
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut server = Self { receiver, child, input, output, port: 0 };
        server.port = server.line().parse().expect("it says its port");
        Ok(server)
    }

    /// Waits until what it recorded has been exported. What it says of its spans so far, if it
    /// counts them.
    fn flush(&mut self) -> Option<Account> {
        writeln!(self.input, "flush").expect("the server listens");
        match self.line().as_str() {
            "-" => None,
            line => Some(Account::read(line).expect("the server answers with three numbers")),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the server answers");
        line.trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it is gone already, all the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `wrk` says.
#[derive(Debug, PartialEq)]
struct Load {
    requests: u64,
    rate: f64,
}

fn wrk(stack: &HttpStack, port: u16, seconds: u64) -> Result<Load, String> {
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s")])
        .args(["-H", &format!("traceparent: {}", spans::traceparent(stack.sampled))])
        .arg(format!("http://127.0.0.1:{port}{}", http_stacks::PATH))
        .output()
        .map_err(|error| format!("wrk cannot be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    read(&text).ok_or_else(|| {
        let words = String::from_utf8_lossy(&output.stderr);
        format!("{}: wrk measured nothing that counts: {text}{words}", stack.name)
    })
}

/// `None` also where the server answered anything but success.
fn read(text: &str) -> Option<Load> {
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return None;
    }
    let mut load = Load { requests: 0, rate: 0.0 };
    for line in text.lines().map(str::trim) {
        if let Some((requests, _)) = line.split_once(" requests in ") {
            load.requests = requests.parse().ok()?;
        } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
            load.rate = rate.trim().parse().ok()?;
        }
    }
    (load.requests > 0 && load.rate > 0.0).then_some(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 2s test @ http://127.0.0.1:1\n  1 threads and 8 connections\n  \
        Thread Stats   Avg\n    Latency    84.43us\n  178342 requests in 2.10s, 21.09MB read\n\
        Requests/sec:  84932.11\nTransfer/sec:     10.04MB\n";

    #[test]
    fn requests_and_rate_are_read() {
        assert_eq!(read(TEXT), Some(Load { requests: 178_342, rate: 84_932.11 }));
    }

    #[test]
    fn errors_are_no_measurement() {
        assert_eq!(read(&format!("{TEXT}  Non-2xx or 3xx responses: 178342\n")), None);
        assert_eq!(read("unable to connect to 127.0.0.1:1 Connection refused"), None);
    }
}
