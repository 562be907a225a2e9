//! Every attribute that is recorded is one of the semantic conventions, with the type that they
//! give it, and every attribute that they ask for is recorded or has a reason why not.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use awc::{Client, ClientRequest};
use opentelemetry::trace::SpanKind;
use opentelemetry_semantic_conventions::attribute;
use spanbridge::client::RequestTracing;
use spanbridge::server::TrustedProxies;
use spanbridge::{ClientTracing, ServerTracing};

use crate::http::{TestServer, send};
use crate::registry::{HTTP_METRICS, SPAN_ATTRIBUTES, name_of};
use crate::support::{Setup, Tracing};

const VERSION: &str = "1.42.0";

#[test]
fn registry_agrees_with_the_constants_of_the_conventions() {
    assert_eq!(opentelemetry_semantic_conventions::SCHEMA_URL.rsplit('/').next(), Some(VERSION));
    let stable: BTreeSet<_> = SPAN_ATTRIBUTES
        .iter()
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
        attribute::NETWORK_PROTOCOL_NAME,
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

/// The names of what is recorded on the spans of each kind, all told, of requests that have
/// everything: an unknown method, a query, redirects, failures, a template.
async fn recorded(
    setup: Setup,
    server: ServerTracing,
    client: ClientTracing,
) -> [(SpanKind, BTreeSet<String>); 2] {
    let tracing = Tracing::new(setup);
    let _default = tracing.install();
    let server = TestServer::start(&tracing, server, |app| {
        app.route(
            "/moved/{id}",
            web::to(|| async {
                HttpResponse::Found().insert_header(("location", "/500")).body("moved")
            }),
        )
        .route("/500", web::to(HttpResponse::InternalServerError));
    });
    let head = "/moved/1?a=b HTTP/1.1\nHost: h:80\nUser-Agent: test\nAccept: a\nContent-Length: 0\n\
                Forwarded: for=\"192.0.2.1:80\";proto=https";
    send(&server, &format!("BREW {head}"));
    let client = Client::builder().wrap(client).finish();
    let prepared = |request: ClientRequest| {
        let request = request.insert_header((header::ACCEPT, "a"));
        request.insert_header((header::USER_AGENT, "test/1"))
    };
    let sent = RequestTracing::new().with_url_template("/moved/{id}").scope(|| {
        let brew = "BREW".parse().unwrap();
        prepared(client.request(brew, server.url("/moved/1"))).send()
    });
    drop(sent.await.unwrap().body().await.unwrap());
    let named = format!("http://api.test:{}/500", server.address.port());
    let named = prepared(client.get(named)).address(server.address);
    drop(named.send().await.unwrap().body().await.unwrap());

    let mut found = [SpanKind::Server, SpanKind::Client].map(|kind| (kind, BTreeSet::new()));
    for span in tracing.ended(7).await {
        let keys = span.attributes.iter().map(|kv| name_of(kv.key.as_str()));
        let names = keys.filter(|name| SPAN_ATTRIBUTES.contains_key(name)).map(str::to_owned);
        let of_kind = found.iter_mut().find(|(kind, _)| *kind == span.span_kind);
        of_kind.expect("there are no other spans").1.extend(names);
    }
    found
}

/// All that is recorded on spans of this kind at all, and whose level `is_one`.
fn rows(kind: &SpanKind, is_one: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let rows = SPAN_ATTRIBUTES.iter().filter(|(_, row)| {
        let level = row.level(kind);
        level != "-" && row.why_not == "-" && is_one(level)
    });
    rows.map(|(name, _)| (*name).to_owned()).collect()
}

#[actix_web::test]
async fn spans_hold_nothing_but_what_the_conventions_know() {
    for setup in [Setup::Ours, Setup::Theirs] {
        let server = ServerTracing::new()
            .with_trusted_proxies(TrustedProxies::from_networks(["127.0.0.1"]).unwrap())
            .with_request_headers([header::ACCEPT])
            .with_response_headers([header::CONTENT_LENGTH, header::DATE, header::LOCATION])
            .with_network_details(true)
            .with_body_sizes(true)
            .with_server_timing(true)
            .with_provisional_route(true);
        let client = ClientTracing::new()
            .with_request_headers([header::ACCEPT])
            .with_response_headers([header::LOCATION, header::CONTENT_LENGTH])
            .with_network_details(true)
            .with_user_agent(true)
            .with_body_sizes(true)
            .with_end_at_body_end(true);
        for (kind, found) in recorded(setup, server, client).await {
            assert_eq!(found, rows(&kind, |_| true), "{setup:?} {kind:?}");
        }
    }
}

#[actix_web::test]
async fn all_but_what_is_opt_in_is_recorded_by_default() {
    for setup in [Setup::Ours, Setup::Theirs] {
        for (kind, mut found) in recorded(setup, ServerTracing::new(), ClientTracing::new()).await {
            // The request has asked for it.
            found.remove("url.template");
            assert_eq!(found, rows(&kind, |level| level != "opt-in"), "{setup:?} {kind:?}");
        }
    }
}

#[test]
fn what_is_required_has_no_excuse() {
    for (name, row) in SPAN_ATTRIBUTES.iter() {
        let is_required = [row.server, row.client].contains(&"required");
        assert!(!is_required || row.why_not == "-", "{name}: {}", row.why_not);
        assert_ne!(row.why_not, "", "{name}");
    }
}

/// One table of the conventions' documents: the cells of its rows, the first of which is the name.
fn published(document: &str, section: &str, begin: &str) -> Vec<Vec<String>> {
    let (_, text) = document
        .split_once(&format!("<!-- semconv {section} -->"))
        .unwrap_or_else(|| panic!("there is no {section}"));
    let text = text.split("<!-- endsemconv -->").next().unwrap_or_default();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_prefix(begin));
    rows.map(|row| row.split(" | ").map(|cell| cell.trim_matches([' ', '`']).to_owned()).collect())
        .collect()
}

/// Name, type, stability and level of each attribute in a table.
fn published_attributes(document: &str, section: &str) -> BTreeMap<String, [String; 3]> {
    let rows = published(document, section, "[`").into_iter().map(|cells| {
        let [name, stability, level, r#type, ..] = &cells[..] else { panic!("{cells:?}") };
        let name = name.split('`').next().unwrap_or_default().replace("<key>", "");
        let level = match level.split('`').next() {
            Some("Required") => "required",
            Some("Conditionally Required") => "conditional",
            Some("Recommended") => "recommended",
            Some("Opt-In") => "opt-in",
            _ => panic!("{name} is {level}"),
        };
        (name, [r#type.clone(), stability_of(stability), level.to_owned()])
    });
    rows.collect()
}

/// Of a badge: `![Stable](...)`.
fn stability_of(badge: &str) -> String {
    badge.trim_start_matches("![").split(']').next().unwrap_or_default().to_lowercase()
}

/// Needs a checkout of the conventions' repository, whose path `SPANBRIDGE_SEMANTIC_CONVENTIONS`
/// is: `just semconv` gives it.
#[test]
fn registry_is_what_the_conventions_publish() {
    let Some(checkout) = env::var_os("SPANBRIDGE_SEMANTIC_CONVENTIONS") else { return };
    let document = |path: &str| {
        let mut git = Command::new("git");
        git.arg("-C").arg(&checkout).args(["show", &format!("v{VERSION}:{path}")]);
        let output = git.output().expect("git runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };

    let spans = document("docs/http/http-spans.md");
    for (kind, section) in
        [(SpanKind::Server, "span.http.server"), (SpanKind::Client, "span.http.client")]
    {
        let ours = SPAN_ATTRIBUTES.iter().filter(|(_, row)| row.level(&kind) != "-");
        let ours = ours.map(|(name, row)| {
            let row = [row.r#type, row.stability, row.level(&kind)];
            ((*name).to_owned(), row.map(str::to_owned))
        });
        assert_eq!(ours.collect::<BTreeMap<_, _>>(), published_attributes(&spans, section));
    }

    let metrics = document("docs/http/http-metrics.md");
    let sections = metrics.lines().filter_map(|line| line.strip_prefix("<!-- semconv metric."));
    let names: BTreeSet<_> = sections.map(|name| name.trim_end_matches(" -->")).collect();
    assert_eq!(names, HTTP_METRICS.keys().copied().collect());
    for (name, row) in HTTP_METRICS.iter() {
        let section = format!("metric.{name}");
        let [cells] = &published(&metrics, &section, "`http.")[..] else { panic!("{name}") };
        let [_, instrument, unit, _, stability, ..] = &cells[..] else { panic!("{cells:?}") };
        let found = [instrument.to_lowercase(), unit.clone(), stability_of(stability)];
        assert_eq!(found, [row.instrument, row.unit, row.stability], "{name}");
        let levels = published_attributes(&metrics, &section);
        let levels = levels.iter().map(|(name, [.., level])| (&**name, &**level));
        assert_eq!(levels.collect::<BTreeMap<_, _>>(), row.attributes, "{name}");
    }
}
