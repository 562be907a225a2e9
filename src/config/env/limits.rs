//! How much a span may hold, and how spans are gathered into batches.

use std::time::Duration;

use super::reader::Reader;

/// What is kept of one span; more is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanLimits {
    pub(crate) attributes: u32,
    pub(crate) attributes_per_event: u32,
    pub(crate) attributes_per_link: u32,
    /// In characters; `None` is no limit.
    pub(crate) attribute_value_length: Option<usize>,
    pub(crate) events: u32,
    pub(crate) links: u32,
}

impl Default for SpanLimits {
    fn default() -> Self {
        Self {
            attributes: 128,
            attributes_per_event: 128,
            attributes_per_link: 128,
            attribute_value_length: None,
            events: 128,
            links: 128,
        }
    }
}

impl SpanLimits {
    pub(super) fn read(env: &mut Reader<'_>) -> Self {
        let default = Self::default();
        // The general variable is what each of the special ones falls back to.
        let general = env.number("OTEL_ATTRIBUTE_COUNT_LIMIT");
        let general_length = env.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT");
        let mut count = |name, default| env.number(name).unwrap_or(default);
        Self {
            attributes: count(
                "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
                general.unwrap_or(default.attributes),
            ),
            attributes_per_event: count(
                "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
                general.unwrap_or(default.attributes_per_event),
            ),
            attributes_per_link: count(
                "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
                general.unwrap_or(default.attributes_per_link),
            ),
            events: count("OTEL_SPAN_EVENT_COUNT_LIMIT", default.events),
            links: count("OTEL_SPAN_LINK_COUNT_LIMIT", default.links),
            attribute_value_length: env
                .number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")
                .or(general_length),
        }
    }
}

/// How finished spans are gathered and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSettings {
    /// How long one batch may take to send.
    pub(crate) export_timeout: Duration,
    /// At most this many spans are sent at once; `None` if no variable says.
    pub(crate) max_export_batch_size: Option<usize>,
    /// At most this many spans wait; `None` if no variable says.
    pub(crate) max_queue_size: Option<usize>,
    /// How long a span waits for a batch to fill.
    pub(crate) schedule_delay: Duration,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            export_timeout: Duration::from_secs(30),
            max_export_batch_size: None,
            max_queue_size: None,
            schedule_delay: Duration::from_secs(5),
        }
    }
}

impl BatchSettings {
    pub(super) fn read(env: &mut Reader<'_>) -> Self {
        const BATCH_SIZE: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
        let default = Self::default();
        let batch_size: Option<usize> = env.positive(BATCH_SIZE);
        let max_queue_size = env.positive("OTEL_BSP_MAX_QUEUE_SIZE");
        let limit = max_queue_size.unwrap_or(usize::MAX);
        if let Some(size) = batch_size
            && size > limit
        {
            let problem = "is more than OTEL_BSP_MAX_QUEUE_SIZE, which is used instead";
            env.warn(BATCH_SIZE, &size.to_string(), problem);
        }
        Self {
            // No limit at all is never an answer, since a shutdown would wait for ever.
            export_timeout: env
                .positive_milliseconds("OTEL_BSP_EXPORT_TIMEOUT")
                .unwrap_or(default.export_timeout),
            max_export_batch_size: batch_size.map(|size| size.min(limit)),
            max_queue_size,
            schedule_delay: env
                .milliseconds("OTEL_BSP_SCHEDULE_DELAY")
                .unwrap_or(default.schedule_delay),
        }
    }
}
