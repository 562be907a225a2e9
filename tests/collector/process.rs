//! A child process that never outlives the test, and a folder that goes with it.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

/// How long any process may take to start, to stop, or to show what a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running child that stops when its standard input closes: all peers are started that way, so
/// they also go when the test is killed and no destructor runs.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    lines: Receiver<String>,
    /// What has been read of both output streams. A test that fails shows it.
    log: Vec<String>,
}

impl Process {
    /// Starts `command` with its output streams read by this process, and without the caller's
    /// OpenTelemetry and proxy settings.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Self {
        let set: Vec<_> = command.get_envs().map(|(key, _)| key.to_owned()).collect();
        for (key, _) in env::vars_os().filter(|(key, _)| !set.contains(key)) {
            let upper = key.to_string_lossy().to_ascii_uppercase();
            if upper.starts_with("OTEL_") || upper.ends_with("_PROXY") {
                command.env_remove(key);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (sender, lines) = mpsc::channel();
        forward(child.stdout.take(), sender.clone());
        forward(child.stderr.take(), sender);
        Self { name, child, lines, log: Vec::new() }
    }

    /// Reads lines until `find` recognises one.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.next_line(deadline) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("does not print {what}")),
                Err(RecvTimeoutError::Disconnected) => {
                    self.fail(&format!("ended before it printed {what}"));
                }
            }
        }
    }

    /// Asks the process to end, and waits until it has. Fails unless it exits with 0.
    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + DEADLINE;
        // Both streams close when the process ends, so this waits for that without polling.
        loop {
            match self.next_line(deadline) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => self.fail("does not stop"),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        match self.child.wait() {
            Ok(status) if status.success() => {}
            ended => self.fail(&format!("did not stop cleanly: {ended:?}")),
        }
    }

    fn next_line(&mut self, deadline: Instant) -> Result<String, RecvTimeoutError> {
        let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        self.log.push(line.clone());
        Ok(line)
    }

    #[expect(clippy::print_stderr, reason = "the test harness shows it below the failed test")]
    fn print_log(&self) {
        let log: Vec<String> = self.log.iter().cloned().chain(self.lines.try_iter()).collect();
        eprintln!("{} printed:\n{}\n", self.name, log.join("\n"));
    }

    fn fail(&self, problem: &str) -> ! {
        panic!("{} {problem}", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.print_log();
        }
    }
}

/// Sends the lines of `stream` until it closes or nobody listens.
fn forward(stream: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let stream = stream.expect("the stream was piped when the process started");
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
}

/// A new folder under cargo's target folder. It goes with the test, but stays if that fails.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let unique = format!("{name}-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into the folder and returns its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            // Nothing depends on it; the target folder may be read-only or cleaned by now.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
