//! Every metric that is measured is one of the semantic conventions, with the instrument, the unit
//! and the attributes that they give it, and without more than they ask for by default.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{HttpResponse, web};
use awc::Client;
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_semantic_conventions::metric;
use spanbridge::client::RequestTracing;
use spanbridge::metrics::{ClientMetrics, ServerMetrics};
use spanbridge::{ClientTracing, ServerTracing};

use crate::http::{TestServer, send};
use crate::meter::Meter;
use crate::support::Tracing;

const REGISTRY: &str = include_str!("metrics-1.42.0.tsv");

/// A row of the registry.
struct Metric {
    instrument: &'static str,
    unit: &'static str,
    stability: &'static str,
    level: &'static str,
    /// Whether each is required.
    attributes: BTreeMap<&'static str, bool>,
}

fn registry() -> BTreeMap<&'static str, Metric> {
    let rows = REGISTRY.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let [name, instrument, unit, stability, level, attributes] =
            row.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{row} has not six columns")
        };
        let attributes = attributes.split(' ');
        let attributes = attributes.map(|a| (a.trim_end_matches('!'), a.ends_with('!'))).collect();
        (name, Metric { instrument, unit, stability, level, attributes })
    })
    .collect()
}

/// The kind of instrument behind the data, and the attributes of each of its points.
fn points(data: &AggregatedMetrics) -> (&'static str, Vec<Vec<KeyValue>>) {
    match data {
        AggregatedMetrics::F64(MetricData::Histogram(data)) => {
            ("histogram", data.data_points().map(|p| p.attributes().cloned().collect()).collect())
        }
        AggregatedMetrics::U64(MetricData::Histogram(data)) => {
            ("histogram", data.data_points().map(|p| p.attributes().cloned().collect()).collect())
        }
        AggregatedMetrics::I64(MetricData::Sum(data)) if !data.is_monotonic() => {
            let points = data.data_points().map(|p| p.attributes().cloned().collect()).collect();
            ("updowncounter", points)
        }
        other => panic!("{other:?} is made by no instrument of the conventions"),
    }
}

/// Checks all that has been measured, and gives its names.
fn check(meter: &Meter) -> BTreeSet<String> {
    let registry = registry();
    let all = meter.all();
    let metrics = all.iter().flat_map(|r| r.scope_metrics()).flat_map(|s| s.metrics());
    let mut names = BTreeSet::new();
    for metric in metrics {
        let name = metric.name();
        let row = registry.get(name).unwrap_or_else(|| panic!("{name} is not in the registry"));
        let (instrument, points) = points(metric.data());
        assert_eq!((instrument, metric.unit()), (row.instrument, row.unit), "{name}");
        assert!(!metric.description().is_empty(), "{name}");
        for attributes in points {
            for KeyValue { key, value, .. } in &attributes {
                assert!(row.attributes.contains_key(key.as_str()), "{name} with {key}");
                let is_number = matches!(value, Value::I64(_));
                let expected =
                    key.as_str().ends_with(".status_code") || key.as_str() == "server.port";
                assert_eq!(is_number, expected, "{name} with {key}={value}");
            }
            for (key, _) in row.attributes.iter().filter(|(_, is_required)| **is_required) {
                assert!(
                    attributes.iter().any(|kv| kv.key.as_str() == *key),
                    "{name} without {key}"
                );
            }
        }
        names.insert(name.to_owned());
    }
    names
}

#[test]
fn registry_agrees_with_the_constants_of_the_conventions() {
    let stable: BTreeSet<_> = registry()
        .into_iter()
        .filter(|(_, row)| row.stability == "stable")
        .map(|(name, row)| {
            assert_eq!(row.level, "required", "{name}");
            name
        })
        .collect();
    let constants = [metric::HTTP_CLIENT_REQUEST_DURATION, metric::HTTP_SERVER_REQUEST_DURATION];
    assert_eq!(stable, BTreeSet::from(constants));
}

/// What is measured of an exchange that has everything.
async fn measured(server: ServerMetrics, client: ClientMetrics) {
    let tracing = Tracing::ours();
    let _default = tracing.install();
    let server = TestServer::start(&tracing, ServerTracing::new().with_metrics(server), |app| {
        app.route("/x/{id}", web::post().to(|| async { "hello" }))
            .route("/500", web::get().to(HttpResponse::InternalServerError));
    });
    let client = Client::builder().wrap(ClientTracing::new().with_metrics(client)).finish();
    let sent = RequestTracing::new()
        .with_url_template("/x/{id}")
        .scope(|| client.post(server.url("/x/1")).send_body("body"));
    drop(sent.await.unwrap().body().await.unwrap());
    for path in ["/500", "/none"] {
        drop(client.get(server.url(path)).send().await.unwrap().body().await.unwrap());
    }
    drop(client.get("http://127.0.0.1:1/").send().await);
    send(&server, "BREW /x/1 HTTP/1.1\nHost: h");
    tracing.ended(8).await;
}

#[actix_web::test]
async fn measurements_are_those_of_the_conventions() {
    let meter = Meter::new();
    let server = ServerMetrics::new(&meter.provider).with_active_requests().with_body_sizes();
    let client = ClientMetrics::new(&meter.provider).with_active_requests().with_body_sizes();
    measured(server, client.with_url_template()).await;
    let expected: BTreeSet<_> = registry().into_keys().map(str::to_owned).collect();
    assert_eq!(check(&meter), expected);
}

#[actix_web::test]
async fn what_is_opt_in_is_not_measured_by_default() {
    let meter = Meter::new();
    measured(ServerMetrics::new(&meter.provider), ClientMetrics::new(&meter.provider)).await;
    let required = registry().into_iter().filter(|(_, row)| row.level == "required");
    assert_eq!(check(&meter), required.map(|(name, _)| name.to_owned()).collect());
}
