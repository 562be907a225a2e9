//! The SDKs of other languages: whether they can be had here, and their services.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::process::Process;

/// An OpenTelemetry SDK whose service is called and calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sdk {
    Go,
    Node,
    Python,
}

impl fmt::Display for Sdk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Sdk {
    /// The name of its service, and of its folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    /// Whether its runtime is here. If not, says on standard error that the test is skipped, and
    /// the caller returns.
    ///
    /// # Panics
    ///
    /// Panics if the runtime is not here but `SPANBRIDGE_REQUIRE_GO`, `..._NODE` or `..._PYTHON`
    /// is `1`.
    pub(crate) fn is_here(self) -> bool {
        static MISSING: Mutex<Option<HashMap<Sdk, Option<String>>>> = Mutex::new(None);
        // Held while the commands run, so that each language is asked once.
        let mut missing = MISSING.lock().unwrap_or_else(PoisonError::into_inner);
        let known = missing.get_or_insert_default();
        let Some(reason) = known.entry(self).or_insert_with(|| self.missing()) else { return true };
        let variable = format!("SPANBRIDGE_REQUIRE_{}", self.name().to_uppercase());
        assert!(
            env::var_os(&variable).is_none_or(|value| value != "1"),
            "{variable}=1, but: {reason}"
        );
        // Written past the capture of the test harness, which hides what a passing test prints. If
        // standard error is closed there is nobody to tell.
        let _ = writeln!(io::stderr(), "skipped: {reason}");
        false
    }

    /// Why its service cannot run here.
    fn missing(self) -> Option<String> {
        let (program, arguments, needed): (_, &[&str], _) = match self {
            Self::Go => ("go".into(), &["env", "GOVERSION"], go_needed()),
            Self::Node => ("node".into(), &["--version"], (18, 19)),
            Self::Python => (python(), &["--version"], (3, 10)),
        };
        let name = program.display();
        let Some(said) = output_of(&program, arguments) else {
            return Some(format!("no {name} to run the {self} peer with"));
        };
        let (major, minor) = needed;
        if version(&said) < needed {
            return Some(format!("{name} is {said}, {major}.{minor} or later is needed"));
        }
        match self {
            Self::Go => None,
            Self::Node if output_of("npm", &["--version"]).is_none() => Some("no npm".to_owned()),
            Self::Node => None,
            // Debian has these in a package of their own.
            Self::Python if output_of(&program, &["-c", "import ensurepip, venv"]).is_none() => {
                Some(format!("{name} has no venv; Debian's package is python3-venv"))
            }
            Self::Python => None,
        }
    }

    /// Starts its service, which exports to `endpoint` over OTLP/HTTP. `sampler` is what
    /// `OTEL_TRACES_SAMPLER` can say.
    pub(crate) fn start(self, endpoint: &str, sampler: &str) -> Process {
        let made = self.build();
        let source = folder().join(self.name());
        let mut command = match self {
            Self::Go => Command::new(made),
            Self::Node => {
                let mut command = Command::new("node");
                // Where the script is there are no packages, and none are to be put there.
                command.arg(source.join("peer.js")).env("NODE_PATH", made);
                command
            }
            Self::Python => {
                let mut command = Command::new(made);
                command.arg("-B").arg(source.join("peer.py"));
                command
            }
        };
        command
            .env("OTEL_SERVICE_NAME", self.name())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_TRACES_SAMPLER", sampler);
        Process::start(self.name(), command)
    }

    /// What [`start`](Self::start) runs with, made once in a test run. Progress goes to our
    /// standard error.
    fn build(self) -> PathBuf {
        static MADE: Mutex<Option<HashMap<Sdk, PathBuf>>> = Mutex::new(None);
        // Held while it is made, so that it is made once.
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let known = made.get_or_insert_default();
        known.entry(self).or_insert_with(|| build(self)).clone()
    }
}

/// The URL in the line that the services print once they accept connections.
pub(crate) fn listening_on(line: &str) -> Option<String> {
    line.strip_prefix("listening on ").map(str::to_owned)
}

fn build(sdk: Sdk) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let output = Command::new("bash")
        .arg(folder().join("build.sh"))
        .arg(sdk.name())
        .env("CARGO_TARGET_DIR", target.expect("cargo's folder for tests is in its target folder"))
        .env("PYTHON", python())
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|err| panic!("cannot run bash to make the {sdk} peer: {err}"));
    assert!(output.status.success(), "making the {sdk} peer failed: {}", output.status);
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn python() -> OsString {
    env::var_os("PYTHON").unwrap_or_else(|| "python3".into())
}

fn output_of(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env("GOTOOLCHAIN", "local").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The version that the Go peer's module asks for.
fn go_needed() -> (u32, u32) {
    let line = include_str!("../go/go.mod").lines().find(|line| line.starts_with("go "));
    version(line.expect("the module states its Go version"))
}

/// `(3, 11)` of `Python 3.11.7`. A version in another form, such as a development build, is the
/// latest.
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.trim_start_matches(|c: char| !c.is_ascii_digit()).split('.');
    let mut number = || parts.next().and_then(|part| part.parse().ok());
    number().zip(number()).unwrap_or((u32::MAX, u32::MAX))
}
