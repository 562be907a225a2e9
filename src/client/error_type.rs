//! The fixed set of reasons why there is no response.

use std::io;

use awc::error::{ConnectError, SendRequestError};

use crate::semconv::outcome::OTHER;

pub(super) fn error_type(error: &SendRequestError) -> &'static str {
    match error {
        SendRequestError::Url(_) => "url_invalid",
        SendRequestError::Connect(error) => connect_error_type(error),
        SendRequestError::Send(_) => "send_io",
        SendRequestError::Response(_) => "response_parse",
        SendRequestError::H2(_) => "h2",
        SendRequestError::Timeout => "timeout",
        SendRequestError::TunnelNotSupported => "tunnel_not_supported",
        SendRequestError::Body(_) => "request_body",
        _ => OTHER,
    }
}

fn connect_error_type(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::SslIsNotSupported => "tls",
        ConnectError::Resolver(_) | ConnectError::Unresolved => "dns",
        ConnectError::NoRecords => "dns_no_records",
        ConnectError::H2(_) => "h2",
        ConnectError::Timeout => "connect_timeout",
        ConnectError::Disconnected => "connection_closed",
        ConnectError::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect_refused",
            io::ErrorKind::TimedOut => "connect_timeout",
            _ if is_handshake(error) => "tls",
            _ => "connect_io",
        },
        // The variant exists only where awc's `openssl` feature is on, which cannot be asked here.
        error if format!("{error:?}").starts_with("SslError") => "tls",
        _ => OTHER,
    }
}

/// Whether a handshake over TLS has failed, as rustls reports it: nothing is read from a
/// connection before, so it cannot end or have invalid data, and the system has no part in it.
fn is_handshake(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    error.raw_os_error().is_none()
        && matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use awc::error::InvalidUrl;

    use super::*;

    #[test]
    fn errors_are_told_apart_by_a_fixed_set() {
        const INVALID: i32 = 22;
        assert_eq!(io::Error::from_raw_os_error(INVALID).kind(), io::ErrorKind::InvalidInput);
        let io = |kind| ConnectError::Io(io::Error::from(kind));
        for (error, expected) in [
            (SendRequestError::Url(InvalidUrl::MissingHost), "url_invalid"),
            (ConnectError::SslIsNotSupported.into(), "tls"),
            (ConnectError::Resolver("no such host".into()).into(), "dns"),
            (ConnectError::Unresolved.into(), "dns"),
            (ConnectError::NoRecords.into(), "dns_no_records"),
            (ConnectError::Timeout.into(), "connect_timeout"),
            (ConnectError::Disconnected.into(), "connection_closed"),
            (io(io::ErrorKind::ConnectionRefused).into(), "connect_refused"),
            (io(io::ErrorKind::TimedOut).into(), "connect_timeout"),
            (io(io::ErrorKind::HostUnreachable).into(), "connect_io"),
            (ConnectError::Io(io::Error::from_raw_os_error(INVALID)).into(), "connect_io"),
            // A certificate that is not trusted, a name that cannot be in one, a peer that leaves.
            (io(io::ErrorKind::InvalidData).into(), "tls"),
            (io(io::ErrorKind::InvalidInput).into(), "tls"),
            (io(io::ErrorKind::UnexpectedEof).into(), "tls"),
            (SendRequestError::Send(io::Error::from(io::ErrorKind::BrokenPipe)), "send_io"),
            (SendRequestError::Timeout, "timeout"),
            (SendRequestError::TunnelNotSupported, "tunnel_not_supported"),
            (SendRequestError::Body("no more".into()), "request_body"),
            (SendRequestError::Custom("x".into(), Box::new("y")), "_OTHER"),
        ] {
            assert_eq!(error_type(&error), expected, "{error:?}");
        }
    }
}
