//! `legacy::timed!` in place of hand-made timers.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spanbridge::legacy::{SlowSpanLayer, timed};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

const LONG: Duration = Duration::from_secs(3_600);
const NONE: Duration = Duration::ZERO;

/// Each event as `LEVEL target span>span: message fields`.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            "duration" => self.0.push_str(" duration"),
            name => self.0.push_str(&format!(" {name}={value:?}")),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let metadata = event.metadata();
        let scope = ctx.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let spans: Vec<_> = scope.map(|span| span.name()).collect();
        self.0.lock().unwrap().push(format!(
            "{} {} {}: {}",
            metadata.level(),
            metadata.target(),
            spans.join(">"),
            text.0
        ));
    }
}

fn events() -> (Events, tracing::subscriber::DefaultGuard) {
    let events = Events::default();
    let guard = tracing_subscriber::registry().with(events.clone()).set_default();
    (events, guard)
}

#[test]
fn a_slow_block_warns_in_its_span_and_the_callers_module() {
    let (events, _default) = events();
    let sum = timed!("add", NONE, 1 + 1);
    assert_eq!(sum, 2);
    assert_eq!(events.take(), ["WARN timed add: add was slow duration threshold=0ns"]);
}

#[test]
fn a_quick_block_says_nothing() {
    let (events, _default) = events();
    timed!("add", LONG, {
        tracing::info!("within");
    });
    assert_eq!(events.take(), ["INFO timed add: within"]);
}

#[test]
fn a_block_that_is_left_early_is_measured() {
    fn half(n: u32) -> Result<u32, String> {
        let half = timed!("half", { n, twice = n * 2 }, NONE, {
            if !n.is_multiple_of(2) {
                Err(format!("{n} is odd"))?;
            }
            if n == 0 {
                return Ok(0);
            }
            n / 2
        });
        Ok(half)
    }
    let (events, _default) = events();
    assert_eq!((half(4), half(0)), (Ok(2), Ok(0)));
    assert_eq!(half(3), Err("3 is odd".to_owned()));
    assert!(std::panic::catch_unwind(|| timed!("boom", NONE, panic!("in the block"))).is_err());
    let said = events.take();
    assert_eq!(said.len(), 4);
    assert_eq!(said[3], "WARN timed boom: boom was slow duration threshold=0ns");
}

#[test]
fn it_warns_though_its_span_is_disabled() {
    let events = Events::default();
    let layer = events.clone().with_filter(LevelFilter::WARN);
    let _default = tracing_subscriber::registry().with(layer).set_default();
    tracing::error_span!("around").in_scope(|| timed!("add", NONE, ()));
    assert_eq!(events.take(), ["WARN timed around: add was slow duration threshold=0ns"]);
}

#[tokio::test]
async fn a_future_is_measured_from_its_first_poll() {
    let (events, _default) = events();
    let text = "borrowed".to_owned();
    let future = timed!("borrows", { len = text.len() }, LONG, async {
        tokio::task::yield_now().await;
        tracing::info!("within");
        text.len()
    });
    assert!(events.take().is_empty());
    assert_eq!(future.await, 8);
    let moved = timed!("moves", NONE, async move { text.len() });
    assert_eq!(moved.await, 8);
    let moves = "WARN timed moves: moves was slow duration threshold=0ns";
    assert_eq!(events.take(), ["INFO timed borrows: within", moves]);
}

#[tokio::test]
async fn a_future_that_is_dropped_is_measured() {
    let (events, _default) = events();
    let never = timed!("never", NONE, async { std::future::pending::<()>().await });
    tokio::select! {
        biased;
        () = never => unreachable!("it is never done"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(events.take(), ["WARN timed never: never was slow duration threshold=0ns"]);
}

#[test]
fn a_future_may_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    drop(is_send(timed!("sent", LONG, async { tokio::task::yield_now().await })));
    drop(is_send(async {
        let _timed = timed!("guard", LONG);
        tokio::task::yield_now().await;
    }));
}

#[test]
fn a_guard_measures_until_it_is_dropped() {
    let (events, _default) = events();
    let timed = timed!("rest", { user = "a" }, NONE);
    tracing::info!("not within");
    timed.span().in_scope(|| tracing::info!("within"));
    drop(timed);
    let rest = "WARN timed rest: rest was slow duration threshold=0ns";
    assert_eq!(events.take(), ["INFO timed : not within", "INFO timed rest: within", rest]);
}

#[test]
fn the_slow_span_layer_goes_by_its_threshold() {
    let texts = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&texts);
    let layer = SlowSpanLayer::builder()
        .with_threshold(LONG)
        .with_callback(move |slow| sink.lock().unwrap().push(slow.text().to_owned()))
        .build();
    let _default = tracing_subscriber::registry().with(layer).set_default();
    tracing::info_span!("request").in_scope(|| {
        timed!("quick", LONG, ());
        timed!("load", { shard = 7 }, NONE, tracing::info!("connected"));
    });
    let texts = texts.lock().unwrap();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains(r#": "load" shard:7 ("#), "{}", texts[0]);
    assert!(texts[0].contains(r#"---"connected""#), "{}", texts[0]);
    assert!(texts[0].contains(r#"---"load was slow" duration:"#), "{}", texts[0]);
}
