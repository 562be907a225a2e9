//! When a span ends, and with what.

use super::*;

#[test]
fn a_span_ends_when_it_is_left_last() {
    // 1. A request is handled in 10 ms, in two polls.
    // 2. A task it has spawned keeps it open for another second.
    let log = Log::default();
    let stats = log.run(log.layer().build(), || {
        let request = info_span!("request");
        request.in_scope(|| log.wait(5));
        let task = info_span!(parent: &request, "task", slow_after_ms = 500);
        request.in_scope(|| log.wait(5));
        drop(request);
        task.in_scope(|| log.wait(1_000));
    });
    log.assert(&[r#""task" (22-Nov-2025 07:30:00.128) (total time: 1005ms):
[1.005s] [1.005s] END"#]);
    assert_eq!(stats.live(), 0);
}

#[test]
fn a_child_that_outlives_its_slow_root_is_shown_with_it() {
    let log = Log::default();
    log.run(log.layer().build(), || {
        let root = info_span!("root");
        root.in_scope(|| log.wait(100));
        let child = info_span!(parent: &root, "child");
        drop(root);
        log.assert(&[]);
        child.in_scope(|| log.wait(50));
    });
    log.assert(&[r#""root" (22-Nov-2025 07:30:00.123) (total time: 100ms):
["child" 50ms (07:30:00.223)]
[100ms] [100ms] END"#]);
}

#[test]
fn a_span_that_is_never_entered_ends_when_it_closes() {
    let log = Log::default();
    log.run(log.layer().build(), || {
        let root = info_span!("root");
        log.wait(150);
        drop(root);
    });
    log.assert(&[r#""root" (22-Nov-2025 07:30:00.123) (total time: 150ms):
[150ms] [150ms] END"#]);
}
