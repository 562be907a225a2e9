//! Who is slow, alone or within another.

use super::*;

#[test]
fn a_root_has_the_threshold_of_its_field_or_target() {
    let log = Log::default();
    let layer = log
        .layer()
        .with_target_threshold("reports", Duration::from_millis(300))
        .with_target_threshold("reports::quick", Duration::from_millis(20))
        .with_all_steps(true)
        .build();
    log.run(layer, || {
        info_span!(target: "reports", "not slow").in_scope(|| log.wait(200));
        info_span!(target: "reports::yearly", "slow report").in_scope(|| log.wait(300));
        info_span!(target: "reports::quick", "slow for a quick one").in_scope(|| log.wait(20));
        info_span!(target: "reports", "own", slow_after_ms = 10).in_scope(|| log.wait(10));
        let late = info_span!("late", slow_after_ms = tracing::field::Empty);
        late.in_scope(|| log.wait(30));
        late.record("slow_after_ms", 30_u64);
        drop(late);
        info_span!("never mind", slow_after_ms = 10_000).in_scope(|| log.wait(9_000));
    });
    let names: Vec<_> = log.texts.lock().unwrap().iter().map(|text| text[..7].to_owned()).collect();
    assert_eq!(names, [r#""slow r"#, r#""slow f"#, r#""own" ("#, r#""late" "#]);
}

#[test]
fn a_slow_span_below_a_quick_root_is_printed_by_itself() {
    let log = Log::default();
    let layer = log.layer().with_target_threshold("db", Duration::from_millis(5)).build();
    let stats = log.run(layer, || {
        let _root = info_span!("root").entered();
        info_span!("not measured").in_scope(|| log.wait(20));
        let _between = info_span!("between").entered();
        info_span!(target: "db", "first", slow_after_ms = 3).in_scope(|| {
            log.wait(3);
            info!("answered");
        });
        info_span!(target: "db", "not slow").in_scope(|| log.wait(4));
        info_span!(target: "db", "second").in_scope(|| {
            info_span!("nested").in_scope(|| log.wait(5));
        });
    });
    log.assert(&[
        r#""first" (22-Nov-2025 07:30:00.143) (total time: 3ms):
---"answered" 3ms (07:30:00.146)
[3ms] [3ms] END"#,
        r#""second" (22-Nov-2025 07:30:00.150) (total time: 5ms):
["nested" 5ms (07:30:00.150)]
[5ms] [5ms] END"#,
    ]);
    assert_eq!(stats.printed(), 2);
}

#[test]
fn a_span_below_a_slow_root_is_left_out_if_it_kept_its_own_threshold() {
    let log = Log::default();
    log.run(log.layer().build(), || {
        let _root = info_span!("root").entered();
        info_span!("allowed to", slow_after_ms = 80).in_scope(|| {
            log.wait(70);
            // Takes the place of the one around it.
            info_span!("not allowed to", slow_after_ms = 5).in_scope(|| log.wait(5));
        });
        log.wait(30);
    });
    log.assert(&[r#""root" (22-Nov-2025 07:30:00.123) (total time: 105ms):
["not allowed to" 5ms (07:30:00.193)]
[105ms] [105ms] END"#]);
}
