//! Endpoints and URLs.

use super::*;

enum Expected {
    Valid,
    /// The value as shown and the reason that Go gives.
    Parse(&'static str, &'static str),
    Scheme(&'static str),
}

use Expected::{Parse, Scheme, Valid};

/// What Kubernetes says to an endpoint.
const ENDPOINTS: &[(&str, Expected)] = &[
    ("", Valid),
    ("localhost:4317", Valid),
    ("localhost", Valid),
    ("dns://google.com:4317", Valid),
    ("dns:///google.com:4317", Valid),
    ("dns://8.8.8.8/google.com:4317", Valid),
    ("dns:google.com:4317", Valid),
    ("unix:/abs/path", Valid),
    ("unix://path/to/socket", Valid),
    ("unix:///abs/path", Valid),
    ("unix-abstract:///x", Valid),
    ("http://localhost:4317", Scheme("http")),
    ("https://localhost:4317", Scheme("https")),
    (
        "dn%2s://localhost:4317",
        Parse(r#""dn%2s://localhost:4317""#, r#"first path segment in URL cannot contain colon"#),
    ),
    ("://x", Parse(r#""://x""#, r#"missing protocol scheme"#)),
    ("//x:1", Scheme("")),
    ("[::1]:4317", Valid),
    ("::1", Valid),
    ("fe80::1%eth0", Parse(r#""dns://fe80::1%eth0""#, r#"invalid port ":1%eth0" after host"#)),
    ("[fe80::1%25eth0]:4317", Valid),
    ("[fe80::1%eth0]:4317", Parse(r#""dns://[fe80::1%eth0]:4317""#, r#"invalid URL escape "%et""#)),
    ("[::1", Parse(r#""dns://[::1""#, r#"missing ']' in host"#)),
    ("::1]:4317", Valid),
    ("[::1]x", Parse(r#""dns://[::1]x""#, r#"invalid port "x" after host"#)),
    ("localhost:port", Parse(r#""dns://localhost:port""#, r#"invalid port ":port" after host"#)),
    ("localhost:99999", Valid),
    ("localhost:-1", Parse(r#""dns://localhost:-1""#, r#"invalid port ":-1" after host"#)),
    ("local host:1", Parse(r#""dns://local host:1""#, r#"invalid character " " in host name"#)),
    (
        "local\thost",
        Parse(r#""dns://local\thost""#, r#"net/url: invalid control character in URL"#),
    ),
    ("a\x7f", Parse(r#""dns://a\x7f""#, r#"net/url: invalid control character in URL"#)),
    ("host:1/path", Valid),
    ("host:1/%zz", Parse(r#""dns://host:1/%zz""#, r#"invalid URL escape "%zz""#)),
    ("user:pw@host:1", Valid),
    ("user name@host:1", Parse(r#""dns://user name@host:1""#, r#"net/url: invalid userinfo"#)),
    ("DNS://x:1", Valid),
    ("1dns://x", Parse(r#""1dns://x""#, r#"first path segment in URL cannot contain colon"#)),
    ("dns://x:y", Parse(r#""dns://x:y""#, r#"invalid port ":y" after host"#)),
    ("dns://a b", Parse(r#""dns://a b""#, r#"invalid character " " in host name"#)),
    ("dns:///a b", Valid),
    ("dns:///a%", Parse(r#""dns:///a%""#, r#"invalid URL escape "%""#)),
    ("xds:///a", Scheme("xds")),
    ("ipv4:1.2.3.4:5", Valid),
    ("passthrough:///x", Scheme("passthrough")),
    ("a//b", Scheme("")),
    ("a:1//b", Scheme("a")),
    ("%//x", Parse(r#""%//x""#, r#"invalid URL escape "%//""#)),
    ("/abs//path", Scheme("")),
    ("host:", Valid),
    ("#frag", Valid),
    ("x?y=1", Valid),
    ("dns://ho%41st", Parse(r#""dns://ho%41st""#, r#"invalid URL escape "%41""#)),
    ("dns://ho%20st", Parse(r#""dns://ho%20st""#, r#"invalid URL escape "%20""#)),
    ("dns://[::1]:1:2", Parse(r#""dns://[::1]:1:2""#, r#"invalid port ":1:2" after host"#)),
    ("dns://ho<st", Valid),
    ("dns://x\\y", Parse(r#""dns://x\\y""#, r#"invalid character "\\" in host name"#)),
    ("dns://\"x\"", Valid),
    ("dns://é:1", Valid),
    ("dns://a@b@c", Valid),
    ("d+-.://x", Scheme("d+-.")),
    ("-d://x", Parse(r#""-d://x""#, r#"first path segment in URL cannot contain colon"#)),
    ("host:4317 ", Parse(r#""dns://host:4317 ""#, r#"invalid port ":4317 " after host"#)),
    (" host:4317", Parse(r#""dns:// host:4317""#, r#"invalid character " " in host name"#)),
    ("dns://%zz", Parse(r#""dns://%zz""#, r#"invalid URL escape "%zz""#)),
    ("dns://x/%2", Parse(r#""dns://x/%2""#, r#"invalid URL escape "%2""#)),
    ("a b//c", Scheme("")),
    ("a_b://c", Parse(r#""a_b://c""#, r#"first path segment in URL cannot contain colon"#)),
    ("é://c", Parse(r#""é://c""#, r#"first path segment in URL cannot contain colon"#)),
    ("dns://x#%zz", Parse(r#""dns://x#%zz""#, r#"invalid URL escape "%zz""#)),
    ("dns://x?%zz", Valid),
    ("dns://u%zz@h", Parse(r#""dns://u%zz@h""#, r#"invalid URL escape "%zz""#)),
    ("dns://u:p%2@h", Parse(r#""dns://u:p%2@h""#, r#"invalid URL escape "%2""#)),
    (":1", Valid),
    ("dns://:1", Valid),
];

/// Valid in Kubernetes, but such that no connection could ever be made.
const UNUSABLE: &[&str] = &[
    "[fe80::1%25eth0]:4317",
    "::1]:4317",
    "localhost:99999",
    "host:1/path",
    "user:pw@host:1",
    "dns:///a b",
    "ipv4:1.2.3.4:5",
    "#frag",
    "x?y=1",
    "dns://ho<st",
    "dns://\"x\"",
    "dns://é:1",
    "dns://a@b@c",
    "dns://x?%zz",
];

#[test]
fn endpoints_are_refused_with_kubernetes_texts() {
    for (endpoint, expected) in ENDPOINTS {
        let result = CollectorAddress::from_endpoint(endpoint).map_err(|e| e.to_string());
        match expected {
            Valid => {
                assert_eq!(result.is_err(), UNUSABLE.contains(endpoint), "{endpoint}: {result:?}")
            }
            Parse(shown, reason) => assert_eq!(
                result,
                Err(format!("endpoint: Invalid value: {shown}: parse {shown}: {reason}")),
            ),
            Scheme(scheme) => assert_eq!(
                result,
                Err(format!(
                    "endpoint: Invalid value: {endpoint:?}: unsupported scheme: {scheme}.  Options \
                     are none, dns, unix, or unix-abstract.  See \
                     https://github.com/grpc/grpc/blob/master/doc/naming.md"
                )),
            ),
        }
    }
}

#[test]
fn endpoints_become_addresses() {
    use CollectorAddress::{Unix, UnixAbstract};
    let tcp = [
        ("", "http://localhost:4317"),
        ("localhost", "http://localhost:4317"),
        ("localhost:", "http://localhost:4317"),
        (":1", "http://localhost:1"),
        ("localhost:4318", "http://localhost:4318"),
        ("127.0.0.1:4317", "http://127.0.0.1:4317"),
        ("[::1]:9", "http://[::1]:9"),
        ("[::1]", "http://[::1]:4317"),
        ("::1", "http://[::1]:4317"),
        ("dns:a.b:1", "http://a.b:1"),
        ("dns://google.com:1", "http://google.com:1"),
        ("dns://google.com", "http://google.com:4317"),
        ("dns:///google.com:1", "http://google.com:1"),
        ("dns:///[::1]:1", "http://[::1]:1"),
        ("dns:///", "http://localhost:4317"),
        ("dns://8.8.8.8/google.com:1", "http://google.com:1"),
        ("DNS://x:1", "http://x:1"),
    ];
    for (endpoint, expected) in tcp {
        match CollectorAddress::from_endpoint(endpoint) {
            Ok(CollectorAddress::Tcp(address)) => {
                assert_eq!(address.url(Protocol::Grpc), expected, "{endpoint}");
                assert!(!address.is_tls());
            }
            other => panic!("{endpoint}: {other:?}"),
        }
    }
    let sockets = [
        ("unix:path", Unix("path".into())),
        ("unix:/abs/path", Unix("/abs/path".into())),
        ("unix://path/to/socket", Unix("path/to/socket".into())),
        ("unix:///abs/path", Unix("/abs/path".into())),
        ("unix:///a%20b", Unix("/a b".into())),
        ("unix-abstract:name", UnixAbstract("name".to_owned())),
        ("unix-abstract:///name", UnixAbstract("/name".to_owned())),
    ];
    for (endpoint, expected) in sockets {
        assert_eq!(CollectorAddress::from_endpoint(endpoint), Ok(expected), "{endpoint}");
    }
    for endpoint in ["unix:", "unix://", "unix:///", "unix-abstract:", "localhost:0"] {
        assert!(CollectorAddress::from_endpoint(endpoint).is_err(), "{endpoint}");
    }
}

#[test]
fn urls_become_addresses() {
    let cases = [
        ("http://c:4318", "http://c:4318", "http://c:4318/v1/traces"),
        ("http://c", "http://c:80", "http://c:80/v1/traces"),
        ("https://c/", "https://c:443", "https://c:443/v1/traces"),
        ("https://c:1/otlp/", "https://c:1/otlp", "https://c:1/otlp/v1/traces"),
        ("http://c:1/v1/traces", "http://c:1/v1/traces", "http://c:1/v1/traces"),
        ("http://[::1]:1", "http://[::1]:1", "http://[::1]:1/v1/traces"),
        ("c", "http://c:4317", "http://c:4318/v1/traces"),
        ("c:1", "http://c:1", "http://c:1/v1/traces"),
    ];
    for (url, grpc, http) in cases {
        match CollectorAddress::from_url(url) {
            Ok(CollectorAddress::Tcp(address)) => {
                assert_eq!(address.url(Protocol::Grpc), grpc, "{url}");
                assert_eq!(address.url(Protocol::HttpProtobuf), http, "{url}");
                assert_eq!(address.is_tls(), url.starts_with("https"), "{url}");
            }
            other => panic!("{url}: {other:?}"),
        }
    }
    let refused = [
        ("ftp://c", "unsupported scheme: ftp.  Options are http or https."),
        ("//c", "unsupported scheme: .  Options are http or https."),
        ("http://", "must have a host"),
        ("http://u:p@c", "must not have credentials; use OTEL_EXPORTER_OTLP_HEADERS"),
        ("http://c?a=b", "must not have a query or a fragment"),
        ("http://c#a", "must not have a query or a fragment"),
        ("http://c:70000", "port must be between 1 and 65535"),
        ("http://c:x", "parse \"http://c:x\": invalid port \":x\" after host"),
        // Stricter for the web's schemes than for gRPC's, as in Go.
        ("http://a:1:2", "parse \"http://a:1:2\": invalid port \":1:2\" after host"),
        ("c/path", "\"c/path\" is not a host name or an IP address"),
    ];
    for (url, detail) in refused {
        assert_eq!(
            CollectorAddress::from_url(url).unwrap_err().to_string(),
            format!("url: Invalid value: {url:?}: {detail}"),
        );
    }
}
