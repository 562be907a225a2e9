//! A meter provider for each test.

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, Histogram, HistogramDataPoint, MetricData, ResourceMetrics,
};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

use crate::registry;

/// A meter provider, and what it has been told.
pub(crate) struct Meter {
    pub provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        Self { provider: SdkMeterProvider::builder().with_reader(reader).build(), exporter }
    }

    /// Everything as it is now.
    pub(crate) fn all(&self) -> Vec<ResourceMetrics> {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let all = self.exporter.get_finished_metrics().unwrap();
        for metric in all.iter().flat_map(|r| r.scope_metrics()).flat_map(|s| s.metrics()) {
            let row = &registry::HTTP_METRICS[metric.name()];
            let (instrument, points) = points(metric.data());
            let found = (instrument, metric.unit());
            assert_eq!(found, (row.instrument, row.unit), "{}", metric.name());
            assert!(!metric.description().is_empty(), "{}", metric.name());
            for attributes in points {
                registry::check_measurement(metric.name(), &attributes);
            }
        }
        all
    }

    /// What `f` makes of the metric `name` as it is now; `None` if there is no such metric.
    fn read<R>(&self, name: &str, f: impl FnOnce(&AggregatedMetrics) -> R) -> Option<R> {
        let all = self.all();
        let mut metrics = all.iter().flat_map(|r| r.scope_metrics()).flat_map(|s| s.metrics());
        metrics.find(|metric| metric.name() == name).map(|metric| f(metric.data()))
    }

    /// One line for each combination of attributes: these, and how often there was one.
    pub(crate) fn durations(&self, name: &str) -> Vec<String> {
        let lines = self.read(name, |data| {
            let AggregatedMetrics::F64(MetricData::Histogram(data)) = data else {
                panic!("{name} is not a histogram of seconds")
            };
            lines(data)
        });
        lines.unwrap_or_default()
    }

    /// The sum of a histogram of seconds.
    pub(crate) fn seconds(&self, name: &str) -> f64 {
        let sum = self.read(name, |data| {
            let AggregatedMetrics::F64(MetricData::Histogram(data)) = data else {
                panic!("{name} is not a histogram of seconds")
            };
            data.data_points().map(HistogramDataPoint::sum).sum()
        });
        sum.unwrap_or_default()
    }

    pub(crate) fn sizes(&self, name: &str) -> Option<u64> {
        self.read(name, |data| {
            let AggregatedMetrics::U64(MetricData::Histogram(data)) = data else {
                panic!("{name} is not a histogram of bytes")
            };
            data.data_points().map(HistogramDataPoint::sum).sum()
        })
    }

    /// The sum of active requests, and the keys of their attributes.
    pub(crate) fn active(&self, name: &str) -> Option<(i64, Vec<String>)> {
        self.read(name, |data| {
            let AggregatedMetrics::I64(MetricData::Sum(data)) = data else {
                panic!("active requests are not a sum")
            };
            let keys = data.data_points().flat_map(|point| point.attributes());
            let keys = keys.map(|kv| kv.key.to_string()).collect();
            (data.data_points().map(|point| point.value()).sum(), keys)
        })
    }
}

/// The kind of instrument behind the data, and the attributes of each of its points.
pub(crate) fn points(data: &AggregatedMetrics) -> (&'static str, Vec<Vec<KeyValue>>) {
    match data {
        AggregatedMetrics::F64(MetricData::Histogram(data)) => {
            ("histogram", data.data_points().map(|p| p.attributes().cloned().collect()).collect())
        }
        AggregatedMetrics::U64(MetricData::Histogram(data)) => {
            ("histogram", data.data_points().map(|p| p.attributes().cloned().collect()).collect())
        }
        AggregatedMetrics::I64(MetricData::Sum(data)) if !data.is_monotonic() => {
            let points = data.data_points().map(|p| p.attributes().cloned().collect()).collect();
            ("updowncounter", points)
        }
        other => panic!("{other:?} is made by no instrument of the conventions"),
    }
}

fn lines(data: &Histogram<f64>) -> Vec<String> {
    let mut lines: Vec<_> = data
        .data_points()
        .map(|point| {
            let bounds: Vec<_> = point.bounds().collect();
            assert_eq!((bounds.len(), bounds[0], bounds[13]), (14, 0.005, 10.0));
            let mut attributes: Vec<_> =
                point.attributes().map(|kv| format!("{}={}", kv.key, kv.value)).collect();
            attributes.sort();
            format!("{} x{}", attributes.join(" "), point.count())
        })
        .collect();
    lines.sort();
    lines
}
