//! Upstream's own output for the same calls: `tests/golden/`.
//!
//! `vectors/` was written by the real `k8s.io/utils/trace` and `k8s.io/component-base/tracing`, driven
//! by `golden_test.go` there on a paused clock, as ours is here. So everything must be the same but
//! the random number and the process id.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, io};

use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use serde_json::Value as Json;
use tracing_subscriber::prelude::*;

use crate::legacy::clock::Paused;
use crate::legacy::go::{Float, Nanoseconds};
use crate::legacy::{Field, FieldValue, TextLog, Trace, component_base};
use crate::testing::InMemory;

/// The environment variable that says which zone's scenarios are run. The zone of a process cannot
/// be changed, so each has a process of its own.
const ZONE: &str = "SPANBRIDGE_GOLDEN_ZONE";

#[test]
fn text_and_spans_are_upstreams() {
    let golden = folder();
    let scenarios = scenarios();
    assert!(scenarios.len() >= 40, "{} scenarios", scenarios.len());
    let zone = env::var(ZONE).ok();
    let mut differing = Vec::new();
    for scenario in scenarios.iter().filter(|scenario| scenario["zone"].as_str() == zone.as_deref())
    {
        let name = scenario["name"].as_str().unwrap();
        let expected = fs::read_to_string(golden.join(format!("vectors/{name}.txt"))).unwrap();
        let got = normalised(&run(scenario));
        if got != expected {
            differing.push(format!("{name}: upstream prints\n{expected}\nand we\n{got}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}

#[test]
fn local_times_are_upstreams() {
    let scenarios = scenarios();
    let zones: BTreeSet<_> =
        scenarios.iter().filter_map(|scenario| scenario["zone"].as_str()).collect();
    assert!(zones.len() >= 2, "{zones:?}");
    for zone in zones {
        // POSIX counts from the west.
        let posix = match zone.split_at(1) {
            ("+", offset) => format!("ZONE-{offset}"),
            (_, offset) => format!("ZONE+{offset}"),
        };
        let test = "legacy::golden_tests::text_and_spans_are_upstreams";
        let ran = Command::new(env::current_exe().unwrap())
            .args(["--exact", test])
            .env("TZ", posix)
            .env(ZONE, zone)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && output.contains("1 passed"), "{zone}: {output}");
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn scenarios() -> Vec<Json> {
    let scenarios = fs::read_to_string(folder().join("scenarios.json")).unwrap();
    serde_json::from_str(&scenarios).unwrap()
}

/// Numbers of blocks are random, and processes have ids.
fn normalised(text: &str) -> String {
    let pid = format!(" {:>7} trace.go:", std::process::id());
    let mut out = String::new();
    for line in text.replace(&pid, "     PID trace.go:").split_inclusive('\n') {
        let normal = line.split_once("Trace[").and_then(|(before, after)| {
            let (number, rest) = after.split_once("]: ")?;
            let is_first = before.is_empty() || before.ends_with("] ");
            (is_first && number.parse::<i32>().is_ok()).then(|| format!("{before}Trace[N]: {rest}"))
        });
        out += normal.as_deref().unwrap_or(line);
    }
    out
}

#[derive(Clone, Debug, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the calls of one scenario have made.
struct Runner {
    out: Out,
    log: TextLog,
    clock: Paused,
    traces: HashMap<String, Trace>,
    spans: HashMap<String, Rc<component_base::Span>>,
}

fn run(scenario: &Json) -> String {
    let out = Out::default();
    let writer = out.clone();
    let log = TextLog::builder()
        .with_writer(move || writer.clone())
        .with_verbosity(u8::try_from(scenario["verbosity"].as_u64().unwrap()).unwrap())
        .with_upstream_exact(true)
        .with_utc(scenario["zone"].is_null())
        .build();
    let mut runner = Runner {
        out: out.clone(),
        log: log.clone(),
        clock: Paused::new(),
        traces: HashMap::new(),
        spans: HashMap::new(),
    };
    let calls = &scenario["does"];
    let has_spans = calls.as_array().unwrap().iter().any(|call| call[0] == "otel");
    let mut spans = Vec::new();
    if has_spans {
        let (memory, layer) = InMemory::new();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            log.in_scope(|| runner.all(calls));
            drop(runner);
        });
        spans = memory.spans();
    } else {
        log.in_scope(|| runner.all(calls));
        drop(runner);
    }
    let mut text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    for span in &spans {
        print(&mut text, span, &spans);
    }
    text
}

impl Runner {
    fn all(&mut self, calls: &Json) {
        for call in calls.as_array().unwrap() {
            self.one(call);
        }
    }

    fn one(&mut self, call: &Json) {
        let text = |at: usize| call[at].as_str().unwrap().to_owned();
        match call[0].as_str().unwrap() {
            "verbosity" => self.log.set_verbosity(text(1).parse().unwrap()),
            "sleep" => self.clock.advance(duration(&text(1))),

            "new" => {
                let trace = Trace::new(text(2), fields(&call[3]));
                self.traces.insert(text(1), trace);
            }
            "nest" => {
                let trace = match text(2).as_str() {
                    "nil" => Trace::current().nest(text(3), fields(&call[4])),
                    parent => self.traces[parent].nest(text(3), fields(&call[4])),
                };
                self.traces.insert(text(1), trace);
            }
            "step" => self.traces[&text(1)].step(text(2), fields(&call[3])),
            "log" => self.traces[&text(1)].log(),
            "log_if_long" => self.traces[&text(1)].log_if_long(duration(&text(2))),
            "total_time" => {
                let total = Nanoseconds(self.traces[&text(1)].total_time().as_nanos() as i128);
                io::Write::write_all(&mut self.out, format!("total time {total}\n").as_bytes())
                    .unwrap();
            }
            "in" => self.traces[&text(1)].handle().in_scope(|| self.all(&call[2])),
            "current" => {
                self.traces.insert(text(1), Trace::current());
            }

            "otel" => {
                let span = tracing::info_span!("otel", otel.name = text(1));
                span.in_scope(|| self.all(&call[2]));
            }
            "start" => {
                let span = component_base::start(text(2), attributes(&call[3]));
                self.spans.insert(text(1), Rc::new(span));
            }
            "add_event" => self.spans[&text(1)].add_event(text(2), attributes(&call[3])),
            "record_error" => {
                let error = io::Error::other(text(2));
                self.spans[&text(1)].record_error(&error, attributes(&call[3]));
            }
            "end" => self.spans[&text(1)].end(duration(&text(2))),
            "in_span" => {
                let span = Rc::clone(&self.spans[&text(1)]);
                span.in_scope(|| self.all(&call[2]));
            }
            "span_from_context" => {
                self.spans.insert(text(1), Rc::new(component_base::span_from_context()));
            }
            unknown => panic!("unknown call {unknown}"),
        }
    }
}

/// Key, type and value of each field.
fn triples(json: &Json) -> impl Iterator<Item = (String, String, String)> + '_ {
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    let fields = json.as_array().into_iter().flatten();
    fields.map(move |field| (text(&field[0]), text(&field[1]), text(&field[2])))
}

fn fields(json: &Json) -> Vec<Field> {
    let value = |kind: &str, text: String| -> FieldValue {
        match kind {
            "bool" => text.parse::<bool>().unwrap().into(),
            "duration" => duration(&text).into(),
            "float" => text.parse::<f64>().unwrap().into(),
            "int" => text.parse::<i64>().unwrap().into(),
            "nil" => None::<bool>.into(),
            "text" | "error" => text.into(),
            "texts" => text.split('|').collect::<Vec<_>>().into(),
            unknown => panic!("unknown type {unknown}"),
        }
    };
    triples(json).map(|(key, kind, text)| Field::new(key, value(&kind, text))).collect()
}

fn attributes(json: &Json) -> Vec<KeyValue> {
    let value = |kind: &str, text: String| -> Value {
        match kind {
            "bool" => text.parse::<bool>().unwrap().into(),
            "float" => text.parse::<f64>().unwrap().into(),
            "int" => text.parse::<i64>().unwrap().into(),
            "text" => text.into(),
            "texts" => {
                Value::Array(Array::String(text.split('|').map(|s| s.to_owned().into()).collect()))
            }
            "bools" => Value::Array(Array::Bool(all(&text))),
            "floats" => Value::Array(Array::F64(all(&text))),
            "ints" => Value::Array(Array::I64(all(&text))),
            unknown => panic!("no attribute has the type {unknown}"),
        }
    };
    triples(json).map(|(key, kind, text)| KeyValue::new(key, value(&kind, text))).collect()
}

/// `1|2`: several.
fn all<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> Vec<T> {
    text.split('|').map(|one| one.parse().unwrap()).collect()
}

/// A duration such as Go's: `1m1.5s`, in whole units but for none.
fn duration(text: &str) -> Duration {
    let mut sum = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap();
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let nanos = match &rest[digits..digits + unit] {
            "ns" => 1.0,
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            unknown => panic!("unknown unit {unknown}"),
        };
        sum += Duration::from_nanos((rest[..digits].parse::<f64>().unwrap() * nanos) as u64);
        rest = &rest[digits + unit..];
    }
    sum
}

fn print(out: &mut String, span: &SpanData, all: &[SpanData]) {
    let _ = write!(out, "span {:?}", span.name);
    for other in all {
        if other.span_context.span_id() == span.parent_span_id {
            let _ = write!(out, " in {:?}", other.name);
        }
    }
    print_attributes(out, &span.attributes);
    for event in &span.events.events {
        let _ = write!(out, "  event {:?}", event.name);
        print_attributes(out, &event.attributes);
    }
}

fn print_attributes(out: &mut String, attributes: &[KeyValue]) {
    for attribute in attributes {
        let (kind, value) = match &attribute.value {
            Value::Array(Array::String(values)) => {
                let values: Vec<&str> = values.iter().map(|value| value.as_str()).collect();
                ("stringslice", format!("[{}]", values.join(" ")))
            }
            Value::Array(Array::Bool(values)) => ("boolslice", listed(values)),
            Value::Array(Array::F64(values)) => {
                let values: Vec<_> = values.iter().map(|value| Float(*value)).collect();
                ("float64slice", listed(&values))
            }
            Value::Array(Array::I64(values)) => ("int64slice", listed(values)),
            Value::Bool(value) => ("bool", value.to_string()),
            Value::F64(value) => ("float64", Float(*value).to_string()),
            Value::I64(value) => ("int64", value.to_string()),
            Value::String(_) if attribute.key.as_str() == "exception.type" => {
                ("string", "TYPE".to_owned())
            }
            Value::String(value) => ("string", value.to_string()),
            other => panic!("{other:?} is not in the scenarios"),
        };
        let _ = write!(out, " {}={kind}:{value}", attribute.key);
    }
    out.push('\n');
}

/// As Go prints a slice.
fn listed<T: ToString>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!("[{}]", values.join(" "))
}
