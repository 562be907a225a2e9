//! Outputs and values that do harm.

use super::*;

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
