//! Collectors that close a connection in the middle of something, byte by byte: a server that is
//! made to be used has no way of doing that.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::support::otlp_receiver::Protocol;

/// Where a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaks {
    /// After half of what a request's body begins with.
    InRequest,
    /// The request has been read; the head of the answer is sent, and half of its body.
    InAnswer,
}

/// Starts a collector whose every connection breaks. Its threads end with the process.
pub(crate) fn start(protocol: Protocol, breaks: Breaks) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for accepted in listener.incoming() {
            let Ok(stream) = accepted else { continue };
            // A client that is gone before it is broken with is of no interest.
            std::thread::spawn(move || match protocol {
                Protocol::Grpc => grpc(&stream, breaks).unwrap_or_default(),
                Protocol::Http => http(&stream, breaks).unwrap_or_default(),
            });
        }
    });
    addr
}

/// One request over HTTP/1.1.
fn http(stream: &TcpStream, breaks: Breaks) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().expect("a length is a number");
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let is_whole = breaks == Breaks::InAnswer;
    let mut body = vec![0; if is_whole { length } else { length / 2 }];
    reader.read_exact(&mut body)?;
    if is_whole {
        let head = "HTTP/1.1 200 OK\r\n\
                    content-type: application/x-protobuf\r\n\
                    content-length: 64\r\n\r\n";
        let mut answer = head.as_bytes().to_vec();
        answer.extend([0; 32]);
        (&*stream).write_all(&answer)?;
    }
    Ok(())
}

// Of HTTP/2 (RFC 9113, section 6), what it takes to get one request.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` and `content-type: application/grpc`, as HPACK has them.
const ANSWER_HEAD: &[u8] = b"\x88\x0f\x10\x10application/grpc";

/// One request over HTTP/2.
fn grpc(stream: &TcpStream, breaks: Breaks) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    reader.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()])?;
    // No setting, and room for more than any request.
    send(stream, SETTINGS, 0, 0, &[])?;
    send(stream, WINDOW_UPDATE, 0, 0, &0x4000_0000_u32.to_be_bytes())?;
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream_id @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream_id = u32::from_be_bytes(stream_id);
        if kind == DATA && breaks == Breaks::InRequest {
            return reader.read_exact(&mut vec![0; length / 2]);
        }
        reader.read_exact(&mut vec![0; length])?;
        match kind {
            SETTINGS if flags & ACK == 0 => send(stream, SETTINGS, ACK, 0, &[])?,
            HEADERS => {
                let room = 0x4000_0000_u32.to_be_bytes();
                send(stream, WINDOW_UPDATE, 0, stream_id, &room)?;
            }
            DATA if flags & END_STREAM != 0 => {
                send(stream, HEADERS, END_HEADERS, stream_id, ANSWER_HEAD)?;
                // A message of 64 bytes, as gRPC announces it, and the first half of them.
                let mut frame = frame_head(DATA, 0, stream_id, 5 + 64).to_vec();
                frame.extend([0, 0, 0, 0, 64]);
                frame.extend([0; 32]);
                return (&*stream).write_all(&frame);
            }
            _ => {}
        }
    }
}

fn send(mut to: &TcpStream, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
    let mut frame = frame_head(kind, flags, stream, payload.len()).to_vec();
    frame.extend_from_slice(payload);
    to.write_all(&frame)
}

fn frame_head(kind: u8, flags: u8, stream: u32, length: usize) -> [u8; 9] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}
