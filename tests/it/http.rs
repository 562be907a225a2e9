//! Servers and clients of the tests, and what they say to each other.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpRequest, HttpServer};
use awc::Client;
use spanbridge::{ClientTracing, ServerTracing};

use crate::support::Tracing;

pub(crate) const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
pub(crate) const UNSAMPLED_CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
pub(crate) const CALLER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
pub(crate) const CALLER_SPAN: &str = "b7ad6b7169203331";

/// A server on a loopback port, stopped when dropped.
pub(crate) struct TestServer {
    pub address: SocketAddr,
    handle: ServerHandle,
}

/// What a server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// A client that closes its side has left.
    Http1,
    Http1HalfClosed,
    Http2,
}

impl TestServer {
    /// Serves what `configure` adds, below `middleware`; spans go to `tracing`.
    pub(crate) fn start<C>(tracing: &Tracing, middleware: ServerTracing, configure: C) -> Self
    where
        C: Fn(&mut ServiceConfig) + Send + Clone + 'static,
    {
        Self::launch(tracing, middleware, configure, Wire::Http1)
    }

    /// The same, for clients that close their side after the request and wait: what actix-web does
    /// by default.
    pub(crate) fn start_half_closed<C>(
        tracing: &Tracing,
        middleware: ServerTracing,
        configure: C,
    ) -> Self
    where
        C: Fn(&mut ServiceConfig) + Send + Clone + 'static,
    {
        Self::launch(tracing, middleware, configure, Wire::Http1HalfClosed)
    }

    /// The same, for clients that speak HTTP/2 from the first byte.
    pub(crate) fn start_h2c<C>(tracing: &Tracing, middleware: ServerTracing, configure: C) -> Self
    where
        C: Fn(&mut ServiceConfig) + Send + Clone + 'static,
    {
        Self::launch(tracing, middleware, configure, Wire::Http2)
    }

    fn launch<C>(tracing: &Tracing, middleware: ServerTracing, configure: C, wire: Wire) -> Self
    where
        C: Fn(&mut ServiceConfig) + Send + Clone + 'static,
    {
        let dispatch = tracing.dispatch.clone();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (send_handle, handle) = std::sync::mpsc::channel();
        // On a thread of its own, so that tests may block theirs.
        std::thread::spawn(move || {
            let server = HttpServer::new(move || {
                // Runs on the worker's thread, which is this server's alone.
                std::mem::forget(tracing::dispatcher::set_default(&dispatch));
                App::new().configure(configure.clone()).wrap(middleware.clone())
            });
            let server = server.workers(1).disable_signals();
            let server = server.h1_allow_half_closed(wire == Wire::Http1HalfClosed);
            let server = match wire {
                Wire::Http1 | Wire::Http1HalfClosed => server.listen(listener).unwrap(),
                Wire::Http2 => server.listen_auto_h2c(listener).unwrap(),
            };
            actix_web::rt::System::new().block_on(async move {
                let server = server.run();
                send_handle.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self { address, handle: handle.recv().unwrap() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Told to stop at once; nobody waits.
        drop(self.handle.stop(false));
    }
}

/// Sends `head` and an empty line, and reads all of the response.
///
/// Blocks this thread, which the servers of these tests do not run on.
pub(crate) fn send(server: &TestServer, head: &str) -> String {
    let mut socket = connect(server);
    let head = head.replace('\n', "\r\n");
    write!(socket, "{head}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    response
}

pub(crate) fn connect(server: &TestServer) -> TcpStream {
    let socket = TcpStream::connect(server.address).unwrap();
    // A test that would hang fails instead.
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// A client whose requests are traced.
pub(crate) fn client() -> Client {
    Client::builder().wrap(ClientTracing::new()).finish()
}

pub(crate) async fn text(request: awc::ClientRequest) -> String {
    let body = request.send().await.unwrap().body().await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Answers with the propagation headers of the request, one a line.
pub(crate) async fn echo(request: HttpRequest) -> String {
    ["traceparent", "tracestate", "baggage"]
        .into_iter()
        .flat_map(|name| request.headers().get_all(name).map(move |value| (name, value)))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect()
}

pub(crate) fn echo_server(tracing: &Tracing) -> TestServer {
    TestServer::start(tracing, ServerTracing::new(), |app| {
        app.route("/echo", web::get().to(echo));
    })
}

/// A server that calls `callee` from `/call`, and says what arrived there.
pub(crate) fn caller(
    tracing: &Tracing,
    middleware: ServerTracing,
    callee: &TestServer,
) -> TestServer {
    let url = callee.url("/echo");
    TestServer::start(tracing, middleware, move |app| {
        let url = url.clone();
        app.app_data(web::Data::new(url)).route(
            "/call",
            web::get()
                .to(|url: web::Data<String>| async move { text(client().get(url.as_str())).await }),
        );
    })
}
