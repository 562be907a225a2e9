//! `legacy::SlowSpanLayer` beside other layers, on many threads, and with `log`.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use spanbridge::legacy::{SlowSpanLayer, SlowSpanLayerBuilder, Trace, fields};
use tokio::sync::{Barrier, oneshot};
use tracing::{Instrument as _, info, info_span};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload;

/// What was written, each write by itself.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

impl io::Write for Written {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let written = String::from_utf8(text.to_vec()).map_err(io::Error::other)?;
        self.0.lock().unwrap().push(written);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// Prints every tree, and all of it.
    fn layer(&self) -> SlowSpanLayerBuilder {
        let written = self.clone();
        SlowSpanLayer::builder()
            .with_threshold(Duration::ZERO)
            .with_all_steps(true)
            .with_rate_limit(1, Duration::ZERO)
            .with_writer(move || written.clone())
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// `Trace[n]: "name" fields (date) (total time: ..)` -> `"name" fields`.
fn heading(text: &str) -> &str {
    let (_, rest) = text.split_once("]: ").unwrap();
    rest.split_once(" (").unwrap().0
}

/// A block is whole: its lines have one number, and the last is its end.
#[track_caller]
fn assert_whole(text: &str) {
    let (prefix, _) = text.split_once("]: ").unwrap();
    assert!(text.lines().all(|line| line.starts_with(prefix)), "{text}");
    assert!(text.ends_with(" END\n"), "{text}");
    assert_eq!(text.matches("END").count(), 1, "{text}");
}

/// Runs `future` on threads whose subscriber this is, as a global one would be.
fn run<F>(threads: usize, layer: SlowSpanLayer, future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&dispatch)))
        .build()
        .unwrap();
    runtime.block_on(async { runtime.spawn(future).await.unwrap() })
}

#[test]
fn trees_of_many_tasks_are_whole_and_do_not_mix() {
    const REQUESTS: usize = 200;
    const TASKS: usize = 8;
    let written = Written::default();
    let layer = written.layer().build();
    let stats = layer.stats();
    run(4, layer, async {
        let requests = (0..REQUESTS).map(|number| {
            let request = async move {
                let tasks = (0..TASKS).map(|task| {
                    let work = async move {
                        for step in 0..5 {
                            tokio::task::yield_now().await;
                            info!(step, "step of {number}");
                        }
                    };
                    tokio::spawn(work.instrument(info_span!("task", number, task)))
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            };
            tokio::spawn(request.instrument(info_span!("request", number)))
        });
        for request in requests.collect::<Vec<_>>() {
            request.await.unwrap();
        }
    });

    let mut texts = written.take();
    assert_eq!(texts.len(), REQUESTS);
    texts.sort_by_key(|text| {
        heading(text).strip_prefix("\"request\" number:").unwrap().parse::<usize>().unwrap()
    });
    for (number, text) in texts.iter().enumerate() {
        assert_whole(text);
        assert_eq!(heading(text), format!("\"request\" number:{number}"));
        assert_eq!(text.matches(&format!("[\"task\" number:{number},")).count(), TASKS, "{text}");
        assert_eq!(text.matches(&format!("---\"step of {number}\"")).count(), TASKS * 5, "{text}");
    }
    assert_eq!((stats.printed(), stats.live(), stats.failed()), (REQUESTS as u64, 0, 0));
}

#[test]
fn a_flood_is_bounded_and_accounted_for() {
    const TREES: u64 = 4_000;
    let most = Arc::new(AtomicUsize::new(0));
    let written = Written::default();
    let layer = written
        .layer()
        .with_max_trees(4)
        .with_max_tree_items(20)
        .with_rate_limit(5, Duration::from_secs(3_600))
        .build();
    let stats = layer.stats();
    let (counts, highest) = (stats.clone(), Arc::clone(&most));
    run(4, layer, async move {
        let barrier = Arc::new(Barrier::new(8));
        let tasks = (0..8).map(|_| {
            let (stats, most) = (counts.clone(), Arc::clone(&highest));
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                barrier.wait().await;
                for _ in 0..TREES / 8 {
                    let work = async {
                        for step in 0..30 {
                            info!(step);
                        }
                        most.fetch_max(stats.live(), Ordering::Relaxed);
                        tokio::task::yield_now().await;
                    };
                    work.instrument(info_span!("request")).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    assert!(most.load(Ordering::Relaxed) <= 4);
    assert_eq!((stats.printed(), stats.live()), (5, 0));
    assert_eq!(stats.printed() + stats.suppressed() + stats.unwatched(), TREES);
    for text in written.take() {
        assert_whole(&text);
        assert!(heading(&text).contains("slow.not_recorded:11"), "{text}");
    }
}

#[test]
fn a_task_that_outlives_its_request_is_shown_when_it_is_over() {
    let written = Written::default();
    let so_far = written.clone();
    run(2, written.layer().build(), async move {
        let (finish, finished) = oneshot::channel();
        let request = async {
            let work = async {
                finished.await.unwrap();
                info!("finished");
            };
            (tokio::spawn(work.instrument(info_span!("background"))),)
        };
        let (background,) = request.instrument(info_span!("request")).await;
        assert!(so_far.take().is_empty());
        finish.send(()).unwrap();
        background.await.unwrap();
    });
    let texts = written.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("[\"background\""), "{}", texts[0]);
    assert!(texts[0].contains("---\"finished\""), "{}", texts[0]);
}

#[test]
fn a_span_is_made_used_and_closed_on_different_threads() {
    let written = Written::default();
    let dispatch =
        tracing::Dispatch::new(tracing_subscriber::registry().with(written.layer().build()));
    let elsewhere = |f: &mut (dyn FnMut() + Send)| {
        std::thread::scope(|scope| {
            scope.spawn(|| tracing::dispatcher::with_default(&dispatch, f)).join().unwrap();
        });
    };
    let mut span = None;
    elsewhere(&mut || span = Some(info_span!("wanders", late = tracing::field::Empty)));
    elsewhere(&mut || span.as_ref().unwrap().in_scope(|| info!("used")));
    elsewhere(&mut || {
        span.as_ref().unwrap().record("late", 1);
    });
    elsewhere(&mut || drop(span.take()));
    let texts = written.take();
    assert_eq!(texts.len(), 1);
    assert_eq!(heading(&texts[0]), "\"wanders\" late:1");
    assert!(texts[0].contains("---\"used\""));
}

#[test]
fn an_id_that_is_used_again_is_another_span() {
    let written = Written::default();
    let subscriber = tracing_subscriber::registry().with(written.layer().build());
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..500 {
            info_span!("span", number).in_scope(|| info!("event {number}"));
        }
    });
    for (number, text) in written.take().iter().enumerate() {
        assert_eq!(heading(text), format!("\"span\" number:{number}"));
        assert_eq!(text.matches("---").count(), 1);
        assert!(text.contains(&format!("---\"event {number}\"")));
    }
}

#[test]
fn nothing_is_locked_while_text_is_written() {
    // 1. One thread's callback waits until another thread has had a slow tree of its own printed.
    // 2. That one is printed, by the same callback.
    let (second_is_printed, printed) = mpsc::channel();
    let printed = Mutex::new(printed);
    let (first_is_waiting, waiting) = mpsc::channel();
    let layer = SlowSpanLayer::builder()
        .with_threshold(Duration::ZERO)
        .with_callback(move |slow| {
            if slow.name() == "first" {
                first_is_waiting.send(()).unwrap();
                printed.lock().unwrap().recv_timeout(Duration::from_secs(30)).unwrap();
            } else {
                second_is_printed.send(()).unwrap();
            }
        })
        .build();
    let stats = layer.stats();
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
    std::thread::scope(|scope| {
        scope.spawn(|| tracing::dispatcher::with_default(&dispatch, || drop(info_span!("first"))));
        waiting.recv().unwrap();
        tracing::dispatcher::with_default(&dispatch, || drop(info_span!("second")));
    });
    assert_eq!((stats.printed(), stats.failed()), (2, 0));
}

#[test]
fn it_works_wherever_a_layer_does() {
    let written = Written::default();
    let (reloadable, handle) = reload::Layer::new(Some(written.layer().build().boxed()));
    let plain = Written::default();
    let subscriber = tracing_subscriber::registry()
        .with(reloadable)
        .with(EnvFilter::new("info"))
        .with(plain.layer().build().with_filter(LevelFilter::ERROR))
        .with(tracing_subscriber::fmt::layer().with_writer(io::sink));
    tracing::subscriber::with_default(subscriber, || {
        tracing::debug_span!("off").in_scope(|| {
            info_span!("on").in_scope(|| tracing::error_span!("error").in_scope(|| {}));
        });
        // Taken away while a span is open, which then is nobody's.
        let span = info_span!("left");
        handle.reload(None).unwrap();
        drop(span);
    });
    let headings: Vec<_> = written.take().iter().map(|text| heading(text).to_owned()).collect();
    assert_eq!(headings, ["\"on\""]);
    let headings: Vec<_> = plain.take().iter().map(|text| heading(text).to_owned()).collect();
    assert_eq!(headings, ["\"error\""]);
}

#[test]
fn a_subscriber_within_another_has_its_own_trees() {
    let (outer, inner) = (Written::default(), Written::default());
    let subscriber = tracing_subscriber::registry().with(outer.layer().build());
    tracing::subscriber::with_default(subscriber, || {
        let _request = info_span!("outer").entered();
        let subscriber = tracing_subscriber::registry().with(inner.layer().build());
        tracing::subscriber::with_default(subscriber, || {
            let _request = info_span!("inner").entered();
            info!("event");
        });
        info!("event");
    });
    for (written, name) in [(outer, "\"outer\""), (inner, "\"inner\"")] {
        let texts = written.take();
        assert_eq!(texts.len(), 1);
        assert_eq!(heading(&texts[0]), name);
        assert_eq!(texts[0].matches("---").count(), 1);
    }
}

#[test]
fn log_records_are_events_like_others() {
    let say = |target: &str, text: &str| {
        let mut record = log::Record::builder();
        record.level(log::Level::Warn).target(target).module_path(Some("app::db"));
        record.file(Some("db.rs")).line(Some(7));
        tracing_log::format_trace(&record.args(format_args!("{text}")).build()).unwrap();
    };
    let written = Written::default();
    let layer = written.layer().with_ignored_target("hyper").build();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _span = info_span!("query").entered();
        say("app::db", "pool exhausted");
        say("hyper::client", "reuse idle connection");
    });
    let texts = written.take();
    assert!(texts[0].contains("---\"pool exhausted\" level:WARN "), "{}", texts[0]);
    assert!(!texts[0].contains("log."), "{}", texts[0]);
    assert!(!texts[0].contains("reuse"), "{}", texts[0]);
}

#[test]
fn a_legacy_trace_prints_itself_and_is_not_printed_again() {
    let written = Written::default();
    let subscriber = tracing_subscriber::registry().with(written.layer().build());
    tracing::subscriber::with_default(subscriber, || {
        let _request = info_span!("request").entered();
        let trace = Trace::new("List", fields![]);
        trace.in_scope(|| info!("within"));
        trace.log();
    });
    let texts = written.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("---\"within\""), "{}", texts[0]);
    assert!(!texts[0].contains("List"), "{}", texts[0]);
}

#[test]
fn spans_of_ignored_targets_allocate_nothing() {
    let written = Written::default();
    let layer = written.layer().with_ignored_target("noise").with_max_level(tracing::Level::INFO);
    let subscriber = tracing_subscriber::registry().with(layer.build());
    tracing::subscriber::with_default(subscriber, || {
        let work = || {
            for number in 0..100 {
                let text = "as long as it is";
                let span = info_span!(target: "noise", "ignored", number, text);
                span.in_scope(|| info!(target: "noise::below", number, "ignored"));
                tracing::debug_span!("detail", number, text).in_scope(|| tracing::debug!("detail"));
            }
        };
        // The registry allocates a span's place once.
        work();
        assert_eq!(allocation_counter::measure(work).count_total, 0);
        // Also while a tree is being watched.
        info_span!("watched").in_scope(|| {
            work();
            assert_eq!(allocation_counter::measure(work).count_total, 0);
        });
    });
    assert_eq!(written.take().len(), 1);
}
