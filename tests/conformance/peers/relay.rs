//! `POST /relay`: what all services of a chain do, and our own one.
//!
//! A request names the calls that are still to be made, `{"set": {}, "calls": [{"url": URL, "set":
//! {}}, ...]}`. A service adds `set` to its baggage, names and values, and makes the first call with
//! the others in its body. It answers with a list: what has arrived at itself, as [`Arrived`], and
//! then what it was answered.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::error::ErrorBadGateway;
use actix_web::{App, HttpRequest, HttpServer, Result, web};
use awc::{Client, ClientRequest};
use opentelemetry::Context;
use opentelemetry::baggage::{Baggage, BaggageExt as _};
use opentelemetry::context::FutureExt as _;
use serde::{Deserialize, Serialize};
use spanbridge::{ClientTracing, ServerTracing};
use tracing::Dispatch;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The headers whose values are told.
const HEADERS: [&str; 3] = ["traceparent", "tracestate", "baggage"];

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Request {
    pub(crate) set: BTreeMap<String, String>,
    pub(crate) calls: Vec<Call>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Call {
    pub(crate) url: String,
    pub(crate) set: BTreeMap<String, String>,
}

/// What a service has seen of a request.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Arrived {
    /// Those of [`HEADERS`] that are there, several lines as one.
    headers: BTreeMap<String, String>,
    /// What the service's own API says: value and properties by name.
    baggage: BTreeMap<String, (String, String)>,
}

impl Arrived {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The four parts of the traceparent.
    #[track_caller]
    pub(crate) fn parent(&self) -> [&str; 4] {
        let text = self.header("traceparent").expect("a traceparent has arrived");
        let parts: Vec<_> = text.split('-').collect();
        parts.try_into().unwrap_or_else(|_| panic!("{text} has not four parts"))
    }

    /// Name, value and properties of each member, by name.
    pub(crate) fn baggage(&self) -> Vec<(&str, &str, &str)> {
        self.baggage.iter().map(|(name, (value, rest))| (&**name, &**value, &**rest)).collect()
    }
}

/// Our own service: `ServerTracing` on actix-web, `ClientTracing` on awc. Stops when dropped.
pub(crate) struct Service {
    pub(crate) url: String,
    handle: ServerHandle,
}

impl Service {
    /// Starts it on a free port; spans go to `dispatch`.
    pub(crate) fn start(dispatch: Dispatch) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (started, handle) = mpsc::channel();
        // On a thread of its own, so that tests may block theirs.
        thread::spawn(move || {
            let server = HttpServer::new(move || {
                // Runs on the worker's thread, which is this server's alone.
                std::mem::forget(tracing::dispatcher::set_default(&dispatch));
                let client = Client::builder().timeout(CALL_TIMEOUT).wrap(ClientTracing::new());
                App::new()
                    .app_data(web::Data::new(client.finish()))
                    .route("/relay", web::post().to(relay))
                    .wrap(ServerTracing::new())
            });
            let server = server.workers(1).disable_signals().listen(listener).unwrap();
            actix_web::rt::System::new().block_on(async move {
                let server = server.run();
                started.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self { url: format!("http://{address}"), handle: handle.recv().unwrap() }
    }

    /// Waits until all connections are closed, and with them the spans of their requests.
    pub(crate) async fn end(self, timeout: Duration) {
        let ended = tokio::time::timeout(timeout, self.handle.stop(true)).await;
        assert!(ended.is_ok(), "our service has not ended within {timeout:?}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Told to stop at once; nobody waits.
        drop(self.handle.stop(false));
    }
}

/// Says what has arrived, and passes the rest of the chain on.
async fn relay(
    request: HttpRequest,
    chain: web::Json<Request>,
    client: web::Data<Client>,
) -> Result<web::Json<Vec<Arrived>>> {
    let mut all = vec![arrived(&request)];
    let Request { set, mut calls } = chain.into_inner();
    if !calls.is_empty() {
        let next = calls.remove(0);
        let rest = Request { set: next.set, calls };
        let answer = post(client.post(next.url), &rest).with_context(with_baggage(set)).await;
        all.append(&mut answer.map_err(ErrorBadGateway)?);
    }
    Ok(web::Json(all))
}

fn arrived(request: &HttpRequest) -> Arrived {
    let mut headers = BTreeMap::new();
    for name in HEADERS {
        let lines: Vec<_> =
            request.headers().get_all(name).map(|line| line.to_str().unwrap()).collect();
        if !lines.is_empty() {
            headers.insert(name.to_owned(), lines.join(","));
        }
    }
    let baggage = Context::map_current(|cx| {
        let members = cx.baggage().iter();
        members
            .map(|(name, (v, rest))| (name.to_string(), (v.to_string(), rest.to_string())))
            .collect()
    });
    Arrived { headers, baggage }
}

fn with_baggage(set: BTreeMap<String, String>) -> Context {
    Context::map_current(|cx| {
        let mut baggage = Baggage::new();
        for (name, (value, properties)) in cx.baggage() {
            baggage.insert_with_metadata(name.clone(), value.clone(), properties.clone());
        }
        for (name, value) in set {
            baggage.insert(name, value);
        }
        cx.with_baggage(baggage)
    })
}

/// Sends `chain`, and gives what was answered.
///
/// # Errors
///
/// Fails with a text if there is no answer or one that is no success.
pub(crate) async fn post(
    request: ClientRequest,
    chain: &Request,
) -> std::result::Result<Vec<Arrived>, String> {
    let url = request.get_uri().to_string();
    let answer = request.send_json(chain).await;
    let mut answer = answer.map_err(|err| format!("POST {url}: {err}"))?;
    let body = answer.body().await.map_err(|err| format!("the answer of {url}: {err}"))?;
    if !answer.status().is_success() {
        let text = String::from_utf8_lossy(&body);
        return Err(format!("{url} answered {}: {text}", answer.status()));
    }
    serde_json::from_slice(&body).map_err(|err| format!("the answer of {url}: {err}"))
}
