//! Servers of actix-web, each a process: one worker, a trivial handler, one middleware or none.

use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, web};
use opentelemetry_instrumentation_actix_web::RequestTracing;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use spanbridge::{ServerTracing, TracingConfig};
use tracing::Level;
use tracing_actix_web::TracingLogger;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::account::Account;
use crate::export_stacks;
use crate::shared::sink::Sink;

/// What a server starts with, before the stack's name and where the collector is.
pub(crate) const FLAG: &str = "--http";

/// The path that is asked for, of a route with a name in it.
pub(crate) const PATH: &str = "/api/v1/namespaces/default/pods";
const ROUTE: &str = "/api/v1/namespaces/{namespace}/pods";

/// What a server has around its handler.
#[derive(Clone, Copy, Debug)]
enum Middleware {
    None,
    Ours,
    RequestTracing,
    TracingLogger,
}

/// A server, and how it is asked.
#[derive(Clone, Copy)]
pub(crate) struct HttpStack {
    pub(crate) name: &'static str,
    /// Whether the caller records, so that the server does.
    pub(crate) sampled: bool,
    /// Whether what it records goes to the collector.
    pub(crate) exports: bool,
    middleware: Middleware,
    /// Gives what waits until everything has been sent.
    set_up: fn(&str) -> Flush,
    /// What the environment of its process has besides.
    pub(crate) variables: &'static [(&'static str, &'static str)],
}

/// Gives what its stack says of its spans so far, if it counts them.
type Flush = Box<dyn Fn() -> Option<Account>>;

/// The name of the one that all others are compared with.
pub(crate) const BARE: &str = "actix-web alone";

/// Those with a goal.
pub(crate) const UNSAMPLED: &str = "spanbridge, unsampled";
pub(crate) const DEFAULT_BATCHES: &str = "spanbridge, sampled, gRPC";
/// Set as docs/performance.md tells services that make spans by the ten thousand a second.
pub(crate) const LARGE_BATCHES: &str = "spanbridge, sampled, gRPC, large batches";

pub(crate) const ALL: &[HttpStack] = &[
    HttpStack {
        name: BARE,
        sampled: true,
        exports: false,
        middleware: Middleware::None,
        set_up: nothing,
        variables: &[],
    },
    HttpStack {
        name: "spanbridge, off",
        sampled: true,
        exports: false,
        middleware: Middleware::Ours,
        set_up: nothing,
        variables: &[],
    },
    HttpStack {
        name: UNSAMPLED,
        sampled: false,
        exports: false,
        middleware: Middleware::Ours,
        set_up: spanbridge,
        variables: &[],
    },
    HttpStack {
        name: "spanbridge, sampled, thrown away",
        sampled: true,
        exports: false,
        middleware: Middleware::Ours,
        set_up: spanbridge_to_sink,
        variables: &[],
    },
    HttpStack {
        name: DEFAULT_BATCHES,
        sampled: true,
        exports: true,
        middleware: Middleware::Ours,
        set_up: spanbridge,
        variables: &[],
    },
    HttpStack {
        name: LARGE_BATCHES,
        sampled: true,
        exports: true,
        middleware: Middleware::Ours,
        set_up: spanbridge,
        variables: &[
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "32768"),
        ],
    },
    HttpStack {
        name: "opentelemetry-instrumentation-actix-web, unsampled",
        sampled: false,
        exports: false,
        middleware: Middleware::RequestTracing,
        set_up: sdk,
        variables: &[],
    },
    HttpStack {
        name: "opentelemetry-instrumentation-actix-web, sampled, gRPC",
        sampled: true,
        exports: true,
        middleware: Middleware::RequestTracing,
        set_up: sdk,
        variables: &[],
    },
    HttpStack {
        name: "tracing-actix-web, unsampled",
        sampled: false,
        exports: false,
        middleware: Middleware::TracingLogger,
        set_up: tracing_opentelemetry_0_33,
        variables: &[],
    },
    HttpStack {
        name: "tracing-actix-web, sampled, gRPC",
        sampled: true,
        exports: true,
        middleware: Middleware::TracingLogger,
        set_up: tracing_opentelemetry_0_33,
        variables: &[],
    },
];

fn nothing(_endpoint: &str) -> Flush {
    Box::new(|| None)
}

fn spanbridge(endpoint: &str) -> Flush {
    let config = TracingConfig::default()
        .with_url(endpoint)
        .with_sampling_rate_per_million(1_000_000)
        .with_service_name("bench");
    let (layer, guard) =
        spanbridge::layer_from(Some(config)).expect("is valid").expect("tracing is on");
    install_ours(layer, guard)
}

fn spanbridge_to_sink(_endpoint: &str) -> Flush {
    let (layer, guard) = spanbridge::layer().with_exporter(Sink::default()).build();
    install_ours(layer, guard)
}

/// With a level, as `spanbridge::init` has one.
fn install_ours(layer: spanbridge::BridgeLayer, guard: spanbridge::TracingGuard) -> Flush {
    let info = Targets::new().with_default(Level::INFO);
    tracing_subscriber::registry().with(info).with(layer).init();
    Box::new(move || {
        let stats = settled(&guard);
        Some(Account {
            started: stats.started(),
            delivered: stats.exported(),
            dropped: stats.dropped().total(),
        })
    })
}

/// When the requests that `wrk` left behind have ended as well: every span has been delivered or
/// dropped by then, or it is lost, and none starts any more.
fn settled(guard: &spanbridge::TracingGuard) -> spanbridge::Stats {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut before = None;
    loop {
        guard.force_flush(Duration::from_secs(30)).expect("the collector is there");
        let stats = guard.stats();
        let is_quiet = stats.live() == 0 && before == Some(stats.started());
        if is_quiet || Instant::now() > deadline {
            return stats;
        }
        before = Some(stats.started());
        // Costs no processor time, which is measured meanwhile.
        thread::sleep(Duration::from_millis(10));
    }
}

fn sdk(endpoint: &str) -> Flush {
    let entered = export_stacks::runtime().enter();
    let exporter = export_stacks::stock_exporter(endpoint);
    drop(entered);
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    opentelemetry::global::set_tracer_provider(provider.clone());
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    Box::new(move || {
        drop(provider.force_flush());
        None
    })
}

fn tracing_opentelemetry_0_33(endpoint: &str) -> Flush {
    use opentelemetry_0_32::trace::TracerProvider as _;
    use opentelemetry_otlp_0_32::WithExportConfig as _;

    let entered = export_stacks::runtime().enter();
    let exporter = opentelemetry_otlp_0_32::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .expect("the endpoint is valid");
    drop(entered);
    let provider = opentelemetry_sdk_0_32::trace::SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    opentelemetry_0_32::global::set_text_map_propagator(
        opentelemetry_sdk_0_32::propagation::TraceContextPropagator::new(),
    );
    let layer = tracing_opentelemetry_0_33::layer().with_tracer(provider.tracer("bench"));
    // Its exporter's own spans, of h2 and tonic, would be traced and exported again.
    let own = Targets::new().with_target("tracing_actix_web", Level::INFO);
    tracing_subscriber::registry().with(own).with(layer).init();
    Box::new(move || {
        drop(provider.force_flush());
        None
    })
}

/// The server's side, if this process is one: says its port, then waits to be told to `flush`,
/// answers with its [`Account`] so far (or a dash), and waits for the end of its input.
pub(crate) fn run_if_server() -> bool {
    let mut args = std::env::args().skip_while(|arg| arg != FLAG).skip(1);
    let (Some(name), Some(endpoint)) = (args.next(), args.next()) else { return false };
    let stack =
        ALL.iter().find(|known| known.name == name).unwrap_or_else(|| panic!("no server {name}"));
    let flush = (stack.set_up)(&endpoint);
    let port = serve(stack.middleware);
    say(&port.to_string());
    for line in io::stdin().lines() {
        assert_eq!(line.expect("the parent writes text"), "flush");
        say(&flush().map_or_else(|| "-".to_owned(), |account| account.to_string()));
    }
    // What is left to do, as the server's own end, is not measured.
    std::process::exit(0);
}

fn say(line: &str) {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("the parent listens");
}

/// Serves on a thread of its own until the process ends.
fn serve(middleware: Middleware) -> u16 {
    let (sender, port) = std::sync::mpsc::channel();
    let thread = thread::Builder::new().name("server".to_owned()).spawn(move || {
        let route = || web::get().to(async || "ok");
        macro_rules! run {
            ($($wrap:expr)?) => {{
                let app = move || App::new().route(ROUTE, route()) $(.wrap($wrap))?;
                let server = HttpServer::new(app)
                    .workers(1)
                    .disable_signals()
                    .bind(("127.0.0.1", 0))
                    .expect("loopback has a free port");
                sender.send(server.addrs()[0].port()).expect("the main thread waits");
                actix_web::rt::System::new().block_on(server.run())
            }};
        }
        match middleware {
            Middleware::None => run!(),
            Middleware::Ours => run!(ServerTracing::new()),
            Middleware::RequestTracing => run!(RequestTracing::new()),
            Middleware::TracingLogger => run!(TracingLogger::default()),
        }
    });
    thread.expect("there are threads");
    port.recv().expect("the server starts")
}
