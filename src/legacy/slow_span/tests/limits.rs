//! What does not fit is counted and told.

use super::*;

#[test]
fn what_does_not_fit_is_counted_and_told() {
    let log = Log::default();
    let layer = log.layer().with_max_tree_items(3).with_all_steps(true).build();
    log.run(layer, || {
        let _root = info_span!("root", n = 1).entered();
        info!("kept");
        let nested = info_span!("kept too").entered();
        info!("lost");
        info_span!("lost").in_scope(|| log.wait(50));
        drop(nested);
        log.wait(50);
    });
    log.assert(&[
        r#""root" n:1,slow.not_recorded:2 (22-Nov-2025 07:30:00.123) (total time: 100ms):
---"kept" 0ms (07:30:00.123)
["kept too" 50ms (07:30:00.123)]
[100ms] [100ms] END"#,
    ]);
}

#[test]
fn a_span_that_does_not_fit_is_measured_by_itself() {
    // A root that stays open holds as much as it may; what then starts within it is slow.
    let log = Log::default();
    let stats = log.run(log.layer().with_max_tree_items(2).build(), || {
        let _connection = info_span!("connection").entered();
        info_span!("first").in_scope(|| log.wait(100));
        let second = info_span!("second").entered();
        info_span!("within").in_scope(|| log.wait(100));
        drop(second);
        log.assert(&[r#""second" (22-Nov-2025 07:30:00.223) (total time: 100ms):
["within" 100ms (07:30:00.223)]
[100ms] [100ms] END"#]);
    });
    assert_eq!((stats.printed(), stats.live()), (2, 0));
}

#[test]
fn quick_spans_make_room_for_slow_ones() {
    let log = Log::default();
    log.run(log.layer().with_max_tree_items(10).build(), || {
        let _root = info_span!("root").entered();
        for _ in 0..100 {
            info_span!("quick").in_scope(|| info!("within"));
        }
        info_span!("slow").in_scope(|| log.wait(100));
    });
    let texts = log.texts.lock().unwrap();
    assert!(texts[0].contains(r#"["slow" 100ms"#), "{}", texts[0]);
    // All 200 but the last few, which were not in the way.
    let lost: u64 = texts[0].split("slow.not_recorded:").nth(1).unwrap()[..3].parse().unwrap();
    assert!((190..=200).contains(&lost), "{lost}");
}

#[test]
fn the_bytes_of_a_tree_are_bounded() {
    let log = Log::default();
    let layer = log.layer().with_max_tree_bytes(4_096).with_all_steps(true).build();
    log.run(layer, || {
        let root = info_span!("root", late = tracing::field::Empty);
        let _root = root.enter();
        for _ in 0..100 {
            info!(text = "x".repeat(500), "event");
        }
        root.record("late", "y".repeat(2_000));
        log.wait(100);
    });
    let texts = log.texts.lock().unwrap();
    assert!(texts[0].len() < 4_096, "{}", texts[0]);
    let kept = texts[0].matches("---").count();
    assert!((2..8).contains(&kept), "{kept}");
    assert!(texts[0].contains(&format!("slow.not_recorded:{}", 101 - kept)), "{}", texts[0]);
}

#[test]
fn trees_beyond_the_limit_are_counted_and_told() {
    let log = Log::default();
    let stats = log.run(log.layer().with_max_trees(2).build(), || {
        let first = info_span!("first");
        let second = info_span!("second");
        let third = info_span!("third");
        // Not roots of their own.
        third.in_scope(|| info_span!("child").in_scope(|| info_span!("grandchild")));
        log.wait(100);
        drop(third);
        drop(first);
        let fourth = info_span!("fourth");
        log.wait(100);
        drop((second, fourth));
    });
    let texts = log.texts.lock().unwrap();
    let first: Vec<_> = texts.iter().filter_map(|text| text.split(" (").next()).collect();
    assert_eq!(first, [r#""first" slow.unwatched_trees:1"#, r#""second""#, r#""fourth""#]);
    assert_eq!((stats.unwatched(), stats.live()), (1, 0));
}

#[test]
fn what_is_within_an_unwatched_root_is_no_root_once_all_else_is_over() {
    let log = Log::default();
    let stats = log.run(log.layer().with_max_trees(1).build(), || {
        let watched = info_span!("watched");
        let unwatched = info_span!("unwatched");
        drop(watched);
        unwatched.in_scope(|| info_span!("child").in_scope(|| log.wait(100)));
        drop(unwatched);
        info_span!("next").in_scope(|| log.wait(100));
    });
    let texts = log.texts.lock().unwrap();
    let names: Vec<_> = texts.iter().filter_map(|text| text.split(" (").next()).collect();
    assert_eq!(names, [r#""next" slow.unwatched_trees:1"#]);
    assert_eq!((stats.unwatched(), stats.live()), (1, 0));
}

#[test]
fn the_rate_is_limited_and_told() {
    let log = Log::default();
    let layer = log.layer().with_rate_limit(2, Duration::from_secs(10)).build();
    let stats = log.run(layer, || {
        for _ in 0..5 {
            info_span!("slow").in_scope(|| log.wait(100));
        }
        log.wait(10_000);
        info_span!("later").in_scope(|| log.wait(100));
    });
    let texts = log.texts.lock().unwrap();
    let names: Vec<_> = texts.iter().filter_map(|text| text.split(" (").next()).collect();
    assert_eq!(names, [r#""slow""#, r#""slow""#, r#""later" slow.suppressed_trees:3"#]);
    assert_eq!((stats.printed(), stats.suppressed()), (3, 3));
}
