//! What is done, which spans must come of it, and which of them are missing.

use std::error::Error;
use std::time::Duration;

use actix_web::rt::System;
use opentelemetry::trace::TraceId;
use serde_json::{Value, json};

use crate::support::otlp_receiver::{ReceivedSpan, SpanKind};

pub(crate) const COLLECTION: &str = "/api/v1/namespaces/{namespace}/pods";
pub(crate) const OBJECT: &str = "/api/v1/namespaces/{namespace}/pods/{name}";

/// A span that must be there, and below which other one.
#[derive(Debug)]
struct Expected {
    name: String,
    kind: SpanKind,
    process: &'static str,
    /// Index into the same list; `None` for the root.
    parent: Option<usize>,
}

/// The spans of one request, root first.
#[derive(Debug)]
pub(crate) struct ExpectedTrace(Vec<Expected>);

impl ExpectedTrace {
    /// What a create comes to, with the webhook and its re-entrant call in between.
    pub(crate) fn create(webhook_exports: bool) -> Self {
        let mut spans = Self(Vec::new());
        let create = spans.add(&format!("POST {COLLECTION}"), SpanKind::Server, "apiserver", None);
        let create = spans.add("Create", SpanKind::Internal, "apiserver", Some(create));
        let mut caller = spans.add("POST", SpanKind::Client, "apiserver", Some(create));
        if webhook_exports {
            let admit = spans.add("POST /admit", SpanKind::Server, "webhook", Some(caller));
            let timed = spans.add("Admit", SpanKind::Internal, "webhook", Some(admit));
            caller = spans.add("GET", SpanKind::Client, "webhook", Some(timed));
        }
        let list =
            spans.add(&format!("GET {COLLECTION}"), SpanKind::Server, "apiserver", Some(caller));
        let list = spans.add("List", SpanKind::Internal, "apiserver", Some(list));
        spans.add("storage.list", SpanKind::Internal, "apiserver", Some(list));
        spans.add("storage.create", SpanKind::Internal, "apiserver", Some(create));
        spans
    }

    /// What any other request comes to.
    pub(crate) fn plain(method: &str, path: &str, operation: &str) -> Self {
        let mut spans = Self(Vec::new());
        let request = spans.add(&format!("{method} {path}"), SpanKind::Server, "apiserver", None);
        let handler = spans.add(operation, SpanKind::Internal, "apiserver", Some(request));
        let storage = format!("storage.{}", operation.to_lowercase());
        spans.add(&storage, SpanKind::Internal, "apiserver", Some(handler));
        spans
    }

    fn add(
        &mut self,
        name: &str,
        kind: SpanKind,
        process: &'static str,
        parent: Option<usize>,
    ) -> usize {
        self.0.push(Expected { name: name.to_owned(), kind, process, parent });
        self.0.len() - 1
    }

    /// The trace among `spans` in which all of these are, each below the right one.
    ///
    /// # Errors
    ///
    /// Fails with the spans that the nearest trace lacks.
    pub(crate) fn find(&self, spans: &[ReceivedSpan]) -> Result<TraceId, Vec<String>> {
        let mut best: Vec<String> = self.0.iter().map(Expected::to_string).collect();
        for root in spans.iter().filter(|span| self.0[0].is(span)) {
            let missing = self.missing(root, spans);
            if missing.is_empty() {
                return Ok(root.trace_id);
            }
            if missing.len() < best.len() {
                best = missing;
            }
        }
        Err(best)
    }

    fn missing(&self, root: &ReceivedSpan, spans: &[ReceivedSpan]) -> Vec<String> {
        let mut found: Vec<Option<&ReceivedSpan>> = vec![Some(root)];
        for expected in &self.0[1..] {
            let parent = expected.parent.and_then(|parent| found[parent]);
            found.push(parent.and_then(|parent| {
                spans.iter().find(|span| {
                    span.trace_id == root.trace_id
                        && span.parent_span_id == Some(parent.span_id)
                        && expected.is(span)
                })
            }));
        }
        let missing = self.0.iter().zip(&found).filter(|(_, found)| found.is_none());
        missing.map(|(expected, _)| expected.to_string()).collect()
    }
}

impl Expected {
    fn is(&self, span: &ReceivedSpan) -> bool {
        self.name == span.name
            && self.kind == span.kind
            && self.process == span.service_name()
            && self.parent.is_none() == span.parent_span_id.is_none()
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind.as_str_name().trim_start_matches("SPAN_KIND_");
        write!(f, "{} ({kind}, {})", self.name, self.process)
    }
}

/// Fails unless the log of a process has a block of text for each of these operations.
pub(crate) fn check_text(text: &str, operations: &[&str]) -> Result<(), String> {
    let lacks = |operation: &&&str| {
        // Its first line, which names it, and its last.
        let number = text.lines().find_map(|line| {
            let (_, block) = line.split_once("Trace[")?;
            let (number, first) = block.split_once("]: ")?;
            first.starts_with(&format!("{operation:?} ")).then_some(number)
        });
        let ends = |number| text.lines().any(|line| is_end(line, number));
        !number.is_some_and(ends)
    };
    match operations.iter().find(lacks) {
        Some(operation) => Err(format!("the text of {operation:?} is missing in {text:?}")),
        None => Ok(()),
    }
}

fn is_end(line: &str, number: &str) -> bool {
    line.strip_prefix("Trace[")
        .and_then(|line| line.strip_prefix(number))
        .is_some_and(|line| line.starts_with("]: [") && line.ends_with("] END"))
}

/// Sends the requests, from a client that knows nothing of tracing, like curl.
///
/// # Errors
///
/// Fails if a request is not answered with success within `timeout`.
pub(crate) fn drive(
    apiserver: &str,
    all_verbs: bool,
    timeout: Duration,
) -> Result<(), Box<dyn Error>> {
    System::new().block_on(async {
        let client = awc::Client::builder().timeout(timeout).finish();
        let pods = format!("{apiserver}/api/v1/namespaces/default/pods");
        let pod = format!("{pods}/web-0");
        let object = json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": "web-0"},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]},
        });

        let created = answer(client.post(&pods).send_json(&object).await).await?;
        if !all_verbs {
            return Ok(());
        }
        answer(client.get(&pods).send().await).await?;
        answer(client.get(&pod).send().await).await?;
        // What was read, resource version and all, is what an update sends back.
        answer(client.put(&pod).send_json(&created).await).await?;
        let patch = json!({"metadata": {"labels": {"app": "web"}}}).to_string();
        let merge_patch = client.patch(&pod).content_type("application/merge-patch+json");
        answer(merge_patch.send_body(patch).await).await?;
        answer(client.delete(&pod).send().await).await?;
        Ok(())
    })
}

async fn answer<S>(
    response: Result<awc::ClientResponse<S>, awc::error::SendRequestError>,
) -> Result<Value, Box<dyn Error>>
where
    S: futures_util::Stream<Item = Result<actix_web::web::Bytes, awc::error::PayloadError>>,
{
    let mut response = response.map_err(|err| format!("the API server does not answer: {err}"))?;
    let body = response.json::<Value>().await?;
    match response.status() {
        status if status.is_success() => Ok(body),
        status => Err(format!("the API server answered {status}: {}", body["message"]).into()),
    }
}
