//! Targets, filters and layers beside this one.

use super::*;

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
