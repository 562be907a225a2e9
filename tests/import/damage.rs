//! Damage and mixtures as they are found in the wild, each told of where it is; and what only looks
//! like them, which is not.

use serde_json::Value;

use crate::command::{Ran, import_from};
use crate::problems::reported;

const FIRST: &str = "Trace[77]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 600ms):";
const STEP: &str = "Trace[77]: ---\"step\" 500ms (11:12:14.500)";
const END: &str = "Trace[77]: [600ms] [600ms] END";
const HEADER: &str = "I0310 11:12:14.600000 60 trace.go:236] ";

fn tree(text: &str) -> Ran {
    import_from(&["-t", "tree", "--strict", "-"], text.as_bytes())
}

fn is_whole(text: &str) -> Ran {
    let ran = tree(text);
    assert_eq!(ran.code, 0, "{text}{}", ran.stderr);
    assert!(ran.stdout.contains("x 600ms"), "{text}{}", ran.stdout);
    assert!(ran.stdout.contains("* +500ms step"), "{text}{}", ran.stdout);
    ran
}

fn is_incomplete(text: &str, lines: &[u64]) -> Ran {
    let ran = tree(text);
    assert_eq!((ran.code, reported(&ran).as_slice()), (3, lines), "{text}{}", ran.stderr);
    assert_eq!(ran.stdout.matches("spanbridge.incomplete=true").count(), 1, "{}", ran.stdout);
    ran
}

/// As Docker writes it.
fn docker(text: &str) -> String {
    let text = Value::from(format!("{text}\n"));
    format!("{{\"log\":{text},\"stream\":\"stderr\",\"time\":\"2025-03-10T11:12:14.6Z\"}}")
}

fn cri(text: &str) -> String {
    format!("2025-03-10T11:12:14.6Z stderr F {text}")
}

#[test]
fn a_line_that_got_into_a_value_is_told_of() {
    let cut =
        "Trace[77]: ---\"step\" len:I0310 11:12:14.500000 1 y.go:1] other\n4 5ms (11:12:14.005)";
    let ran = is_incomplete(&format!("{FIRST}\n{cut}\n{END}\n"), &[2, 3]);
    assert!(!ran.stdout.contains("other"), "{}", ran.stdout);
}

#[test]
fn a_letter_alone_is_no_damage() {
    for letters in ["T", "Tr"] {
        is_whole(&format!("{FIRST}\n{letters}\n{STEP}\n{END}\n"));
    }
}

#[test]
fn the_first_line_of_2015_is_known_without_a_whole_name() {
    for damaged in ["Trace \"List (started 2016-03-31 10:42:16.7 +0200 CEST):"] {
        let text =
            format!("{HEADER}{damaged}\n[10ms] [10ms] About to convert\n[107ms] [1ms] END\n");
        let ran = tree(&text);
        assert_eq!((ran.code, reported(&ran)), (3, vec![1]), "{}", ran.stderr);
    }
}
