use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::{Level, debug_span, error, info, info_span, warn};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::prelude::*;

use super::clock::{Clock, Manual};
use super::threshold::Thresholds;
use super::{SlowSpanLayer, SlowSpanLayerBuilder, SlowSpanStats};

/// Texts in place of a log, under a clock that is moved by hand.
#[derive(Clone, Default)]
struct Log {
    clock: Manual,
    texts: Arc<Mutex<Vec<String>>>,
}

impl Log {
    /// A root is slow from 100 ms on.
    fn layer(&self) -> SlowSpanLayerBuilder {
        let texts = Arc::clone(&self.texts);
        let mut builder = SlowSpanLayer::builder()
            .with_utc(true)
            .with_callback(move |slow| texts.lock().unwrap().push(normalised(slow.text())));
        builder.clock = Clock::Manual(self.clock.clone());
        // The target of these tests is below the one that is ignored.
        builder.thresholds = Thresholds::new(Duration::from_millis(100), "slow_after_ms");
        builder
    }

    fn wait(&self, millis: u64) {
        self.clock.advance(millis);
    }

    fn run(&self, layer: SlowSpanLayer, f: impl FnOnce()) -> SlowSpanStats {
        let stats = layer.stats();
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, f);
        stats
    }

    #[track_caller]
    fn assert(&self, expected: &[&str]) {
        let texts = self.texts.lock().unwrap();
        let texts: Vec<&str> = texts.iter().map(|text| text.trim_end()).collect();
        assert_eq!(texts, expected, "\n{}\n", texts.join("\n\n"));
    }
}

/// Without the number that begins each line.
fn normalised(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let (number, line) = line.split_once("]: ").unwrap();
        assert!(number.strip_prefix("Trace[").unwrap().parse::<u32>().unwrap() < 1 << 31);
        lines.push_str(line);
        lines.push('\n');
    }
    lines
}

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

#[test]
fn an_ignored_target_is_passed_over() {
    let log = Log::default();
    let layer =
        log.layer().with_ignored_target("noise").with_max_level(Level::INFO).with_all_steps(true);
    let stats = log.run(layer.build(), || {
        info_span!(target: "noise", "noisy root").in_scope(|| {
            let _real = info_span!("real root").entered();
            info_span!(target: "noise::below", "noisy").in_scope(|| {
                info!(target: "noise", "not shown");
                info!("shown");
                debug_span!("detail").in_scope(|| info_span!("real child"));
                tracing::debug!("detail");
            });
            log.wait(100);
        });
    });
    log.assert(&[r#""real root" (22-Nov-2025 07:30:00.123) (total time: 100ms):
---"shown" 0ms (07:30:00.123)
["real child" 0ms (07:30:00.123)]
[100ms] [100ms] END"#]);
    assert_eq!(stats.live(), 0);
}

#[test]
fn a_per_layer_filter_hides_spans_and_not_what_is_within_them() {
    let log = Log::default();
    let slow = log.layer().with_all_steps(true).build();
    let other = Log::default();
    let second = other.layer().with_threshold(Duration::from_millis(1)).build();
    let subscriber = tracing_subscriber::registry()
        .with(slow.with_filter(filter_fn(|metadata| metadata.name() != "hidden")))
        .with(second.with_filter(LevelFilter::WARN));
    tracing::subscriber::with_default(subscriber, || {
        let _hidden = info_span!("hidden").entered();
        let _root = info_span!("root").entered();
        let _between = info_span!("hidden").entered();
        info!("event");
        let _child = info_span!("child").entered();
        log.wait(100);
        other.wait(100);
    });
    log.assert(&[r#""root" (22-Nov-2025 07:30:00.123) (total time: 100ms):
---"event" 0ms (07:30:00.123)
["child" 100ms (07:30:00.123)]
[100ms] [100ms] END"#]);
    other.assert(&[]);
}

#[test]
fn two_layers_in_one_registry_do_not_mix() {
    let log = Log::default();
    let one = log.layer().build();
    let two = log.layer().with_threshold(Duration::from_secs(1)).build();
    let (stats, quiet) = (one.stats(), two.stats());
    let subscriber = tracing_subscriber::registry().with(one).with(two);
    tracing::subscriber::with_default(subscriber, || {
        info_span!("root").in_scope(|| {
            info_span!("child").in_scope(|| log.wait(100));
        });
    });
    assert_eq!((stats.printed(), quiet.printed()), (1, 0));
    assert_eq!((stats.live(), quiet.live()), (0, 0));
}

#[test]
fn what_the_output_does_is_not_recorded() {
    // 1. The callback makes spans and events of its own, slow ones.
    // 2. Neither is printed, or the callback would never end.
    let log = Log::default();
    let (clock, texts) = (log.clone(), Arc::clone(&log.texts));
    let layer = log.layer().with_threshold(Duration::ZERO).with_callback(move |slow| {
        let _span = info_span!("written by the callback").entered();
        clock.wait(100);
        warn!("slow: {}", slow.name());
        texts.lock().unwrap().push(normalised(slow.text()));
    });
    let stats = log.run(layer.build(), || {
        let _root = info_span!("root").entered();
    });
    assert_eq!(log.texts.lock().unwrap().len(), 1);
    assert_eq!((stats.printed(), stats.live()), (1, 0));
}

#[test]
fn an_output_that_closes_a_slow_tree_is_not_called_for_it() {
    let log = Log::default();
    let kept = Arc::new(Mutex::new(None));
    let (to_close, texts) = (Arc::clone(&kept), Arc::clone(&log.texts));
    let layer = log.layer().with_callback(move |slow| {
        drop(to_close.lock().unwrap().take());
        texts.lock().unwrap().push(slow.name().to_owned());
    });
    let stats = log.run(layer.build(), || {
        *kept.lock().unwrap() = Some(info_span!("kept"));
        let root = info_span!("root");
        log.wait(100);
        drop(root);
    });
    log.assert(&["root"]);
    assert_eq!((stats.printed(), stats.suppressed(), stats.live()), (1, 1, 0));
}

#[test]
fn an_output_that_panics_or_fails_is_counted() {
    let log = Log::default();
    let layer = log.layer().with_threshold(Duration::ZERO);
    let stats = log.run(layer.with_callback(|_| panic!("no room")).build(), || {
        drop(info_span!("root"));
        drop(info_span!("next"));
    });
    assert_eq!((stats.printed(), stats.failed(), stats.live()), (0, 2, 0));

    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let layer = log.layer().with_threshold(Duration::ZERO).with_writer(|| Full);
    let stats = log.run(layer.build(), || drop(info_span!("root")));
    assert_eq!((stats.printed(), stats.failed()), (0, 1));
}

#[test]
fn values_with_ideas_of_their_own_do_no_harm() {
    /// Panics, or traces, while it is formatted.
    struct Value(bool);
    impl fmt::Debug for Value {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if self.0 {
                panic!("cannot be shown");
            }
            info_span!("formatting").in_scope(|| info!("formatted"));
            f.write_str("traced")
        }
    }
    let log = Log::default();
    log.run(log.layer().with_all_steps(true).build(), || {
        let root = info_span!("root", a = ?Value(true), b = 1, c = tracing::field::Empty);
        let _root = root.enter();
        root.record("c", tracing::field::debug(Value(false)));
        error!(value = ?Value(true), "event");
        log.wait(100);
    });
    let texts = log.texts.lock().unwrap();
    let (first, rest) = texts[0].split_once(" (").unwrap();
    assert_eq!(first, r#""root" a:<panicked while formatting>,b:1,c:traced"#);
    assert!(rest.contains(r#"---"event" value:<panicked while formatting>,level:ERROR 0ms"#));
    assert!(rest.contains("---\"formatted\""), "{rest}");
}

#[test]
fn a_line_break_in_a_value_or_message_makes_no_line() {
    let log = Log::default();
    log.run(log.layer().with_all_steps(true).build(), || {
        let _root = info_span!("root", agent = "x\nTrace[1]: [1ms] [1ms] END").entered();
        info!("two\nlines");
        log.wait(100);
    });
    log.assert(&[
        r#""root" agent:x\nTrace[1]: [1ms] [1ms] END (22-Nov-2025 07:30:00.123) (total time: 100ms):
---"two\nlines" 0ms (07:30:00.123)
[100ms] [100ms] END"#,
    ]);
}

#[test]
fn a_deep_tree_is_no_trouble() {
    let log = Log::default();
    let layer = log.layer().with_max_tree_items(20_000).with_max_tree_bytes(usize::MAX / 2);
    log.run(layer.build(), || {
        let mut spans = vec![info_span!("root")];
        for _ in 0..5_000 {
            let parent = spans.last().unwrap();
            spans.push(info_span!(parent: parent, "deeper"));
        }
        log.wait(100);
        // From below: the registry itself would recurse.
        spans.into_iter().rev().for_each(drop);
    });
    assert_eq!(log.texts.lock().unwrap()[0].matches("deeper").count(), 5_000);
}
