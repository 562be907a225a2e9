//! Collectors with a fault.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use tokio::net::TcpSocket;

use crate::certificates::{Authority, Files, Leaf};
use crate::support::otlp_receiver::{Behaviour, OtlpReceiver, Protocol};
use crate::table::Row;

/// What is wrong with a collector.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nobody listens.
    Absent,
    Answers(Behaviour),
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

/// A collector that runs until it is dropped.
pub(crate) struct Peer {
    endpoint: String,
    kind: Kind,
    /// What the service trusts.
    files: Option<Files>,
}

enum Kind {
    /// Bound, so that nobody else gets the port.
    Absent(#[expect(dead_code, reason = "held")] TcpSocket),
    Receiver(OtlpReceiver),
    /// A thread that ends with the process.
    Socket,
}

pub(crate) enum Trust {
    Ca(PathBuf),
    System,
}

impl Peer {
    pub(crate) fn start(row: &Row) -> Self {
        let http = |address: SocketAddr| format!("http://{address}");
        let plain = |endpoint, kind| Self { endpoint, kind, files: None };
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
            Fault::Closes => plain(http(socket(After::Nothing)), Kind::Socket),
            Fault::Mute => plain(http(socket(After::Silence)), Kind::Socket),
            Fault::NoHttp => plain(http(socket(After::Nonsense)), Kind::Socket),
            Fault::NoTls => {
                let receiver = OtlpReceiver::start(row.protocol, free_port()).unwrap();
                Self {
                    endpoint: format!("https://localhost:{}", receiver.addr().port()),
                    kind: Kind::Receiver(receiver),
                    files: Some(Authority::new().files()),
                }
            }
            Fault::Tls(identity) => tls(row.protocol, *identity),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn trust(&self) -> Trust {
        self.files.as_ref().map_or(Trust::System, |files| Trust::Ca(files.ca()))
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
    }
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
