//! An OpenTelemetry Collector of the test's own.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    expect::{Expected, unmet},
    process::{DEADLINE, Folder, Process},
    spans::{self, Span},
};

const SPANS: &str = "spans.jsonl";

/// Starts the Collector in `$0` and makes it stop, flushing, when standard input closes: it does
/// not watch that itself. The shell becomes the Collector; a child of it keeps the other end.
const STOP_WITH_STDIN: &str = r#"
exec 3<&0
{ cat <&3; kill -TERM $$; } >/dev/null 2>&1 &
exec "$0" "$@" 3<&- </dev/null
"#;

pub(crate) struct Collector {
    process: Process,
    grpc: String,
    http: String,
    folder: Folder,
}

impl Collector {
    /// Starts the Collector on free ports, and returns when it is ready.
    pub(crate) fn start(binary: &Path) -> Self {
        let folder = Folder::new("collector");
        // JSON is YAML. Paths are relative to the folder, so none needs quoting.
        let config = json!({
            "receivers": {"otlp": {"protocols": {
                "grpc": {"endpoint": "127.0.0.1:0"},
                "http": {"endpoint": "127.0.0.1:0"},
            }}},
            "exporters": {
                "debug": {"verbosity": "normal"},
                "file": {"path": SPANS, "flush_interval": "50ms"},
            },
            "service": {
                "telemetry": {"metrics": {"level": "none"}, "logs": {"encoding": "json"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug", "file"]}},
            },
        });
        folder.write("config.yaml", &config.to_string());

        let mut command = Command::new("sh");
        command.args(["-c", STOP_WITH_STDIN]).arg(binary).args(["--config", "config.yaml"]);
        command.current_dir(folder.path());
        let mut process = Process::start("collector", command);

        let (mut grpc, mut http) = (None, None);
        let (grpc, http) = process.wait_for("that it is ready", |line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            let endpoint = || entry["endpoint"].as_str().map(str::to_owned);
            match entry["msg"].as_str()? {
                "Starting GRPC server" => grpc = endpoint(),
                "Starting HTTP server" => http = endpoint(),
                message if message.starts_with("Everything is ready") => {
                    return grpc.take().zip(http.take());
                }
                _ => {}
            }
            None
        });
        Self { process, grpc, http, folder }
    }

    /// Where OTLP over gRPC is received, as `host:port`.
    pub(crate) fn grpc_endpoint(&self) -> String {
        self.grpc.clone()
    }

    /// Where OTLP over HTTP is received, as a URL without a path.
    pub(crate) fn http_endpoint(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Waits until every expectation is met by one trace, and fails at the deadline.
    ///
    /// The spans pass through a file that another process writes, hence the polling.
    pub(crate) fn wait_for(&self, expected: &[Expected]) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let spans = received(&self.folder);
            let Some(report) = expected.iter().find_map(|expected| unmet(&spans, expected)) else {
                return;
            };
            assert!(Instant::now() < deadline, "after {DEADLINE:?}: {report}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the Collector and returns every span that it received.
    pub(crate) fn stop(self) -> Vec<Span> {
        let Self { process, folder, .. } = self;
        process.stop();
        received(&folder)
    }

    /// As [`stop`](Self::stop), but returns the export requests, as the Collector writes them.
    pub(crate) fn stop_with_requests(self) -> Vec<Value> {
        let Self { process, folder, .. } = self;
        process.stop();
        let read = |line: &str| serde_json::from_str(line).expect("the Collector writes JSON");
        written(&folder).lines().map(read).collect()
    }
}

fn received(folder: &Folder) -> Vec<Span> {
    written(folder).lines().flat_map(spans::parse).collect()
}

/// The lines of the Collector's file, each a request.
fn written(folder: &Folder) -> String {
    let path = folder.path().join(SPANS);
    let mut text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    // What follows the last line end is still being written.
    text.truncate(text.rfind('\n').unwrap_or(0));
    text
}
