//! `tracestate`.

use super::harness::{Line, TRACEPARENT, continues, restarts};

/// The header lines of a request with a traceparent and these values of tracestate.
fn lines<'a>(values: &[&'a str]) -> Vec<Line<'a>> {
    let states = values.iter().map(|value| ("tracestate", *value));
    std::iter::once(("traceparent", TRACEPARENT)).chain(states).collect()
}

#[track_caller]
fn inherited(values: &[&str], expected: &str) {
    continues([(lines(values), Some(expected))]);
}

/// The trace goes on, without the tracestate.
#[track_caller]
fn discarded(values: &[&str]) {
    continues([(lines(values), None)]);
}

#[test]
fn tracestate_included_traceparent_missing() {
    restarts([vec![("tracestate", "foo=1")], vec![("tracestate", "foo=1,bar=2")]]);
}

#[test]
fn tracestate_included_traceparent_included() {
    inherited(&["foo=1,bar=2"], "foo=1,bar=2");
}

#[test]
fn tracestate_header_name() {
    let parent = ("traceparent", TRACEPARENT);
    continues(["trace-state", "trace.state"].map(|name| (vec![parent, (name, "foo=1")], None)));
}

#[test]
fn tracestate_header_name_valid_casing() {
    let parent = ("traceparent", TRACEPARENT);
    continues(
        ["TraceState", "TrAcEsTaTe", "TRACESTATE"]
            .map(|name| (vec![parent, (name, "foo=1")], Some("foo=1"))),
    );
}

#[test]
fn tracestate_empty_header() {
    discarded(&[""]);
    inherited(&["foo=1", ""], "foo=1");
    inherited(&["", "foo=1"], "foo=1");
}

#[test]
fn tracestate_multiple_headers_different_keys() {
    inherited(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], "foo=1,bar=2,rojo=1,congo=2,baz=3");
}

/// The specification lets them be kept as they are, and so they are.
#[test]
fn tracestate_duplicated_keys() {
    inherited(&["foo=1,foo=1"], "foo=1,foo=1");
    inherited(&["foo=1,foo=2"], "foo=1,foo=2");
    inherited(&["foo=1", "foo=1"], "foo=1,foo=1");
    inherited(&["foo=1", "foo=2"], "foo=1,foo=2");
}

#[test]
fn tracestate_all_allowed_characters() {
    let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
    let value: String = (' '..='~').filter(|c| !matches!(c, ',' | '=')).collect();
    for key in [key, &format!("{key}@a-z0-9_-*/")] {
        let member = format!("{key}={value}");
        inherited(&[&member], &member);
    }
}

#[test]
fn tracestate_ows_handling() {
    for value in ["foo=1 \t , \t bar=2, \t baz=3", "foo=1\t \t,\t \tbar=2,\t \tbaz=3"] {
        inherited(&[value], "foo=1,bar=2,baz=3");
    }
    for value in [" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t"] {
        inherited(&[value], "foo=1");
    }
}

#[test]
fn tracestate_key_illegal_characters() {
    for value in ["foo =1", "FOO=1", "foo.bar=1"] {
        discarded(&[value]);
    }
}

/// At signs are a part of level 2's grammar like any other character but at a key's start.
#[test]
fn tracestate_key_illegal_vendor_format() {
    for value in ["foo@=1,bar=2", "foo@@bar=1,bar=2", "foo@bar@baz=1,bar=2"] {
        inherited(&[value], value);
    }
    discarded(&["@foo=1,bar=2"]);
}

#[test]
fn tracestate_member_count_limit() {
    let lines_of = |count: usize| -> Vec<String> {
        let members: Vec<_> = (1..=count).map(|i| format!("bar{i:02}={i:02}")).collect();
        members.chunks(10).map(|line| line.join(",")).collect()
    };
    let fits = lines_of(32);
    let fits: Vec<_> = fits.iter().map(String::as_str).collect();
    inherited(&fits, &fits.join(","));
    let too_many = lines_of(33);
    discarded(&too_many.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn tracestate_key_length_limit() {
    let z = |len: usize| "z".repeat(len);
    let keys = [
        z(256),
        format!("{}@{}", z(241), "v".repeat(14)),
        format!("{}@v", z(242)),
        format!("t@{}", "v".repeat(15)),
    ];
    for key in keys {
        let member = format!("{key}=1");
        inherited(&["foo=1", &member], &format!("foo=1,{member}"));
    }
    discarded(&["foo=1", &format!("{}=1", z(257))]);
}

#[test]
fn tracestate_value_illegal_characters() {
    discarded(&["foo=bar=baz"]);
    discarded(&["foo=,bar=3"]);
}
