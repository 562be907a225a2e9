//! What a slow tree is printed with.

use super::*;

#[test]
fn a_slow_tree_is_printed_with_what_took_its_share() {
    let log = Log::default();
    let stats = log.run(log.layer().build(), || {
        let list = info_span!("List", url = "/api/v1/pods", limit = 500_u64, ratio = 0.5);
        let _list = list.enter();
        log.wait(2);
        info!("quick step");
        let etcd = info_span!("List etcd3", key = %"/pods").entered();
        log.wait(60);
        info!(count = 3, "range done");
        log.wait(1);
        drop(etcd);
        info_span!("quick span").in_scope(|| log.wait(1));
        log.wait(100);
        info!("Writing http response done");
    });
    log.assert(&[r#""List" url:/api/v1/pods,limit:500,ratio:0.5 (22-Nov-2025 07:30:00.123) (total time: 164ms):
["List etcd3" key:/pods 61ms (07:30:00.125)
 ---"range done" count:3 60ms (07:30:00.185)]
---"Writing http response done" 100ms (07:30:00.287)
[164ms] [164ms] END"#]);
    assert_eq!((stats.printed(), stats.live()), (1, 0));
}

#[test]
fn what_is_not_shown_counts_all_the_same() {
    // 1. Nine spans take just less than their share.
    // 2. A step comes right after, and one that is quick as well.
    let log = Log::default();
    log.run(log.layer().build(), || {
        let _root = info_span!("root").entered();
        for _ in 0..9 {
            info_span!("quick").in_scope(|| log.wait(8));
        }
        info!("at once");
        log.wait(40);
        info!("after a while");
    });
    log.assert(&[r#""root" (22-Nov-2025 07:30:00.123) (total time: 112ms):
---"after a while" 40ms (07:30:00.235)
[112ms] [112ms] END"#]);
}

#[test]
fn all_steps_are_printed_if_asked_for() {
    let log = Log::default();
    log.run(log.layer().with_all_steps(true).build(), || {
        let _root = info_span!("root").entered();
        info!("quick");
        info_span!("nested").in_scope(|| warn!(answer = 42, "within"));
        log.wait(100);
    });
    log.assert(&[r#""root" (22-Nov-2025 07:30:00.123) (total time: 100ms):
---"quick" 0ms (07:30:00.123)
["nested" 0ms (07:30:00.123)
 ---"within" answer:42,level:WARN 0ms (07:30:00.123)]
[100ms] [100ms] END"#]);
}

#[test]
fn warnings_and_errors_are_kept() {
    let log = Log::default();
    log.run(log.layer().with_max_tree_items(12).build(), || {
        let _root = info_span!("root").entered();
        warn!(attempt = 1, "retrying");
        info_span!("quick").in_scope(|| error!("refused"));
        for _ in 0..20 {
            info_span!("quick and fine").in_scope(|| info!("connected"));
        }
        log.wait(100);
    });
    let texts = log.texts.lock().unwrap();
    let expected = r#"(total time: 100ms):
---"retrying" attempt:1,level:WARN 0ms (07:30:00.123)
["quick" 0ms (07:30:00.123)
 ---"refused" level:ERROR 0ms (07:30:00.123)]
[100ms] [100ms] END"#;
    assert!(texts[0].trim_end().ends_with(expected), "{}", texts[0]);
}

#[test]
fn an_error_is_kept_where_its_span_kept_its_threshold() {
    let log = Log::default();
    log.run(log.layer().build(), || {
        let _root = info_span!("root").entered();
        info_span!("quick", slow_after_ms = 60).in_scope(|| error!("refused"));
        info_span!("fine", slow_after_ms = 10).in_scope(|| info!("connected"));
        log.wait(100);
    });
    let texts = log.texts.lock().unwrap();
    let expected = r#"
 ---"refused" level:ERROR 0ms (07:30:00.123)]
[100ms] [100ms] END"#;
    assert!(texts[0].contains("[\"quick\" "), "{}", texts[0]);
    assert!(texts[0].trim_end().ends_with(expected), "{}", texts[0]);
    assert!(!texts[0].contains("fine"), "{}", texts[0]);
}

#[test]
fn a_quick_tree_is_not_printed() {
    let log = Log::default();
    let stats = log.run(log.layer().build(), || {
        info_span!("quick").in_scope(|| {
            log.wait(99);
            error!("what happens in it does not matter");
        });
    });
    log.assert(&[]);
    assert_eq!((stats.printed(), stats.suppressed(), stats.live()), (0, 0, 0));
}

#[test]
fn late_values_replace_earlier_ones() {
    let log = Log::default();
    log.run(log.layer().build(), || {
        let span = info_span!("provisional", otel.name = tracing::field::Empty, a = 1, b = false);
        span.record("a", 2);
        span.record("otel.name", "GET /pods/{name}");
        let _span = span.entered();
        log.wait(100);
    });
    log.assert(&[
        r#""GET /pods/{name}" a:2,b:false (22-Nov-2025 07:30:00.123) (total time: 100ms):
[100ms] [100ms] END"#,
    ]);
}

#[test]
fn what_a_span_follows_from_is_a_field() {
    let log = Log::default();
    log.run(log.layer().build(), || {
        let cause = info_span!("cause", otel.name = "real cause");
        let other = info_span!("other");
        let span = info_span!("effect");
        span.follows_from(&cause);
        span.follows_from(&other);
        span.follows_from(&span);
        let closed = info_span!("closed").id();
        span.follows_from(closed);
        let _span = span.entered();
        drop((cause, other));
        log.wait(100);
    });
    log.assert(&[
        r#""effect" follows_from:real cause (22-Nov-2025 07:30:00.123) (total time: 100ms):
[100ms] [100ms] END"#,
    ]);
}

#[test]
fn an_event_without_a_message_has_its_callsites_name() {
    let log = Log::default();
    log.run(log.layer().with_all_steps(true).build(), || {
        let _span = info_span!("span").entered();
        tracing::event!(name: "retried", Level::INFO, attempt = 2);
        log.wait(100);
    });
    log.assert(&[r#""span" (22-Nov-2025 07:30:00.123) (total time: 100ms):
---"retried" attempt:2 0ms (07:30:00.123)
[100ms] [100ms] END"#]);
}
