//! Every metric that is measured is one of the semantic conventions, with the instrument, the unit
//! and the attributes that they give it, and without more than they ask for by default.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{HttpResponse, web};
use awc::Client;
use opentelemetry_semantic_conventions::metric;
use spanbridge::client::RequestTracing;
use spanbridge::metrics::{ClientMetrics, ServerMetrics};
use spanbridge::{ClientTracing, ServerTracing};

use crate::http::{TestServer, send};
use crate::meter::{Meter, points};
use crate::registry::{HTTP_METRICS, SPAN_ATTRIBUTES};
use crate::support::Tracing;

#[test]
fn registry_agrees_with_the_constants_of_the_conventions() {
    let stable: BTreeSet<_> = HTTP_METRICS
        .iter()
        .filter(|(_, row)| row.stability == "stable")
        .map(|(name, row)| {
            assert_eq!((row.level, row.why_not), ("required", "-"), "{name}");
            *name
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

/// The names of what has been measured, and of the attributes with it.
fn names(meter: &Meter) -> BTreeMap<String, BTreeSet<String>> {
    let all = meter.all();
    let metrics = all.iter().flat_map(|r| r.scope_metrics()).flat_map(|s| s.metrics());
    metrics
        .map(|metric| {
            let attributes = points(metric.data()).1.into_iter().flatten();
            (metric.name().to_owned(), attributes.map(|kv| kv.key.to_string()).collect())
        })
        .collect()
}

/// The metrics that are measured at all and of which `is_one` holds.
fn measured_at_all(is_one: impl Fn(&str) -> bool) -> BTreeSet<&'static str> {
    let rows = HTTP_METRICS.iter().filter(|(_, row)| row.why_not == "-" && is_one(row.level));
    rows.map(|(name, _)| *name).collect()
}

#[actix_web::test]
async fn measurements_are_those_of_the_conventions() {
    let meter = Meter::new();
    let server = ServerMetrics::new(&meter.provider).with_active_requests().with_body_sizes();
    let client = ClientMetrics::new(&meter.provider).with_active_requests().with_body_sizes();
    measured(server, client.with_url_template()).await;
    let names = names(&meter);
    let found: BTreeSet<_> = names.keys().map(String::as_str).collect();
    assert_eq!(found, measured_at_all(|_| true));
    // What is required or recommended is there, unless it is on no span either.
    for (name, keys) in names {
        for (key, level) in &HTTP_METRICS[&*name].attributes {
            let is_wanted = *level != "opt-in" && SPAN_ATTRIBUTES[key].why_not == "-";
            assert!(!is_wanted || keys.contains(*key), "{name} has no {key}");
        }
    }
}

#[actix_web::test]
async fn what_is_opt_in_is_not_measured_by_default() {
    let meter = Meter::new();
    measured(ServerMetrics::new(&meter.provider), ClientMetrics::new(&meter.provider)).await;
    let names = names(&meter);
    let found: BTreeSet<_> = names.keys().map(String::as_str).collect();
    assert_eq!(found, measured_at_all(|level| level == "required"));
    for (name, keys) in &names {
        for key in keys {
            assert_ne!(HTTP_METRICS[&**name].attributes[&**key], "opt-in", "{name} has {key}");
        }
    }
}
