//! KEP-647's test plan with the real thing: the API server of the examples, an OpenTelemetry
//! Collector that receives its spans, and an admission webhook in Go on otelhttp.
//!
//! Each test starts the processes it needs on free loopback ports, drives the API server over HTTP,
//! stops everything in order so that every span is flushed, and checks what the Collector wrote.
//! The Collector and the webhook are built by `build.sh`, the first time within minutes. Without a
//! Go toolchain the tests say that they are skipped, unless `SPANBRIDGE_REQUIRE_GO=1` is set.
#![cfg(unix)]

mod apiserver;
mod collector;
mod expect;
mod exporters;
mod peers;
mod process;
mod spans;

use serde_json::{Value, json};

use crate::{
    apiserver::{ApiServer, TracingConfig},
    collector::Collector,
    expect::{Expected, client, expect_trace, internal, server},
    peers::{Peers, Webhook},
    spans::Span,
};

const PODS: &str = "/api/v1/namespaces/{namespace}/pods";
const POD: &str = "/api/v1/namespaces/{namespace}/pods/{name}";

const CALLER_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_SPAN: &str = "00f067aa0ba902b7";
const CALLER: (&str, &str) =
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
const BAGGAGE: (&str, &str) = ("baggage", "tenant=blue");

#[test]
fn every_verb_reaches_the_collector_as_one_trace() {
    let Some(peers) = Peers::find() else { return };
    let collector = Collector::start(peers.collector());
    let apiserver = ApiServer::start(TracingConfig::Endpoint(collector.grpc_endpoint()), None, &[]);

    // Sends a request, and returns the trace that it should leave.
    let call = |method: &str, path: &str, body: Option<Value>, status, route, name| {
        apiserver.send(method, path, &[], body.as_ref()).expect_status(status);
        request(method, route, path, status).child(operation(name))
    };
    let pods = "/api/v1/namespaces/default/pods";
    let web_0 = "/api/v1/namespaces/default/pods/web-0";
    let moved = json!({"spec": {"nodeName": "node-2"}});
    let expected = [
        call("POST", pods, Some(pod("web-0")), 201, PODS, "Create"),
        call("GET", web_0, None, 200, POD, "Get"),
        call("GET", pods, None, 200, PODS, "List"),
        call("PUT", web_0, Some(pod("web-0")), 200, POD, "Update"),
        call("PATCH", web_0, Some(moved), 200, POD, "Patch"),
        call("DELETE", web_0, None, 200, POD, "Delete"),
    ];

    // With the server still up: batches leave on their own schedule, not only at shutdown.
    collector.wait_for(&expected);
    apiserver.stop();
    let spans = collector.stop();

    let mut traces: Vec<_> = expected
        .iter()
        .map(|expected| expect_trace(&spans, expected)[0].trace_id.clone())
        .collect();
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 6, "each request has a trace of its own\n{}", spans::tree(&spans));
    let strays: Vec<Span> =
        spans.iter().filter(|span| !traces.contains(&span.trace_id)).cloned().collect();
    assert!(strays.is_empty(), "spans that no request made\n{}", spans::tree(&strays));
}

#[test]
fn trace_of_the_caller_is_continued() {
    let Some(peers) = Peers::find() else { return };
    let collector = Collector::start(peers.collector());
    let apiserver = ApiServer::start(TracingConfig::Endpoint(collector.grpc_endpoint()), None, &[]);

    apiserver.send("GET", "/api/v1/namespaces/default/pods", &[CALLER], None).expect_status(200);
    apiserver.stop();
    let spans = collector.stop();

    let list = request("GET", PODS, "/api/v1/namespaces/default/pods", 200)
        .under(CALLER_SPAN)
        .child(operation("List"));
    assert_eq!(expect_trace(&spans, &list)[0].trace_id, CALLER_TRACE);
}

#[test]
fn reentrant_call_of_a_go_webhook_joins_the_trace() {
    let Some(peers) = Peers::find() else { return };
    let collector = Collector::start(peers.collector());
    let webhook = Webhook::start(peers.webhook(), &collector.grpc_endpoint());
    let admit_url = webhook.admit_url();
    let apiserver =
        ApiServer::start(TracingConfig::Endpoint(collector.grpc_endpoint()), Some(&admit_url), &[]);

    apiserver
        .send("POST", "/api/v1/namespaces/default/pods", &[BAGGAGE], Some(&pod("web-0")))
        .expect_status(201);
    apiserver.stop();
    webhook.stop();
    let spans = collector.stop();

    let call = client("apiserver", "POST")
        .with("http.request.method", "POST")
        .with("http.response.status_code", 200)
        .with("url.full", admit_url)
        .child(webhook_review().with("baggage.tenant", "blue").child(webhook_call().child(
            request("GET", PODS, "/api/v1/namespaces/default/pods", 200).child(operation("List")),
        )));
    let create = request("POST", PODS, "/api/v1/namespaces/default/pods", 201)
        .child(operation("Create").child(call));
    let trace = expect_trace(&spans, &create);
    assert_eq!(trace.len(), spans.len(), "all is one trace\n{}", spans::tree(&spans));
}

#[test]
fn server_without_config_file_passes_the_context_on() {
    expect_context_passed_on(|_| TracingConfig::Absent, &[]);
}

#[test]
fn server_with_feature_gate_off_passes_the_context_on() {
    expect_context_passed_on(
        |collector| TracingConfig::Endpoint(collector.grpc_endpoint()),
        &["--feature-gates", "APIServerTracing=false"],
    );
}

#[test]
fn exports_over_http_protobuf_to_the_collector() {
    let Some(peers) = Peers::find() else { return };
    let collector = Collector::start(peers.collector());
    let endpoint = collector.http_endpoint();
    let apiserver = ApiServer::start(
        TracingConfig::Environment(vec![
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ]),
        None,
        &[],
    );

    let path = "/api/v1/namespaces/default/pods";
    apiserver.send("POST", path, &[], Some(&pod("web-0"))).expect_status(201);
    let create = request("POST", PODS, path, 201).child(operation("Create"));
    collector.wait_for(std::slice::from_ref(&create));
    apiserver.stop();
    expect_trace(&collector.stop(), &create);
}

#[test]
fn of_our_exporter_the_collector_writes_what_it_writes_of_opentelemetry_otlp() {
    let Some(peers) = Peers::find() else { return };
    let collector = Collector::start(peers.collector());
    let to = [
        ("grpc", format!("http://{}", collector.grpc_endpoint())),
        ("http/protobuf", collector.http_endpoint()),
    ];
    for (protocol, endpoint) in &to {
        exporters::run("ours", protocol, endpoint);
        exporters::run("theirs", protocol, endpoint);
    }
    let requests = collector.stop_with_requests();
    for (protocol, _) in to {
        let [ours, theirs] =
            ["ours", "theirs"].map(|exporter| exporters::received(&requests, exporter, protocol));
        assert_eq!(ours["scopeSpans"][0]["spans"].as_array().map(Vec::len), Some(2), "{ours:#}");
        assert_eq!(ours, theirs, "{protocol}\nours: {ours:#}\ntheirs: {theirs:#}");
    }
}

/// KEP-647: a server that exports nothing still propagates, so that the webhook appears as the
/// direct child of the original caller.
fn expect_context_passed_on(config: impl FnOnce(&Collector) -> TracingConfig, flags: &[&str]) {
    let Some(peers) = Peers::find() else { return };
    let collector = Collector::start(peers.collector());
    let webhook = Webhook::start(peers.webhook(), &collector.grpc_endpoint());
    let apiserver = ApiServer::start(config(&collector), Some(&webhook.admit_url()), flags);

    apiserver
        .send("POST", "/api/v1/namespaces/default/pods", &[CALLER, BAGGAGE], Some(&pod("web-0")))
        .expect_status(201);
    apiserver.stop();
    webhook.stop();
    let spans = collector.stop();

    let review =
        webhook_review().under(CALLER_SPAN).with("baggage.tenant", "blue").child(webhook_call());
    assert_eq!(expect_trace(&spans, &review)[0].trace_id, CALLER_TRACE);
    assert_eq!(spans.len(), 2, "only the webhook exports\n{}", spans::tree(&spans));
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "web", "image": "nginx"}]},
    })
}

/// The server span that the API server makes for a request.
fn request(method: &str, route: &str, path: &str, status: i64) -> Expected {
    server("apiserver", &format!("{method} {route}"))
        .with("http.request.method", method)
        .with("http.route", route)
        .with("url.path", path)
        .with("url.scheme", "http")
        .with("http.response.status_code", status)
}

/// The span of a handler's `legacy::Trace`, with that of the storage operation below it.
fn operation(name: &str) -> Expected {
    let storage = format!("storage.{}", name.to_lowercase());
    internal("apiserver", name).child(internal("apiserver", &storage))
}

/// The server span of the Go webhook, as otelhttp names it.
fn webhook_review() -> Expected {
    // An event would be an error that the webhook recorded.
    server("webhook-go", "POST /admit").with("http.response.status_code", 200).with_events([])
}

/// The re-entrant call of the Go webhook, as otelhttp names it.
fn webhook_call() -> Expected {
    client("webhook-go", "HTTP GET").with("http.response.status_code", 200)
}
