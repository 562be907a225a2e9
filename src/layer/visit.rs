//! Field values -> record bytes.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};

use crate::layer::encoding::{Attributes, ValueLimits};

/// Encodes every value it is shown. Values are only looked at where the span is recorded.
pub(super) struct Encoder<'a> {
    pub(super) attributes: &'a mut Attributes,
    pub(super) limits: ValueLimits,
}

impl Encoder<'_> {
    /// A callsite has at most 32 fields by `tracing`'s macros; more come from hand-made callsites
    /// and are counted as dropped from the 256th on.
    #[inline]
    fn key(&mut self, field: &Field) -> Option<u8> {
        let key = u8::try_from(field.index()).ok();
        if key.is_none() {
            self.attributes.drop_one();
        }
        key
    }
}

impl Visit for Encoder<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        if let Some(key) = self.key(field) {
            self.attributes.bool(key, value, self.limits);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if let Some(key) = self.key(field) {
            self.attributes.i64(key, value, self.limits);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if let Some(key) = self.key(field) {
            self.attributes.u64(key, value, self.limits);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if let Some(key) = self.key(field) {
            self.attributes.f64(key, value, self.limits);
        }
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        if let Some(key) = self.key(field) {
            self.attributes.i128(key, value, self.limits);
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        if let Some(key) = self.key(field) {
            self.attributes.u128(key, value, self.limits);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(key) = self.key(field) {
            self.attributes.str(key, value, self.limits);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        if let Some(key) = self.key(field) {
            self.attributes.error(key, value, self.limits);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(key) = self.key(field) {
            self.attributes.formatted(key, format_args!("{value:?}"), self.limits);
        }
    }
}
