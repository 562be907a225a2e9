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

macro_rules! encode {
    ($($method:ident: $type:ty => $encode:ident),*) => {
        $(
            fn $method(&mut self, field: &Field, value: $type) {
                self.attributes.$encode(field.index(), value, self.limits);
            }
        )*
    };
}

impl Visit for Encoder<'_> {
    encode!(
        record_bool: bool => bool,
        record_i64: i64 => i64,
        record_u64: u64 => u64,
        record_f64: f64 => f64,
        record_i128: i128 => i128,
        record_u128: u128 => u128,
        record_str: &str => str
    );

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        without_given_parent(|| self.attributes.error(field.index(), value, self.limits));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format_args!("{value:?}");
        without_given_parent(|| self.attributes.formatted(field.index(), value, self.limits));
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
