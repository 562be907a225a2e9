//! The peers that are written in Go: whether they can be built here, and the webhook.

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::process::Process;

/// Proof that Go is here; hands out the binaries, each built once per test run.
pub(crate) struct Peers(());

impl Peers {
    /// `None` after a note on standard error that the test is skipped: the caller returns.
    pub(crate) fn find() -> Option<Self> {
        static MISSING: OnceLock<Option<String>> = OnceLock::new();
        let missing = MISSING.get_or_init(|| match go_version() {
            None => Some("no Go toolchain".to_owned()),
            Some(found) if minor(&found) < minor(&go_needed()) => {
                Some(format!("Go toolchain is {found}, {} or later is needed", go_needed()))
            }
            Some(_) => None,
        });
        let Some(reason) = missing else { return Some(Self(())) };
        assert!(
            env::var_os("SPANBRIDGE_REQUIRE_GO").is_none_or(|value| value != "1"),
            "SPANBRIDGE_REQUIRE_GO=1, but: {reason}"
        );
        // Written past the capture of the test harness, which hides what a passing test prints. If
        // standard error is closed there is nobody to tell.
        let _ = writeln!(io::stderr(), "skipped: {reason}");
        None
    }

    pub(crate) fn collector(&self) -> &'static Path {
        static BINARY: OnceLock<PathBuf> = OnceLock::new();
        BINARY.get_or_init(|| build("collector"))
    }

    pub(crate) fn webhook(&self) -> &'static Path {
        static BINARY: OnceLock<PathBuf> = OnceLock::new();
        BINARY.get_or_init(|| build("webhook"))
    }
}

/// The admission webhook in Go.
pub(crate) struct Webhook {
    process: Process,
    url: String,
}

impl Webhook {
    pub(crate) fn start(binary: &Path, otlp_endpoint: &str) -> Self {
        let mut command = Command::new(binary);
        command.args(["-listen", "127.0.0.1:0", "-otlp-endpoint", otlp_endpoint]);
        let mut process = Process::start("webhook-go", command);
        let url = process.wait_for("its address", listening_on);
        Self { process, url }
    }

    pub(crate) fn admit_url(&self) -> String {
        format!("{}/admit", self.url)
    }

    /// Ends the webhook after it has flushed its spans.
    pub(crate) fn stop(self) {
        self.process.stop();
    }
}

/// The URL in the line that the servers print once they accept connections.
pub(crate) fn listening_on(line: &str) -> Option<String> {
    line.strip_prefix("listening on ").map(|url| url.trim_end_matches('/').to_owned())
}

/// Builds a peer and returns the path of its binary. Progress goes to our standard error.
fn build(peer: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collector");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let output = Command::new("bash")
        .arg(folder.join("build.sh"))
        .arg(peer)
        .env("CARGO_TARGET_DIR", target.expect("cargo's folder for tests is in its target folder"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("cannot run bash to build the {peer}: {error}"));
    assert!(output.status.success(), "building the {peer} failed: {}", output.status);
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// The version of the installed toolchain, such as `go1.26.8`.
fn go_version() -> Option<String> {
    let output =
        Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The version that the webhook's module asks for; the Collector asks for no later one.
fn go_needed() -> String {
    let version = include_str!("webhook/go.mod").lines().find_map(|line| line.strip_prefix("go "));
    format!("go{}", version.expect("the module states its Go version"))
}

/// `(1, 26)` of `go1.26.8`; a version in another form, such as a development build, is the latest.
fn minor(version: &str) -> (u32, u32) {
    let mut parts = version.trim_start_matches("go").split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (u32::MAX, u32::MAX),
    }
}
