//! A counterpart of each of upstream's unit tests (`k8s.io/utils/trace/trace_test.go` and
//! `k8s.io/component-base/tracing/tracing_test.go`), by its name there.
//!
//! What is said of whole blocks is pinned more closely by `golden_tests.rs`.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::legacy::clock::Paused;
use crate::legacy::{TextLog, Trace, component_base, fields};

const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    fn log(&self, verbosity: u8) -> TextLog {
        let writer = self.clone();
        TextLog::builder().with_writer(move || writer.clone()).with_verbosity(verbosity).build()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is printed where `f` is given a root called "root".
fn printed(verbosity: u8, f: impl FnOnce(&Trace, &Paused)) -> String {
    let out = Out::default();
    let clock = Paused::new();
    let root = Trace::new_in(&out.log(verbosity), "root", fields![]);
    f(&root, &clock);
    out.text()
}

fn assert_contains(text: &str, expected: &[&str], unexpected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    for unexpected in unexpected {
        assert!(!text.contains(unexpected), "{unexpected} is in\n{text}");
    }
}

#[test]
fn test_step() {
    for name in ["", "test2"] {
        let text = printed(2, |root, _| {
            root.step(name, fields![]);
            root.log();
        });
        assert_contains(&text, &[&format!("---\"{name}\" 0ms")], &[]);
    }
}

#[test]
fn test_nested_trace() {
    for name in ["", "Inner trace"] {
        let text = printed(2, |root, _| {
            let inner = root.nest(name, fields![]);
            inner.nest(name, fields![]).log();
            inner.log();
            root.log();
        });
        let shown = [format!("]: [\"{name}\" 0ms"), format!("]:  [\"{name}\" 0ms")];
        assert_contains(&text, &[&shown[0], &shown[1]], &[]);
    }
}

#[test]
fn test_total_time() {
    let clock = Paused::new();
    let trace = Trace::new("t", fields![]);
    clock.advance(7 * MS);
    assert_eq!(trace.total_time(), 7 * MS);
    trace.log();
    clock.advance(MS);
    assert_eq!(trace.total_time(), 8 * MS, "it runs on after the end");
}

/// The fixture of two of upstream's tests.
fn fixture(root: &Trace) {
    root.step("msg1", fields!["str" => "text", "int" => 2, "bool" => false]);
    root.step("msg2", fields!["x" => "1"]);
    root.log();
}

#[test]
fn test_log() {
    let three = printed(2, |root, _| {
        for name in ["msg1", "msg2", "msg3"] {
            root.step(name, fields![]);
        }
        root.log();
    });
    assert_contains(&three, &["msg1", "msg2", "msg3"], &[]);

    let out = Out::default();
    fixture(&Trace::new_in(&out.log(2), "Sample Trace", fields!["URL" => "/api", "count" => 3]));
    let formatted = ["URL:/api,count:3", "\"msg1\" str:text,int:2,bool:false", "\"msg2\" x:1"];
    assert_contains(&out.text(), &formatted, &[]);

    for verbosity in [0, 1] {
        assert_eq!(printed(verbosity, |root, _| fixture(root)), "");
    }
}

#[test]
fn test_nested_trace_log() {
    let nested = |root: &Trace| {
        for name in ["msg1", "msg2", "msg3"] {
            root.nest(name, fields!["str" => "text", "int" => 2, "bool" => false]).log();
        }
    };
    let text = printed(2, |root, _| {
        nested(root);
        root.log();
    });
    let expected = ["\"root\"", "\"msg1\" str:text,int:2,bool:false", "msg2", "msg3"];
    assert_contains(&text, &expected, &[]);

    let text = printed(2, |root, _| {
        nested(root);
        for name in ["step1", "step2", "step3"] {
            root.step(name, fields![]);
        }
        root.log();
    });
    assert_contains(&text, &["msg1", "msg2", "msg3", "step1", "step2", "step3"], &[]);

    let text = printed(2, |root, _| {
        let msg1 = root.nest("msg1", fields![]);
        msg1.nest("nested1", fields![]).log();
        msg1.log();
        root.log();
    });
    assert_contains(&text, &["[\"msg1\"", " [\"nested1\""], &[]);
}

#[test]
fn test_log_if_long() {
    // Milliseconds before each step, threshold, steps that are shown.
    let cases: [([u32; 3], u32, &[&str]); 4] = [
        ([10, 990, 0], 500, &["msg2"]),
        ([0, 0, 50], 10, &["msg3"]),
        ([0, 0, 0], 0, &["msg1", "msg2", "msg3"]),
        ([10, 0, 0], 20, &[]),
    ];
    for (delays, threshold, shown) in cases {
        let names = ["msg1", "msg2", "msg3"];
        let text = printed(2, |root, clock| {
            for (delay, name) in delays.into_iter().zip(names) {
                clock.advance(delay * MS);
                root.step(name, fields![]);
            }
            root.log_if_long(threshold * MS);
        });
        let hidden: Vec<_> = names.into_iter().filter(|name| !shown.contains(name)).collect();
        assert_contains(&text, shown, &hidden);
    }
}

/// Runs "inner1" with "inner2" below it for so many milliseconds, within a root that is slow after
/// 200, and takes `root` in all.
fn inner(verbosity: u8, inner1: (u32, u32), inner2: (u32, u32), root_takes: u32) -> String {
    printed(verbosity, |root, clock| {
        let first = root.nest("inner1", fields![]);
        let second = first.nest("inner2", fields![]);
        clock.advance(inner2.0 * MS);
        second.log_if_long(inner2.1 * MS);
        clock.advance(inner1.0.saturating_sub(inner2.0) * MS);
        first.log_if_long(inner1.1 * MS);
        clock.advance(root_takes.saturating_sub(inner1.0.max(inner2.0)) * MS);
        root.log_if_long(200 * MS);
    })
}

#[test]
fn test_log_nested_trace() {
    let surpasses = printed(2, |root, clock| {
        let inner1 = root.nest("inner1", fields![]);
        clock.advance(10 * MS);
        inner1.log_if_long(5 * MS);
        root.log_if_long(200 * MS);
    });
    assert_contains(&surpasses, &["inner1"], &["root"]);

    let only_inner2 = inner(2, (10, 50), (10, 5), 10);
    assert_contains(&only_inner2, &["inner2"], &["root", "inner1"]);

    let around_not_ended = printed(2, |root, clock| {
        let inner1 = root.nest("inner1", fields![]);
        let inner2 = inner1.nest("inner2", fields![]);
        clock.advance(10 * MS);
        inner2.log_if_long(5 * MS);
        root.log_if_long(200 * MS);
    });
    assert_contains(&around_not_ended, &["inner2"], &["root", "inner1"]);

    let without_inner1 = inner(2, (10, 50), (10, 5), 300);
    assert_contains(&without_inner1, &["root", "inner2"], &["inner1"]);

    let both = inner(2, (10, 5), (10, 5), 10);
    assert_contains(&both, &["inner1", "inner2"], &["root"]);

    let at_verbosity_4 = inner(4, (10, 5), (10, 200), 10);
    assert_contains(&at_verbosity_4, &["inner1", "inner2"], &["root"]);
    assert_contains(&inner(2, (10, 5), (10, 200), 10), &["inner1"], &["root", "inner2"]);
}

// TestStepThreshold: `step_thresholds_are_upstreams` in text_tests.rs.

#[test]
fn test_parent_ended_before_child() {
    const THREADS: usize = 8;
    const EACH: usize = 125;
    let out = Out::default();
    let parent = Trace::new_in(&out.log(2), "foo", fields![]);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let child = parent.nest("bar", fields![]);
                    child.step("hello", fields![]);
                    child.log_if_long(Duration::ZERO);
                }
            });
        }
        parent.step("world", fields![]);
        parent.log_if_long(Duration::ZERO);
    });
    // Printed again, now that all have ended.
    parent.log();
    let text = out.text();
    assert_eq!(text.matches("] END\n").count(), 2);
    let second = &text[text.find("] END\n").unwrap()..];
    assert_eq!(second.matches("[\"bar\"").count(), THREADS * EACH);
    assert_eq!(second.matches("---\"hello\"").count(), THREADS * EACH);
    assert_eq!(second.matches("---\"world\"").count(), 1);
    assert!(!second.contains("unfinished"), "{second}");
}

#[test]
fn test_context() {
    let out = Out::default();
    out.log(2).in_scope(|| {
        let trace1 = Trace::current().nest("op1", fields![]);
        trace1.in_scope(|| Trace::current().nest("op2", fields![]).log());
        trace1.log();
    });
    let text = out.text();
    assert!(text.contains(": \"op1\" (") && text.contains(": [\"op2\" "), "{text}");
}

#[test]
fn example_trace_step() {
    let text = printed(2, |root, clock| {
        clock.advance(5 * MS);
        root.step("reticulated splines", fields![]);
        clock.advance(10 * MS);
        root.step("sequenced particles", fields![]);
        root.log();
    });
    let expected = ["(total time: 15ms)", "splines\" 5ms (", "particles\" 10ms (", "[15ms] [15ms]"];
    assert_contains(&text, &expected, &[]);
}

// TestOpenTelemetryTracing: `bridge_feeds_span_and_text` in tests/legacy.rs.

#[test]
fn test_util_tracing() {
    let out = Out::default();
    out.log(2).in_scope(|| {
        let span = component_base::start("frobber", fields!["foo" => "bar"]);
        span.in_scope(|| {
            let inner = component_base::start("nested child span", fields!["baz" => "qux"]);
            inner.add_event("reticulated splines", fields!["should I do it?" => false]);
            inner.end(Duration::ZERO);
        });
        assert_eq!(out.text(), "", "nothing is printed before the root ends");
        span.add_event("sequenced particles", fields!["inches in foot" => 12]);
        span.end(Duration::ZERO);
    });
    let expected = [
        "\"frobber\" foo:bar",
        "[\"nested child span\" baz:qux",
        "---\"reticulated splines\" should I do it?:false",
        "---\"sequenced particles\" inches in foot:12",
    ];
    assert_contains(&out.text(), &expected, &[]);
}

#[test]
fn test_context_no_panic() {
    let span = component_base::span_from_context();
    span.add_event("nobody listens", fields!["k" => 1]);
    span.record_error(&io::Error::other("nobody"), fields![]);
    span.in_scope(|| component_base::span_from_context().end(Duration::ZERO));
    span.end(Duration::ZERO);
}
