//! An API server in small, traced as KEP-647 traces Kubernetes' own: a span for each request, a
//! span for each storage operation below it, and one trace through admission webhooks.
//!
//! Run it without tracing:
//!
//! ```text
//! cargo run --example apiserver
//! curl -d '{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-0"}}' \
//!     http://127.0.0.1:8080/api/v1/namespaces/default/pods
//! curl http://127.0.0.1:8080/api/v1/namespaces/default/pods/web-0
//! ```
//!
//! You should see `listening on http://127.0.0.1:8080` from the server and the pod from curl, with
//! a uid and a resource version.
//!
//! To see spans without a Collector, give it a configuration that names none, and it prints them,
//! a line of JSON each, some seconds after the request:
//!
//! ```text
//! echo 'kind: TracingConfiguration
//! apiVersion: apiserver.config.k8s.io/v1
//! samplingRatePerMillion: 1000000' > print.yaml
//! cargo run --example apiserver -- --tracing-config-file print.yaml
//! ```
//!
//! With an OpenTelemetry Collector on its default port, put this into `tracing.yaml`:
//!
//! ```yaml
//! apiVersion: apiserver.config.k8s.io/v1
//! kind: TracingConfiguration
//! endpoint: localhost:4317
//! samplingRatePerMillion: 1000000
//! ```
//!
//! and start it with `cargo run --example apiserver -- --tracing-config-file tracing.yaml`. The
//! Collector should show, for the first curl, a server span `POST
//! /api/v1/namespaces/{namespace}/pods` with a child `Create`, and below that `storage.create`. Stop
//! the server with Ctrl-C: it finishes open requests, exports what is left, and prints how many spans
//! that were.
//!
//! Operations that take half a second or longer are also printed on standard error, step by step, as
//! Kubernetes prints them; `--slow-operation 0` prints all.

#[path = "../support/process.rs"]
mod process;
mod server;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

/// An API server in small, traced with spanbridge.
#[derive(Debug, Parser)]
#[command(name = "apiserver")]
struct Cli {
    #[command(flatten)]
    flags: server::Flags,
}

fn main() -> ExitCode {
    match server::run(Cli::parse().flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            let _ = writeln!(std::io::stderr(), "apiserver: {err}");
            ExitCode::FAILURE
        }
    }
}
