//! The `apiserver` example, as a process.

use std::{env, path::PathBuf, process::Command};

use actix_web::{
    http::{Method, StatusCode, header::CONTENT_TYPE},
    rt::System,
};
use serde_json::{Value, json};

use crate::{
    peers::listening_on,
    process::{DEADLINE, Folder, Process},
};

/// Where the API server learns how to trace.
pub(crate) enum TracingConfig {
    /// No file: tracing is off.
    Absent,
    /// A file that samples everything and sends it to this `host:port`.
    Endpoint(String),
    /// A file that samples everything; variables say where to send it.
    Environment(Vec<(&'static str, String)>),
}

pub(crate) struct ApiServer {
    process: Process,
    url: String,
    _folder: Folder,
}

impl ApiServer {
    /// Starts the server on a free port. `webhook` reviews what is created.
    pub(crate) fn start(config: TracingConfig, webhook: Option<&str>, flags: &[&str]) -> Self {
        let folder = Folder::new("apiserver");
        let mut command = Command::new(binary());
        command.args(["--listen", "127.0.0.1:0", "--exit-on-stdin-close"]).args(flags);
        if let Some(url) = webhook {
            command.args(["--webhook-url", url]);
        }
        let mut file = json!({
            "apiVersion": "apiserver.config.k8s.io/v1beta1",
            "kind": "TracingConfiguration",
            "samplingRatePerMillion": 1_000_000,
        });
        let file = match config {
            TracingConfig::Absent => None,
            TracingConfig::Endpoint(endpoint) => {
                file["endpoint"] = endpoint.into();
                Some(file)
            }
            TracingConfig::Environment(variables) => {
                command.envs(variables);
                Some(file)
            }
        };
        if let Some(file) = file {
            let path = folder.write("tracing.yaml", &file.to_string());
            command.arg("--tracing-config-file").arg(path);
        }
        // The default of five seconds would only make the tests slower.
        command.env("OTEL_BSP_SCHEDULE_DELAY", "100");

        let mut process = Process::start("apiserver", command);
        let url = process.wait_for("its address", listening_on);
        Self { process, url, _folder: folder }
    }

    /// Sends one request and reads the whole answer.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let url = format!("{}{path}", self.url);
        System::new().block_on(async {
            let verb = Method::from_bytes(method.as_bytes()).expect("tests use valid methods");
            let client = awc::Client::builder().timeout(DEADLINE).finish();
            let mut request = client.request(verb, &url);
            for header in headers {
                request = request.insert_header(*header);
            }
            if method == "PATCH" {
                request = request.insert_header((CONTENT_TYPE, "application/merge-patch+json"));
            }
            let sent = match body {
                Some(body) => request.send_json(body).await,
                None => request.send().await,
            };
            let mut response = sent.unwrap_or_else(|error| panic!("{url}: {error}"));
            let body = response.body().await.unwrap_or_else(|error| panic!("{url}: {error}"));
            let body = String::from_utf8_lossy(&body).into_owned();
            Answer { url, status: response.status(), body }
        })
    }

    /// Ends the server after it has flushed its spans.
    pub(crate) fn stop(self) {
        self.process.stop();
    }
}

pub(crate) struct Answer {
    url: String,
    status: StatusCode,
    body: String,
}

impl Answer {
    pub(crate) fn expect_status(&self, status: i64) {
        let Self { url, status: answered, body } = self;
        assert_eq!(i64::from(answered.as_u16()), status, "{url} answered {answered}: {body}");
    }
}

/// Cargo puts examples beside the folder of the test binaries.
fn binary() -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    let profile = test.parent().and_then(|deps| deps.parent());
    let binary = profile.expect("tests run from cargo's deps folder").join("examples/apiserver");
    assert!(
        binary.exists(),
        "{} is missing: run all targets (`cargo test`), or `cargo build --example apiserver` first",
        binary.display()
    );
    binary
}
