//! Fields that are unknown, given twice, or of wrong values.

use super::*;

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
