//! What the `OTEL_*` variables and `RUST_LOG` make of one call at start-up.
//!
//! Variables and the subscriber belong to the whole process, so each scenario runs in a process of
//! its own: this very binary, which is told by a variable to be a service for once.

mod support;

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use serde_json::Value as Json;
use spanbridge::{SpanExt as _, TracingConfig};
use tracing::{debug, debug_span, info, info_span, trace_span, warn_span};

use support::otlp_receiver::{Behaviour, OtlpReceiver, ReceivedSpan, Value};

/// Set for the service; its value is the sampling rate per million, or `none`.
const RATE: &str = "SPANBRIDGE_TEST_RATE";

const EVERYTHING: &str = "1000000";

/// The service, when this process is to be one.
#[test]
fn service() {
    let Ok(rate) = std::env::var(RATE) else { return };
    let mut config = TracingConfig::default().with_service_name("named-in-code");
    if let Ok(rate) = rate.parse() {
        config = config.with_sampling_rate_per_million(rate);
    }
    let guard = spanbridge::init(Some(config)).unwrap();
    let is_enabled = if guard.is_enabled() { "enabled" } else { "off" };
    info_span!("root", items = 2).in_scope(|| {
        info!("said");
        debug!("whispered");
    });
    for (name, flags) in [("called, sampled", 1), ("called, not sampled", 0)] {
        let span = info_span!("incoming", otel.name = name);
        span.set_parent(caller(flags)).ok();
    }
    drop((warn_span!("warn"), debug_span!("debug"), trace_span!("trace")));
    drop(info_span!(target: "elsewhere", "elsewhere"));
    guard.shutdown(Duration::from_secs(30)).unwrap();
    writeln!(std::io::stderr(), "{is_enabled}: {}", guard.stats()).unwrap();
}

fn caller(flags: u8) -> Context {
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from(7),
        SpanId::from(9),
        TraceFlags::new(flags),
        true,
        TraceState::NONE,
    ))
}

/// What a service left behind.
struct Ran {
    stdout: String,
    stderr: String,
    spans: Vec<ReceivedSpan>,
    requests: u64,
}

impl Ran {
    fn names(&self) -> Vec<&str> {
        self.spans.iter().map(|span| &*span.name).collect()
    }

    fn span(&self, name: &str) -> &ReceivedSpan {
        let found = self.spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("{name} is not among {:?}", self.names()))
    }
}

/// Runs the service with nothing but these variables, and with a receiver for its spans.
fn run(receiver: &OtlpReceiver, rate: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // On two threads the harness prints a test's name when it is done, not in front of its output.
    command.args(["--exact", "service", "--nocapture", "--test-threads=2"]);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("OTEL_") || name_text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.env(RATE, rate).env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint());
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{variables:?}\n{stdout}\n{stderr}");
    Ran { stdout, stderr, spans: receiver.take_spans(), requests: receiver.counts().requests }
}

#[test]
fn the_endpoint_variable_leads_to_the_collector() {
    let ran = run(&OtlpReceiver::grpc(), EVERYTHING, &[]);
    assert_eq!(
        ran.names(),
        ["root", "called, sampled", "warn", "elsewhere"],
        "info and up is recorded, and what a caller has turned down is not"
    );
    assert_eq!(ran.span("root").service_name(), "named-in-code");
    assert_eq!(ran.span("root").events.len(), 1, "info and up goes for events, too");
    assert_eq!(ran.span("called, sampled").parent_span_id, Some(SpanId::from(9)));
}

#[test]
fn the_protocol_variable_says_http() {
    let variables = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
    let ran = run(&OtlpReceiver::http(), EVERYTHING, &variables);
    assert_eq!(ran.names().len(), 4);
}

#[test]
fn headers_and_compression_are_the_variables_too() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ];
    let receiver = OtlpReceiver::grpc();
    assert_eq!(run(&receiver, EVERYTHING, &variables).names().len(), 4);
    assert_eq!(receiver.last_headers()["x-tenant"], "blue");
    assert_eq!(receiver.last_headers()["grpc-encoding"], "gzip");
}

#[test]
fn a_request_ends_with_the_timeout_variable() {
    let hanging = [
        (OtlpReceiver::grpc(), "grpc", "OTEL_EXPORTER_OTLP_TIMEOUT"),
        (OtlpReceiver::http(), "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"),
    ];
    for (receiver, protocol, timeout) in hanging {
        receiver.set_behaviour(Behaviour::Hang);
        let batch = ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1");
        let variables = [(timeout, "100"), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), batch];
        // One request after the other is given up, or shutdown would be late.
        let ran = run(&receiver, EVERYTHING, &variables);
        assert!(ran.requests >= 4, "{protocol}: {} requests", ran.requests);
        assert!(ran.stderr.contains("export failed 4"), "{protocol}: {}", ran.stderr);
    }
}

#[test]
fn a_disabled_sdk_connects_to_nothing() {
    let off = [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_SDK_DISABLED", "TRUE"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ];
    for variable in off {
        let ran = run(&OtlpReceiver::grpc(), EVERYTHING, &[variable]);
        assert_eq!(ran.requests, 0, "{variable:?}");
        assert!(ran.stderr.contains("off: spans: 0 started"), "{variable:?}: {}", ran.stderr);
    }
    // Anything but "true" is false, as the specification has it.
    let ran = run(&OtlpReceiver::grpc(), EVERYTHING, &[("OTEL_SDK_DISABLED", "1")]);
    assert_eq!(ran.names().len(), 4);
}

#[test]
fn the_console_gets_one_object_a_line() {
    let variables = [("OTEL_TRACES_EXPORTER", "console")];
    let ran = run(&OtlpReceiver::grpc(), EVERYTHING, &variables);
    assert_eq!(ran.requests, 0);
    let lines = objects(&ran.stdout);
    let names: Vec<_> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["root", "called, sampled", "warn", "elsewhere"]);
    assert_eq!(lines[0]["attributes"]["items"], 2);
    assert_eq!(lines[0]["events"][0]["name"], "said");
    assert_eq!(lines[0]["resource"]["service.name"], "named-in-code");
    assert_eq!(lines[1]["parentSpanId"], "0000000000000009");
}

#[test]
fn two_exporters_get_every_span() {
    let variables = [("OTEL_TRACES_EXPORTER", "otlp,console")];
    let ran = run(&OtlpReceiver::grpc(), EVERYTHING, &variables);
    assert_eq!((ran.names().len(), objects(&ran.stdout).len()), (4, 4));
}

/// The lines that are JSON; the others are the test harness's.
fn objects(stdout: &str) -> Vec<Json> {
    let lines = stdout.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn without_a_rate_only_callers_decide() {
    let ran = run(&OtlpReceiver::grpc(), "none", &[]);
    assert_eq!(ran.names(), ["called, sampled"]);
    let ran = run(&OtlpReceiver::grpc(), "0", &[]);
    assert_eq!(ran.names(), ["called, sampled"]);
}

#[test]
fn a_sampler_variable_decides_where_the_file_is_silent() {
    let on = [("OTEL_TRACES_SAMPLER", "always_on")];
    let ran = run(&OtlpReceiver::grpc(), "none", &on);
    assert_eq!(ran.names().len(), 5, "what callers have turned down, too: {:?}", ran.names());
    let ran = run(&OtlpReceiver::grpc(), "0", &on);
    assert_eq!(ran.names(), ["called, sampled"]);
    let off = [("OTEL_TRACES_SAMPLER", "always_off")];
    assert_eq!(run(&OtlpReceiver::grpc(), "none", &off).requests, 0);
}

#[test]
fn rust_log_says_what_is_recorded() {
    let names = |filter| {
        let receiver = OtlpReceiver::grpc();
        let ran = run(&receiver, EVERYTHING, &[("RUST_LOG", filter)]);
        ran.names().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names("warn"), ["warn"]);
    let all = ["root", "called, sampled", "warn", "debug", "trace", "elsewhere"];
    assert_eq!(names("trace"), all);
    assert_eq!(names("global_init_env=debug"), &["root", "called, sampled", "warn", "debug"]);
    assert_eq!(names("off,elsewhere=info"), ["elsewhere"]);
    assert_eq!(names("off"), [""; 0]);
    assert_eq!(names(""), ["root", "called, sampled", "warn", "elsewhere"]);
    assert_eq!(names("a=b=c"), ["root", "called, sampled", "warn", "elsewhere"]);
}

#[test]
fn who_operates_the_service_names_it() {
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=by-attribute,zone=a%20b");
    let ran = run(&OtlpReceiver::grpc(), EVERYTHING, &[attributes]);
    let resource = &ran.span("root").resource;
    let value = |key: &str| resource.iter().find(|(k, _)| k == key).map(|(_, value)| value);
    assert_eq!(ran.span("root").service_name(), "by-attribute");
    assert_eq!(value("zone"), Some(&Value::String("a b".to_owned())));

    let variables = [attributes, ("OTEL_SERVICE_NAME", "by-name")];
    let ran = run(&OtlpReceiver::grpc(), EVERYTHING, &variables);
    assert_eq!(ran.span("root").service_name(), "by-name");
}

#[test]
fn batches_are_as_large_as_the_variable_says() {
    let variables = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")];
    let ran = run(&OtlpReceiver::grpc(), EVERYTHING, &variables);
    assert_eq!((ran.requests, ran.names().len()), (4, 4));
}

#[test]
fn limits_are_what_the_variables_say() {
    let variables =
        [("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"), ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0")];
    let ran = run(&OtlpReceiver::grpc(), EVERYTHING, &variables);
    let root = ran.span("root");
    assert_eq!((root.attributes.len(), root.events.len(), root.dropped_events), (1, 0, 1));
    assert!(root.dropped_attributes > 0);
}

#[test]
fn what_is_ignored_and_what_is_lost_is_said_on_standard_error() {
    let variables = [
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        // Nobody listens on port 1, and RUST_LOG does not silence what the pipeline has to say.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("RUST_LOG", "global_init_env=info"),
    ];
    let ran = run(&OtlpReceiver::grpc(), EVERYTHING, &variables);
    let lines: Vec<_> =
        ran.stderr.lines().filter(|line| line.starts_with("spanbridge::")).collect();
    let has =
        |text: [&str; 2]| lines.iter().any(|line| text.iter().all(|part| line.contains(part)));
    assert!(has(["spanbridge::config: ", "OTEL_BSP_SCHEDULE_DELAY"]), "{}", ran.stderr);
    assert!(has(["spanbridge::export: spans were not exported: ", "spans=3"]), "{}", ran.stderr);
}
