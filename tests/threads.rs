//! Many threads that treat spans as badly as safe code can: every span is accounted for, whenever
//! one looks.
//!
//! `SPANBRIDGE_STRESS_ROUNDS` says how many rounds each thread makes.

use std::io::Write as _;
#[cfg(unix)]
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use spanbridge::{SpanExt as _, Stats, TracingGuard};
use tracing::field::{Empty, debug};
use tracing::{Dispatch, Instrument as _, Span, dispatcher, info, info_span};
use tracing_subscriber::prelude::*;

const THREADS: u64 = 64;
/// How long anything may take on a busy machine.
const LONG: Duration = Duration::from_secs(300);

fn rounds() -> u64 {
    let rounds = std::env::var("SPANBRIDGE_STRESS_ROUNDS").ok();
    rounds.map_or(400, |rounds| rounds.parse().expect("SPANBRIDGE_STRESS_ROUNDS is a number"))
}

/// Counts what it is given.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicU64>);

impl SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &batch {
            assert!(span.span_context.is_valid() && span.start_time <= span.end_time, "{span:?}");
        }
        self.0.fetch_add(batch.len() as u64, Ordering::AcqRel);
        Ok(())
    }
}

fn pipeline(queue: usize) -> (Dispatch, TracingGuard, Counting) {
    let exporter = Counting::default();
    let (layer, guard) = spanbridge::layer()
        .with_exporter(exporter.clone())
        .with_max_queue_size(queue)
        .with_schedule_delay(Duration::from_millis(20))
        .build();
    (Dispatch::new(tracing_subscriber::registry().with(layer)), guard, exporter)
}

/// What all threads share: spans that anybody may take, and how many there were.
#[derive(Default)]
struct Shared {
    spans: Mutex<Vec<Span>>,
    made: AtomicU64,
    /// Never closed, and their parents neither.
    leaked: AtomicU64,
}

impl Shared {
    fn made(&self, span: Span) -> Span {
        self.made.fetch_add(1, Ordering::Relaxed);
        span
    }

    fn put(&self, span: Span) {
        let mut spans = self.spans.lock().unwrap();
        // Far fewer than may be open at once, however long this runs.
        let oldest = (spans.len() >= 1_024).then(|| spans.remove(0));
        spans.push(span);
        drop(spans);
        drop(oldest);
    }

    fn take(&self, rng: &mut SmallRng) -> Option<Span> {
        let mut spans = self.spans.lock().unwrap();
        let at = rng.random_range(0..spans.len().max(1));
        (at < spans.len()).then(|| spans.swap_remove(at))
    }

    /// A span of somebody's, which stays where it is.
    fn look(&self, rng: &mut SmallRng) -> Option<Span> {
        let spans = self.spans.lock().unwrap();
        let at = rng.random_range(0..spans.len().max(1));
        spans.get(at).cloned()
    }
}

/// One round of a thread's work.
fn round(shared: &Shared, rng: &mut SmallRng, round: u64) {
    let request = shared.made(info_span!(parent: None, "request", round, late = Empty));
    let entered = request.enter();
    let child = shared.made(info_span!("child", text = "some text"));
    child.in_scope(|| info!(round, "in the child"));
    match rng.random_range(0..9) {
        // Closed by whoever takes it.
        0 => shared.put(child),
        1 => drop(shared.take(rng)),
        // Used by several at a time.
        2 => {
            if let Some(other) = shared.look(rng) {
                other.record("late", debug(Some(round)));
                other.record("late", round);
                other.follows_from(child.id());
                child.follows_from(other.id());
                other.in_scope(|| info!(round, "in somebody's span"));
                other.set_attribute("key", round as i64);
                drop(shared.made(info_span!(parent: &other, "child of somebody's")));
            }
        }
        // A parent that may be set already, or have its ids seen meanwhile.
        3 => {
            let moved = shared.made(info_span!(parent: None, "moved"));
            let twin = moved.clone();
            shared.put(moved);
            let _ = twin.set_parent(child.context());
            let _ = twin.set_parent(Context::new());
        }
        // Entered here, left elsewhere: a guard held across a suspension.
        4 => {
            request.with_subscriber(|(id, dispatch)| dispatch.enter(id));
            let twin = request.clone();
            let dispatch = dispatcher::get_default(Dispatch::clone);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    dispatcher::with_default(&dispatch, || {
                        twin.with_subscriber(|(id, dispatch)| dispatch.exit(id));
                        drop(shared.made(info_span!("after the exit elsewhere")));
                    });
                });
            });
        }
        // Outlives its thread.
        5 => {
            let dispatch = dispatcher::get_default(Dispatch::clone);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    dispatcher::with_default(&dispatch, || {
                        let left = shared.made(info_span!(parent: &child, "left by its thread"));
                        left.with_subscriber(|(id, dispatch)| dispatch.enter(id));
                        shared.put(left);
                        drop(shared.made(info_span!(parent: &child, "closed by its thread")));
                    });
                });
            });
        }
        // With a child, so that both are started, and neither ends.
        6 if round.is_multiple_of(8) && shared.leaked.load(Ordering::Relaxed) < 10_000 => {
            let leaked = shared.made(info_span!(parent: None, "leaked"));
            std::mem::forget(shared.made(info_span!(parent: &leaked, "leaked child")));
            shared.leaked.fetch_add(2, Ordering::Relaxed);
        }
        // Left in the wrong order.
        7 => {
            let twin = child.clone();
            let inner = twin.entered();
            drop(entered);
            drop(shared.made(info_span!("after the outer exit")));
            drop(inner);
        }
        _ => drop(futures(shared, round)),
    }
}

/// Tasks on one thread, each of which holds its guard while the others run.
fn futures(shared: &Shared, round: u64) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let task = async |number: u64| {
            let span = shared.made(info_span!(parent: None, "task", round, number));
            let inner = shared.made(info_span!(parent: &span, "awaited"));
            let guard = span.enter();
            for _ in 0..number {
                tokio::task::yield_now().await;
            }
            drop(shared.made(info_span!("made under a guard held too long")));
            async { tokio::task::yield_now().await }.instrument(inner).await;
            drop(guard);
            number
        };
        let (one, two, three) = tokio::join!(task(1), task(3), task(2));
        one + two + three
    })
}

/// Nothing is ever ahead of what it follows from, and nothing is lost from sight.
fn check(before: &Stats, stats: &Stats) {
    let settled = stats.exported() + stats.dropped().total();
    assert!(settled + stats.open() <= stats.started(), "{stats}");
    assert_eq!(settled + stats.live(), stats.started(), "{stats}");
    assert_eq!(stats.open() + stats.queued(), stats.live(), "{stats}");
    assert!(before.exported() <= stats.exported(), "{before}, then {stats}");
    assert!(before.dropped().total() <= stats.dropped().total(), "{before}, then {stats}");
}

fn stress(queue: usize) -> Stats {
    let (dispatch, guard, exporter) = pipeline(queue);
    let shared = Shared::default();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watchers: Vec<_> = (0..2)
            .map(|watcher| {
                let (guard, is_over) = (&guard, &is_over);
                scope.spawn(move || {
                    let mut before = guard.stats();
                    while !is_over.load(Ordering::Acquire) {
                        if watcher == 0 {
                            guard.force_flush(LONG).unwrap();
                        }
                        let stats = guard.stats();
                        check(&before, &stats);
                        before = stats;
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (dispatch, shared) = (&dispatch, &shared);
                scope.spawn(move || {
                    let mut rng = SmallRng::seed_from_u64(thread);
                    dispatcher::with_default(dispatch, || {
                        (0..rounds()).for_each(|number| round(shared, &mut rng, number));
                    });
                })
            })
            .collect();
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        is_over.store(true, Ordering::Release);
        results.into_iter().for_each(|result| result.unwrap());
        watchers.into_iter().for_each(|watcher| watcher.join().unwrap());
    });
    let Shared { spans, made, leaked } = shared;
    dispatcher::with_default(&dispatch, || drop(spans));
    guard.force_flush(LONG).unwrap();
    let stats = guard.stats();
    let (made, leaked) = (made.into_inner(), leaked.into_inner());
    assert_eq!((stats.started(), stats.open(), stats.queued()), (made, leaked, 0), "{stats}");
    assert_eq!(stats.exported() + stats.dropped().total() + leaked, made, "{stats}");
    assert_eq!(stats.exported(), exporter.0.load(Ordering::Acquire), "{stats}");
    assert!(leaked > 0, "{stats}");
    guard.shutdown(LONG).unwrap();
    let after = guard.stats();
    assert_eq!((after.started(), after.exported()), (stats.started(), stats.exported()), "{after}");
    stats
}

#[test]
fn spans_that_travel_leak_and_outlive_threads_all_arrive() {
    let stats = stress(1 << 22);
    assert_eq!(stats.dropped().total(), 0, "{stats}");
}

#[test]
fn spans_that_travel_leak_and_outlive_threads_add_up_where_the_queue_is_small() {
    let stats = stress(64);
    assert_eq!(stats.dropped().total(), stats.dropped().queue_full(), "{stats}");
}

// ----- the end of a process

const HOW: &str = "SPANBRIDGE_TEST_END";
/// The same on every Unix.
#[cfg(unix)]
const SIGABRT: i32 = 6;

/// Tells of every panic on standard error, which `libtest` would keep to itself; but for the one
/// that is meant to happen here, it ends the process too.
fn let_no_panic_pass(how: &str) {
    let expected = (how == "panic").then(|| std::thread::current().id());
    std::panic::set_hook(Box::new(move |panic| {
        let _ = writeln!(std::io::stderr(), "{panic}");
        if expected != Some(std::thread::current().id()) {
            std::process::abort();
        }
    }));
}

/// After the end of a pipeline, whatever its threads still do: what was closed `before` is exported,
/// and nothing more will be.
fn check_end(before: &Stats, exporter: &Counting) {
    let exported = exporter.0.load(Ordering::Acquire);
    assert!(before.started() - before.open() <= exported, "{before}, but {exported} exported");
    for _ in 0..1_000 {
        std::thread::yield_now();
        assert_eq!(exporter.0.load(Ordering::Acquire), exported);
    }
}

/// What the test below runs in a process of its own; nothing where it does not.
#[test]
fn child() {
    let Ok(how) = std::env::var(HOW) else { return };
    let_no_panic_pass(&how);
    let (dispatch, guard, exporter) = pipeline(1 << 20);
    let shared = Arc::new(Shared::default());
    let (started, running) = mpsc::channel();
    for thread in 0..16 {
        let (dispatch, shared, started) = (dispatch.clone(), Arc::clone(&shared), started.clone());
        std::thread::spawn(move || {
            let mut rng = SmallRng::seed_from_u64(thread);
            dispatcher::with_default(&dispatch, || {
                for number in 0.. {
                    round(&shared, &mut rng, number);
                    if number == 10 {
                        started.send(()).unwrap();
                    }
                }
            });
        });
    }
    running.iter().take(16).for_each(drop);
    let before = guard.stats();
    check(&before, &guard.stats());
    assert_eq!(before.dropped().total(), 0, "{before}");
    match &*how {
        "abort" => std::process::abort(),
        "drop" => {
            drop(guard);
            check_end(&before, &exporter);
            std::process::exit(0);
        }
        "exit" => std::process::exit(0),
        "exit in a span" => {
            let span = dispatcher::with_default(&dispatch, || info_span!("last"));
            let _entered = span.enter();
            std::process::exit(0);
        }
        "panic" => {
            let unwound = catch_unwind(AssertUnwindSafe(move || {
                let _guard = guard;
                panic!("as a service does");
            }));
            check_end(&before, &exporter);
            resume_unwind(unwound.unwrap_err());
        }
        "shutdown" => {
            guard.shutdown(LONG).unwrap();
            check_end(&before, &exporter);
            // Whatever the threads still do, of that nothing is exported, and nothing is lost
            // from sight.
            let exported = guard.stats().exported();
            for _ in 0..1_000 {
                let stats = guard.stats();
                check(&stats, &guard.stats());
                assert_eq!(stats.exported(), exported, "{stats}");
                assert_eq!(exported, exporter.0.load(Ordering::Acquire), "{stats}");
            }
        }
        other => panic!("no such way to end: {other}"),
    }
}

#[test]
fn a_process_ends_while_its_threads_make_spans() {
    for (how, code) in [
        ("abort", None),
        ("drop", Some(0)),
        ("exit", Some(0)),
        ("exit in a span", Some(0)),
        ("panic", Some(101)),
        ("shutdown", Some(0)),
    ] {
        for _ in 0..3 {
            let Output { status, stderr, .. } = end(how);
            let stderr = String::from_utf8_lossy(&stderr);
            assert_eq!(status.code(), code, "{how}: {status}, {stderr}");
            #[cfg(unix)]
            if how == "abort" {
                assert_eq!(status.signal(), Some(SIGABRT), "{status}, {stderr}");
            }
            // A panic of a thread aborts too.
            let panics: Vec<_> = stderr.lines().filter(|l| l.contains("panicked at")).collect();
            assert_eq!(panics.len(), usize::from(how == "panic"), "{how}: {stderr}");
            assert_eq!(stderr.contains("as a service does"), how == "panic", "{how}: {stderr}");
        }
    }
}

fn end(how: &str) -> Output {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child"])
        .env(HOW, how)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    end.recv_timeout(LONG).unwrap_or_else(|_| panic!("{how} hangs")).unwrap()
}
