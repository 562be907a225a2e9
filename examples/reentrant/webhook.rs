//! The admission webhook: answers reviews, and calls the API server back before it does.
//!
//! It is traced by two lines, the middleware around the app and the one around the client. Whether
//! it also exports spans depends only on whether it is given a configuration. Its handler is timed by
//! a `legacy::Trace`, whose text is written in any case, and which is a span where spans are exported.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use spanbridge::legacy::{TextLog, Trace, fields};
use spanbridge::{ClientTracing, ServerTracing};
use tracing::info;

use crate::process::{Process, read_config};

const TIMEOUT: Duration = Duration::from_secs(10);

/// From when on a review is slow, and printed: at once, so that there is something to see. A service
/// would say half a second.
const SLOW: Duration = Duration::ZERO;

/// Flags of the webhook.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// File with the tracing configuration. Without it, trace context is only passed on.
    #[arg(long, value_name = "FILE")]
    tracing_config_file: Option<PathBuf>,

    /// Also stop when standard input is closed.
    #[arg(long)]
    exit_on_stdin_close: bool,
}

#[derive(Debug, Deserialize)]
struct Review {
    request: Request,
}

#[derive(Debug, Deserialize)]
struct Request {
    uid: String,
    namespace: String,
    name: String,
    apiserver: String,
}

/// Serves until the process is told to stop.
///
/// # Errors
///
/// Fails if the configuration file is not valid, the address cannot be bound, or the last spans
/// cannot be exported.
pub(crate) fn run(flags: Flags) -> Result<(), Box<dyn Error>> {
    TextLog::builder().with_writer(io::stderr).build().install()?;
    let process = Process {
        service_name: "webhook",
        listen: flags.listen,
        config: read_config(flags.tracing_config_file.as_deref())?,
        exit_on_stdin_close: flags.exit_on_stdin_close,
    };
    process.serve(|listener, stopped| {
        let server = HttpServer::new(|| {
            let client = awc::Client::builder().wrap(ClientTracing::new()).finish();
            App::new()
                .app_data(web::Data::new(client))
                .route("/admit", web::post().to(admit))
                .wrap(ServerTracing::new())
        });
        Ok(server.shutdown_signal(stopped).listen(listener)?.run())
    })
}

/// `POST /admit`: admits every pod into a namespace that can be listed.
async fn admit(review: web::Json<Review>, client: web::Data<awc::Client>) -> HttpResponse {
    let Request { uid, namespace, name, apiserver } = review.into_inner().request;
    let trace = Trace::new("Admit", fields!["namespace" => &namespace, "name" => &name]);
    let listed = trace.in_future(list(&client, &apiserver, &namespace)).await;
    trace.step("listed namespace", fields!["succeeded" => listed.is_ok()]);
    let verdict = match listed {
        Ok(StatusCode::OK) => {
            info!(name, "namespace listed, pod admitted");
            json!({"uid": uid, "allowed": true})
        }
        Ok(status) => denied(&uid, format!("listing {namespace:?} was answered with {status}")),
        Err(err) => denied(&uid, format!("cannot list {namespace:?}: {err}")),
    };
    let answer = HttpResponse::Ok().json(json!({"kind": "AdmissionReview", "response": verdict}));
    trace.step("encoded answer", fields![]);
    trace.log_if_long(SLOW);
    answer
}

/// The re-entrant call. That it belongs to the review's trace is nowhere to be seen: the
/// middleware made the request's context current, and the client's hook sends what is current.
async fn list(
    client: &awc::Client,
    apiserver: &str,
    namespace: &str,
) -> Result<StatusCode, Box<dyn Error>> {
    let url = format!("{apiserver}/api/v1/namespaces/{namespace}/pods");
    let mut response = client.get(url).timeout(TIMEOUT).send().await?;
    Trace::current().step("answered", fields!["status" => response.status().as_u16()]);
    response.body().await?;
    Ok(response.status())
}

fn denied(uid: &str, message: String) -> serde_json::Value {
    info!(reason = message, "pod denied");
    json!({"uid": uid, "allowed": false, "status": {"code": 502, "message": message}})
}
