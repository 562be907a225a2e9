use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::{Level, debug_span, error, info, info_span, warn};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::prelude::*;

use super::clock::{Clock, Manual};
use super::threshold::Thresholds;
use super::{SlowSpanLayer, SlowSpanLayerBuilder, SlowSpanStats};

mod ends;
mod layers;
mod limits;
mod output;
mod printed;
mod thresholds;

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
