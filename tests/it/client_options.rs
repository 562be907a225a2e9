//! What `ClientTracing` can be told, and how an outgoing request can end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use awc::Client;
use awc::error::SendRequestError;
use opentelemetry::Value;
use spanbridge::client::{RecordTimeout as _, RequestTracing};
use spanbridge::{ClientTracing, ServerTracing, SpanExt as _, Trust};
use tokio::sync::mpsc;

use crate::http::{CALLER, TestServer, client, echo, echo_server, text};
use crate::support::{Hidden, Setup, Tracing, attribute, tree};

fn client_with(tracing: ClientTracing) -> Client {
    Client::builder().wrap(tracing).finish()
}

/// `/0` leads to `/1` and so on, up to the echo at `/echo`.
fn redirecting_server(hops: usize) -> TestServer {
    TestServer::start(&Tracing::none(), ServerTracing::new(), move |app| {
        for hop in 0..hops {
            let to = if hop + 1 == hops { "/echo".to_owned() } else { format!("/{}?x=y", hop + 1) };
            let redirect = move || {
                let to = to.clone();
                async move { HttpResponse::Found().insert_header(("location", to)).finish() }
            };
            app.route(&format!("/{hop}"), web::to(redirect));
        }
        app.route("/echo", web::to(echo));
    })
}

#[actix_web::test]
async fn hops_of_a_redirect_are_counted() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = redirecting_server(3);
        let client = client();

        let (one, other) = futures_util::join!(
            text(client.get(server.url("/0"))),
            text(client.get(server.url("/1")))
        );
        assert!(one.starts_with("traceparent: ") && other.starts_with("traceparent: "));

        let mut found: Vec<_> = tracing
            .ended(7)
            .await
            .iter()
            .map(|span| {
                let path = attribute(span, "url.full").unwrap().as_str().into_owned();
                let path = path.split_once(&server.address.to_string()).unwrap().1.to_owned();
                (attribute(span, "http.request.resend_count").cloned(), path)
            })
            .collect();
        found.sort_by_key(|(count, path)| (path.clone(), format!("{count:?}")));
        let sent =
            |count: i64, path: &str| ((count > 0).then_some(Value::I64(count)), path.to_owned());
        let expected = [
            sent(0, "/0"),
            sent(0, "/1"),
            sent(1, "/1?x=y"),
            sent(1, "/2?x=y"),
            sent(2, "/2?x=y"),
            sent(2, "/echo"),
            sent(3, "/echo"),
        ];
        assert_eq!(found, expected, "{setup:?}");
    }
}

#[actix_web::test]
async fn redirect_that_is_not_followed_counts_for_nothing() {
    // 1. The client does not follow redirects. 2. Its caller asks for the target by itself, and
    // for something else.
    let tracing = Tracing::ours();
    let _default = tracing.install();
    let server = redirecting_server(1);
    let client = Client::builder().disable_redirects().wrap(ClientTracing::new()).finish();

    let response = client.get(server.url("/0")).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 302);
    for path in ["/echo", "/none"] {
        drop(client.get(server.url(path)).send().await.unwrap());
    }

    for span in tracing.ended(3).await {
        assert_eq!(attribute(&span, "http.request.resend_count"), None);
    }
}

#[actix_web::test]
async fn redirect_beyond_the_limit_is_a_failure() {
    let server = redirecting_server(3);
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        for until_body_end in [false, true] {
            for (limit, expected) in [
                // A client that follows none has not had too many.
                (0, "client GET 302\n"),
                (1, "client GET 302\nclient GET 302 too_many_redirects failed\n"),
                (2, "client GET 302\nclient GET 302\nclient GET 302 too_many_redirects failed\n"),
                (3, "client GET 302\nclient GET 302\nclient GET 302\nclient GET 200\n"),
            ] {
                let before = tracing.ended(0).await.len();
                let hook = ClientTracing::new().with_end_at_body_end(until_body_end);
                let client = Client::builder().max_redirects(limit).wrap(hook).finish();
                let mut response = client.get(server.url("/0")).send().await.unwrap();
                drop(response.body().await.unwrap());
                drop(response);
                let spans = tracing.ended(before + expected.lines().count()).await;
                let context = format!("{setup:?} {limit} {until_body_end}");
                assert_eq!(tree(&spans[before..]), expected, "{context}");
            }
        }
    }
}

#[actix_web::test]
async fn hops_of_a_redirect_follow_one_another() {
    // Each ends before the next one begins, also where its end depends on whether there is one.
    let tracing = Tracing::ours();
    let _default = tracing.install();
    let server = redirecting_server(3);
    drop(client().get(server.url("/0")).send().await.unwrap());
    let spans = tracing.ended(4).await;
    assert!(spans.is_sorted_by(|one, next| one.end_time <= next.start_time), "{spans:?}");
}

#[actix_web::test]
async fn template_names_the_span() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = redirecting_server(1);
        let client = client_with(ClientTracing::new().with_url_template(|head| {
            head.uri.path().starts_with("/echo").then(|| "/{all}".to_owned())
        }));

        let sent = RequestTracing::new()
            .with_url_template("/{number}")
            .scope(|| client.get(server.url("/0")).send());
        drop(sent.await.unwrap());
        drop(client.get(server.url("/none")).send().await.unwrap());

        let found: Vec<_> = tracing
            .ended(3)
            .await
            .iter()
            .map(|span| {
                let template = attribute(span, "url.template").map(|v| v.as_str().into_owned());
                (span.name.to_string(), template)
            })
            .collect();
        let expected =
            [("GET /{number}", Some("/{number}")), ("GET /{all}", Some("/{all}")), ("GET", None)]
                .map(|(name, template)| (name.to_owned(), template.map(str::to_owned)));
        assert_eq!(found, expected, "{setup:?}");
    }
}

/// A server whose requests at `/wait` are never answered.
fn silent_server() -> TestServer {
    TestServer::start(&Tracing::none(), ServerTracing::new(), |app| {
        app.route("/wait", web::get().to(std::future::pending::<HttpResponse>));
    })
}

#[actix_web::test]
async fn timeout_is_told_from_a_caller_that_lost_interest() {
    const SHORT: Duration = Duration::from_millis(20);
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = silent_server();
        let build = |hook| Client::builder().timeout(SHORT).wrap(hook).finish();
        let url = server.url("/wait");

        let error = build(ClientTracing::new()).get(&url).send().record_timeout().await;
        assert!(matches!(error, Err(SendRequestError::Timeout)), "{setup:?}");
        let hook = ClientTracing::new().with_timeout(SHORT);
        assert!(build(hook).get(&url).send().await.is_err(), "{setup:?}");
        let expected = "client GET timeout failed\n".repeat(2);
        assert_eq!(tree(&tracing.ended(2).await), expected, "{setup:?}");

        // The caller leaves, long before the time is up.
        let patient = Duration::from_secs(60);
        for hook in [ClientTracing::new(), ClientTracing::new().with_timeout(patient)] {
            let client = Client::builder().timeout(patient).wrap(hook).finish();
            let sent = client.get(&url).send().record_timeout();
            assert!(tokio::time::timeout(SHORT, sent).await.is_err());
        }
        let expected = format!("{expected}{}", "client GET\n".repeat(2));
        assert_eq!(tree(&tracing.ended(4).await), expected, "{setup:?}");
    }
}

#[actix_web::test]
async fn timeout_spans_the_hops_of_a_redirect() {
    // 1. The first hop takes a part of the time. 2. The second one has only the rest.
    const LIMIT: Duration = Duration::from_secs(1);
    let slow = TestServer::start(&Tracing::none(), ServerTracing::new(), |app| {
        let redirect = || async {
            tokio::time::sleep(LIMIT / 4).await;
            HttpResponse::Found().insert_header(("location", "/wait")).finish()
        };
        app.route("/slow", web::get().to(redirect))
            .route("/wait", web::get().to(std::future::pending::<HttpResponse>));
    });
    let tracing = Tracing::ours();
    let _default = tracing.install();
    let hook = ClientTracing::new().with_timeout(LIMIT);
    let client = Client::builder().timeout(LIMIT).wrap(hook).finish();

    assert!(client.get(slow.url("/slow")).send().await.is_err());

    let expected = "client GET 302\nclient GET timeout failed\n";
    assert_eq!(tree(&tracing.ended(2).await), expected);
}

/// Calls `/call` of a server that copies its own request with `request_from`, and says what arrives
/// at the echo.
async fn copied_by(tracing: &Tracing, hook: ClientTracing, hide: bool) -> String {
    copied_below(ServerTracing::new(), tracing, hook, hide).await
}

async fn copied_below(
    middleware: ServerTracing,
    tracing: &Tracing,
    hook: ClientTracing,
    hide: bool,
) -> String {
    let callee = redirecting_server(1);
    let url = callee.url("/0");
    let server = TestServer::start(tracing, middleware, move |app| {
        let (url, client) = (url.clone(), client_with(hook.clone()));
        app.route(
            "/call",
            web::get().to(move |request: HttpRequest| {
                let (url, client) = (url.clone(), client.clone());
                async move {
                    let copy = client.request_from(url, request.head());
                    let scope = RequestTracing::new();
                    let scope = if hide { scope.without_propagation() } else { scope };
                    let sent = scope.scope(|| copy.send());
                    sent.await.unwrap().body().await.unwrap()
                }
            }),
        );
    });
    let head = format!(
        "GET /call HTTP/1.1\nHost: h\ntraceparent: {CALLER}\ntracestate: a=1\nbaggage: user=b"
    );
    let said = crate::http::send(&server, &head);
    said.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[actix_web::test]
async fn injection_can_be_off_for_hosts_and_for_requests() {
    for setup in Setup::RECORDING.into_iter().chain([Setup::Nothing]) {
        let tracing = Tracing::new(setup);
        let hook = ClientTracing::new();
        let passed_on = copied_by(&tracing, hook.clone(), false).await;
        assert!(passed_on.contains("traceparent: 00-0af7651916cd43dd8448eb211c80319c-"));
        assert!(passed_on.contains("tracestate: a=1\nbaggage: user=b\n"), "{passed_on}");
        if setup != Setup::Nothing {
            assert!(!passed_on.contains(CALLER), "{setup:?}: {passed_on}");
        }

        assert_eq!(copied_by(&tracing, hook.clone(), true).await, "", "{setup:?}");
        let elsewhere = hook.clone().propagate_to(|uri| uri.host() == Some("inner.example"));
        assert_eq!(copied_by(&tracing, elsewhere, false).await, "", "{setup:?}");
        let here = hook.propagate_to(|uri| uri.host() == Some("127.0.0.1"));
        assert_ne!(copied_by(&tracing, here, false).await, "", "{setup:?}");
    }
}

#[actix_web::test]
async fn copy_of_a_request_has_nothing_of_a_caller_that_is_not_believed() {
    // 1. A caller that is not believed sends trace context and baggage.
    // 2. Its span, or the one of the call, is not made: by a filter, or because no layer is there.
    // 3. The handler sends a copy of the request on.
    let ignore = || ServerTracing::new().public_endpoint(|_| Trust::Ignore);
    let mut all = vec![("no layer".to_owned(), Tracing::none())];
    for setup in [Setup::Ours, Setup::Theirs] {
        for target in ["spanbridge", "spanbridge::server", "spanbridge::client"] {
            for hidden in Hidden::ALL {
                let tracing = Tracing::without_target(target, setup, hidden);
                all.push((format!("{setup:?} {target} {hidden:?}"), tracing));
            }
        }
    }
    for (name, tracing) in all {
        for middleware in [ignore(), ignore().filter(|_| false)] {
            let hook = ClientTracing::new();
            let passed_on = copied_below(middleware, &tracing, hook, false).await;
            let of_caller = ["0af7651916cd43dd8448eb211c80319c", "tracestate", "baggage"];
            let found = of_caller.into_iter().find(|text| passed_on.contains(text));
            assert_eq!(found, None, "{name}: {passed_on}");
        }
    }
}

#[actix_web::test]
async fn handshake_of_a_websocket_is_a_request() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let (arrived, mut arrivals) = mpsc::unbounded_channel();
        let server = TestServer::start(&Tracing::none(), ServerTracing::new(), move |app| {
            let arrived = arrived.clone();
            app.route(
                "/ws",
                web::get().to(move |request: HttpRequest| {
                    let traceparent = request.headers().get("traceparent").cloned();
                    arrived.send(traceparent).unwrap();
                    // Not what the key asks for: awc says so, after the handshake.
                    async { HttpResponse::SwitchingProtocols().upgrade("websocket").finish() }
                }),
            );
        });

        let url = format!("ws://{}/ws", server.address);
        assert!(client().ws(&url).connect().await.is_err(), "{setup:?}");

        let [span] = &tracing.ended(1).await[..] else { panic!("{setup:?}: one span") };
        assert_eq!(tree(std::slice::from_ref(span)), "client GET 101\n", "{setup:?}");
        assert_eq!(attribute(span, "url.full"), Some(&url.into()), "{setup:?}");
        let arrived = arrivals.recv().await.unwrap().unwrap();
        let id = span.span_context.span_id().to_string();
        assert!(arrived.to_str().unwrap().contains(&id), "{setup:?}");
    }
}

/// Answers one request with `answer`, whatever it is, and closes.
fn answer_once(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        read_head(&mut socket);
        socket.write_all(answer).unwrap();
    });
    address
}

fn read_head(socket: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

#[actix_web::test]
async fn span_ends_with_the_body_on_request() {
    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    const EMPTY: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    const TRUNCATED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello";
    // awc takes the end of the connection for the end of the body, and nothing tells them apart.
    const CHUNKS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    const HALF_A_CHUNK: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nhello";
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let client = client_with(ClientTracing::new().with_end_at_body_end(true));
        for (answer, reads, expected) in [
            (WHOLE, true, "client GET 200\n"),
            (EMPTY, true, "client GET 204\n"),
            (TRUNCATED, true, "client GET 200 body_read failed\n"),
            (TRUNCATED, false, "client GET 200\n"),
            (CHUNKS, true, "client GET 200\n"),
            (HALF_A_CHUNK, true, "client GET 200\n"),
        ] {
            let before = tracing.ended(0).await.len();
            let url = format!("http://{}/", answer_once(answer));
            let mut response = client.get(url).send().await.unwrap();
            if reads {
                if answer != EMPTY {
                    assert_eq!(tracing.ended(0).await.len(), before, "{setup:?}: it goes on");
                }
                drop(response.body().await);
            }
            drop(response);
            let spans = tracing.ended(before + 1).await;
            assert_eq!(tree(&spans[before..]), expected, "{setup:?}");
        }
    }
}

#[actix_web::test]
async fn failures_on_the_wire_have_their_types() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        for (answer, expected) in [
            (&b"not HTTP at all\r\n\r\n"[..], "client GET response_parse failed\n"),
            (b"", "client GET connection_closed failed\n"),
        ] {
            let before = tracing.ended(0).await.len();
            let url = format!("http://{}/", answer_once(answer));
            let error = client().get(url).send().await.err();
            let spans = tracing.ended(before + 1).await;
            assert_eq!(tree(&spans[before..]), expected, "{setup:?}: {error:?}");
        }
    }
}

#[actix_web::test]
async fn requests_and_responses_can_be_recorded_in_more_detail() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = echo_server(&Tracing::none());
        let client = client_with(
            ClientTracing::new()
                .with_known_methods(["PUT"])
                .with_sensitive_query_keys(["token"])
                .with_request_headers([HeaderName::from_static("x-id"), header::AUTHORIZATION])
                .with_response_headers([header::CONTENT_TYPE])
                .on_request(|head, span| span.set_attribute("to", head.uri.path().to_owned()))
                .on_response(|status, _, span| span.set_attribute("ok", status.is_success())),
        );

        let request =
            client.get(format!("http://api.test:{}/echo?token=a&sig=b", server.address.port()));
        let request = request.address(server.address).insert_header(("x-id", "1"));
        drop(request.insert_header(("authorization", "secret")).send().await.unwrap());

        let [span] = &tracing.ended(1).await[..] else { panic!("{setup:?}: one span") };
        assert_eq!(span.name, "HTTP", "{setup:?}");
        let port = i64::from(server.address.port());
        let url = format!("http://api.test:{port}/echo?token=REDACTED&sig=b");
        for (key, expected) in [
            ("http.request.method", "_OTHER".into()),
            ("http.request.method_original", "GET".into()),
            ("network.peer.address", "127.0.0.1".into()),
            ("network.peer.port", port.into()),
            ("ok", true.into()),
            ("server.address", "api.test".into()),
            ("to", "/echo".into()),
            ("url.full", url.into()),
        ] {
            assert_eq!(attribute(span, key), Some(&expected), "{setup:?} {key}");
        }
        let list = |key| attribute(span, key).map(|value| value.as_str().into_owned());
        assert_eq!(list("http.request.header.x-id").unwrap(), "[\"1\"]", "{setup:?}");
        assert_eq!(list("http.request.header.authorization"), None, "{setup:?}");
        let found = list("http.response.header.content-type").unwrap();
        assert_eq!(found, "[\"text/plain; charset=utf-8\"]", "{setup:?}");
    }
}

#[actix_web::test]
async fn network_details_are_there_on_request() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = echo_server(&Tracing::none());
        let port = i64::from(server.address.port());
        let hook = ClientTracing::new();
        let detailed = hook.clone().with_network_details(true).with_user_agent(true);
        let named = format!("http://localhost:{port}/echo");
        for (i, (hook, url, agent, expected)) in [
            (&hook, &server.url("/echo"), Some("test/1"), [None, None, None, Some("127.0.0.1")]),
            (
                &detailed,
                &server.url("/echo"),
                Some("test/1"),
                [Some("tcp"), Some("http"), Some("test/1"), Some("127.0.0.1")],
            ),
            // awc does not say what it has resolved a name to.
            (&detailed, &named, None, [Some("tcp"), Some("http"), None, None]),
        ]
        .into_iter()
        .enumerate()
        {
            let request = client_with(hook.clone()).get(url);
            let request = match agent {
                Some(agent) => request.insert_header((header::USER_AGENT, agent)),
                None => request,
            };
            drop(request.send().await.unwrap());
            let span = &tracing.ended(i + 1).await[i];
            let keys = ["network.transport", "url.scheme", "user_agent.original"];
            let keys = keys.into_iter().chain(["network.peer.address"]);
            for (key, expected) in keys.zip(expected) {
                let found = attribute(span, key).map(|value| value.as_str().into_owned());
                assert_eq!(found.as_deref(), expected, "{setup:?} {key} of {url}");
            }
            let peer_port = expected[3].map(|_| Value::I64(port));
            assert_eq!(attribute(span, "network.peer.port"), peer_port.as_ref(), "{setup:?}");
        }
    }
}

#[actix_web::test]
async fn body_sizes_are_there_on_request() {
    for (setup, tracing) in Tracing::each() {
        let _default = tracing.install();
        let server = TestServer::start(&Tracing::none(), ServerTracing::new(), |app| {
            app.route("/x", web::post().to(|| async { "hello" }));
        });
        let hook = ClientTracing::new().with_body_sizes(true);
        for (i, (hook, request, response)) in [
            (ClientTracing::new(), None, None),
            (hook.clone(), Some(7), None),
            (hook.with_end_at_body_end(true), Some(7), Some(5)),
        ]
        .into_iter()
        .enumerate()
        {
            let sent = client_with(hook).post(server.url("/x")).send_body("1234567");
            assert_eq!(sent.await.unwrap().body().await.unwrap(), "hello");
            let spans = tracing.ended(i + 1).await;
            for (key, expected) in
                [("http.request.body.size", request), ("http.response.body.size", response)]
            {
                let found = attribute(&spans[i], key).cloned();
                assert_eq!(found, expected.map(Value::I64), "{setup:?} {key}");
            }
        }
        // What breaks off counts as far as it came.
        let client =
            client_with(ClientTracing::new().with_body_sizes(true).with_end_at_body_end(true));
        let url = format!(
            "http://{}/",
            answer_once(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello")
        );
        drop(client.get(url).send().await.unwrap().body().await);
        let spans = tracing.ended(4).await;
        assert_eq!(tree(&spans[3..]), "client GET 200 body_read failed\n", "{setup:?}");
        assert_eq!(attribute(&spans[3], "http.response.body.size"), Some(&5.into()), "{setup:?}");
        assert_eq!(attribute(&spans[3], "http.request.body.size"), Some(&0.into()), "{setup:?}");
    }
}
