//! A process ends when it wants to, whatever its collector does.

use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use spanbridge::TracingConfig;
use tracing::{Dispatch, dispatcher, info_span};
use tracing_subscriber::prelude::*;

use crate::harness::{LONG, SLACK};
use crate::support::otlp_receiver::{Behaviour, OtlpReceiver};

const HOW: &str = "SPANBRIDGE_TEST_EXIT";
const ENDPOINT: &str = "SPANBRIDGE_TEST_ENDPOINT";

/// What the tests below run in a process of its own; nothing where they do not.
#[test]
fn child() {
    let (Ok(how), Ok(endpoint)) = (std::env::var(HOW), std::env::var(ENDPOINT)) else { return };
    let config =
        TracingConfig::default().with_url(endpoint).with_sampling_rate_per_million(1_000_000);
    let (layer, guard) = spanbridge::layer_from(Some(config)).unwrap().unwrap();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    dispatcher::with_default(&dispatch, || {
        for _ in 0..1_000 {
            info_span!("request").in_scope(|| ());
        }
    });
    match &*how {
        "drop" => drop(guard),
        "exit" => std::process::exit(0),
        "forget" => std::mem::forget(guard),
        "panic" => panic!("as a service does"),
        other => panic!("no such way to end: {other}"),
    }
}

/// Runs the child, and says how it ended and how long that took.
fn run(how: &str, receiver: &OtlpReceiver) -> (ExitStatus, Duration) {
    let start = Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_exit::child"])
        .env(HOW, how)
        .env(ENDPOINT, receiver.endpoint())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait()));
    let status = end.recv_timeout(LONG).expect("the process ends").unwrap();
    (status, start.elapsed())
}

/// How long dropping a guard may take, as its documentation has it.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn with_a_collector_that_hangs() {
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::Hang);
    for (how, succeeds, at_most) in [
        ("drop", true, DROP_TIMEOUT),
        ("exit", true, Duration::ZERO),
        ("forget", true, Duration::ZERO),
        ("panic", false, DROP_TIMEOUT),
    ] {
        let (status, took) = run(how, &receiver);
        assert_eq!(status.success(), succeeds, "{how}: {status}");
        assert!(took < at_most + SLACK, "{how}: {took:?}");
    }
}

#[test]
fn what_is_left_is_exported_when_the_guard_is_dropped() {
    let receiver = OtlpReceiver::grpc();
    receiver.keep_spans(false);
    for (how, exported) in [("drop", 1_000), ("panic", 2_000)] {
        run(how, &receiver);
        assert_eq!(receiver.counts().spans_accepted, exported, "{how}");
    }
}
