//! The API server of the examples: what it answers.

// The parts that start processes are the examples' own.
#[allow(dead_code)]
#[path = "../examples/support/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../examples/apiserver/server/mod.rs"]
mod server;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpResponse, HttpServer, test, web};
use serde_json::{Value, json};
use spanbridge::ServerTracing;
use spanbridge::legacy::TextLog;
use spanbridge::testing::InMemory;
use tracing_subscriber::prelude::*;

use server::{Admission, SlowOperation, Storage, routes};

const PODS: &str = "/api/v1/namespaces/default/pods";
const WEB: &str = "/api/v1/namespaces/default/pods/web";
const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A running API server without a socket.
macro_rules! api_server {
    ($webhook_url:expr) => {
        test::init_service(
            App::new()
                .app_data(web::Data::new(Storage::default()))
                .app_data(web::Data::new(Admission::new(
                    awc::Client::default(),
                    $webhook_url,
                    "http://self".to_owned(),
                )))
                .configure(routes),
        )
        .await
    };
}

macro_rules! call {
    ($server:expr, $method:ident, $path:expr) => {
        call!($server, $method, $path, JSON, "")
    };
    ($server:expr, $method:ident, $path:expr, $content_type:expr, $body:expr) => {{
        let request = test::TestRequest::default()
            .method(Method::$method)
            .uri($path)
            .insert_header((CONTENT_TYPE, $content_type))
            .set_payload($body.to_string())
            .to_request();
        let response = test::call_service(&$server, request).await;
        let code = response.status().as_u16();
        let body = test::read_body(response).await;
        let body: Value = serde_json::from_slice(&body).expect("every answer is JSON");
        if code >= 400 {
            assert_eq!(body["kind"], "Status");
            assert_eq!(body["status"], "Failure");
            assert_eq!(body["code"], code);
        }
        (code, body)
    }};
}

fn pod(metadata: Value) -> Value {
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata})
}

#[actix_web::test]
async fn an_object_lives_through_all_verbs() {
    let server = api_server!(None);
    let sent = json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Pending"},
    });
    let (code, created) = call!(server, POST, PODS, JSON, sent);
    assert_eq!(code, 201);
    assert_eq!(created["metadata"]["namespace"], "default");
    assert_eq!(created["metadata"]["resourceVersion"], "1");
    assert_eq!(created["metadata"]["uid"].as_str().map(str::len), Some(36));
    assert_eq!(created["metadata"]["labels"], sent["metadata"]["labels"]);
    assert_eq!(created["status"], sent["status"], "fields it does not know are kept");

    assert_eq!(call!(server, GET, WEB), (200, created.clone()));
    let (code, list) = call!(server, GET, PODS);
    assert_eq!((code, &list["items"]), (200, &json!([created])));
    assert_eq!(list["metadata"]["resourceVersion"], "1");
    let (_, elsewhere) = call!(server, GET, "/api/v1/namespaces/other/pods");
    assert_eq!(elsewhere["items"], json!([]));

    let mut changed = created.clone();
    changed["spec"]["nodeName"] = json!("n2");
    let (code, updated) = call!(server, PUT, WEB, JSON, changed);
    assert_eq!((code, &updated["spec"]["nodeName"]), (200, &json!("n2")));
    assert_eq!(updated["metadata"]["resourceVersion"], "2");

    let patch = json!({"metadata": {"labels": {"app": null, "tier": "front"}}, "status": null});
    let (code, patched) = call!(server, PATCH, WEB, MERGE_PATCH, patch);
    assert_eq!(code, 200);
    assert_eq!(patched["metadata"]["labels"], json!({"tier": "front"}));
    assert_eq!(patched.get("status"), None);
    assert_eq!(patched["metadata"]["uid"], created["metadata"]["uid"]);
    assert_eq!(call!(server, GET, WEB).1, patched);

    let (code, deleted) = call!(server, DELETE, WEB);
    assert_eq!((code, &deleted["status"]), (200, &json!("Success")));
    assert_eq!(call!(server, GET, WEB).0, 404);
}

#[actix_web::test]
async fn what_cannot_be_done_is_answered_with_its_reason() {
    let server = api_server!(None);
    assert_eq!(call!(server, POST, PODS, JSON, pod(json!({"name": "web"}))).0, 201);
    let web = |metadata: Value| pod(metadata).to_string();
    let cases = [
        ("POST", PODS, JSON, web(json!({"name": "web"})), 409, "AlreadyExists"),
        ("POST", PODS, JSON, web(json!({})), 422, "Invalid"),
        ("POST", PODS, JSON, web(json!({"name": "Web"})), 422, "Invalid"),
        ("POST", PODS, JSON, web(json!({"name": "-a"})), 422, "Invalid"),
        ("POST", PODS, JSON, web(json!({"name": "a".repeat(254)})), 422, "Invalid"),
        ("POST", PODS, JSON, web(json!({"name": "a", "resourceVersion": "1"})), 422, "Invalid"),
        ("POST", PODS, JSON, web(json!({"name": "a", "namespace": "b"})), 400, "BadRequest"),
        (
            "POST",
            PODS,
            JSON,
            json!({"kind": "Job", "apiVersion": "v1"}).to_string(),
            400,
            "BadRequest",
        ),
        ("POST", PODS, JSON, "{".to_owned(), 400, "BadRequest"),
        ("POST", PODS, JSON, web(json!("name")), 400, "BadRequest"),
        ("GET", "/api/v1/namespaces/default/pods/none", JSON, String::new(), 404, "NotFound"),
        ("GET", "/api/v1/namespaces/other/pods/web", JSON, String::new(), 404, "NotFound"),
        ("GET", "/api/v2", JSON, String::new(), 404, "NotFound"),
        ("PUT", PODS, JSON, web(json!({"name": "web"})), 405, "MethodNotAllowed"),
        ("POST", WEB, JSON, web(json!({"name": "web"})), 405, "MethodNotAllowed"),
        ("PUT", WEB, JSON, web(json!({"name": "web", "resourceVersion": "9"})), 409, "Conflict"),
        ("PUT", WEB, JSON, web(json!({"name": "web", "resourceVersion": "x"})), 422, "Invalid"),
        ("PUT", WEB, JSON, web(json!({"name": "web", "uid": "other"})), 409, "Conflict"),
        ("PUT", WEB, JSON, web(json!({"name": "other"})), 400, "BadRequest"),
        ("PATCH", WEB, JSON, "{}".to_owned(), 415, "UnsupportedMediaType"),
        ("PATCH", WEB, MERGE_PATCH, "{".to_owned(), 400, "BadRequest"),
        ("PATCH", WEB, MERGE_PATCH, "[]".to_owned(), 400, "BadRequest"),
        ("PATCH", WEB, MERGE_PATCH, r#"{"metadata":{"name":"b"}}"#.to_owned(), 422, "Invalid"),
        ("PATCH", WEB, MERGE_PATCH, r#"{"metadata":{"uid":"b"}}"#.to_owned(), 409, "Conflict"),
        (
            "PATCH",
            WEB,
            MERGE_PATCH,
            r#"{"metadata":{"resourceVersion":"9"}}"#.to_owned(),
            409,
            "Conflict",
        ),
        (
            "DELETE",
            WEB,
            JSON,
            r#"{"preconditions":{"resourceVersion":"9"}}"#.to_owned(),
            409,
            "Conflict",
        ),
    ];
    for (i, (method, path, content_type, body, code, reason)) in cases.into_iter().enumerate() {
        let (answered, status) = match method {
            "GET" => call!(server, GET, path, content_type, body),
            "POST" => call!(server, POST, path, content_type, body),
            "PUT" => call!(server, PUT, path, content_type, body),
            "PATCH" => call!(server, PATCH, path, content_type, body),
            _ => call!(server, DELETE, path, content_type, body),
        };
        assert_eq!((answered, &status["reason"]), (code, &json!(reason)), "case {i}: {status}");
    }
    let (_, unchanged) = call!(server, GET, WEB);
    assert_eq!(unchanged["metadata"]["resourceVersion"], "1", "none of these wrote anything");
}

#[actix_web::test]
async fn the_webhook_decides_whether_a_pod_is_created() {
    let verdict = |review: web::Json<Value>| {
        let request = &review["request"];
        assert_eq!(request["operation"], "CREATE");
        assert_eq!(request["namespace"], "default");
        assert_eq!(request["apiserver"], "http://self");
        let response = match request["name"].as_str() {
            Some("good") => json!({"uid": request["uid"], "allowed": true}),
            Some("bad") => {
                json!({"uid": request["uid"], "allowed": false, "status": {"message": "no room"}})
            }
            _ => json!({"uid": "of another review", "allowed": true}),
        };
        HttpResponse::Ok().json(json!({"response": response}))
    };
    let webhook = HttpServer::new(move || {
        App::new().route("/admit", web::post().to(move |review| async move { verdict(review) }))
    });
    let webhook = webhook.workers(1).bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/admit", webhook.addrs()[0]);
    let running = webhook.run();
    let handle = running.handle();
    let running = actix_web::rt::spawn(running);

    let server = api_server!(Some(url.clone()));
    assert_eq!(call!(server, POST, PODS, JSON, pod(json!({"name": "good"}))).0, 201);
    let (code, status) = call!(server, POST, PODS, JSON, pod(json!({"name": "bad"})));
    assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")));
    assert!(status["message"].as_str().unwrap().ends_with("no room"), "{status}");
    assert_eq!(call!(server, POST, PODS, JSON, pod(json!({"name": "odd"}))).0, 500);

    handle.stop(false).await;
    running.await.unwrap().unwrap();
    let (code, status) = call!(server, POST, PODS, JSON, pod(json!({"name": "late"})));
    assert_eq!((code, &status["reason"]), (500, &json!("InternalError")));
    assert!(status["message"].as_str().unwrap().contains(&url), "{status}");

    let (_, list) = call!(server, GET, PODS);
    let names: Vec<&Value> =
        list["items"].as_array().unwrap().iter().map(|pod| &pod["metadata"]["name"]).collect();
    assert_eq!(names, ["good"], "only what was admitted was created");
}

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text without what is different each time.
fn steady(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| {
        let (_, line) = line.split_once("Trace[").unwrap();
        let (_, line) = line.split_once("]: ").unwrap();
        // Times are in the last parentheses, or in brackets.
        match line {
            _ if line.ends_with(" END") => "END".to_owned(),
            _ if line.ends_with(':') => {
                let (line, _) = line.rsplit_once(" (total").unwrap();
                line.rsplit_once(" (").unwrap().0.to_owned()
            }
            _ => line.rsplit_once(' ').unwrap().0.rsplit_once(' ').unwrap().0.to_owned(),
        }
    });
    lines.collect()
}

#[actix_web::test]
async fn handlers_are_timed_as_text_and_as_spans() {
    // 1. Every operation counts as slow; the process has one text log, and other tests of it are
    //    too fast for theirs.
    // 2. Each has its block, with the steps in their order, and its span below the request's, with
    //    the same steps, and with the storage operation below it.
    let out = Out::default();
    let writer = out.clone();
    let log = TextLog::builder().with_header(false).with_writer(move || writer.clone()).build();
    log.install().unwrap();
    let (memory, layer) =
        InMemory::with(spanbridge::layer().with_target(false).with_location(false));
    let default = tracing_subscriber::registry().with(layer).set_default();
    let server = test::init_service(
        App::new()
            .app_data(web::Data::new(Storage::default()))
            .app_data(SlowOperation(Duration::ZERO))
            .app_data(web::Data::new(Admission::new(
                awc::Client::default(),
                None,
                "http://self".to_owned(),
            )))
            .configure(routes)
            .wrap(ServerTracing::new()),
    )
    .await;
    assert_eq!(call!(server, POST, PODS, JSON, pod(json!({"name": "web"}))).0, 201);
    assert_eq!(call!(server, GET, PODS).0, 200);
    assert_eq!(call!(server, GET, "/api/v1/namespaces/default/pods/none").0, 404);
    drop(default);

    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    let first = |name: &str, url: &str, verb: &str| {
        format!(
            "{name:?} client:<nil>,protocol:HTTP/1.1,resource:pods,url:{url},user-agent:<nil>,\
             verb:{verb}"
        )
    };
    let expected = [
        &*first("Create", PODS, "POST"),
        "---\"limitedReadBody succeeded\" len:58",
        "---\"About to convert to expected version\"",
        "---\"Conversion done\"",
        "---\"Admitted\" name:web",
        "---\"Write to database call succeeded\"",
        "---\"About to write a response\" code:201",
        "END",
        &*first("List", PODS, "GET"),
        "---\"About to List from storage\"",
        "---\"Listing from storage done\" count:1",
        "---\"About to write a response\" code:200",
        "END",
        &*first("Get", "/api/v1/namespaces/default/pods/none", "GET"),
        "---\"About to Get from storage\"",
        "---\"request refused\" err:pods \"none\" not found",
        "END",
    ];
    assert_eq!(steady(&text), expected, "{text}");

    let spans = memory.spans();
    for (operation, request, storage, steps) in [
        ("Create", "POST /api/v1/namespaces/{namespace}/pods", "storage.create", 6),
        ("List", "GET /api/v1/namespaces/{namespace}/pods", "storage.list", 3),
        ("Get", "GET /api/v1/namespaces/{namespace}/pods/{name}", "storage.get", 2),
    ] {
        let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let span = find(operation);
        assert_eq!(span.parent_span_id, find(request).span_context.span_id(), "{operation}");
        assert_eq!(find(storage).parent_span_id, span.span_context.span_id(), "{operation}");
        assert_eq!(span.events.len(), steps, "{:?}", span.events);
    }
    assert_eq!(spans.len(), 9, "{}", memory.tree());
}
