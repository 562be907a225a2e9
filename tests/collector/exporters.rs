//! The same spans by our exporter, and from the same layer by opentelemetry-otlp.
//!
//! What the Collector makes of them may differ in what no two runs have in common: the span ids and
//! times. The service's name tells the runs apart.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;
use std::{env, fmt};

use opentelemetry::trace::{SpanContext, Status, TraceContextExt as _, TraceState};
use opentelemetry::{Array, Context, KeyValue, SpanId, TraceFlags, TraceId, Value};
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use serde_json::Value as Json;
use spanbridge::{SpanExt as _, TracingConfig};
use tracing::field::Empty;
use tracing::{error, info, info_span};
use tracing_subscriber::prelude::*;

/// Which exporter this process is to use. Where to and how, both read from OpenTelemetry's variables.
const EXPORTER: &str = "SPANBRIDGE_TEST_EXPORTER";

/// The scenario in a process of its own, since the variables are the process's.
pub(crate) fn run(exporter: &str, protocol: &str, endpoint: &str) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "exporters::scenario", "--nocapture"])
        .env(EXPORTER, exporter)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .env("OTEL_SERVICE_NAME", service(exporter, protocol))
        .output()
        .unwrap();
    assert!(output.status.success(), "{exporter}, {protocol}: {output:?}");
}

fn service(exporter: &str, protocol: &str) -> String {
    format!("{exporter}, {protocol}")
}

#[test]
fn scenario() {
    let config = TracingConfig::default().with_sampling_rate_per_million(1_000_000);
    let (layer, guard) = match env::var(EXPORTER).as_deref() {
        Err(_) => return,
        Ok("ours") => spanbridge::layer_from(Some(config)).unwrap().expect("tracing is on"),
        Ok(_) => spanbridge::layer()
            .with_resource(Resource::builder().build())
            .with_exporter(Theirs::default())
            .build(),
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let server = info_span!(
            "server",
            otel.kind = "server",
            http.route = "/",
            count = u64::MAX,
            ratio = 0.5,
            ok = true,
            text = "ü",
            debug = ?Some(1),
            late = Empty,
        );
        server.set_parent(caller()).unwrap();
        server.in_scope(|| {
            info!(step = 1, flag = false, "half way");
            client();
            error!(error = &Failure as &dyn std::error::Error, "at last");
        });
        server.record("late", -1);
    });
    guard.force_flush(Duration::from_secs(30)).unwrap();
    guard.shutdown(Duration::from_secs(30)).unwrap();
}

fn client() {
    let client = info_span!("client", otel.kind = "client");
    client.set_attribute("list", Value::Array(Array::I64(vec![1, 2])));
    client.set_status(Status::error("because"));
    client.add_event("by hand", vec![KeyValue::new("a", 1.5)]);
    client.add_link_with_attributes(remote(7), vec![KeyValue::new("why", "a test")]);
}

fn caller() -> Context {
    Context::new().with_remote_span_context(remote(1))
}

fn remote(id: u8) -> SpanContext {
    let state = TraceState::from_key_value([("vendor", "1")]).unwrap();
    let (trace_id, span_id) = (TraceId::from(u128::from(id)), SpanId::from(u64::from(id)));
    SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, state)
}

#[derive(Debug)]
struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it failed")
    }
}

impl std::error::Error for Failure {}

/// opentelemetry-otlp, built where its connection is to live: in the runtime of the exporter's
/// thread.
#[derive(Debug, Default)]
struct Theirs(Option<opentelemetry_otlp::SpanExporter>);

impl SpanExporter for Theirs {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.0.as_ref().expect("the resource is set first").export(batch)
    }

    fn set_resource(&mut self, resource: &Resource) {
        let builder = opentelemetry_otlp::SpanExporter::builder();
        let built = match env::var("OTEL_EXPORTER_OTLP_PROTOCOL").as_deref() {
            Ok("grpc") => builder.with_tonic().build(),
            _ => builder.with_http().with_protocol(Protocol::HttpBinary).build(),
        };
        let mut built = built.unwrap();
        built.set_resource(resource);
        self.0 = Some(built);
    }
}

/// What the Collector has of one run, without what is each run's own.
pub(crate) fn received(requests: &[Json], exporter: &str, protocol: &str) -> Json {
    let service = service(exporter, protocol);
    let of_all = requests.iter().flat_map(|request| request["resourceSpans"].as_array().unwrap());
    let own: Vec<_> = of_all.filter(|spans| name_of_service(spans) == Some(&*service)).collect();
    let [spans] = own[..] else { panic!("{} requests of {service}", own.len()) };
    let mut spans = spans.clone();
    let attributes = spans["resource"]["attributes"].as_array_mut().unwrap();
    attributes.retain(|attribute| attribute["key"] != "service.name");
    sort(&mut spans["resource"]);
    let scopes = spans["scopeSpans"].as_array_mut().unwrap();
    let all = scopes.iter_mut().flat_map(|scope| scope["spans"].as_array_mut().unwrap());
    let mut all: Vec<_> = all.collect();
    let names: BTreeMap<_, _> = all
        .iter()
        .map(|span| (text(&span["spanId"]), format!("the span {}", text(&span["name"]))))
        .collect();
    for span in &mut all {
        for id in ["spanId", "parentSpanId"] {
            if let Some(name) = names.get(&text(&span[id])) {
                span[id] = name.as_str().into();
            }
        }
        for time in ["startTimeUnixNano", "endTimeUnixNano"] {
            hide_time(&mut span[time]);
        }
        sort(span);
        let events = span.get_mut("events").and_then(Json::as_array_mut);
        for event in events.into_iter().flatten() {
            hide_time(&mut event["timeUnixNano"]);
            sort(event);
        }
    }
    spans
}

fn name_of_service(spans: &Json) -> Option<&str> {
    let attributes = spans["resource"]["attributes"].as_array()?;
    let name = attributes.iter().find(|attribute| attribute["key"] == "service.name")?;
    name["value"]["stringValue"].as_str()
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A time of our days is as good as any other.
fn hide_time(time: &mut Json) {
    let nanos: u64 = text(time).parse().expect("a time is a decimal number");
    assert!(nanos > 1_700_000_000_000_000_000, "{nanos}");
    *time = "a time".into();
}

/// The protocol leaves the order of attributes open.
fn sort(holder: &mut Json) {
    if let Some(attributes) = holder.get_mut("attributes").and_then(Json::as_array_mut) {
        attributes.sort_by_key(|attribute| text(&attribute["key"]));
    }
}
