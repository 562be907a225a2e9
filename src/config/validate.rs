//! The checks that Kubernetes makes of field values, with its texts.

use super::{
    Collector, TracingConfig, endpoint::CollectorAddress, error::FieldError, kinds::SAMPLING_RATE,
};

/// Every million is the whole.
pub(super) const MAX_SAMPLING_RATE: u32 = 1_000_000;

/// A rate as given, in range.
pub(super) fn sampling_rate(rate: i128) -> Result<u32, FieldError> {
    let detail = match u32::try_from(rate) {
        Ok(rate) if rate <= MAX_SAMPLING_RATE => return Ok(rate),
        _ if rate < 0 => "sampling rate must be positive",
        _ => "sampling rate per million must be less than or equal to one million",
    };
    Err(FieldError::invalid(SAMPLING_RATE, rate, detail))
}

/// What is wrong with the collector's address, if one is set and something is.
pub(super) fn collector(config: &TracingConfig) -> Option<FieldError> {
    match config.collector.as_ref()? {
        Collector::Endpoint(endpoint) => CollectorAddress::from_endpoint(endpoint).err(),
        Collector::Url(url) => CollectorAddress::from_url(url).err(),
    }
}
