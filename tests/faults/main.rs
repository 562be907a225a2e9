//! What can go wrong behind a service, and that the service does not notice.
//!
//! [`table`] has the faults, one a row. Each row is a service of its own process ([`service`]): an
//! actix-web server whose spans go to a collector with the fault, next to one whose spans go to a
//! sound collector, so that the two can be compared while the machine is equally busy. What the
//! process has seen ([`report`]) is judged here ([`judge`]), by the same sentences for all rows.

mod breaking;
#[path = "../support/certificates.rs"]
mod certificates;
mod judge;
mod peers;
mod report;
mod service;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod user_code;

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use peers::Peer;
use report::{Ran, Report};
use support::otlp_receiver::OtlpReceiver;
use table::Row;

/// Most rows wait most of the time.
const AT_ONCE: usize = 12;

#[test]
fn whatever_goes_wrong_requests_are_served_and_spans_are_accounted_for() {
    let rows = table::rows();
    let sound = Sound::start();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(rows.len()) {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let problems = match run_calmly(row, &sound) {
                        Ok(ran) => judge::judge(row, &ran),
                        Err(problem) => vec![problem],
                    };
                    wrong.lock().unwrap().extend(problems);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn an_export_of_a_second_on_the_request_path_would_be_seen() {
    assert_is_slow(&table::exports_on_the_request_path(), "a request took");
}

#[test]
fn a_wait_of_milliseconds_on_the_request_path_would_be_seen() {
    assert_is_slow(&table::waits_on_the_request_path(), "half");
}

#[test]
fn a_wait_of_one_request_in_twenty_would_be_seen() {
    assert_is_slow(&table::sometimes_waits_on_the_request_path(), "4 %");
}

#[test]
fn a_flush_and_a_shutdown_that_take_too_long_would_be_seen() {
    let mut row = table::takes_a_second();
    let ran = run(&row, &Sound::start()).unwrap();
    // As if all were over at once.
    row.held = Duration::ZERO;
    assert_eq!(judge::late(&row, &ran.report).len(), 2, "{:?}", ran.report);
    // As if both had been told to wait less.
    (row.held, row.flush_timeout, row.shutdown) = (table::ENDLESS, table::SHORT, table::SHORT);
    assert_eq!(judge::late(&row, &ran.report).len(), 2, "{:?}", ran.report);
}

#[test]
fn a_queue_without_a_bound_would_be_seen() {
    let row = table::waits_without_bound();
    let mut ran = run(&row, &Sound::start()).unwrap();
    judge::memory(&ran.report).expect("spans took too much memory");
    // By the process's size alone, too.
    ran.report.most_queued = 0;
    if cfg!(target_os = "linux") {
        judge::memory(&ran.report).expect("the process took too much memory");
    }
}

/// By a problem that begins like this; the machine may add others.
fn assert_is_slow(row: &Row, problem: &str) {
    let ran = run(row, &Sound::start()).unwrap();
    let problems = judge::latency(&ran.report);
    assert!(problems.iter().any(|found| found.starts_with(problem)), "{problems:?}");
}

/// The collectors to compare with.
struct Sound {
    grpc: OtlpReceiver,
    http: OtlpReceiver,
}

impl Sound {
    fn start() -> Self {
        let sound = Self { grpc: OtlpReceiver::grpc(), http: OtlpReceiver::http() };
        sound.grpc.keep_spans(false);
        sound.http.keep_spans(false);
        sound
    }
}

/// As [`run`], but once more where requests were slow. A machine that stands still does so now and
/// then; who waits for an exporter does so each time.
fn run_calmly(row: &Row, sound: &Sound) -> Result<Ran, String> {
    let ran = run(row, sound)?;
    if judge::latency(&ran.report).is_empty() { Ok(ran) } else { run(row, sound) }
}

/// Runs the row's service to its end.
fn run(row: &Row, sound: &Sound) -> Result<Ran, String> {
    let peer = Peer::start(row);
    let mut command = Command::new(std::env::current_exe().unwrap());
    // On two threads the harness prints a test's name when it is done, not in front of its output.
    command.args(["--exact", "service::service", "--nocapture", "--test-threads=2"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(&name);
        }
    }
    let is_grpc = row.protocol == support::otlp_receiver::Protocol::Grpc;
    let sound = if is_grpc { sound.grpc.endpoint() } else { sound.http.endpoint() };
    command
        .env(service::FAULT, row.in_service.name())
        .env(service::ENDPOINT, peer.endpoint())
        .env(service::SOUND_ENDPOINT, sound)
        .env(service::TURN, std::env::current_exe().unwrap())
        .env(service::SHUTDOWN_MILLIS, row.shutdown.as_millis().to_string())
        .env(service::FLUSH_MILLIS, row.flush_timeout.as_millis().to_string())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", if is_grpc { "grpc" } else { "http/protobuf" })
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", row.timeout.as_millis().to_string())
        .env("OTEL_BSP_MAX_QUEUE_SIZE", service::LIMIT.to_string())
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", service::BATCH.to_string());
    command.envs(peer.files());
    let output = command.output().map_err(|error| format!("{row}: {error}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = Report::find_in(&stdout)
        .filter(|_| output.status.success())
        .ok_or_else(|| format!("{row}: the service failed: {stdout}\n{stderr}"))?;
    Ok(Ran { report, accepted: peer.accepted(), stderr })
}
