//! An OTLP receiver on loopback that keeps what it is sent.
//!
//! It is a real server on a real socket, in a thread and runtime of its own, so it can be started
//! from synchronous code and keeps answering while the code under test blocks. How it answers can
//! be changed at any time, which is what fault tests are made of:
//!
//! ```ignore
//! let receiver = OtlpReceiver::grpc();
//! start_exporting_to(receiver.endpoint());
//! let spans = receiver.wait_for(2, Duration::from_secs(5))?;
//! receiver.set_behaviour(Behaviour::Hang);
//! ```

// Each test binary and each example is a crate of its own and uses its own part of this.
#![allow(dead_code, unused_imports)]

mod behaviour;
mod http;
mod server;
mod span;
mod store;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

pub(crate) use self::behaviour::{Behaviour, Refusal};
pub(crate) use self::span::{
    Attribute, ReceivedEvent, ReceivedLink, ReceivedSpan, Scope, SpanKind, Status, StatusCode,
    Value,
};
use self::store::Store;
pub(crate) use self::store::{Counts, TimedOut};

/// The transport that a receiver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// gRPC over HTTP/2 without TLS, messages up to 4 MiB.
    Grpc,
    /// `POST /v1/traces` over HTTP/1.1 with protobuf bodies, gzip or not.
    Http,
}

/// A running receiver. Dropping it closes the port and every connection.
pub(crate) struct OtlpReceiver {
    addr: SocketAddr,
    protocol: Protocol,
    endpoint: String,
    store: Arc<Store>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl OtlpReceiver {
    /// Starts a gRPC receiver on a free loopback port.
    pub(crate) fn grpc() -> Self {
        Self::start(Protocol::Grpc, free_loopback_port()).expect("loopback has a free port")
    }

    /// Starts an HTTP/protobuf receiver on a free loopback port.
    pub(crate) fn http() -> Self {
        Self::start(Protocol::Http, free_loopback_port()).expect("loopback has a free port")
    }

    /// Starts a receiver on `addr`, so that a test can bring a dead one back where it was.
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be bound, or no thread or runtime can be had.
    pub(crate) fn start(protocol: Protocol, addr: SocketAddr) -> io::Result<Self> {
        Self::launch(protocol, addr, None)
    }

    /// Starts a receiver with TLS on a free loopback port. Its endpoint names `localhost`.
    pub(crate) fn with_tls(protocol: Protocol, mut config: ServerConfig) -> Self {
        config.alpn_protocols = match protocol {
            Protocol::Grpc => vec![b"h2".to_vec()],
            Protocol::Http => vec![b"http/1.1".to_vec()],
        };
        let tls = TlsAcceptor::from(Arc::new(config));
        let receiver = Self::launch(protocol, free_loopback_port(), Some(tls));
        receiver.expect("loopback has a free port")
    }

    fn launch(protocol: Protocol, addr: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let store = Arc::new(Store::default());
        let (stop, stopped) = oneshot::channel();
        let endpoint = match &tls {
            None => format!("http://{addr}"),
            Some(_) => format!("https://localhost:{}", addr.port()),
        };
        let thread = std::thread::Builder::new().name("otlp-receiver".into()).spawn({
            let store = Arc::clone(&store);
            // Leaving `block_on` drops the runtime, and with it every connection.
            move || runtime.block_on(server::serve(listener, protocol, tls, store, stopped))
        })?;
        Ok(Self { addr, protocol, endpoint, store, stop: Some(stop), thread: Some(thread) })
    }

    /// What it speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL, as `OTEL_EXPORTER_OTLP_ENDPOINT` wants it: `http://127.0.0.1:PORT`,
    /// and with TLS `https://localhost:PORT`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The URL for traces, as `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` wants it: with `/v1/traces`
    /// where the protocol is HTTP.
    pub(crate) fn traces_endpoint(&self) -> String {
        match self.protocol {
            Protocol::Grpc => self.endpoint.clone(),
            Protocol::Http => format!("{}/v1/traces", self.endpoint),
        }
    }

    /// Changes how the requests that arrive from now on are answered.
    pub(crate) fn set_behaviour(&self, behaviour: Behaviour) {
        self.store.set_behaviour(behaviour);
    }

    /// With `false`, spans that arrive are checked and counted but not kept: for millions of them.
    pub(crate) fn keep_spans(&self, keep: bool) {
        self.store.keep_spans(keep);
    }

    /// What has been accepted so far, in order of arrival.
    pub(crate) fn spans(&self) -> Vec<ReceivedSpan> {
        self.store.spans()
    }

    /// Takes the accepted spans out, so that the next wait starts from none. Counts go on.
    pub(crate) fn take_spans(&self) -> Vec<ReceivedSpan> {
        self.store.take_spans()
    }

    /// How much has arrived, and what became of it.
    pub(crate) fn counts(&self) -> Counts {
        self.store.counts()
    }

    /// The headers (gRPC: metadata) of the newest request.
    pub(crate) fn last_headers(&self) -> hyper::HeaderMap {
        self.store.last_headers()
    }

    /// The newest request as it came, where spans are kept.
    pub(crate) fn last_message(&self) -> Option<ExportTraceServiceRequest> {
        self.store.last_message()
    }

    /// Blocks until at least `n` spans are kept.
    ///
    /// # Errors
    ///
    /// Fails when `timeout` passes first; the error shows what did arrive.
    pub(crate) fn wait_for(
        &self,
        n: usize,
        timeout: Duration,
    ) -> Result<Vec<ReceivedSpan>, TimedOut> {
        self.wait_until(|spans| spans.len() >= n, timeout)
    }

    /// Blocks until the kept spans satisfy `done`, which is asked again after every request.
    ///
    /// # Errors
    ///
    /// Fails when `timeout` passes first; the error shows what did arrive.
    pub(crate) fn wait_until(
        &self,
        done: impl FnMut(&[ReceivedSpan]) -> bool,
        timeout: Duration,
    ) -> Result<Vec<ReceivedSpan>, TimedOut> {
        self.store.wait_until(done, timeout)
    }

    /// Blocks until the counts satisfy `done`: also for spans that are not kept, and for requests
    /// that are refused or left hanging.
    ///
    /// # Errors
    ///
    /// Fails when `timeout` passes first; the error shows what did arrive.
    pub(crate) fn wait_for_counts(
        &self,
        done: impl FnMut(&Counts) -> bool,
        timeout: Duration,
    ) -> Result<Counts, TimedOut> {
        self.store.wait_for_counts(done, timeout)
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, was printed; a second one here would abort the test binary.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for OtlpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpReceiver")
            .field("protocol", &self.protocol)
            .field("endpoint", &self.endpoint)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

fn free_loopback_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
