//! The caller of the service and the callee that it calls, in one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use serde_json::json;
use spanbridge::ServerTracing;

use crate::http::{TestServer, connect};
use crate::service::routes;
use crate::support::{Setup, Tracing};

pub(crate) const TRACE: &str = "12345678901234567890123456789012";
pub(crate) const PARENT: &str = "1234567890123456";
pub(crate) const TRACEPARENT: &str = "00-12345678901234567890123456789012-1234567890123456-00";

/// A header line: name, and value with its white space.
pub(crate) type Line<'a> = (&'a str, &'a str);

/// The services that each test is run against.
pub(crate) fn services() -> impl Iterator<Item = Service> {
    let tracings = [
        ("ours", Tracing::ours()),
        ("ours, unsampled", Tracing::unsampled(Setup::Ours)),
        ("tracing-opentelemetry's", Tracing::new(Setup::Theirs)),
    ];
    tracings.into_iter().map(|(layer, tracing)| Service::start(layer, tracing))
}

/// Every row is a request that starts a trace of its own and drops the tracestate.
#[track_caller]
pub(crate) fn restarts<'a>(rows: impl IntoIterator<Item = Vec<Line<'a>>> + Clone) {
    for service in services() {
        for lines in rows.clone() {
            let call = service.call(&lines);
            assert_ne!(call.trace_id, TRACE, "{}: {lines:?}", service.layer);
            assert!(!lines.iter().any(|(_, value)| value.contains(&call.trace_id)), "{lines:?}");
            assert_eq!(call.tracestate, None, "{}: {lines:?}", service.layer);
        }
    }
}

/// Every row is a request that continues [`TRACE`], and what its call's tracestate then is.
#[track_caller]
pub(crate) fn continues<'a>(
    rows: impl IntoIterator<Item = (Vec<Line<'a>>, Option<&'a str>)> + Clone,
) {
    for service in services() {
        for (lines, tracestate) in rows.clone() {
            let call = service.call(&lines);
            assert_eq!(call.trace_id, TRACE, "{}: {lines:?}", service.layer);
            assert_ne!(call.parent_id, PARENT, "{}: {lines:?}", service.layer);
            assert_eq!(call.tracestate.as_deref(), tracestate, "{}: {lines:?}", service.layer);
        }
    }
}

/// A running service under test.
pub(crate) struct Service {
    pub(crate) layer: &'static str,
    server: TestServer,
    // What it is dropped with is shut down.
    _tracing: Tracing,
}

/// What one call of the service carried.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) trace_id: String,
    pub(crate) parent_id: String,
    pub(crate) flags: u8,
    pub(crate) tracestate: Option<String>,
}

impl Service {
    fn start(layer: &'static str, tracing: Tracing) -> Self {
        let server = TestServer::start(&tracing, ServerTracing::new(), routes);
        Self { layer, server, _tracing: tracing }
    }

    /// Sends a request with these header lines, and has the service make one call.
    pub(crate) fn call(&self, lines: &[Line<'_>]) -> Call {
        self.calls(lines, 1).remove(0)
    }

    /// The same with several calls.
    pub(crate) fn calls(&self, lines: &[Line<'_>], count: usize) -> Vec<Call> {
        let (callee, arrived) = listen(count);
        let calls: Vec<_> = (0..count)
            .map(|i| json!({"url": format!("http://{callee}/{i}"), "arguments": []}))
            .collect();
        let body = json!(calls).to_string();
        let mut request = format!(
            "POST /test HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n",
            self.server.address,
            body.len(),
        );
        for (name, value) in lines {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut socket = connect(&self.server);
        socket.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{}: {lines:?}: {answer}", self.layer);
        arrived.iter().collect()
    }
}

/// Takes `count` calls, one a connection.
fn listen(count: usize) -> (SocketAddr, mpsc::Receiver<Call>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (arrive, arrived) = mpsc::channel();
    thread::spawn(move || {
        for _ in 0..count {
            let (socket, _) = listener.accept().unwrap();
            arrive.send(take(socket)).unwrap();
        }
    });
    (address, arrived)
}

fn take(socket: TcpStream) -> Call {
    let mut reader = BufReader::new(&socket);
    let mut lines = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        // The call's values are looked at with the white space that they are sent with.
        let Some((name, value)) = line.trim_end_matches(['\r', '\n']).split_once(": ") else {
            if line == "\r\n" {
                break;
            }
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
        lines.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    assert_eq!(body, b"[]", "the arguments");
    (&socket)
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    Call::new(lines)
}

impl Call {
    /// Checks what must hold for each call: one valid traceparent, and at most one tracestate that
    /// is not empty.
    fn new(lines: Vec<(String, String)>) -> Self {
        let all = |wanted: &str| -> Vec<&str> {
            lines.iter().filter(|(name, _)| name == wanted).map(|(_, value)| &**value).collect()
        };
        let [traceparent] = all("traceparent")[..] else {
            panic!("not one traceparent: {lines:?}");
        };
        let [version, trace_id, parent_id, flags] = traceparent.split('-').collect::<Vec<_>>()[..]
        else {
            panic!("{traceparent} has not four parts");
        };
        for (part, len) in [(version, 2), (trace_id, 32), (parent_id, 16), (flags, 2)] {
            let is_hex = part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            assert!(part.len() == len && is_hex, "{part} in {traceparent}");
        }
        assert_eq!(version, "00", "{traceparent}");
        assert!(trace_id.contains(|c| c != '0') && parent_id.contains(|c| c != '0'));
        let tracestate = match all("tracestate")[..] {
            [] => None,
            [""] => panic!("an empty tracestate was sent"),
            [one] => Some(one.to_owned()),
            _ => panic!("more than one tracestate: {lines:?}"),
        };
        Self {
            trace_id: trace_id.to_owned(),
            parent_id: parent_id.to_owned(),
            flags: u8::from_str_radix(flags, 16).unwrap(),
            tracestate,
        }
    }
}
