//! Which files are read: kinds, versions, and ways to write the same.

use super::*;

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
