//! Measurements as they are made, for tests that wait for one: a reader would have to be asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::metrics::{
    Histogram, HistogramBuilder, InstrumentBuilder, InstrumentProvider, Meter, MeterProvider,
    SyncInstrument, UpDownCounter,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use tokio::sync::Notify;

use crate::registry;

/// Long enough for everything; a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

/// A meter provider that keeps each duration, and how many requests are active.
#[derive(Clone, Default)]
pub(crate) struct Measurements(Arc<State>);

#[derive(Default)]
struct State {
    made: Mutex<Made>,
    changed: Notify,
}

#[derive(Clone, Debug, Default)]
struct Made {
    /// The attributes of each, in the order of their keys, and how many seconds it is.
    durations: Vec<(String, f64)>,
    active: i64,
}

impl Measurements {
    /// How many requests are active right now.
    pub(crate) fn active(&self) -> i64 {
        self.0.made.lock().unwrap().active
    }

    /// Waits until no request is active and `count` have ended, and gives the duration of each that
    /// has: its attributes and its seconds.
    pub(crate) async fn ended(&self, count: usize) -> Vec<(String, f64)> {
        let wait = async {
            loop {
                let changed = self.0.changed.notified();
                let made = self.0.made.lock().unwrap().clone();
                if made.active == 0 && made.durations.len() >= count {
                    return made.durations;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(durations) => durations,
            Err(_) => panic!("waited for {count}: {:?}", self.0.made.lock().unwrap()),
        }
    }
}

impl MeterProvider for Measurements {
    fn meter_with_scope(&self, _: InstrumentationScope) -> Meter {
        Meter::new(Arc::new(self.clone()))
    }
}

impl InstrumentProvider for Measurements {
    fn f64_histogram(&self, builder: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        Histogram::new(Arc::new(Instrument {
            name: builder.name.into_owned(),
            state: Arc::clone(&self.0),
        }))
    }

    fn i64_up_down_counter(
        &self,
        builder: InstrumentBuilder<'_, UpDownCounter<i64>>,
    ) -> UpDownCounter<i64> {
        UpDownCounter::new(Arc::new(Instrument {
            name: builder.name.into_owned(),
            state: Arc::clone(&self.0),
        }))
    }
}

struct Instrument {
    name: String,
    state: Arc<State>,
}

impl Instrument {
    fn change(&self, attributes: &[KeyValue], change: impl FnOnce(&mut Made)) {
        registry::check_measurement(&self.name, attributes);
        change(&mut self.state.made.lock().unwrap());
        self.state.changed.notify_waiters();
    }
}

impl SyncInstrument<f64> for Instrument {
    fn measure(&self, seconds: f64, attributes: &[KeyValue]) {
        assert!(seconds >= 0.0, "{}: {seconds}", self.name);
        let mut all: Vec<_> =
            attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value)).collect();
        all.sort();
        self.change(attributes, |made| made.durations.push((all.join(" "), seconds)));
    }
}

impl SyncInstrument<i64> for Instrument {
    fn measure(&self, change: i64, attributes: &[KeyValue]) {
        self.change(attributes, |made| made.active += change);
    }
}
