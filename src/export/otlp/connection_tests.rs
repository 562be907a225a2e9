//! Connections that break, go silent, or were closed while nobody looked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message as _;

use super::response::{ExportResponse, PartialSuccess};
use super::sending_tests::support::otlp_receiver::{Behaviour, OtlpReceiver};
use super::sending_tests::{BOTH, exporter, receiver, send, spans};
use super::{Cause, Delivered, Failure, Retry};
use crate::config::Protocol;
use crate::export::worker::OwnRuntime;

#[test]
fn a_connection_that_broke_between_two_exports_costs_nothing() {
    for protocol in BOTH {
        let runtime = OwnRuntime::new().unwrap();
        let first = receiver(protocol);
        let (addr, kind) = (first.addr(), first.protocol());
        let exporter = exporter(&runtime, protocol, first.endpoint(), &[]).unwrap();
        assert_eq!(send(&runtime, &exporter, 1), Ok(Delivered::default()));
        drop(first);
        let second = OtlpReceiver::start(kind, addr).unwrap();
        assert_eq!(send(&runtime, &exporter, 2), Ok(Delivered::default()), "{protocol:?}");
        assert_eq!(second.spans().len(), 2);
    }
}

#[test]
fn the_last_batch_goes_over_a_fresh_connection_where_the_kept_one_was_closed() {
    for protocol in BOTH {
        // 1. A batch is delivered, and the connection kept.
        let runtime = OwnRuntime::new().unwrap();
        let first = receiver(protocol);
        let (addr, kind) = (first.addr(), first.protocol());
        let exporter = exporter(&runtime, protocol, first.endpoint(), &[]).unwrap();
        assert_eq!(send(&runtime, &exporter, 1), Ok(Delivered::default()));
        // 2. The collector restarts, which nobody notices here.
        drop(first);
        let second = OtlpReceiver::start(kind, addr).unwrap();
        // 3. At shutdown there is one try, for what is the collector's fault.
        let sent = runtime.block_on(exporter.send(&mut spans(2), || true));
        assert_eq!(sent, Ok(Delivered::default()), "{protocol:?}");
        assert_eq!(second.spans().len(), 2);
    }
}

#[test]
fn a_connection_that_breaks_under_each_request_is_tried_once_more_and_not_for_ever() {
    for protocol in BOTH {
        let runtime = OwnRuntime::new().unwrap();
        let receiver = receiver(protocol);
        let exporter = exporter(&runtime, protocol, receiver.endpoint(), &[]).unwrap();
        assert_eq!(send(&runtime, &exporter, 1), Ok(Delivered::default()));
        receiver.set_behaviour(Behaviour::CloseAfter(0));
        for requests in [3, 4] {
            runtime.block_on(exporter.send(&mut spans(1), || true)).unwrap_err();
            // The second time there has been no answer since.
            assert_eq!(receiver.counts().requests, requests, "{protocol:?}");
        }
    }
}

#[test]
fn a_connection_gone_silent_is_given_up_with_the_request() {
    for protocol in BOTH {
        // 1. A batch is delivered through something that forwards connections.
        let runtime = OwnRuntime::new().unwrap();
        let receiver = receiver(protocol);
        let middle = Middle::before(receiver.addr());
        let endpoint = format!("http://{}", middle.addr);
        let brief = [("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")];
        let exporter = exporter(&runtime, protocol, &endpoint, &brief).unwrap();
        assert_eq!(send(&runtime, &exporter, 1), Ok(Delivered::default()), "{protocol:?}");
        // 2. It forgets the connection, and tells nobody.
        middle.forget();
        let problem = send(&runtime, &exporter, 1).unwrap_err();
        assert!(problem.contains("no answer within 2s"), "{protocol:?} {problem}");
        // 3. New connections work.
        assert_eq!(send(&runtime, &exporter, 2), Ok(Delivered::default()), "{protocol:?}");
        assert_eq!(receiver.spans().len(), 3);
    }
}

#[test]
fn a_status_of_success_is_not_enough() {
    const PROTOBUF: &str = "application/x-protobuf";
    let page = "<!doctype html><title>Welcome</title>";
    for (kind, body, named, cause) in [
        ("text/html", page, "text/html", Cause::Access),
        ("text/plain", "ok", "text/plain", Cause::Access),
        (PROTOBUF, page, "not OTLP", Cause::Other),
        ("", page, "not OTLP", Cause::Other),
        ("application/json", "[1", "not OTLP", Cause::Other),
    ] {
        let failure = answered_with(kind, body, body.len()).unwrap_err();
        assert!(failure.problem.contains(named), "{kind} {body}: {failure}");
        assert_eq!((failure.cause, failure.retry), (cause, Retry::No), "{kind} {body}");
    }
    let failure = answered_with(PROTOBUF, "", 100).unwrap_err();
    assert!(failure.problem.contains("broke off"), "{failure}");
    assert_eq!(failure.retry, Retry::No, "the spans would be there twice");
    let long = "x".repeat(100 * 1024);
    let failure = answered_with(PROTOBUF, &long, long.len()).unwrap_err();
    assert!(failure.problem.contains("longer than"), "{failure}");
    assert_eq!(failure.retry, Retry::No);
}

#[test]
fn answers_that_vendors_give_are_understood() {
    for (kind, body) in [
        ("application/x-protobuf", ""),
        ("", ""),
        ("text/plain; charset=utf-8", ""),
        ("application/json", "{}"),
        ("application/json; charset=utf-8", r#"{"partialSuccess":{}}"#),
        ("application/json", r#"{"partialSuccess":null}"#),
    ] {
        assert_eq!(
            answered_with(kind, body, body.len()),
            Ok(Delivered::default()),
            "{kind} {body}"
        );
    }
    for rejected in ["2", "\"2\""] {
        let body =
            format!(r#"{{"partialSuccess":{{"rejectedSpans":{rejected},"errorMessage":"old"}}}}"#);
        let expected = Delivered { rejected: 2, message: "old".to_owned() };
        assert_eq!(answered_with("application/json", &body, body.len()), Ok(expected));
    }
}

#[test]
fn what_a_collector_says_of_a_success_is_handed_on() {
    const MOST: i64 = i64::MAX;
    // One span is sent. How many more than that are rejected is bounded where batches are counted;
    // fewer than none are none.
    for (claimed, rejected) in [(0, 0), (1, 1), (100, 100), (MOST, MOST as usize), (-1, 0)] {
        for message in ["", "slow down"] {
            let expected = Delivered { rejected, message: message.to_owned() };
            let partial_success =
                Some(PartialSuccess { rejected_spans: claimed, error_message: message.to_owned() });
            let body = ExportResponse { partial_success }.encode_to_vec();
            let answer = answered_with("application/x-protobuf", &body, body.len());
            assert_eq!(answer.as_ref(), Ok(&expected), "{claimed} {message}");
            let body = format!(
                r#"{{"partialSuccess":{{"rejectedSpans":"{claimed}","errorMessage":"{message}"}}}}"#
            );
            let answer = answered_with("application/json", &body, body.len());
            assert_eq!(answer.as_ref(), Ok(&expected), "{claimed} {message}");
        }
    }
}

/// What sending a span ends in where the answer is 200 with such a body, of which so much is
/// promised. There is one try.
fn answered_with(
    kind: &str,
    body: impl AsRef<[u8]>,
    promised: usize,
) -> Result<Delivered, Failure> {
    let kind = match kind {
        "" => String::new(),
        kind => format!("content-type: {kind}\r\n"),
    };
    let head = format!("HTTP/1.1 200 OK\r\n{kind}content-length: {promised}\r\n\r\n");
    let answer = [head.as_bytes(), body.as_ref()].concat();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            let mut part = [0; 4096];
            let read = connection.read(&mut part).unwrap();
            assert!(read > 0, "the request broke off");
            request.extend_from_slice(&part[..read]);
        }
        // Who has read enough of it hangs up.
        let _ = connection.write_all(&answer);
    });
    let runtime = OwnRuntime::new().unwrap();
    let exporter = exporter(&runtime, Protocol::HttpProtobuf, &endpoint, &[]).unwrap();
    let sent = runtime.block_on(exporter.send(&mut spans(1), || true));
    answering.join().unwrap();
    sent
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.expect("there is a length").parse().unwrap();
    request.len() >= head.len() + 4 + length
}

/// Forwards connections, until it forgets those that there are.
struct Middle {
    addr: SocketAddr,
    forgotten: Arc<AtomicUsize>,
}

impl Middle {
    fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let forgotten = Arc::new(AtomicUsize::new(0));
        let forgets = Arc::clone(&forgotten);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let Ok(far) = TcpStream::connect(target) else { return };
                let born = forgets.load(Ordering::Relaxed);
                for (from, to) in
                    [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
                {
                    let forgets = Arc::clone(&forgets);
                    std::thread::spawn(move || {
                        forward(from, to, || forgets.load(Ordering::Relaxed) != born)
                    });
                }
            }
        });
        Self { addr, forgotten }
    }

    fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, is_forgotten: impl Fn() -> bool) {
    let mut part = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut part) {
        if !is_forgotten() && to.write_all(&part[..read]).is_err() {
            break;
        }
    }
    if !is_forgotten() {
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
}
