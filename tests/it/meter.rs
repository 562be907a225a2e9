//! A meter provider for each test.

use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, Histogram, HistogramDataPoint, MetricData, ResourceMetrics,
};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

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
        self.exporter.get_finished_metrics().unwrap()
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
