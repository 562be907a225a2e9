//! Child processes that run a part of this same program, and never outlive it.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

const READY: &str = "listening on ";

/// A running child. It stops when its standard input closes, which happens also when this process
/// is killed; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Role {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    url: String,
    /// What it wrote on standard error, sent when that is closed.
    stderr: Receiver<String>,
}

impl Role {
    /// Starts this program again with `args`, and waits until it listens.
    ///
    /// # Errors
    ///
    /// Fails if the child cannot be started, ends, or is not ready by `deadline`.
    pub(crate) fn start(
        name: &'static str,
        args: &[&OsStr],
        deadline: Instant,
    ) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The story is the same whatever the user's environment configures for other programs.
        for (key, _) in std::env::vars_os() {
            if key.as_encoded_bytes().starts_with(b"OTEL_") {
                command.env_remove(key);
            }
        }
        command.env("OTEL_SERVICE_NAME", name);
        // The default of five seconds suits a service, not someone who waits for the result.
        command.env("OTEL_BSP_SCHEDULE_DELAY", "100");
        let mut child = command.spawn().map_err(|err| format!("cannot start {name}: {err}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("it was asked for");
        let mut stderr = child.stderr.take().expect("it was asked for");
        let lines = in_thread(move |lines| {
            // Until the end, so that the child can always write.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        })?;
        let stderr = in_thread(move |text| {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            let _ = text.send(String::from_utf8_lossy(&bytes).into_owned());
        })?;
        let mut role = Self { name, child, stdin, url: String::new(), stderr };
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix(READY) {
                Some(url) => url.clone_into(&mut role.url),
                None => return Err(format!("{name} says {line:?}, not where it listens").into()),
            },
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("{name} does not listen in time").into());
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = role.wait(deadline)?;
                return Err(role.ended(status));
            }
        }
        Ok(role)
    }

    /// The process, as in `service.name`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens: `http://ADDR`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if the child is no longer there.
    pub(crate) fn check(&mut self) -> Result<(), Box<dyn Error>> {
        match self.child.try_wait()? {
            Some(status) => Err(self.ended(status)),
            None => Ok(()),
        }
    }

    /// Has the child stop in good order, and returns what it said on standard error.
    ///
    /// # Errors
    ///
    /// Fails if it does not end by `deadline`, or not with success.
    pub(crate) fn stop(mut self, deadline: Instant) -> Result<String, Box<dyn Error>> {
        self.stdin.take();
        let status = self.wait(deadline)?;
        if !status.success() {
            return Err(self.ended(status));
        }
        Ok(self.stderr.recv().unwrap_or_default())
    }

    /// Standard error is closed when the child ends, so that is what is waited for.
    fn wait(&mut self, deadline: Instant) -> Result<ExitStatus, Box<dyn Error>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let text = self.stderr.recv_timeout(left.max(Duration::from_millis(1)));
        let text = text.map_err(|_| format!("{} does not stop in time", self.name))?;
        let (again, stderr) = mpsc::channel();
        let _ = again.send(text);
        self.stderr = stderr;
        Ok(self.child.wait()?)
    }

    fn ended(&self, status: ExitStatus) -> Box<dyn Error> {
        let said = self.stderr.recv().unwrap_or_default();
        match said.trim() {
            "" => format!("{} ended early ({status})", self.name).into(),
            said => format!("{} ended early ({status}): {said}", self.name).into(),
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `work` in a thread of its own that ends with the child.
fn in_thread<T: Send + 'static>(
    work: impl FnOnce(mpsc::Sender<T>) + Send + 'static,
) -> std::io::Result<Receiver<T>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().spawn(move || work(sender))?;
    Ok(receiver)
}
