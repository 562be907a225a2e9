//! HTTP semantic conventions, as pure functions: what a request or a response is called.
//!
//! The rules are those of [version 1.42], which `opentelemetry-semantic-conventions` 0.33 tracks.
//! Nothing in here knows about a framework; `server` and `client` feed it borrowed parts of a
//! request and hand the results to a `tracing` macro. What has to be written out first (a redacted
//! URL) is a [`Display`](std::fmt::Display) value: it costs nothing until a layer records it.
//!
//! [version 1.42]: https://github.com/open-telemetry/semantic-conventions/blob/v1.42.0/docs/http/http-spans.md

pub(crate) mod address;
#[cfg(feature = "actix-web")]
pub(crate) mod forwarded;
pub(crate) mod headers;
pub(crate) mod method;
pub(crate) mod name;
pub(crate) mod outcome;
pub(crate) mod redact;
pub(crate) mod settings;

/// The value of `network.protocol.version`; `None` for a version without a name in HTTP.
pub(crate) fn protocol_version(version: actix_http::Version) -> Option<&'static str> {
    use actix_http::Version;

    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use actix_http::Version;

    use super::*;

    #[test]
    fn major_versions_two_and_three_have_no_minor_part() {
        for (version, name) in [
            (Version::HTTP_09, "0.9"),
            (Version::HTTP_10, "1.0"),
            (Version::HTTP_11, "1.1"),
            (Version::HTTP_2, "2"),
            (Version::HTTP_3, "3"),
        ] {
            assert_eq!(protocol_version(version), Some(name));
        }
    }
}
