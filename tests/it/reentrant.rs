//! KEP-647's story: an API server calls a webhook, and the webhook calls back.

use std::collections::HashSet;

use actix_web::{HttpRequest, web};
use awc::Client;
use opentelemetry_sdk::trace::Sampler;
use spanbridge::ServerTracing;

use crate::http::{
    CALLER, CALLER_TRACE, TestServer, UNSAMPLED_CALLER, caller, client, echo, echo_server, text,
};
use crate::support::{Hidden, Setup, Tracing, tree};

const WHOLE_TRACE: &str = "server GET /create 200
  client GET 200
    server GET /review 200
      client GET 200
        server GET /echo 200
";

const WITHOUT_WEBHOOK: &str = "server GET /create 200
  client GET 200
    server GET /echo 200
";

/// Calls `/create` of an API server, whose webhook calls `/echo` of the API server back: what
/// arrived there.
async fn create(
    api: &Tracing,
    webhook: &Tracing,
    webhook_tracing: ServerTracing,
    traceparent: &str,
) -> String {
    let webhook = TestServer::start(webhook, webhook_tracing, |app| {
        let review = async |request: HttpRequest| {
            // The address to call back is the query.
            text(client().get(format!("http://{}/echo", request.query_string()))).await
        };
        app.route("/review", web::get().to(review));
    });
    let review = webhook.url("/review");
    let api = TestServer::start(api, ServerTracing::new(), move |app| {
        let create = async |request: HttpRequest, review: web::Data<String>| {
            let address = request.app_config().local_addr();
            text(client().get(format!("{}?{address}", review.as_str()))).await
        };
        app.app_data(web::Data::new(review.clone()))
            .route("/create", web::get().to(create))
            .route("/echo", web::get().to(echo));
    });
    let request = Client::new().get(api.url("/create"));
    let request = request.insert_header(("traceparent", traceparent));
    text(request.insert_header(("baggage", "user=a"))).await
}

#[actix_web::test]
async fn reentrant_call_is_part_of_the_trace() {
    for (setup, tracing) in Tracing::each() {
        let arrived = create(&tracing, &tracing, ServerTracing::new(), CALLER).await;

        let spans = tracing.ended(5).await;
        assert_eq!(tree(&spans), WHOLE_TRACE, "{setup:?}");
        let traces: HashSet<_> = spans.iter().map(|span| span.span_context.trace_id()).collect();
        assert_eq!(traces.len(), 1, "{setup:?}");
        assert_eq!(spans[0].span_context.trace_id().to_string(), CALLER_TRACE, "{setup:?}");
        // What the server sees is the span of the client that called it.
        let client = spans[3].span_context.span_id();
        let expected = format!("traceparent: 00-{CALLER_TRACE}-{client}-01\nbaggage: user=a\n");
        assert_eq!(arrived, expected, "{setup:?}");
    }
}

#[actix_web::test]
async fn two_layers_on_one_registry_each_have_the_trace() {
    let tracing = Tracing::new(Setup::Both);

    create(&tracing, &tracing, ServerTracing::new(), CALLER).await;

    // What travels are the ids of our spans, so the other layer's servers are children of those.
    let ours = tracing.ended(5).await;
    let theirs = tracing.ended_beside(5).await;
    let mut both: Vec<_> = theirs.iter().map(|span| span.name.as_ref()).collect();
    both.sort_unstable();
    assert_eq!(both, ["GET", "GET", "GET /create", "GET /echo", "GET /review"]);
    for span in ours.iter().chain(&theirs) {
        assert_eq!(span.span_context.trace_id().to_string(), CALLER_TRACE, "{}", span.name);
    }
    let review = theirs.iter().find(|span| span.name == "GET /review").unwrap();
    assert_eq!(review.parent_span_id, ours[1].span_context.span_id());
}

#[actix_web::test]
async fn reentrant_call_is_a_child_of_the_first_where_the_webhook_makes_no_spans() {
    let mut webhooks = vec![
        ("no layer".to_owned(), Tracing::none(), ServerTracing::new()),
        ("filter".to_owned(), Tracing::ours(), ServerTracing::new().filter(|_| false)),
    ];
    for setup in [Setup::Ours, Setup::Theirs] {
        for hidden in Hidden::ALL {
            let webhook = Tracing::without_target("spanbridge::server", setup, hidden);
            let name = format!("{setup:?} {hidden:?}");
            webhooks.push((name, webhook, ServerTracing::new()));
        }
    }
    for (name, webhook, webhook_tracing) in webhooks {
        // The webhook's client has a span where only that of its server is hidden.
        let has_client = name != "no layer";
        let api = Tracing::ours();
        let arrived = create(&api, &webhook, webhook_tracing, CALLER).await;

        let client = if has_client { webhook.ended(1).await } else { api.ended(3).await };
        let spans = api.ended(3).await;
        let in_api = spans[1].span_context.span_id();
        let last = if has_client { client[0].span_context.span_id() } else { in_api };
        if has_client {
            assert_eq!(client[0].parent_span_id, in_api, "{name}");
        } else {
            assert_eq!(tree(&spans), WITHOUT_WEBHOOK, "{name}");
        }
        let expected = format!("traceparent: 00-{CALLER_TRACE}-{last}-01\nbaggage: user=a\n");
        assert_eq!(arrived, expected, "{name}");
    }
}

#[actix_web::test]
async fn reentrant_call_is_a_direct_child_where_the_webhook_only_passes_on() {
    for (setup, api) in Tracing::each() {
        let arrived = create(&api, &Tracing::none(), ServerTracing::new(), CALLER).await;

        let spans = api.ended(3).await;
        assert_eq!(tree(&spans), WITHOUT_WEBHOOK, "{setup:?}");
        let client = spans[1].span_context.span_id();
        let expected = format!("traceparent: 00-{CALLER_TRACE}-{client}-01\nbaggage: user=a\n");
        assert_eq!(arrived, expected, "{setup:?}");
    }
    for setup in [Setup::Ours, Setup::Theirs] {
        for hidden in Hidden::ALL {
            let (api, webhook) =
                (Tracing::ours(), Tracing::without_target("spanbridge", setup, hidden));

            create(&api, &webhook, ServerTracing::new(), CALLER).await;

            assert_eq!(tree(&api.ended(3).await), WITHOUT_WEBHOOK, "{setup:?} {hidden:?}");
            assert_eq!(webhook.tree(), "", "{setup:?} {hidden:?}");
        }
    }
}

#[actix_web::test]
async fn unsampled_caller_is_followed_through_all_of_it() {
    // Also a sampler that would take every trace that starts here leaves this one alone.
    for (setup, tracing) in Tracing::each() {
        let arrived = create(&tracing, &tracing, ServerTracing::new(), UNSAMPLED_CALLER).await;

        let (parent, baggage) = arrived.split_once('\n').unwrap();
        let ids = parent.strip_prefix(&format!("traceparent: 00-{CALLER_TRACE}-")).unwrap();
        let id = ids.strip_suffix("-00").unwrap_or_else(|| panic!("{setup:?}: {arrived}"));
        assert_eq!((id.len(), baggage), (16, "baggage: user=a\n"), "{setup:?}");
        assert_eq!(tracing.tree(), "", "{setup:?}");
        assert_eq!(tracing.stats().started(), 0, "{setup:?}");
    }
}

#[actix_web::test]
async fn call_is_a_direct_child_of_the_caller_where_there_are_no_spans() {
    let passes = async |name: &str, tracing: Tracing, middleware: ServerTracing, flags: &str| {
        let echo = echo_server(&Tracing::none());
        let server = caller(&tracing, middleware, &echo);
        let sent = format!("{}{flags}", &CALLER[..CALLER.len() - 2]);
        let request = Client::new().get(server.url("/call"));
        let request = request.insert_header(("traceparent", sent.as_str()));
        let request = request.insert_header(("tracestate", "a=1,b=2"));
        let arrived = text(request.insert_header(("baggage", "user=a"))).await;
        let expected = format!("traceparent: {sent}\ntracestate: a=1,b=2\nbaggage: user=a\n");
        assert_eq!(arrived, expected, "{name}");
        assert_eq!(tracing.tree(), "", "{name}");
    };

    for flags in ["00", "01", "02", "03"] {
        passes("no layer", Tracing::none(), ServerTracing::new(), flags).await;
        let filtered = ServerTracing::new().filter(|_| false);
        passes("no layer, filter", Tracing::none(), filtered.clone(), flags).await;
        for setup in [Setup::Ours, Setup::Theirs] {
            for hidden in Hidden::ALL {
                let (name, target) = (format!("{setup:?} {hidden:?} {flags}"), "spanbridge");
                let hides = || Tracing::without_target(target, setup, hidden);
                passes(&name, hides(), ServerTracing::new(), flags).await;
                passes(&name, hides(), filtered.clone(), flags).await;
            }
        }
    }
}

#[actix_web::test]
async fn call_is_a_child_of_the_server_span_where_the_client_span_is_hidden() {
    for setup in [Setup::Ours, Setup::Theirs] {
        for hidden in Hidden::ALL {
            let name = format!("{setup:?} {hidden:?}");
            let tracing = Tracing::without_target("spanbridge::client", setup, hidden);
            let echo = echo_server(&tracing);
            let server = caller(&tracing, ServerTracing::new(), &echo);

            let request = Client::new().get(server.url("/call"));
            let arrived = text(request.insert_header(("traceparent", CALLER))).await;

            let spans = tracing.ended(2).await;
            let expected = "server GET /call 200\n  server GET /echo 200\n";
            assert_eq!(tree(&spans), expected, "{name}");
            let parent = spans[0].span_context.span_id();
            assert_eq!(arrived, format!("traceparent: 00-{CALLER_TRACE}-{parent}-01\n"), "{name}");
        }
    }
}

#[actix_web::test]
async fn unsampled_trace_goes_on_where_the_client_span_is_hidden() {
    // 1. The handler runs in a span of its own, which an unsampled request gives no record.
    // 2. It sends a request whose client span is hidden.
    let always_on = || Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    for setup in [Setup::Ours, Setup::Theirs] {
        for hidden in Hidden::ALL {
            let name = format!("{setup:?} {hidden:?}");
            let tracing = Tracing::hiding("spanbridge::client", setup, hidden, always_on());
            let echo = echo_server(&tracing);
            let url = echo.url("/echo");
            let server = TestServer::start(&tracing, ServerTracing::new(), move |app| {
                use tracing::Instrument as _;
                let url = url.clone();
                app.default_service(web::to(move || {
                    let url = url.clone();
                    async move { text(client().get(url)).await }
                        .instrument(tracing::info_span!("work"))
                }));
            });

            for baggage in ["", "baggage: user=a\n"] {
                let request = Client::new().get(server.url("/"));
                let mut request = request.insert_header(("traceparent", UNSAMPLED_CALLER));
                if !baggage.is_empty() {
                    request = request.insert_header(("baggage", "user=a"));
                }
                let arrived = text(request).await;

                let begin = format!("traceparent: 00-{CALLER_TRACE}-");
                assert!(arrived.starts_with(&begin), "{name}: {arrived}");
                assert!(arrived.ends_with(&format!("-00\n{baggage}")), "{name}: {arrived}");
            }
            assert_eq!(tracing.tree(), "", "{name}");
        }
    }
}
