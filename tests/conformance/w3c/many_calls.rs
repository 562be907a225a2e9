//! Several calls out of one request, and what level 2 adds.

use std::collections::HashSet;

use super::harness::{Call, Line, PARENT, TRACE, services};

fn distinct(calls: &[Call], part: impl Fn(&Call) -> &str) -> HashSet<&str> {
    calls.iter().map(part).collect()
}

/// Three calls for one request; gives the trace ids of each service's.
fn trace_ids_of_three_calls(lines: &[Line<'_>]) -> Vec<HashSet<String>> {
    services()
        .map(|service| {
            let calls = service.calls(lines, 3);
            // Where nothing is recorded our calls share the id of the request's one span.
            let sampled = calls.iter().all(|call| call.flags & 1 == 1);
            let ids = if sampled { 3 } else { 1 };
            assert_eq!(distinct(&calls, |call| &call.parent_id).len(), ids, "{}", service.layer);
            assert!(calls.iter().all(|call| call.parent_id != PARENT));
            distinct(&calls, |call| &call.trace_id).into_iter().map(str::to_owned).collect()
        })
        .collect()
}

#[test]
fn multiple_requests_with_valid_traceparent() {
    let line = format!("00-{TRACE}-{PARENT}-01");
    for ids in trace_ids_of_three_calls(&[("traceparent", &line)]) {
        assert_eq!(ids, HashSet::from([TRACE.to_owned()]));
    }
}

#[test]
fn multiple_requests_without_traceparent() {
    for ids in trace_ids_of_three_calls(&[]) {
        assert_eq!(ids.len(), 1, "all calls of a handler are of one trace");
    }
}

#[test]
fn multiple_requests_with_illegal_traceparent() {
    let zero = "0".repeat(32);
    let line = format!("00-{zero}-{PARENT}-01");
    for ids in trace_ids_of_three_calls(&[("traceparent", &line)]) {
        assert!(ids.len() == 1 && !ids.contains(&zero), "{ids:?}");
    }
}

#[test]
fn propagates_random_flag() {
    for flags in [0b00, 0b01, 0b10, 0b11] {
        let line = format!("00-{TRACE}-{PARENT}-{flags:02x}");
        for service in services() {
            let call = service.call(&[("traceparent", &line)]);
            assert_eq!(call.trace_id, TRACE, "{}", service.layer);
            assert_ne!(call.parent_id, PARENT, "{}", service.layer);
            assert_eq!(call.flags, flags, "{}", service.layer);
        }
    }
}
