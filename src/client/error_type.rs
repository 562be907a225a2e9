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
            _ => "connect_io",
        },
        // The variant exists only where awc's `openssl` feature is on, which cannot be asked here.
        error if format!("{error:?}").starts_with("SslError") => "tls",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use awc::error::InvalidUrl;

    use super::*;

    #[test]
    fn errors_are_told_apart_by_a_fixed_set() {
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
