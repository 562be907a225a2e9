//! `traceparent`.

use super::harness::{Line, PARENT, TRACE, continues, restarts, services};

/// One request a value.
fn each(values: &[&str]) -> Vec<Vec<Line<'static>>> {
    // The rows are made from text that the tests build; it may live as long as the process.
    values.iter().map(|value| vec![("traceparent", &*String::leak((*value).to_owned()))]).collect()
}

/// A request for each combination that is not [`continued`]; with a tracestate, which then must not
/// be looked at either.
#[track_caller]
fn rejected(values: &[&str]) {
    let mut rows = each(values);
    for row in &mut rows {
        row.push(("tracestate", "foo=1"));
    }
    restarts(rows);
}

#[track_caller]
fn continued(values: &[&str]) {
    continues(each(values).into_iter().map(|row| (row, None)).collect::<Vec<_>>());
}

fn with_version(version: &str) -> String {
    format!("{version}-{TRACE}-{PARENT}-01")
}

fn with_trace(trace: &str) -> String {
    format!("00-{trace}-{PARENT}-01")
}

fn with_parent(parent: &str) -> String {
    format!("00-{TRACE}-{parent}-01")
}

fn with_flags(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

#[test]
fn both_traceparent_and_tracestate_missing() {
    restarts([vec![]]);
}

#[test]
fn traceparent_included_tracestate_missing() {
    continued(&[&with_flags("01"), &with_flags("00")]);
}

#[test]
fn traceparent_duplicated() {
    let (one, other) = (with_trace("12345678901234567890123456789011"), with_trace(TRACE));
    for pair in [[&one, &other], [&other, &other]] {
        let lines = pair.map(|value| ("traceparent", value.as_str()));
        restarts([lines.to_vec()]);
    }
}

#[test]
fn traceparent_header_name() {
    let value = with_flags("01");
    restarts([vec![("trace-parent", value.as_str())], vec![("trace.parent", &value)]]);
}

#[test]
fn traceparent_header_name_valid_casing() {
    let value = with_flags("01");
    let names = ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"];
    continues(names.map(|name| (vec![(name, value.as_str())], None)));
}

#[test]
fn traceparent_version_0x00() {
    rejected(&[&with_flags("01."), &with_flags("01-what-the-future-will-be-like")]);
}

#[test]
fn traceparent_version_0xcc() {
    let future = with_version("cc");
    continued(&[&future, &format!("{future}-what-the-future-will-be-like")]);
    rejected(&[&format!("{future}.what-the-future-will-be-like")]);
}

#[test]
fn traceparent_version_0xff() {
    rejected(&[&with_version("ff")]);
}

#[test]
fn traceparent_version_illegal_characters() {
    rejected(&[&with_version(".0"), &with_version("0.")]);
}

#[test]
fn traceparent_version_too_long() {
    rejected(&[&with_version("000"), &with_version("0000")]);
}

#[test]
fn traceparent_version_too_short() {
    rejected(&[&with_version("0")]);
}

#[test]
fn traceparent_trace_id_all_zero() {
    rejected(&[&with_trace(&"0".repeat(32))]);
}

#[test]
fn traceparent_trace_id_illegal_characters() {
    let (head, tail) = (&TRACE[..31], &TRACE[1..]);
    rejected(&[&with_trace(&format!(".{tail}")), &with_trace(&format!("{head}."))]);
}

#[test]
fn traceparent_trace_id_too_long() {
    let long = "123456789012345678901234567890123";
    rejected(&[&with_trace(long)]);
    for service in services() {
        let call = service.call(&[("traceparent", &with_trace(long))]);
        assert_ne!(call.trace_id, long[1..], "{}", service.layer);
    }
}

#[test]
fn traceparent_trace_id_too_short() {
    rejected(&[&with_trace(&TRACE[..31])]);
}

#[test]
fn traceparent_parent_id_all_zero() {
    rejected(&[&with_parent(&"0".repeat(16))]);
}

#[test]
fn traceparent_parent_id_illegal_characters() {
    let (head, tail) = (&PARENT[..15], &PARENT[1..]);
    rejected(&[&with_parent(&format!(".{tail}")), &with_parent(&format!("{head}."))]);
}

#[test]
fn traceparent_parent_id_too_long() {
    rejected(&[&with_parent("12345678901234567")]);
}

#[test]
fn traceparent_parent_id_too_short() {
    rejected(&[&with_parent(&PARENT[..15])]);
}

#[test]
fn traceparent_trace_flags_illegal_characters() {
    rejected(&[&with_flags(".0"), &with_flags("0.")]);
}

#[test]
fn traceparent_trace_flags_too_long() {
    rejected(&[&with_flags("001")]);
}

#[test]
fn traceparent_trace_flags_too_short() {
    rejected(&[&with_flags("1")]);
}

#[test]
fn traceparent_ows_handling() {
    let value = with_flags("01");
    continued(&[
        &format!(" {value}"),
        &format!("\t{value}"),
        &format!("{value} "),
        &format!("{value}\t"),
        &format!("\t {value} \t"),
    ]);
}
