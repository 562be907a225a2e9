//! Where the collector is: from what a file or a variable says to an address to connect to.

use std::path::PathBuf;

#[cfg(any(feature = "otlp-grpc", feature = "otlp-http", test))]
use super::Protocol;
use super::{
    error::FieldError,
    kinds::{ENDPOINT, URL},
    quote::Quoted,
    url::{self, Url},
};

/// The path of trace data under a collector's base URL, when sent over HTTP.
const TRACES_PATH: &str = "/v1/traces";

/// A checked address of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CollectorAddress {
    /// A host, by name or IP address.
    Tcp(TcpAddress),
    /// The path of a Unix domain socket.
    Unix(PathBuf),
    /// The name of a Unix domain socket in Linux's abstract namespace.
    UnixAbstract(String),
}

/// A host and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TcpAddress {
    is_tls: bool,
    /// An IPv6 address has its brackets.
    host: String,
    /// `None`: the default of the protocol.
    port: Option<u16>,
    /// As given; empty, or starts with a slash.
    path: String,
    traces_path: String,
}

impl TcpAddress {
    /// Whether the connection is encrypted.
    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http", test))]
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// This machine, by the protocol's own port.
    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
    pub(crate) fn localhost() -> Self {
        Self {
            is_tls: false,
            host: "localhost".to_owned(),
            port: None,
            path: String::new(),
            traces_path: TRACES_PATH.to_owned(),
        }
    }

    /// The URL to send spans to with `protocol`.
    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http", test))]
    pub(crate) fn url(&self, protocol: Protocol) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        let port = self.port.unwrap_or_else(|| protocol.default_port());
        let path = match protocol {
            Protocol::Grpc => &self.path,
            Protocol::HttpProtobuf => &self.traces_path,
        };
        format!("{scheme}://{}:{port}{path}", self.host)
    }
}

impl CollectorAddress {
    /// Whether it is a Unix domain socket.
    pub(super) fn is_socket(&self) -> bool {
        matches!(self, Self::Unix(_) | Self::UnixAbstract(_))
    }

    /// The `endpoint` of a `TracingConfiguration`: a gRPC name, reached without TLS.
    ///
    /// Valid is what Kubernetes takes, and `unix:path` and `unix-abstract:name` without slashes,
    /// which it refuses although gRPC documents them. Beyond Kubernetes, the host and the port are
    /// checked, since a mistake there would only show as spans that never arrive. In
    /// `dns://google.com:4317` gRPC would see a DNS server and no host; here it is the host, which
    /// is what is meant. In `dns://server/host:port` the server is not asked: names are looked up
    /// as the system does it. `unix://path` has the relative path that it seems to have.
    pub(super) fn from_endpoint(endpoint: &str) -> Result<Self, FieldError> {
        if !endpoint.contains("//")
            && let Some(address) = Self::from_short_name(endpoint)
        {
            return address
                .map_err(|problem| FieldError::invalid(ENDPOINT, Quoted(endpoint), problem));
        }
        let (target, has_scheme) = if endpoint.contains("//") {
            (endpoint.to_owned(), true)
        } else {
            (format!("dns://{endpoint}"), false)
        };
        Self::from_target(&target, has_scheme)
            .map_err(|problem| FieldError::invalid(ENDPOINT, Quoted(&target), problem))
    }

    /// gRPC's names whose scheme is followed by no slashes.
    fn from_short_name(endpoint: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = endpoint.split_once(':')?;
        match scheme {
            "unix" => Some(Self::unix(rest)),
            "unix-abstract" => Some(Self::unix_abstract(rest)),
            "dns" => Some(Self::from_host_port(rest)),
            _ => None,
        }
    }

    fn from_target(target: &str, has_scheme: bool) -> Result<Self, String> {
        let url = url::parse(target)?;
        match url.scheme.as_str() {
            "dns" => {
                if url.has_userinfo || url.query.is_some() || url.has_fragment {
                    return Err("must be host:port, with nothing before or after".to_owned());
                }
                match url.path.strip_prefix('/') {
                    None | Some("") => Self::from_host_port(&url.host),
                    Some(name) if has_scheme => Self::from_host_port(name),
                    Some(_) => Err("must be host:port, without a path".to_owned()),
                }
            }
            "unix" => Self::unix(&format!("{}{}", url.host, url.path)),
            "unix-abstract" => Self::unix_abstract(&format!("{}{}", url.host, url.path)),
            scheme => Err(format!(
                "unsupported scheme: {scheme}.  Options are none, dns, unix, or unix-abstract.  \
                 See https://github.com/grpc/grpc/blob/master/doc/naming.md"
            )),
        }
    }

    /// The `url` of an `OpenTelemetryClientConfiguration`: `http://`, `https://` (with TLS), or
    /// `host:port`, which is taken as `http://`.
    pub(super) fn from_url(text: &str) -> Result<Self, FieldError> {
        let address = if text.contains("//") {
            Self::from_web_url(text, TracesPath::Expected)
        } else {
            Self::from_host_port(text)
        };
        address.map_err(|problem| FieldError::invalid(URL, Quoted(text), problem))
    }

    /// The value of an `OTEL_EXPORTER_OTLP_*ENDPOINT` variable with a scheme.
    pub(super) fn from_web_url(text: &str, rule: TracesPath) -> Result<Self, String> {
        let url = url::parse(text)?;
        let is_tls = match url.scheme.as_str() {
            "http" => false,
            "https" => true,
            scheme => {
                return Err(format!("unsupported scheme: {scheme}.  Options are http or https."));
            }
        };
        if url.has_userinfo {
            return Err("must not have credentials; use OTEL_EXPORTER_OTLP_HEADERS".to_owned());
        }
        if url.host.is_empty() {
            return Err("must have a host".to_owned());
        }
        // Nothing of the path is decoded: it is sent as it was given.
        let Url { raw_path, query, .. } = url;
        if (query.is_some() && rule != TracesPath::Given) || url.has_fragment {
            return Err("must not have a query or a fragment".to_owned());
        }
        let (host, port) = split_host_port(&url.host)?;
        let trimmed = raw_path.trim_end_matches('/');
        let traces_path = match rule {
            TracesPath::Appended => format!("{trimmed}{TRACES_PATH}"),
            TracesPath::Expected if trimmed.ends_with(TRACES_PATH) => trimmed.to_owned(),
            TracesPath::Expected => format!("{trimmed}{TRACES_PATH}"),
            TracesPath::Given => match query {
                Some(query) => format!("{raw_path}?{query}"),
                None => raw_path.to_owned(),
            },
        };
        Ok(Self::Tcp(TcpAddress {
            is_tls,
            host,
            port: Some(port.unwrap_or(if is_tls { 443 } else { 80 })),
            path: trimmed.to_owned(),
            traces_path,
        }))
    }

    fn from_host_port(text: &str) -> Result<Self, String> {
        let (host, port) = split_host_port(text)?;
        Ok(Self::Tcp(TcpAddress {
            is_tls: false,
            host,
            port,
            path: String::new(),
            traces_path: TRACES_PATH.to_owned(),
        }))
    }

    pub(super) fn unix(path: &str) -> Result<Self, String> {
        if path.is_empty() || path.ends_with('/') || path.contains('\0') {
            return Err("must have the path of a socket".to_owned());
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }

    fn unix_abstract(name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err("must have the name of a socket".to_owned());
        }
        Ok(Self::UnixAbstract(name.to_owned()))
    }

    /// The value of an `OTEL_EXPORTER_OTLP_*ENDPOINT` variable without a scheme, for gRPC.
    pub(super) fn from_plain_host(text: &str, is_insecure: bool) -> Result<Self, String> {
        match Self::from_host_port(text)? {
            Self::Tcp(address) => Ok(Self::Tcp(TcpAddress { is_tls: !is_insecure, ..address })),
            other => Ok(other),
        }
    }
}

/// How the path of a URL becomes the path that spans are posted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TracesPath {
    /// The URL is a base; always append.
    Appended,
    /// The URL may be a base or the whole; append if it is not there.
    Expected,
    /// The URL is the whole.
    Given,
}

/// A host that can be looked up (an empty one is this machine) and a port that exists.
fn split_host_port(text: &str) -> Result<(String, Option<u16>), String> {
    // An address such as `::1`, which has neither brackets nor a port.
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((format!("[{text}]"), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err("port must be between 1 and 65535".to_owned()),
        },
    };
    let is_name = |host: &str| {
        host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
    };
    let is_address = |host: &str| {
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
    };
    if host.is_empty() {
        Ok(("localhost".to_owned(), port))
    } else if is_name(host) || is_address(host) {
        Ok((host.to_owned(), port))
    } else {
        Err(format!("{} is not a host name or an IP address", Quoted(host)))
    }
}
