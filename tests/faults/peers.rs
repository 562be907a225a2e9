//! Collectors with a fault.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use tokio::net::TcpSocket;

use crate::breaking::{self, Breaks};
use crate::certificates::{Authority, Files, Leaf};
use crate::support::otlp_receiver::{Behaviour, OtlpReceiver, Protocol};
use crate::table::Row;

/// What is wrong with a collector.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nobody listens.
    Absent,
    Answers(Behaviour),
    /// With TLS, and asking for a client's certificate, for which the service has this one.
    AsksForCertificate(Ours),
    /// Closes a connection on which something is under way.
    Breaks(Breaks),
    /// Accepts a connection and closes it.
    Closes,
    /// Accepts a connection and that was all.
    Mute,
    /// Answers in no protocol that it might have.
    NoHttp,
    /// The exporter expects TLS, and there is none.
    NoTls,
    /// With TLS, but not as the collector that the exporter trusts.
    Tls(Identity),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Identity {
    Expired,
    OfAnotherCa,
    OfAnotherHost,
}

/// The service's own certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ours {
    None,
    OfAnotherCa,
    OfTheRightCa,
}

/// A collector that runs until it is dropped.
pub(crate) struct Peer {
    endpoint: String,
    kind: Kind,
    /// What the service trusts, and what it may say that it is.
    files: Option<Files>,
    has_client: bool,
}

enum Kind {
    /// Bound, so that nobody else gets the port.
    Absent(#[expect(dead_code, reason = "held")] TcpSocket),
    Receiver(OtlpReceiver),
    /// A thread that ends with the process.
    Socket,
}

impl Peer {
    pub(crate) fn start(row: &Row) -> Self {
        let http = |address: SocketAddr| format!("http://{address}");
        let plain = |endpoint, kind| Self { endpoint, kind, files: None, has_client: false };
        match &row.peer {
            Fault::Absent => {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
                plain(http(socket.local_addr().unwrap()), Kind::Absent(socket))
            }
            Fault::Answers(behaviour) => {
                let receiver = OtlpReceiver::start(row.protocol, free_port()).unwrap();
                receiver.keep_spans(false);
                receiver.set_behaviour(behaviour.clone());
                plain(receiver.endpoint().to_owned(), Kind::Receiver(receiver))
            }
            Fault::AsksForCertificate(ours) => asking(row.protocol, *ours),
            Fault::Breaks(breaks) => {
                plain(http(breaking::start(row.protocol, *breaks)), Kind::Socket)
            }
            Fault::Closes => plain(http(socket(After::Nothing)), Kind::Socket),
            Fault::Mute => plain(http(socket(After::Silence)), Kind::Socket),
            Fault::NoHttp => plain(http(socket(After::Nonsense)), Kind::Socket),
            Fault::NoTls => {
                let receiver = OtlpReceiver::start(row.protocol, free_port()).unwrap();
                Self {
                    endpoint: format!("https://localhost:{}", receiver.addr().port()),
                    kind: Kind::Receiver(receiver),
                    files: Some(Authority::new().files()),
                    has_client: false,
                }
            }
            Fault::Tls(identity) => tls(row.protocol, *identity),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The variables that name certificates and keys, with the files.
    pub(crate) fn files(&self) -> Vec<(&'static str, PathBuf)> {
        let Some(files) = &self.files else { return Vec::new() };
        let mut named = vec![("OTEL_EXPORTER_OTLP_CERTIFICATE", files.ca())];
        if self.has_client {
            named.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", files.certificate()));
            named.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", files.key()));
        }
        named
    }

    /// Spans that it took, where it counts them.
    pub(crate) fn accepted(&self) -> Option<u64> {
        match &self.kind {
            Kind::Receiver(receiver) => Some(receiver.counts().spans_accepted),
            Kind::Absent(_) | Kind::Socket => None,
        }
    }
}

fn tls(protocol: Protocol, identity: Identity) -> Peer {
    let trusted = Authority::new();
    let leaf = match identity {
        Identity::Expired => trusted.issue(Leaf::Expired),
        Identity::OfAnotherCa => Authority::new().issue(Leaf::Server),
        Identity::OfAnotherHost => trusted.issue(Leaf::OfAnotherHost),
    };
    let receiver = OtlpReceiver::with_tls(protocol, leaf.server(None));
    Peer {
        endpoint: receiver.endpoint().to_owned(),
        kind: Kind::Receiver(receiver),
        files: Some(trusted.files()),
        has_client: false,
    }
}

fn asking(protocol: Protocol, ours: Ours) -> Peer {
    let (servers, clients) = (Authority::new(), Authority::new());
    let receiver =
        OtlpReceiver::with_tls(protocol, servers.issue(Leaf::Server).server(Some(&clients)));
    receiver.keep_spans(false);
    let files = servers.files();
    let has_client = match ours {
        Ours::None => false,
        Ours::OfAnotherCa => {
            files.add_client(&Authority::new().issue(Leaf::Client));
            true
        }
        Ours::OfTheRightCa => {
            files.add_client(&clients.issue(Leaf::Client));
            true
        }
    };
    let endpoint = receiver.endpoint().to_owned();
    Peer { endpoint, kind: Kind::Receiver(receiver), files: Some(files), has_client }
}

/// What a socket does once it has accepted.
#[derive(Clone, Copy)]
enum After {
    Nonsense,
    Nothing,
    Silence,
}

fn socket(after: After) -> SocketAddr {
    let listener = TcpListener::bind(free_port()).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for accepted in listener.incoming() {
            let Ok(mut stream) = accepted else { continue };
            match after {
                After::Nothing => {}
                After::Nonsense => {
                    // Once something has been said, so that it is an answer.
                    let _ = stream.read(&mut [0; 64]);
                    let _ = stream.write_all(b"220 mail.example ESMTP\r\n\r\n");
                }
                After::Silence => held.push(stream),
            }
        }
    });
    address
}

fn free_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
