//! Each way in which a request can end, over HTTP/1.1 and HTTP/2, in every set-up of layers and in
//! none: what the span says, and that what is measured says the same, once.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::ErrorServiceUnavailable;
use actix_web::middleware::{Next, from_fn};
use actix_web::rt::task::yield_now;
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{Error, HttpResponse};
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::SendRequest;
use spanbridge::ServerTracing;
use spanbridge::metrics::ServerMetrics;
use spanbridge::server::{MetricLabels, ServerSpan};
use tokio::sync::{broadcast, mpsc};

use crate::http::{CALLER, TestServer, connect, send};
use crate::http2;
use crate::measured::Measurements;
use crate::support::{Setup, Tracing, tree};

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is answered.
    Answered,
    /// The response's body is an error at some point.
    BodyFails,
    BodyPanics,
    /// The client says that it will send no more, and waits.
    ClientCloses,
    /// The client closes the connection while the handler waits.
    ClientLeaves,
    /// The client leaves within a body that does not end.
    ClientLeavesBody,
    /// The client resets the connection, or the stream, while the handler waits.
    ClientResets,
    /// The client resets the connection within a body that does not end.
    ClientResetsBody,
    /// There is no body: a response without one, and those that never have one.
    EmptyBody,
    /// Server-sent events are over.
    EventsOver,
    /// The client leaves them.
    EventsLeft,
    HandlerPanics,
    /// The body is not sent, since nobody has asked for it.
    Head,
    /// Middleware further in returns an error.
    InnerError,
    NoContent,
    NotModified,
    /// The server stops, and does not wait for the handler.
    ServerStops,
    /// The server stops within a body.
    ServerStopsBody,
    /// It becomes a WebSocket.
    Upgraded,
    /// It has become one, and is left, where that is a part of the request.
    UpgradeLeft,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    /// A client that closes its side has left.
    Http1,
    /// A client that closes its side may wait for its answer: what actix-web does by default.
    Http1HalfClosed,
    Http2,
}

impl Wire {
    const ALL: [Self; 3] = [Self::Http1, Self::Http1HalfClosed, Self::Http2];
}

/// What is known of a request when it has ended.
struct Known {
    method: &'static str,
    path: &'static str,
    status: Option<u16>,
    error: Option<&'static str>,
    /// Whether actix-web has told which route it took.
    route: bool,
}

impl End {
    fn method(self) -> &'static str {
        if self == Self::Head { "HEAD" } else { "GET" }
    }

    /// `None` for what there is not on this wire.
    fn known(self, wire: Wire) -> Option<Known> {
        use Wire::{Http1, Http1HalfClosed, Http2};

        let left = Some("client_disconnect");
        let (path, status, error, route) = match (self, wire) {
            (Self::Answered, _) => ("/text", Some(200), None, true),
            (Self::BodyFails, _) => ("/body-fails", Some(200), Some("response_body"), true),
            (Self::BodyPanics, _) => ("/body-panics", Some(200), Some("panic"), true),
            (Self::ClientCloses, Http1) => ("/wait", None, left, false),
            (Self::ClientCloses, Http1HalfClosed) => ("/wait", Some(200), None, true),
            (Self::ClientLeaves, Http1) => ("/wait", None, left, false),
            // It looks like one that waits, and the answer fits into the socket's buffer.
            (Self::ClientLeaves, Http1HalfClosed) => ("/wait", Some(200), None, true),
            // A connection of HTTP/2 that is closed is a stream that is reset.
            (Self::ClientLeaves, Http2) => ("/wait", Some(200), left, true),
            (Self::ClientLeavesBody, _) => ("/endless", Some(200), left, true),
            (Self::ClientResets, Http1 | Http1HalfClosed) => ("/wait", None, left, false),
            // The handler works on, and nobody takes its answer.
            (Self::ClientResets, Http2) => ("/wait", Some(200), left, true),
            (Self::ClientResetsBody, Http1 | Http1HalfClosed) => {
                ("/endless", Some(200), left, true)
            }
            (Self::EmptyBody, _) => ("/empty", Some(200), None, true),
            (Self::EventsOver, _) => ("/events", Some(200), None, true),
            (Self::EventsLeft, _) => ("/events", Some(200), left, true),
            (Self::HandlerPanics, _) => ("/panic", None, Some("panic"), false),
            (Self::Head, _) => ("/text", Some(200), None, true),
            (Self::InnerError, _) => ("/inner-error", Some(503), Some("503"), false),
            (Self::NoContent, _) => ("/204", Some(204), None, true),
            (Self::NotModified, _) => ("/304", Some(304), None, true),
            (Self::ServerStops, _) => ("/wait", None, Some("server_shutdown"), false),
            (Self::ServerStopsBody, _) => ("/events", Some(200), Some("server_shutdown"), true),
            (Self::Upgraded, Http1 | Http1HalfClosed) => ("/ws", Some(101), None, true),
            (Self::UpgradeLeft, Http1) => ("/ws", Some(101), left, true),
            // It is the handler's to see that there is no more to read, and this one does not look.
            (Self::UpgradeLeft, Http1HalfClosed) => return None,
            // A stream is reset, and its two sides are closed, by the same frames.
            (Self::ClientCloses | Self::ClientResetsBody, Http2) => return None,
            (Self::Upgraded | Self::UpgradeLeft, Http2) => return None,
        };
        Some(Known { method: self.method(), path, status, error, route })
    }
}

impl Known {
    /// As [`tree`] prints the span.
    fn span(&self) -> String {
        let route = if self.route { format!(" {}", self.path) } else { String::new() };
        let status = self.status.map(|status| format!(" {status}")).unwrap_or_default();
        let error = self.error.map(|error| format!(" {error} failed")).unwrap_or_default();
        format!("server {}{route}{status}{error}\n", self.method)
    }

    /// The attributes of the duration.
    fn measured(&self, wire: Wire) -> String {
        let version = if wire == Wire::Http2 { "2" } else { "1.1" };
        let all = [
            self.error.map(|error| format!("error.type={error}")),
            Some(format!("http.request.method={}", self.method)),
            self.status.map(|status| format!("http.response.status_code={status}")),
            self.route.then(|| format!("http.route={}", self.path)),
            Some(format!("network.protocol.version={version}")),
            Some("url.scheme=http".to_owned()),
        ];
        all.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// What a test tells the server's handlers, and they the test.
struct Wires {
    began: mpsc::UnboundedReceiver<()>,
    release: broadcast::Sender<()>,
    events: mpsc::UnboundedSender<&'static str>,
}

fn panics(where_: &str) -> Bytes {
    panic!("the test wants the {where_} to panic")
}

type Chunk = Result<Bytes, io::Error>;

fn endless() -> impl Stream<Item = Chunk> {
    stream::unfold((), |()| async {
        yield_now().await;
        Some((Ok(Bytes::from_static(&[b'x'; 4096])), ()))
    })
}

/// A body that has begun, and then goes on as `rest` says.
fn begun(rest: fn() -> Chunk) -> HttpResponse {
    let begin = stream::iter([Ok(Bytes::from("a"))]);
    // The beginning is sent first.
    let rest = stream::once(async move {
        yield_now().await;
        rest()
    });
    HttpResponse::Ok().streaming(begin.chain(rest))
}

async fn refuse(_: ServiceRequest, _: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    Err(ErrorServiceUnavailable("busy"))
}

async fn refuse_late(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    next.call(request).await?;
    Err(ErrorServiceUnavailable("busy"))
}

fn application() -> (Wires, impl Fn(&mut ServiceConfig) + Send + Clone + 'static) {
    let (begin, began) = mpsc::unbounded_channel();
    let release = broadcast::Sender::new(1);
    let (events, received) = mpsc::unbounded_channel::<&'static str>();
    let received = Arc::new(Mutex::new(Some(received)));
    let released = release.clone();
    let configure = move |app: &mut ServiceConfig| {
        let waits = |begin: mpsc::UnboundedSender<()>, released: broadcast::Sender<()>| {
            let mut released = released.subscribe();
            begin.send(()).unwrap();
            async move {
                released.recv().await.unwrap();
                "hello"
            }
        };
        let (begin, released) = (begin.clone(), released.clone());
        let labelled = (begin.clone(), released.clone());
        let empty = (begin.clone(), released.clone());
        let received = Arc::clone(&received);
        app.route("/text", web::to(|| async { "hello" }))
            .route("/empty", web::get().to(HttpResponse::Ok))
            .route("/204", web::get().to(HttpResponse::NoContent))
            .route("/304", web::get().to(HttpResponse::NotModified))
            .route("/wait", web::get().to(move || waits(begin.clone(), released.clone())))
            .route(
                "/labelled",
                web::get().to(move |_: MetricLabels| waits(labelled.0.clone(), labelled.1.clone())),
            )
            .route(
                "/wait-empty",
                web::get().to(move || {
                    let waits = waits(empty.0.clone(), empty.1.clone());
                    async {
                        waits.await;
                        HttpResponse::NoContent().finish()
                    }
                }),
            )
            .route("/endless", web::get().to(async || HttpResponse::Ok().streaming(endless())))
            .route(
                "/events",
                web::get().to(move || {
                    let received = received.lock().unwrap().take().unwrap();
                    let events = stream::unfold(received, |mut received| async move {
                        let event = received.recv().await?;
                        Some((Ok::<_, io::Error>(Bytes::from(event)), received))
                    });
                    async { HttpResponse::Ok().content_type("text/event-stream").streaming(events) }
                }),
            )
            .route("/body-fails", web::get().to(async || begun(|| Err(io::Error::other("disk")))))
            .route("/body-panics", web::get().to(async || begun(|| Ok(panics("body")))))
            .route("/panic", web::get().to(async || panics("handler").len().to_string()))
            .route(
                "/labelled-panic",
                web::get().to(async |_: MetricLabels| panics("handler").len().to_string()),
            )
            .route(
                "/ws",
                web::get().to(async || {
                    HttpResponse::SwitchingProtocols()
                        .upgrade("websocket")
                        .streaming(stream::pending::<Chunk>())
                }),
            )
            .route(
                "/span-panic",
                web::get().to(async |_: ServerSpan| panics("handler").len().to_string()),
            )
            .service(web::resource("/inner-error").wrap(from_fn(refuse)).to(HttpResponse::Ok))
            .service(
                web::resource("/span-error")
                    .wrap(from_fn(refuse_late))
                    .to(async |_: ServerSpan| "too late"),
            );
    };
    (Wires { began, release, events }, configure)
}

/// One request and how it ends, and what has to be kept until its end has been seen.
struct Play<'a> {
    wires: Wires,
    server: Option<TestServer>,
    measurements: &'a Measurements,
    path: &'static str,
    /// When it was known to be under way, and how long it was from then on.
    under_way: Option<Instant>,
    lasted: Duration,
}

impl Play<'_> {
    fn server(&self) -> &TestServer {
        self.server.as_ref().expect("it has not been stopped")
    }

    /// Waits until the handler has begun: the request is active then.
    async fn begun(&mut self) {
        self.wires.began.recv().await.unwrap();
        self.is_active();
    }

    fn is_active(&mut self) {
        assert_eq!(self.measurements.active(), 1);
        self.under_way = Some(Instant::now());
    }

    /// What follows ends the request.
    fn ends(&mut self) {
        if let Some(since) = self.under_way.take() {
            self.lasted = since.elapsed();
        }
    }

    async fn over_http1(&mut self, end: End, wire: Wire) -> Option<TcpStream> {
        if matches!(
            end,
            End::Answered
                | End::BodyFails
                | End::BodyPanics
                | End::EmptyBody
                | End::HandlerPanics
                | End::Head
                | End::InnerError
                | End::NoContent
                | End::NotModified
        ) {
            let method = end.method();
            send(self.server(), &format!("{method} {} HTTP/1.1\nHost: h", self.path));
            return None;
        }
        let mut socket = connect(self.server());
        let upgrade = match end {
            End::Upgraded | End::UpgradeLeft => "Connection: upgrade\r\nUpgrade: websocket\r\n",
            _ => "",
        };
        write!(socket, "GET {} HTTP/1.1\r\nHost: h\r\n{upgrade}\r\n", self.path).unwrap();
        match end {
            End::ClientCloses | End::ClientLeaves => {
                self.begun().await;
                self.ends();
                let open = match end {
                    End::ClientCloses => {
                        socket.shutdown(Shutdown::Write).unwrap();
                        Some(socket)
                    }
                    _ => {
                        drop(socket);
                        None
                    }
                };
                if wire == Wire::Http1HalfClosed {
                    self.wires.release.send(()).unwrap();
                }
                return open;
            }
            End::ClientResets => {
                self.begun().await;
                self.ends();
                reset(socket);
                return None;
            }
            End::ClientLeavesBody | End::ClientResetsBody => {
                socket.read_exact(&mut [0; 16384]).unwrap();
                self.is_active();
                self.ends();
                match end {
                    End::ClientLeavesBody => socket.shutdown(Shutdown::Both).unwrap(),
                    _ => reset(socket),
                }
                return None;
            }
            End::UpgradeLeft => {
                let mut said = [0; 12];
                socket.read_exact(&mut said).unwrap();
                assert_eq!(&said, b"HTTP/1.1 101");
                self.is_active();
                self.ends();
                return None;
            }
            End::EventsOver | End::EventsLeft | End::ServerStopsBody => {
                self.wires.events.send("data: 1\n\n").unwrap();
                let mut said = String::new();
                while !said.contains("data: 1") {
                    let mut some = [0; 512];
                    let len = socket.read(&mut some).unwrap();
                    said.push_str(std::str::from_utf8(&some[..len]).unwrap());
                }
                self.is_active();
            }
            End::ServerStops => self.begun().await,
            End::Upgraded => {}
            _ => unreachable!("sent above"),
        }
        self.end_by_the_server(end);
        if end != End::EventsLeft {
            return Some(socket);
        }
        self.ends();
        drop(socket);
        if wire == Wire::Http1HalfClosed {
            // It is seen when an event cannot be written, which the client's system says of the
            // first one that comes, so that it is not that one.
            while self.measurements.active() > 0 {
                self.wires.events.send("data: 2\n\n").unwrap_or_default();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        None
    }

    fn end_by_the_server(&mut self, end: End) {
        self.ends();
        match end {
            End::EventsOver => self.wires.events = mpsc::unbounded_channel().0,
            End::ServerStops | End::ServerStopsBody => self.server = None,
            _ => {}
        }
    }

    async fn over_http2(&mut self, end: End) -> Option<http2::Connection> {
        let (mut sender, connection) = http2::connect(self.server()).await;
        let mut request = http2::request(self.server(), self.path, CALLER);
        *request.method_mut() = end.method().parse().unwrap();
        let sent = sender.send_request(request);
        if matches!(end, End::ClientLeaves | End::ClientResets | End::ServerStops) {
            let mut sent = Box::pin(sent);
            tokio::select! {
                _ = &mut sent => panic!("nobody has released it"),
                () = self.begun() => {}
            }
            match end {
                End::ServerStops => {
                    self.end_by_the_server(end);
                    return Some((sender, connection));
                }
                End::ClientResets => {
                    self.ends();
                    drop(sent);
                }
                _ => {
                    self.ends();
                    connection.abort();
                    drop((connection.await, sent));
                    let (other, connection) = http2::connect(self.server()).await;
                    self.make_sure(other).await;
                    self.wires.release.send(()).unwrap();
                    return Some((sender, connection));
                }
            }
            self.make_sure(sender.clone()).await;
            self.wires.release.send(()).unwrap();
            return Some((sender, connection));
        }
        // A panic of the handler's resets the stream.
        let Ok(response) = sent.await else { return None };
        let mut body = response.into_body();
        match end {
            End::ClientLeavesBody => {
                body.frame().await.unwrap().unwrap();
                self.is_active();
                self.ends();
                drop(body);
            }
            End::EventsOver | End::EventsLeft | End::ServerStopsBody => {
                self.wires.events.send("data: 1\n\n").unwrap();
                body.frame().await.unwrap().unwrap();
                self.is_active();
                if end == End::EventsLeft {
                    self.ends();
                    drop(body);
                    self.make_sure(sender.clone()).await;
                    // What has been reset is looked at when there is more to send.
                    self.wires.events.send("data: 2\n\n").unwrap();
                }
                self.end_by_the_server(end);
            }
            _ => drop(body.collect().await),
        }
        Some((sender, connection))
    }

    /// Sees to it that the server knows what has been sent before, which has one thread.
    async fn make_sure(&self, mut sender: SendRequest<Empty<Bytes>>) {
        let request = http2::request(self.server(), "/none", CALLER);
        assert_eq!(sender.send_request(request).await.unwrap().status().as_u16(), 404);
    }
}

/// What one request leaves behind.
struct Left {
    /// As [`tree`] prints its span; nothing where there is no layer.
    span: String,
    /// The attributes of each duration.
    measured: Vec<String>,
    /// How long the request was, as its duration says and, where there is a span, as that says.
    seconds: (f64, Option<f64>),
}

fn reset(socket: TcpStream) {
    socket.set_nonblocking(true).unwrap();
    // Closing then sends RST instead of FIN.
    tokio::net::TcpStream::from_std(socket).unwrap().set_zero_linger().unwrap();
}

async fn left_behind(
    end: End,
    wire: Wire,
    setup: Setup,
    middleware: ServerTracing,
    path: &'static str,
) -> Left {
    let (tracing, measurements) = (Tracing::new(setup), Measurements::default());
    let metrics = ServerMetrics::new(&measurements).with_active_requests();
    let middleware = middleware.with_metrics(metrics);
    let (wires, configure) = application();
    let server = match wire {
        Wire::Http1 => TestServer::start(&tracing, middleware, configure),
        Wire::Http1HalfClosed => TestServer::start_half_closed(&tracing, middleware, configure),
        Wire::Http2 => TestServer::start_h2c(&tracing, middleware, configure),
    };
    let mut play = Play {
        wires,
        server: Some(server),
        measurements: &measurements,
        path,
        under_way: None,
        lasted: Duration::ZERO,
    };
    // The end is seen while the client has its side open still, unless it is to leave.
    let _open = match wire {
        Wire::Http1 | Wire::Http1HalfClosed => (play.over_http1(end, wire).await, None),
        Wire::Http2 => (None, play.over_http2(end).await),
    };
    let mut measured = measurements.ended(1).await;
    // These only made sure of something.
    measured.retain(|(attributes, _)| !attributes.contains("http.response.status_code=404"));
    let (measured, seconds): (Vec<_>, Vec<_>) = measured.into_iter().unzip();
    let spans = match setup {
        Setup::Nothing => Vec::new(),
        _ => tracing.requests_ended(1).await,
    };
    let span_seconds = spans
        .first()
        .map(|span| span.end_time.duration_since(span.start_time).unwrap().as_secs_f64());
    let least = play.lasted.as_secs_f64();
    assert!(seconds[0] >= least, "{end:?} {wire:?} {setup:?}: {seconds:?} is less than {least}");
    Left { span: tree(&spans), measured, seconds: (seconds[0], span_seconds) }
}

async fn expect(end: End, wire: Wire, setup: Setup, middleware: ServerTracing, known: &Known) {
    let left = left_behind(end, wire, setup, middleware, known.path).await;
    let span = if setup == Setup::Nothing { String::new() } else { known.span() };
    assert_eq!(left.span, span, "{end:?} {wire:?} {setup:?}");
    assert_eq!(left.measured, [known.measured(wire)], "{end:?} {wire:?} {setup:?}");
}

fn setups() -> impl Iterator<Item = Setup> {
    Setup::RECORDING.into_iter().chain([Setup::Nothing])
}

async fn each(end: End) {
    for wire in Wire::ALL {
        let Some(known) = end.known(wire) else { continue };
        let until_close = end == End::UpgradeLeft;
        let middleware = ServerTracing::new().with_upgrades_until_close(until_close);
        for setup in setups() {
            expect(end, wire, setup, middleware.clone(), &known).await;
        }
        // With a length that cannot come about by itself.
        let received = SystemTime::now() - LONG;
        let middleware = middleware.with_start_time(move |_| Some(received));
        let left = left_behind(end, wire, Setup::Ours, middleware, known.path).await;
        let (measured, span) = (left.seconds.0, left.seconds.1.unwrap());
        let long = LONG.as_secs_f64()..LONG.as_secs_f64() + 60.0;
        assert!(long.contains(&measured), "{end:?} {wire:?}: {measured}");
        assert!((span - measured).abs() < 5.0, "{end:?} {wire:?}: {span} is not {measured}");
    }
}

const LONG: Duration = Duration::from_secs(10_000);

macro_rules! ends {
    ($(fn $test:ident() => $end:ident;)*) => {
        $(#[actix_web::test]
        async fn $test() {
            each(End::$end).await;
        })*
    };
}

ends! {
    fn answer_is_an_end() => Answered;
    fn answer_that_never_has_a_body_is_an_end() => NoContent;
    fn answer_that_says_what_has_not_changed_is_an_end() => NotModified;
    fn answer_to_head_is_an_end() => Head;
    fn answer_without_a_body_is_an_end() => EmptyBody;
    fn client_that_closes_its_connection_has_left() => ClientLeaves;
    fn client_that_closes_its_side_has_its_answer_where_it_may() => ClientCloses;
    fn client_that_leaves_within_the_body_has_left() => ClientLeavesBody;
    fn client_that_resets_within_the_body_has_left() => ClientResetsBody;
    fn end_of_server_sent_events_is_an_end() => EventsOver;
    fn error_of_inner_middleware_is_its_response() => InnerError;
    fn failure_of_the_body_is_one() => BodyFails;
    fn handshake_of_an_upgrade_is_an_end() => Upgraded;
    fn panic_of_the_body_is_a_failure() => BodyPanics;
    fn panic_of_the_handler_is_a_failure() => HandlerPanics;
    fn reset_before_the_response_is_a_client_that_left() => ClientResets;
    fn server_sent_events_can_be_left() => EventsLeft;
    fn stop_of_the_server_before_the_response_is_told() => ServerStops;
    fn stop_of_the_server_within_the_body_is_told() => ServerStopsBody;
    fn upgraded_socket_that_is_left_ends_its_request_where_it_is_a_part_of_it() => UpgradeLeft;
}

#[actix_web::test]
async fn client_that_has_left_is_told_from_an_answer_without_a_body() {
    for end in [End::ClientLeaves, End::ClientResets] {
        for setup in setups() {
            let (wire, path, status) = (Wire::Http2, "/wait-empty", Some(204));
            let known = Known { path, status, ..end.known(wire).unwrap() };
            expect(end, wire, setup, ServerTracing::new(), &known).await;
        }
    }
}

#[actix_web::test]
async fn provisional_route_stands_where_there_is_no_response() {
    for end in [End::ClientLeaves, End::ClientResets, End::HandlerPanics, End::InnerError] {
        for wire in [Wire::Http1, Wire::Http2] {
            let known = end.known(wire).unwrap();
            let known = Known { route: true, ..known };
            for setup in setups() {
                let middleware = ServerTracing::new().with_provisional_route(true);
                expect(end, wire, setup, middleware, &known).await;
            }
        }
    }
}

#[actix_web::test]
async fn handler_that_takes_labels_or_its_span_tells_its_route() {
    for (end, path) in [
        (End::ClientLeaves, "/labelled"),
        (End::ClientResets, "/labelled"),
        (End::ServerStops, "/labelled"),
        (End::HandlerPanics, "/labelled-panic"),
        (End::HandlerPanics, "/span-panic"),
        (End::InnerError, "/span-error"),
    ] {
        for setup in setups() {
            let wire = Wire::Http1;
            let known = Known { path, route: true, ..end.known(wire).unwrap() };
            expect(end, wire, setup, ServerTracing::new(), &known).await;
        }
    }
}
