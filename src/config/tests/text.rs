//! Text that is broken, or made to take long.

use super::*;

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
