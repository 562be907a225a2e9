//! Every attribute that is recorded is one of the semantic conventions, with the type that they
//! give it, and every attribute that they require is recorded.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use awc::Client;
use opentelemetry::trace::SpanKind;
use opentelemetry::{Array, Value};
use opentelemetry_sdk::trace::SpanData;
use opentelemetry_semantic_conventions::attribute;
use spanbridge::client::RequestTracing;
use spanbridge::server::TrustedProxies;
use spanbridge::{ClientTracing, ServerTracing};

use crate::http::{TestServer, send};
use crate::support::{Setup, Tracing};

const REGISTRY: &str = include_str!("semconv-1.42.0.tsv");

/// A row of the registry.
struct Attribute {
    r#type: &'static str,
    stability: &'static str,
    server: &'static str,
    client: &'static str,
}

fn registry() -> BTreeMap<&'static str, Attribute> {
    let rows = REGISTRY.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let [name, r#type, stability, server, client] = row.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{row} has not five columns")
        };
        (name, Attribute { r#type, stability, server, client })
    })
    .collect()
}

/// The registry's name for a key.
fn name_of(key: &str) -> String {
    for prefix in ["http.request.header.", "http.response.header."] {
        if key.starts_with(prefix) {
            return prefix.to_owned();
        }
    }
    key.to_owned()
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::I64(_) => "int",
        Value::Array(Array::String(_)) => "string[]",
        _ => "a type that no attribute has",
    }
}

/// Checks the span against the registry, and gives the names that it has.
fn check(span: &SpanData, setup: Setup) -> BTreeSet<String> {
    let registry = registry();
    let is_server = span.span_kind == SpanKind::Server;
    let level = |row: &Attribute| if is_server { row.server } else { row.client };
    let mut names = BTreeSet::new();
    for kv in &span.attributes {
        let name = name_of(kv.key.as_str());
        let Some(row) = registry.get(&*name) else {
            // What the layers themselves add.
            let own = ["thread.", "code.", "target", "level", "busy_ns", "idle_ns"];
            assert!(own.iter().any(|own| name.starts_with(own)), "{setup:?}: {name}");
            continue;
        };
        assert_eq!(row.r#type, type_of(&kv.value), "{setup:?}: {name} is {:?}", kv.value);
        assert_ne!(level(row), "-", "{setup:?}: {name} on {:?}", span.span_kind);
        names.insert(name);
    }
    for (name, row) in &registry {
        if level(row) == "required" {
            assert!(names.contains(*name), "{setup:?}: {name} is missing on {:?}", span.span_kind);
        }
    }
    names
}

#[test]
fn registry_agrees_with_the_constants_of_the_conventions() {
    assert_eq!(opentelemetry_semantic_conventions::SCHEMA_URL.rsplit('/').next(), Some("1.42.0"));
    let stable: BTreeSet<_> = registry()
        .into_iter()
        .filter(|(_, row)| row.stability == "stable")
        .map(|(name, _)| name.trim_end_matches('.').to_owned())
        .collect();
    let constants = [
        attribute::CLIENT_ADDRESS,
        attribute::CLIENT_PORT,
        attribute::ERROR_TYPE,
        attribute::HTTP_REQUEST_HEADER,
        attribute::HTTP_REQUEST_METHOD,
        attribute::HTTP_REQUEST_METHOD_ORIGINAL,
        attribute::HTTP_REQUEST_RESEND_COUNT,
        attribute::HTTP_RESPONSE_HEADER,
        attribute::HTTP_RESPONSE_STATUS_CODE,
        attribute::HTTP_ROUTE,
        attribute::NETWORK_LOCAL_ADDRESS,
        attribute::NETWORK_LOCAL_PORT,
        attribute::NETWORK_PEER_ADDRESS,
        attribute::NETWORK_PEER_PORT,
        attribute::NETWORK_PROTOCOL_VERSION,
        attribute::NETWORK_TRANSPORT,
        attribute::SERVER_ADDRESS,
        attribute::SERVER_PORT,
        attribute::URL_FULL,
        attribute::URL_PATH,
        attribute::URL_QUERY,
        attribute::URL_SCHEME,
        attribute::USER_AGENT_ORIGINAL,
    ];
    assert_eq!(stable, constants.into_iter().map(str::to_owned).collect());
}

#[actix_web::test]
async fn spans_hold_nothing_but_what_the_conventions_know() {
    for setup in [Setup::Ours, Setup::Theirs] {
        let tracing = Tracing::new(setup);
        let _default = tracing.install();
        let everything = ServerTracing::new()
            .with_trusted_proxies(TrustedProxies::from_networks(["127.0.0.1"]).unwrap())
            .with_request_headers([header::ACCEPT])
            .with_response_headers([header::CONTENT_LENGTH, header::DATE, header::LOCATION])
            .with_network_details(true)
            .with_body_sizes(true)
            .with_server_timing(true)
            .with_provisional_route(true);
        let server = TestServer::start(&tracing, everything, |app| {
            app.route(
                "/moved/{id}",
                web::to(|| async {
                    HttpResponse::Found().insert_header(("location", "/500")).body("moved")
                }),
            )
            .route("/500", web::to(HttpResponse::InternalServerError));
        });

        send(
            &server,
            "BREW /moved/1?a=b HTTP/1.1\nHost: h:80\nUser-Agent: test\nAccept: a\n\
             Content-Length: 0\nForwarded: for=\"192.0.2.1:80\";proto=https",
        );
        let client = Client::builder()
            .wrap(
                ClientTracing::new()
                    .with_known_methods(["PUT"])
                    .with_request_headers([header::ACCEPT])
                    .with_response_headers([header::LOCATION, header::CONTENT_LENGTH]),
            )
            .finish();
        let sent = RequestTracing::new().with_url_template("/moved/{id}").scope(|| {
            let request = client.get(server.url("/moved/1")).address(server.address);
            request.insert_header((header::ACCEPT, "a")).send()
        });
        drop(sent.await.unwrap());

        let mut found = BTreeMap::from([("server", BTreeSet::new()), ("client", BTreeSet::new())]);
        for span in tracing.ended(5).await {
            let kind = if span.span_kind == SpanKind::Server { "server" } else { "client" };
            found.get_mut(kind).unwrap().extend(check(&span, setup));
        }
        // All that is not opt-in, and on the server what is.
        for (name, row) in registry() {
            assert_eq!(found["server"].contains(name), row.server != "-", "{setup:?}: {name}");
            let on_client = row.client != "-" && row.client != "opt-in";
            if on_client {
                assert!(found["client"].contains(name), "{setup:?}: {name}");
            }
        }
        for name in ["url.template", "http.request.header.", "http.response.header."] {
            assert!(found["client"].contains(name), "{setup:?}: {name}");
        }
    }
}
