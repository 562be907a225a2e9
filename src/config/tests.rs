//! Vectors of Kubernetes' own tests, and what its code says to further inputs.
//!
//! The texts were printed by k8s.io/apiserver and k8s.io/component-base 0.37.2, built with
//! Go 1.26. Where this crate deliberately differs, the vector is in a test that says so.

use proptest::prelude::*;

use super::{
    ConfigError, Protocol, TracingConfig, endpoint::CollectorAddress, file::MAX_BYTES, url,
};

const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n";
const JSON_HEAD: &str =
    r#""apiVersion":"apiserver.config.k8s.io/v1","kind":"TracingConfiguration""#;

/// Endpoint and rate, or the error's text.
fn yaml(text: &str) -> Result<(Option<String>, Option<u32>), String> {
    summary(TracingConfig::from_yaml(text))
}

fn json(text: &str) -> Result<(Option<String>, Option<u32>), String> {
    summary(TracingConfig::from_json(text))
}

fn summary(
    config: Result<TracingConfig, ConfigError>,
) -> Result<(Option<String>, Option<u32>), String> {
    config
        .map(|config| {
            let collector = config.endpoint().or_else(|| config.url()).map(str::to_owned);
            (collector, config.sampling_rate_per_million())
        })
        .map_err(|error| error.to_string())
}

fn field(line: &str) -> Result<(Option<String>, Option<u32>), String> {
    yaml(&format!("{HEAD}{line}\n"))
}

/// The part of the text after what is the same for every bad value.
fn field_error(line: &str) -> String {
    let text = field(line).expect_err(line);
    text.strip_prefix("failed to validate tracing configuration: ")
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

fn decode_error(text: &str) -> String {
    let text = yaml(text).expect_err(text);
    text.strip_prefix("unable to decode tracing configuration data: ")
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

#[test]
fn a_file_without_fields_is_the_default() {
    let cases = [
        "",
        "\n  \n",
        "# only a comment\n",
        "\u{feff}",
        "\u{feff}# comment",
        "---\n",
        "---\n...\n",
        "null\n",
        "~",
        "{}",
        "\r\n# c\r\n",
    ];
    for text in cases {
        assert_eq!(TracingConfig::from_yaml(text), Ok(TracingConfig::default()), "{text:?}");
    }
    for text in ["", " \n", "null", "{}", "\u{feff}"] {
        assert_eq!(TracingConfig::from_json(text), Ok(TracingConfig::default()), "{text:?}");
    }
}

#[test]
fn all_versions_of_both_kinds_are_read() {
    for version in ["v1alpha1", "v1beta1", "v1"] {
        let head = format!("apiVersion: apiserver.config.k8s.io/{version}\n");
        assert_eq!(
            yaml(&format!(
                "{head}kind: TracingConfiguration\nendpoint: localhost:4317\n\
                 samplingRatePerMillion: 12345\n"
            )),
            Ok((Some("localhost:4317".to_owned()), Some(12345))),
        );
        let config = TracingConfig::from_yaml(&format!(
            "{head}kind: OpenTelemetryClientConfiguration\nurl: https://collector:4317\n"
        ))
        .unwrap();
        assert_eq!(config.url(), Some("https://collector:4317"));
        assert_eq!(config.endpoint(), None);
    }
}

#[test]
fn a_configuration_may_be_written_in_many_ways() {
    let expected = Ok((Some("a:1".to_owned()), Some(7)));
    let body = "endpoint: a:1\nsamplingRatePerMillion: 7\n";
    let cases = [
        format!("{HEAD}{body}"),
        format!("\u{feff}{HEAD}{body}"),
        format!("{HEAD}{body}").replace('\n', "\r\n"),
        format!("---\n{HEAD}{body}"),
        format!("# c\n---\n{HEAD}{body}...\n"),
        format!("{HEAD}endpoint: \"a:1\"\nsamplingRatePerMillion: 7.0"),
        format!("{HEAD}endpoint: &e 'a:1'\nsamplingRatePerMillion: 0x7"),
        format!("{{{JSON_HEAD},\"endpoint\":\"a:1\",\"samplingRatePerMillion\":7}}"),
        format!("{{\n\t{JSON_HEAD},\n\t\"endpoint\":\"a:1\",\n\t\"samplingRatePerMillion\":7\n}}"),
    ];
    for text in cases {
        assert_eq!(yaml(&text), expected, "{text:?}");
    }
    let text = format!("{{{JSON_HEAD},\"samplingRatePerMillion\":7,\"endpoint\":\"a:1\"}}");
    assert_eq!(json(&text), expected);
}

#[test]
fn null_and_missing_values_are_the_same() {
    for line in ["endpoint: null", "endpoint:", "samplingRatePerMillion: ~"] {
        assert_eq!(field(line), Ok((None, None)), "{line}");
    }
    assert_eq!(json(&format!("{{{JSON_HEAD},\"endpoint\":null}}")), Ok((None, None)));
}

#[test]
fn wrong_kinds_and_versions_are_refused() {
    let api = "apiserver.config.k8s.io";
    let cases = [
        ("apps/v1", "DaemonSet"),
        ("apiserver.config.k8s.io/v2", "TracingConfiguration"),
        ("v1", "TracingConfiguration"),
        ("apiserver.config.k8s.io/v1", "tracingConfiguration"),
        ("apiserver.config.k8s.io/v1", "AdmissionConfiguration"),
    ];
    for (version, kind) in cases {
        assert_eq!(
            decode_error(&format!("apiVersion: {version}\nkind: {kind}\nspec: {{a: [b]}}\n")),
            format!(
                "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"{api}\""
            ),
        );
    }
    assert_eq!(
        decode_error("apiVersion: a/b/c\nkind: X\n"),
        "unexpected GroupVersion string: a/b/c"
    );
}

#[test]
fn the_head_is_required_where_there_is_any_field() {
    let api_version = "apiVersion: Required value: such as apiserver.config.k8s.io/v1";
    let kind = "kind: Required value: such as TracingConfiguration";
    let cases = [
        ("endpoint: a:1\n", format!("[{api_version}, {kind}]")),
        ("kind: TracingConfiguration\n", api_version.to_owned()),
        ("apiVersion: \"\"\nkind: TracingConfiguration\n", api_version.to_owned()),
        ("apiVersion: apiserver.config.k8s.io/v1\n", kind.to_owned()),
        ("kind: null\napiVersion: apiserver.config.k8s.io/v1\n", kind.to_owned()),
        (
            "apiVersion: 1\nkind: [a]\n",
            "[apiVersion: Invalid value: 1: must be a string, not a number, \
             kind: Invalid value: [...]: must be a string, not a list]"
                .to_owned(),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(
            yaml(text),
            Err(format!("failed to validate tracing configuration: {expected}")),
            "{text:?}"
        );
    }
}

#[test]
fn unknown_and_duplicate_fields_are_all_reported() {
    let cases = [
        ("foo: bar\n", r#"unknown field "foo""#),
        ("foo: bar\nbaz: 1\n", r#"unknown field "foo", unknown field "baz""#),
        ("Endpoint: a\n", r#"unknown field "Endpoint""#),
        ("url: a\n", r#"unknown field "url""#),
        ("endpoint: a\nendpoint: b\n", r#"line 4: key "endpoint" already set in map"#),
        (
            "endpoint: a\n\nendpoint: [\n a]\nfoo: 1\n",
            r#"line 5: key "endpoint" already set in map, unknown field "foo""#,
        ),
        ("kind: TracingConfiguration\n", r#"line 3: key "kind" already set in map"#),
        ("foo: 1\nfoo: 2\n", r#"unknown field "foo", line 4: key "foo" already set in map"#),
        ("5: x\n", r#"unknown field "5""#),
    ];
    for (body, expected) in cases {
        assert_eq!(
            decode_error(&format!("{HEAD}{body}")),
            format!("strict decoding error: {expected}"),
            "{body:?}"
        );
    }
    assert_eq!(
        json(&format!("{{{JSON_HEAD},\"endpoint\":\"a\",\"endpoint\":\"b\",\"foo\":{{}}}}")),
        Err("unable to decode tracing configuration data: strict decoding error: duplicate field \
             \"endpoint\", unknown field \"foo\""
            .to_owned()),
    );
    let kep = "apiVersion: apiserver.config.k8s.io/v1\nkind: OpenTelemetryClientConfiguration\n";
    assert_eq!(
        decode_error(&format!("{kep}url: a\nendpoint: b\nsamplingRatePerMillion: 1\n")),
        "strict decoding error: unknown field \"endpoint\", unknown field \
         \"samplingRatePerMillion\"",
    );
}

#[test]
fn values_of_the_wrong_type_are_named() {
    let cases = [
        ("endpoint: 5", "endpoint: Invalid value: 5: must be a string, not a number"),
        ("endpoint: true", "endpoint: Invalid value: true: must be a string, not a boolean"),
        ("endpoint: [a]", "endpoint: Invalid value: [...]: must be a string, not a list"),
        ("endpoint: {a: b}", "endpoint: Invalid value: {...}: must be a string, not a mapping"),
        (
            "samplingRatePerMillion: \"5\"",
            "samplingRatePerMillion: Invalid value: \"5\": must be a whole number, not a string",
        ),
        (
            "samplingRatePerMillion: 1.5",
            "samplingRatePerMillion: Invalid value: 1.5: must be a whole number, not a floating-point number",
        ),
        (
            "samplingRatePerMillion: true",
            "samplingRatePerMillion: Invalid value: true: must be a whole number, not a boolean",
        ),
        // Eight to one version of YAML, ten to another.
        (
            "samplingRatePerMillion: 010",
            "samplingRatePerMillion: Invalid value: \"010\": must be a whole number, not a string",
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(field_error(line), expected, "{line}");
    }
}

#[test]
fn rates_are_checked_as_kubernetes_checks_them() {
    let valid = [("0", 0), ("12378", 12378), ("1000000", 1_000_000), ("1e3", 1000), ("5.0", 5)];
    for (text, rate) in valid {
        let line = format!("samplingRatePerMillion: {text}");
        assert_eq!(field(&line), Ok((None, Some(rate))), "{line}");
    }
    let positive = "sampling rate must be positive";
    let million = "sampling rate per million must be less than or equal to one million";
    let invalid = [
        ("-1", positive),
        ("-2147483649", positive),
        ("1000001", million),
        ("2147483648", million),
        ("100000000000000000000", million),
    ];
    for (text, detail) in invalid {
        assert_eq!(
            field_error(&format!("samplingRatePerMillion: {text}")),
            format!("samplingRatePerMillion: Invalid value: {text}: {detail}"),
        );
    }
    assert!(json(&format!("{{{JSON_HEAD},\"samplingRatePerMillion\":-1}}")).is_err());
}

#[test]
fn every_bad_value_is_reported() {
    let error = TracingConfig::from_yaml(&format!(
        "{HEAD}samplingRatePerMillion: -1\nendpoint: http://x:1\n"
    ))
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to validate tracing configuration: [samplingRatePerMillion: Invalid value: -1: \
         sampling rate must be positive, endpoint: Invalid value: \"http://x:1\": unsupported \
         scheme: http.  Options are none, dns, unix, or unix-abstract.  See \
         https://github.com/grpc/grpc/blob/master/doc/naming.md]"
    );
    let ConfigError::Invalid { errors, .. } = &error else {
        panic!("{error:?}");
    };
    let fields: Vec<_> = errors.iter().map(|e| (e.field(), e.value())).collect();
    assert_eq!(
        fields,
        [("samplingRatePerMillion", Some("-1")), ("endpoint", Some("\"http://x:1\""))]
    );
}

#[test]
fn what_is_set_in_code_is_checked_too() {
    let config = TracingConfig::default()
        .with_url("https://a")
        .with_endpoint("ftp://b")
        .with_sampling_rate_per_million(1_000_001);
    let text = config.validate().unwrap_err().to_string();
    assert!(text.contains("samplingRatePerMillion: Invalid value: 1000001: "), "{text}");
    assert!(
        text.contains("endpoint: Invalid value: \"ftp://b\": unsupported scheme: ftp"),
        "{text}"
    );
    assert_eq!(config.url(), None);
    assert_eq!(config.with_url("c").endpoint(), None);
}

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

#[test]
fn broken_text_is_an_error_with_its_line() {
    let cases: &[(&str, &str)] = &[
        ("apiVersion: apiserver.config.k8s.io/v1\n\tendpoint: a\n", "line"),
        ("a: b: c\n", "line 1"),
        ("apiVersion: [\n", "line"),
        ("apiVersion: *x\n", "line 1"),
        ("? [a]\n: b\n", "line 1"),
        ("[]", "expected a mapping with the fields apiVersion and kind"),
        ("5", "expected a mapping with the fields apiVersion and kind"),
        ("hello", "expected a mapping with the fields apiVersion and kind"),
        ("a: \"\n", "line"),
        ("\0", "line 1"),
    ];
    for (text, part) in cases {
        let error = decode_error(text);
        assert!(error.starts_with("yaml: ") && error.contains(part), "{text:?}: {error}");
    }
    for text in ["{", "[]", "5", "{\"a\":1,}", "{} {}", "{\"a\" 1}", "apiVersion: a"] {
        let error = json(text).unwrap_err();
        assert!(error.contains("data: json: "), "{text:?}: {error}");
    }
}

#[test]
fn a_second_document_is_an_error() {
    let cases = [
        format!("{HEAD}---\n{HEAD}"),
        format!("---\n{HEAD}---\nendpoint: a\n"),
        format!("{HEAD}...\n---\n{HEAD}"),
    ];
    for text in cases {
        let error = decode_error(&text);
        assert!(error.contains("a second document starts here"), "{text:?}: {error}");
    }
}

#[test]
fn hostile_yaml_is_refused_quickly() {
    let deep_flow = format!("{HEAD}endpoint: {}", "[".repeat(100_000));
    let deep_block =
        (0..500).fold(HEAD.to_owned(), |text, depth| format!("{text}{}a:\n", " ".repeat(depth)));
    // The billion laughs: each anchor ten times the one before.
    let laughs = (1..20).fold(format!("{HEAD}a0: &a0 [x]\n"), |text, n| {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        format!("{text}a{n}: &a{n} [{aliases}]\n")
    });
    let many_anchors =
        (0..10_000).fold(HEAD.to_owned(), |text, n| format!("{text}k{n}: &k{n} v\n"));
    let cycle = format!("{HEAD}endpoint: &a [*a]\n");
    let long_key = format!("{HEAD}{}: a\n", "k".repeat(100_000));
    let comments = format!("{}{HEAD}endpoint: [", "# c\n".repeat(200_000));
    for text in [deep_flow, deep_block, laughs, many_anchors, cycle, long_key, comments] {
        let start: String = text.chars().take(120).collect();
        let error = yaml(&text).expect_err(&start);
        assert!(error.len() < 4096, "{start}: {} bytes of error", error.len());
    }
}

#[test]
fn an_error_never_repeats_a_whole_file() {
    let long = "x".repeat(500_000);
    let cases = [
        long.clone(),
        format!("{HEAD}? {long}\n: 1\n"),
        format!("{HEAD}endpoint: http://{long}\n"),
        format!("{HEAD}endpoint: '{long} '\n"),
        format!("{HEAD}samplingRatePerMillion: {long}\n"),
        format!("apiVersion: {long}\nkind: {long}\n"),
        format!("apiVersion: a/b/{long}\nkind: TracingConfiguration\n"),
        format!("{{\"{long}\": ]}}"),
    ];
    for text in cases {
        let error = yaml(&text).unwrap_err();
        assert!(error.len() < 8192, "{} bytes", error.len());
        if let Err(error) = json(&format!("{{{JSON_HEAD},\"endpoint\":\"{text}\"}}")) {
            assert!(error.len() < 8192, "{} bytes", error.len());
        }
    }
    let key = format!("{{\"{long}\":5}}");
    assert!(json(&key).unwrap_err().len() < 8192);
    assert!(json(&format!("\"{long}\"")).unwrap_err().len() < 8192);
}

#[test]
fn hostile_json_is_refused_quickly() {
    let deep = format!("{{{JSON_HEAD},\"endpoint\":{}", "[".repeat(500_000));
    assert!(json(&deep).is_err());
    let many = format!("{{{JSON_HEAD}{}}}", ",\"a\":1".repeat(100_000));
    let error = json(&many).unwrap_err();
    assert!(error.ends_with(", and 99984 more"), "{error}");
}

struct TempFile(std::path::PathBuf);

impl TempFile {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let name = format!("spanbridge-config-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // A file left behind in the system's folder for such files is no reason to fail.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn files_are_read() {
    let empty = TempFile::new("empty.yaml", "");
    assert_eq!(TracingConfig::from_path(&empty.0), Ok(TracingConfig::default()));
    let text = format!("{HEAD}endpoint: 127.0.0.1:4317\n");
    let yaml = TempFile::new("file.yaml", text);
    assert_eq!(TracingConfig::from_path(&yaml.0).unwrap().endpoint(), Some("127.0.0.1:4317"));
    // A pair of escapes for one character, which only JSON has.
    let text = format!("{{{JSON_HEAD},\"endpoint\":\"unix:/\\ud83d\\ude00\"}}");
    let json = TempFile::new("file.json", &text);
    assert_eq!(TracingConfig::from_path(&json.0).unwrap().endpoint(), Some("unix:/😀"));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let absent = "test-tracing-config-absent";
    let cases = [
        ("", "tracing config file was empty"),
        (
            absent,
            "unable to read tracing configuration from \"test-tracing-config-absent\": open \
             test-tracing-config-absent: no such file or directory",
        ),
        ("src", "unable to read tracing configuration from \"src\": read src: is a directory"),
        (
            "Cargo.toml/x",
            "unable to read tracing configuration from \"Cargo.toml/x\": open Cargo.toml/x: not a \
             directory",
        ),
    ];
    for (path, expected) in cases {
        assert_eq!(TracingConfig::from_path(path).unwrap_err().to_string(), expected);
    }
    let error = TracingConfig::from_path(absent).unwrap_err();
    assert!(matches!(error, ConfigError::Read { kind: std::io::ErrorKind::NotFound, .. }));
}

#[test]
fn paths_are_checked_as_flags() {
    for path in ["", "/", "Cargo.toml"] {
        assert_eq!(TracingConfig::check_path(path), Ok(()), "{path}");
    }
    for path in ["/path/doesnt/exist", "Cargo.toml/x"] {
        assert_eq!(
            TracingConfig::check_path(path).unwrap_err().to_string(),
            format!("tracing-config-file {path} does not exist"),
        );
    }
}

#[test]
fn wrong_bytes_and_huge_files_are_refused() {
    let latin = TempFile::new("latin.yaml", b"endpoint: a\xff\n");
    let error = TracingConfig::from_path(&latin.0).unwrap_err().to_string();
    assert!(error.contains("not UTF-8 text: the byte at offset 11"), "{error}");

    // The last character is cut in two by the limit.
    let huge = TempFile::new("huge.yaml", format!("#{}", "é".repeat(MAX_BYTES)));
    let error = TracingConfig::from_path(&huge.0).unwrap_err();
    assert_eq!(error, ConfigError::TooLarge { limit: MAX_BYTES });
    assert!(TracingConfig::from_yaml(&" ".repeat(MAX_BYTES + 1)).is_err());
    assert!(TracingConfig::from_yaml(&" ".repeat(MAX_BYTES)).is_ok());
    #[cfg(unix)]
    assert_eq!(
        TracingConfig::from_path("/dev/zero"),
        Err(ConfigError::TooLarge { limit: MAX_BYTES })
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", body in "[a-z:&*\\[\\]{}!?|>'\"%@`#,\\- \n\t0-9.~<]{0,60}") {
        let _ = TracingConfig::from_yaml(&text);
        let _ = TracingConfig::from_yaml(&body);
        let _ = TracingConfig::from_yaml(&format!("{HEAD}{body}"));
        let _ = TracingConfig::from_json(&text);
        let _ = TracingConfig::from_json(&format!("{{{JSON_HEAD},{body}}}"));
    }

    #[test]
    fn no_endpoint_panics(text in any::<String>(), name in "[a-z0-9:/%@#?.\\[\\]é -]{0,24}") {
        for text in [&text, &name] {
            let _ = url::parse(text);
            let _ = CollectorAddress::from_endpoint(text);
            let _ = CollectorAddress::from_url(text);
        }
    }

    #[test]
    fn what_is_valid_is_read_back(rate in 0u32..=1_000_000, host in "[a-z][a-z0-9]{0,20}", port: u16) {
        prop_assume!(port > 0);
        let endpoint = format!("{host}:{port}");
        let expected = TracingConfig::default()
            .with_endpoint(&endpoint)
            .with_sampling_rate_per_million(rate);
        prop_assert_eq!(expected.validate(), Ok(()));
        let text = format!("{HEAD}endpoint: \"{endpoint}\"\nsamplingRatePerMillion: {rate}\n");
        prop_assert_eq!(TracingConfig::from_yaml(&text), Ok(expected));
    }
}
