//! The API server: flags, routes, and how they are put together.

mod admission;
mod error;
mod handlers;
mod operation;
mod pod;
mod storage;

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use clap::Args;
use spanbridge::config::{Feature, FeatureGates};
use spanbridge::legacy::TextLog;
use spanbridge::{ClientTracing, ServerTracing};

pub(crate) use self::admission::Admission;
use self::error::ApiError;
pub(crate) use self::operation::SlowOperation;
pub(crate) use self::storage::Storage;
use crate::process::{Process, read_config};

/// Bodies up to this size are read, as in etcd.
const MAX_BODY: usize = 1536 * 1024;

/// Flags of the API server.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// File with the OpenTelemetry configuration, under the name that KEP-647 proposed. Without
    /// it, trace context is passed on and nothing is sent. Where neither it nor OTEL_* names a
    /// collector, spans are printed on standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) opentelemetry_config_file: Option<PathBuf>,

    /// File with the tracing configuration, under the name that Kubernetes settled on. The same
    /// as --opentelemetry-config-file; only one of them may be given.
    #[arg(long, value_name = "FILE", conflicts_with = "opentelemetry_config_file")]
    pub(crate) tracing_config_file: Option<PathBuf>,

    /// Features to switch on or off, as name=true or name=false. Known: APIServerTracing, without
    /// which the configuration file is not read.
    #[arg(long, value_name = "GATES", default_value = "APIServerTracing=true")]
    pub(crate) feature_gates: FeatureGates,

    /// Admission webhook to ask before a pod is created, such as http://127.0.0.1:9443/admit.
    #[arg(long, value_name = "URL")]
    pub(crate) webhook_url: Option<String>,

    /// From how many milliseconds on an operation is slow: its steps are then printed on standard
    /// error, in the form that Kubernetes' logs have them in.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    pub(crate) slow_operation: u64,

    /// Also stop when standard input is closed: for a process that is started by another.
    #[arg(long)]
    pub(crate) exit_on_stdin_close: bool,
}

impl Flags {
    /// The configuration file, if tracing is on: both the gate and a file are needed.
    fn config_file(&self) -> Option<&Path> {
        let file =
            self.tracing_config_file.as_deref().or(self.opentelemetry_config_file.as_deref());
        file.filter(|_| self.feature_gates.is_enabled(Feature::ApiServerTracing))
    }
}

/// Serves until the process is told to stop.
///
/// # Errors
///
/// Fails if the configuration file is not valid, the address cannot be bound, or the last spans
/// cannot be exported.
pub(crate) fn run(flags: Flags) -> Result<(), Box<dyn Error>> {
    TextLog::builder().with_writer(io::stderr).build().install()?;
    let slow = SlowOperation(Duration::from_millis(flags.slow_operation));
    let process = Process {
        service_name: "apiserver",
        listen: flags.listen,
        config: read_config(flags.config_file())?,
        exit_on_stdin_close: flags.exit_on_stdin_close,
    };
    process.serve(|listener, stopped| {
        let storage = web::Data::new(Storage::default());
        let own_url = format!("http://{}", reachable(listener.local_addr()?));
        let webhook_url = flags.webhook_url;
        let server = HttpServer::new(move || {
            // An awc client belongs to one thread, so each worker makes its own.
            let client = awc::Client::builder().wrap(ClientTracing::new()).finish();
            let admission = Admission::new(client, webhook_url.clone(), own_url.clone());
            App::new()
                .app_data(storage.clone())
                .app_data(slow)
                .app_data(web::Data::new(admission))
                .app_data(web::PayloadConfig::new(MAX_BODY))
                .configure(routes)
                .wrap(ServerTracing::new())
        });
        Ok(server.shutdown_signal(stopped).listen(listener)?.run())
    })
}

/// What is served, and what is answered everywhere else.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    let pods = web::resource("/api/v1/namespaces/{namespace}/pods")
        .get(handlers::list)
        .post(handlers::create)
        .default_service(web::to(method_not_allowed));
    let pod = web::resource("/api/v1/namespaces/{namespace}/pods/{name}")
        .get(handlers::get)
        .put(handlers::update)
        .patch(handlers::patch)
        .delete(handlers::delete)
        .default_service(web::to(method_not_allowed));
    let health = web::resource("/healthz").get(async || HttpResponse::Ok().body("ok"));
    config.service(pods).service(pod).service(health).default_service(web::to(no_such_path));
}

async fn method_not_allowed() -> Result<HttpResponse, ApiError> {
    Err(ApiError::method_not_allowed())
}

async fn no_such_path() -> Result<HttpResponse, ApiError> {
    Err(ApiError::no_such_path())
}

/// Where a webhook on this machine finds a server that listens on `addr`.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr {
        addr if addr.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, addr.port()).into(),
        addr => addr,
    }
}
