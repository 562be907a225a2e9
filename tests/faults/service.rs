//! The service of one row, in a process of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, web};
use spanbridge::{ServerTracing, TracingConfig, TracingGuard};
use tracing::{Dispatch, info, info_span};
use tracing_subscriber::prelude::*;

use crate::report::Report;
use crate::user_code::{self, Bomb, InService};

/// Variables by which the process learns what it is.
pub(crate) const FAULT: &str = "SPANBRIDGE_TEST_FAULT";
pub(crate) const ENDPOINT: &str = "SPANBRIDGE_TEST_ENDPOINT";
pub(crate) const SOUND_ENDPOINT: &str = "SPANBRIDGE_TEST_SOUND_ENDPOINT";
pub(crate) const SHUTDOWN_MILLIS: &str = "SPANBRIDGE_TEST_SHUTDOWN";
pub(crate) const FLUSH_MILLIS: &str = "SPANBRIDGE_TEST_FLUSH";
/// A file that is locked by the one service that keeps the processors busy and looks at its watch.
pub(crate) const TURN: &str = "SPANBRIDGE_TEST_TURN";

/// Closed spans that may wait, and how many make a batch.
pub(crate) const LIMIT: usize = 256;
pub(crate) const BATCH: usize = 64;
/// What a thread may hold back before it hands its spans over.
pub(crate) const CHUNK: usize = 64;

/// Requests to each of the two servers, in pairs.
const PAIRS: usize = 300;
/// Requests that are not measured: threads and connections begin with them.
const WARM_UP: usize = 20;

/// Spans that come all at once, and the size of each. All together they are far more than the
/// process may grow by.
const BURST: usize = 5_000;
const SPAN_BYTES: usize = 8 * 1024;
pub(crate) const BURST_BYTES: u64 = (BURST * SPAN_BYTES) as u64;

/// All spans: two for a request, the burst, the last ones, and two that are open meanwhile.
pub(crate) const SPANS: u64 = (2 * (WARM_UP + PAIRS) + BURST + LAST + 2) as u64;

/// Spans that are closed after the flush, so that shutdown has something to do.
const LAST: usize = 32;

/// The service, when this process is to be one; nothing where it is not.
#[test]
fn service() {
    let Ok(fault) = std::env::var(FAULT) else { return };
    let fault = InService::from_name(&fault);
    let sound = sound_dispatch();
    let (guard, taken) = user_code::install(fault, || config(ENDPOINT));
    let faulty_server = serve(None, fault);
    let sound_server = serve(Some(sound.0.clone()), InService::Nothing);

    let mut most_queued = 0;
    let mut look = || most_queued = most_queued.max(guard.stats().queued());
    let (mut faulty, mut sound_times) = (Vec::new(), Vec::new());
    let turn = File::open(std::env::var_os(TURN).unwrap()).unwrap();
    turn.lock().unwrap();
    // Now, not before: connections on which nothing comes are closed.
    let (mut to_faulty, mut to_sound) = (Client::to(faulty_server), Client::to(sound_server));
    for _ in 0..WARM_UP {
        to_sound.request();
        to_faulty.request();
    }
    for pair in 0..PAIRS {
        // Each is first in every second pair: what the machine does meets both alike.
        if pair % 2 == 0 {
            sound_times.push(to_sound.request());
            faulty.push(to_faulty.request());
        } else {
            faulty.push(to_faulty.request());
            sound_times.push(to_sound.request());
        }
        look();
    }

    let before = resident_bytes();
    let text = "x".repeat(SPAN_BYTES);
    for number in 0..BURST {
        work(fault, &text);
        if number % 500 == 0 {
            look();
        }
    }
    look();
    let grown = resident_bytes().saturating_sub(before);
    turn.unlock().unwrap();

    let start = Instant::now();
    let flush = guard.force_flush(millis(FLUSH_MILLIS)).map_err(|error| error.to_string());
    let flush_took = start.elapsed();
    let open = info_span!("open");
    // A span has started when it has been decided on.
    let child = info_span!(parent: &open, "child");
    for _ in 0..LAST {
        work(fault, "");
    }
    drop(child);
    let start = Instant::now();
    let shutdown = guard.shutdown(millis(SHUTDOWN_MILLIS)).map_err(|error| error.to_string());
    let shutdown_took = start.elapsed();
    let shut_down = guard.stats().into();
    drop(open);
    let closed = guard.stats().into();
    Report {
        faulty,
        sound: sound_times,
        most_queued,
        grown,
        flush,
        flush_took,
        shutdown,
        shutdown_took,
        shut_down,
        closed,
        taken: taken.map(|taken| taken()),
    }
    .print();
    // Servers and blocked exporters end with the process.
    std::process::exit(0);
}

/// What a request does, and a burst without requests.
fn work(fault: InService, text: &str) {
    let span = match fault {
        InService::PanickingDebug => info_span!("work", text, value = ?Bomb),
        InService::PanickingDisplay => info_span!("work", text, value = %Bomb),
        _ => info_span!("work", text, value = 1),
    };
    span.in_scope(|| info!("half way"));
}

fn config(endpoint: &str) -> TracingConfig {
    TracingConfig::default()
        .with_url(std::env::var(endpoint).unwrap())
        .with_sampling_rate_per_million(1_000_000)
        .with_service_name("shop")
}

fn sound_dispatch() -> (Dispatch, TracingGuard) {
    let (layer, guard) = spanbridge::layer_from(Some(config(SOUND_ENDPOINT))).unwrap().unwrap();
    (Dispatch::new(tracing_subscriber::registry().with(layer)), guard)
}

fn millis(variable: &str) -> Duration {
    Duration::from_millis(std::env::var(variable).unwrap().parse().unwrap())
}

/// A server whose spans go to `dispatch`, or to the process's own subscriber.
fn serve(dispatch: Option<Dispatch>, fault: InService) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        let server = HttpServer::new(move || {
            // Runs on the worker's thread, which is this server's alone.
            if let Some(dispatch) = &dispatch {
                std::mem::forget(tracing::dispatcher::set_default(dispatch));
            }
            let handler = move || async move {
                user_code::on_request(fault);
                work(fault, "");
                "done"
            };
            App::new().route("/", web::get().to(handler)).wrap(ServerTracing::new())
        });
        let server = server.workers(1).disable_signals().listen(listener).unwrap();
        actix_web::rt::System::new().block_on(async move {
            let server = server.run();
            ready.send(()).unwrap();
            server.await.unwrap();
        });
    });
    is_ready.recv().unwrap();
    address
}

/// One connection, kept alive.
struct Client(TcpStream);

impl Client {
    fn to(server: SocketAddr) -> Self {
        let socket = TcpStream::connect(server).unwrap();
        socket.set_nodelay(true).unwrap();
        // A service that would hang fails instead.
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(socket)
    }

    /// One request, and how long it took.
    fn request(&mut self) -> Duration {
        let start = Instant::now();
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\ndone") {
            let mut part = [0; 1024];
            let read = self.0.read(&mut part).expect("the request is answered");
            assert!(read > 0, "the server has closed: {}", String::from_utf8_lossy(&response));
            response.extend_from_slice(&part[..read]);
        }
        start.elapsed()
    }
}

/// Zero where the system does not say.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    pages * 4096
}
