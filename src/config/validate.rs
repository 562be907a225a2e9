//! The checks that Kubernetes makes of field values, with its texts. Those of the collector's
//! address are made where it is read, in `endpoint`.

use super::{error::FieldError, kinds::SAMPLING_RATE};

/// Every million is the whole.
const MAX_SAMPLING_RATE: u32 = 1_000_000;

/// A rate as given, in range.
pub(super) fn sampling_rate(rate: i128) -> Result<u32, FieldError> {
    let detail = match u32::try_from(rate) {
        Ok(rate) if rate <= MAX_SAMPLING_RATE => return Ok(rate),
        _ if rate < 0 => "sampling rate must be positive",
        _ => "sampling rate per million must be less than or equal to one million",
    };
    Err(FieldError::invalid(SAMPLING_RATE, rate, detail))
}
