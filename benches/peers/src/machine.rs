//! What was measured where.

use std::fs;
use std::path::Path;
use std::process::Command;

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    /// Averages of the last 1, 5 and 15 minutes, before anything was measured.
    pub(crate) load: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let load = read("/proc/loadavg");
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory: field(&read("/proc/meminfo"), "MemTotal"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rustc: output("rustc", &["--version"]).unwrap_or_else(|| "unknown".to_owned()),
            load: load.split(' ').take(3).collect::<Vec<_>>().join(", "),
        }
    }
}

/// The commit of a repository, and whether there is more in the folder than that.
pub(crate) fn commit(repository: &Path) -> (String, bool) {
    let folder = repository.to_string_lossy();
    let git = |args: &[&str]| output("git", &[&["-C", &folder], args].concat());
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    // Other results are not what is measured.
    let status = git(&["status", "--porcelain", "--", ".", ":!benches/results", ":!README.md"]);
    (commit, status.is_none_or(|status| !status.is_empty()))
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Name and version of everything that is compared, as the lock file has them.
pub(crate) fn versions() -> Vec<(String, String)> {
    const COMPARED: [&str; 11] = [
        "actix-web",
        "fastrace",
        "fastrace-opentelemetry",
        "opentelemetry",
        "opentelemetry-instrumentation-actix-web",
        "opentelemetry-otlp",
        "opentelemetry_sdk",
        "spanbridge",
        "tracing-actix-web",
        "tracing-opentelemetry",
        "tracing-subscriber",
    ];
    versions_in(include_str!("../Cargo.lock"))
        .filter(|(name, _)| COMPARED.contains(&name.as_str()))
        .collect()
}

fn versions_in(lock: &str) -> impl Iterator<Item = (String, String)> {
    let value = |line: &str, key: &str| {
        line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"').map(str::to_owned)
    };
    let lines: Vec<_> = lock.lines().collect();
    let pairs: Vec<_> = lines
        .windows(2)
        .filter_map(|pair| Some((value(pair[0], "name")?, value(pair[1], "version")?)))
        .collect();
    pairs.into_iter()
}
