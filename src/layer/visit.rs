//! Field values -> record bytes.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};

use crate::layer::encoding::{Attributes, ValueLimits};
use crate::layer::thread::without_given_parent;

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
            without_given_parent(|| self.attributes.error(key, value, self.limits));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(key) = self.key(field) {
            without_given_parent(|| {
                self.attributes.formatted(key, format_args!("{value:?}"), self.limits);
            });
        }
    }
}

/// Encodes the values that no code of the user's takes part in, and tells whether there are others.
pub(super) struct Plain<'a> {
    pub(super) encoder: Encoder<'a>,
    pub(super) is_complete: bool,
}

/// Encodes the others: those that are formatted.
pub(super) struct Formatted<'a, 'b>(pub(super) &'a mut Encoder<'b>);

macro_rules! delegate {
    ($($method:ident: $value:ty),*) => {
        $(
            fn $method(&mut self, field: &Field, value: $value) {
                self.encoder.$method(field, value);
            }
        )*
    };
}

macro_rules! ignore {
    ($($method:ident: $value:ty),*) => {
        $(
            fn $method(&mut self, _: &Field, _: $value) {}
        )*
    };
}

impl Visit for Plain<'_> {
    delegate!(
        record_bool: bool,
        record_i64: i64,
        record_u64: u64,
        record_f64: f64,
        record_i128: i128,
        record_u128: u128,
        record_str: &str
    );

    fn record_error(&mut self, _: &Field, _: &(dyn Error + 'static)) {
        self.is_complete = false;
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {
        self.is_complete = false;
    }
}

impl Visit for Formatted<'_, '_> {
    ignore!(
        record_bool: bool,
        record_i64: i64,
        record_u64: u64,
        record_f64: f64,
        record_i128: i128,
        record_u128: u128,
        record_str: &str
    );

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.record_error(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.record_debug(field, value);
    }
}
