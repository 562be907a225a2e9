//! Whom we trust, and who trusts us.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use http::Uri;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::rustls::{ServerConfig, ServerConnection};
use tower_service::Service as _;

use super::connector::Connector;
use super::sending_tests::certificates::{Authority, Files, Leaf};
use super::sending_tests::support::otlp_receiver::{self, OtlpReceiver};
use super::sending_tests::{BOTH, exporter, receiver, spans};
use super::{Delivered, Failure, OtlpExporter, Retry, tls};
use crate::config::Protocol;
use crate::config::env::TlsFiles;
use crate::export::worker::OwnRuntime;

/// A collector with the certificate, asking for one of ours if it knows whose these are.
fn collector(
    protocol: Protocol,
    certificate: &super::sending_tests::certificates::Issued,
    clients: Option<&Authority>,
) -> OtlpReceiver {
    let protocol = match protocol {
        Protocol::Grpc => otlp_receiver::Protocol::Grpc,
        Protocol::HttpProtobuf => otlp_receiver::Protocol::Http,
    };
    OtlpReceiver::with_tls(protocol, certificate.server(clients))
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("the folder for temporary files has a name in Unicode")
}

/// An exporter that trusts `ca`, with a certificate of our own from `client`.
fn trusting(
    runtime: &OwnRuntime,
    protocol: Protocol,
    endpoint: &str,
    ca: &Files,
    client: Option<&Files>,
) -> Result<OtlpExporter, String> {
    let (ca, certificate, key) = (
        ca.ca(),
        client.map(Files::certificate).unwrap_or_default(),
        client.map(Files::key).unwrap_or_default(),
    );
    let variables = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", text(&ca)),
        // Empty is as good as not set.
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", text(&certificate)),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", text(&key)),
    ];
    exporter(runtime, protocol, endpoint, &variables)
}

/// Sends two spans, with time for many tries.
fn send(
    protocol: Protocol,
    endpoint: &str,
    ca: &Files,
    client: Option<&Files>,
) -> Result<Delivered, Failure> {
    let runtime = OwnRuntime::new().unwrap();
    let exporter = trusting(&runtime, protocol, endpoint, ca, client).unwrap();
    runtime.block_on(exporter.send(&mut spans(2), || false))
}

/// As [`send`], for what does not pass and is not tried again: what is said of it.
#[track_caller]
fn refused(protocol: Protocol, endpoint: &str, ca: &Files, client: Option<&Files>) -> String {
    let Failure { problem, retry, .. } = send(protocol, endpoint, ca, client).unwrap_err();
    assert_eq!(retry, Retry::Hopeless, "{protocol:?}: {problem}");
    problem
}

#[test]
fn a_collector_whose_authority_we_trust_gets_the_spans() {
    for protocol in BOTH {
        let authority = Authority::new();
        let collector = collector(protocol, &authority.issue(Leaf::Server), None);
        let sent = send(protocol, collector.endpoint(), &authority.files(), None);
        assert_eq!(sent, Ok(Delivered::default()), "{protocol:?}");
        assert_eq!(collector.spans().len(), 2);
    }
}

#[test]
fn a_collector_that_is_not_who_it_should_be_gets_nothing_and_we_say_why() {
    for protocol in BOTH {
        let trusted = Authority::new();
        let cases = [
            (Authority::new().issue(Leaf::Server), "localhost", "UnknownIssuer"),
            (trusted.issue(Leaf::Expired), "localhost", "expired"),
            (trusted.issue(Leaf::OfAnotherHost), "localhost", "not valid for name \"localhost\""),
            (trusted.issue(Leaf::Server), "127.0.0.1", "not valid for name \"127.0.0.1\""),
        ];
        for (certificate, host, says) in cases {
            let collector = collector(protocol, &certificate, None);
            let endpoint = format!("https://{host}:{}", collector.addr().port());
            let problem = refused(protocol, &endpoint, &trusted.files(), None);
            assert!(problem.contains(says), "{protocol:?}: {problem}");
            assert_eq!(problem.matches(says).count(), 1, "{problem}");
            assert_eq!(collector.counts().requests, 0, "{protocol:?} {says}");
        }
    }
}

#[test]
fn a_collector_that_asks_for_a_certificate_takes_those_of_its_authority() {
    for protocol in BOTH {
        let (servers, clients) = (Authority::new(), Authority::new());
        let collector = collector(protocol, &servers.issue(Leaf::Server), Some(&clients));
        let files = servers.files();

        files.add_client(&clients.issue(Leaf::Client));
        let sent = send(protocol, collector.endpoint(), &files, Some(&files));
        assert_eq!(sent, Ok(Delivered::default()), "{protocol:?}");
        assert_eq!(collector.spans().len(), 2);

        let problem = refused(protocol, collector.endpoint(), &files, None);
        assert!(problem.contains("asks for a client certificate"), "{protocol:?}: {problem}");

        files.add_client(&Authority::new().issue(Leaf::Client));
        let problem = refused(protocol, collector.endpoint(), &files, Some(&files));
        let says = "does not trust the client certificate";
        assert!(problem.contains(says), "{protocol:?}: {problem}");
        assert_eq!(collector.counts().requests, 1, "{protocol:?}");
    }
}

#[test]
fn the_word_of_who_refuses_us_is_heard_though_writing_fails_before_it_is_read() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let files = servers.files();
    let trusting = TlsFiles { ca: Some(files.ca()), ..TlsFiles::default() };
    OwnRuntime::new().unwrap().block_on(async {
        for gathers in [false, true] {
            // 1. By TLS 1.3 our side of the handshake is over before the other side has judged us.
            let (server, is_closed) = refusing(servers.issue(Leaf::Server).server(Some(&clients)));
            let to: Uri = format!("https://localhost:{}", server.port()).parse().unwrap();
            let config = tls::client_config(&trusting, true).unwrap();
            let connector = Connector::new(to, config, Duration::from_secs(30));
            let mut connector = if gathers { connector.gathering() } else { connector };
            let mut stream = connector.call(Uri::default()).await.unwrap().into_inner();
            // 2. It says no and closes, while nobody looks at the connection.
            is_closed.recv().unwrap();
            // 3. What is written next comes back as an error of the connection.
            let error = loop {
                if let Err(error) = stream.write_all(b"a request").await {
                    break error;
                }
                // Twice, for a stream that gathers.
                if let Err(error) = stream.flush().await.and(stream.flush().await) {
                    break error;
                }
            };
            let refusal = connector.last_words().take();
            let told = refusal.map(|refusal| refusal.told_of(error.to_string()));
            let told = told.unwrap_or_else(|| error.to_string());
            assert!(told.contains("asks for a client certificate"), "{gathers}: {told}");
        }
    });
}

/// A collector for one connection, which tells when it has refused and closed that.
fn refusing(config: ServerConfig) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (closed, is_closed) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
        while tls.is_handshaking() {
            if tls.complete_io(&mut socket).is_err() {
                break;
            }
        }
        assert!(tls.is_handshaking(), "it has taken the client for what it is");
        drop(socket);
        closed.send(()).unwrap();
    });
    (addr, is_closed)
}

#[test]
fn a_collector_without_tls_is_told_from_one_that_is_busy() {
    for protocol in BOTH {
        let collector = receiver(protocol);
        let endpoint = format!("https://localhost:{}", collector.addr().port());
        let problem = refused(protocol, &endpoint, &Authority::new().files(), None);
        assert!(problem.contains("may not speak TLS"), "{protocol:?}: {problem}");
        assert_eq!(collector.counts().requests, 0, "{protocol:?}");
    }
}

#[test]
fn files_that_hold_no_certificate_or_not_the_key_to_it_are_named() {
    let error = |protocol, ca: &Files, client: Option<&Files>| {
        let runtime = OwnRuntime::new().unwrap();
        trusting(&runtime, protocol, "https://localhost:1", ca, client).unwrap_err()
    };
    for protocol in BOTH {
        let authority = Authority::new();
        let files = authority.files();
        std::fs::write(files.ca(), "no certificate").unwrap();
        let problem = error(protocol, &files, None);
        assert!(problem.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{protocol:?}: {problem}");

        let files = authority.files();
        files.add_client(&authority.issue(Leaf::Client));
        let others = authority.files();
        others.add_client(&authority.issue(Leaf::Client));
        std::fs::copy(others.key(), files.key()).unwrap();
        let problem = error(protocol, &files, Some(&files));
        assert!(problem.contains("OTEL_EXPORTER_OTLP_CLIENT_"), "{protocol:?}: {problem}");

        std::fs::write(files.key(), "no key").unwrap();
        let problem = error(protocol, &files, Some(&files));
        assert!(problem.contains("OTEL_EXPORTER_OTLP_CLIENT_"), "{protocol:?}: {problem}");
    }
}
