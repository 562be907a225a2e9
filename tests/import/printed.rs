//! What this crate's own `legacy::Trace` prints is imported as the spans that it made live.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_sdk::trace::InMemorySpanExporter;
use spanbridge::legacy::{TextLog, Trace, fields};
use tracing_subscriber::prelude::*;

use crate::command::import_from;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_trace_is_imported_with_the_ids_of_its_live_span() {
    let log = Log::default();
    let writer = log.clone();
    // A process has one text log; no other test of this binary prints.
    TextLog::builder()
        .with_writer(move || writer.clone())
        .with_ids(true)
        .with_utc(true)
        .with_verbosity(4)
        .build()
        .install()
        .unwrap();

    let exporter = InMemorySpanExporter::default();
    let (layer, guard) = spanbridge::layer().with_exporter(exporter.clone()).build();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let trace = Trace::new("List", fields!["url" => "/api/v1/pods", "limit" => 500]);
        let nested = trace.nest("List etcd3", fields!["key" => "/pods"]);
        nested.step("range done", fields!["count" => 3]);
        nested.log();
        trace.step("Writing http response done", fields![]);
        trace.log();
    });
    guard.force_flush(Duration::from_secs(30)).unwrap();
    let live = exporter.get_finished_spans().unwrap();
    let live_root = live.iter().find(|span| span.name == "List").unwrap();

    let text = log.0.lock().unwrap().clone();
    let ran = import_from(&["--to", "json", "--strict", "-"], &text);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stderr, String::from_utf8_lossy(&text));
    let spans: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["List", "List etcd3"]);
    assert_eq!(spans[0]["traceId"], live_root.span_context.trace_id().to_string());
    assert_eq!(spans[0]["spanId"], live_root.span_context.span_id().to_string());
    assert_eq!(spans[1]["parentSpanId"], spans[0]["spanId"]);
    assert_eq!(spans[0]["attributes"]["limit"], 500);
    assert_eq!(spans[0]["attributes"]["url"], "/api/v1/pods");
    assert_eq!(spans[0]["events"][0]["name"], "Writing http response done");
    assert_eq!(spans[1]["events"][0]["attributes"]["count"], 3);
}
