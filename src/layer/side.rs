//! What a span keeps at its side is bounded in bytes, as its values are.

use opentelemetry::trace::{Event, Link};
use opentelemetry::{Array, KeyValue, StringValue, Value};

use super::encoding::truncated;
use super::record::Side;

impl Side {
    /// Whether there is room for so many bytes more, which are counted if there is.
    pub(super) fn admits(&mut self, more: usize, limit: usize) -> bool {
        let bytes = self.bytes.saturating_add(more);
        let fits = bytes <= limit;
        if fits {
            self.bytes = bytes;
        }
        fits
    }

    /// Replaces the value of the attribute that is `at`, if there is room for the new one.
    pub(super) fn replace(&mut self, at: usize, value: Value, limit: usize) -> bool {
        let before = value_bytes(&self.attributes[at].value);
        let freed = self.bytes.saturating_sub(before);
        let bytes = freed.saturating_add(value_bytes(&value));
        let fits = bytes <= limit;
        if fits {
            self.bytes = bytes;
            self.attributes[at].value = value;
        }
        fits
    }
}

/// Cuts text, alone or in an array, to so many characters, as fields are.
pub(super) fn shorten<'a>(attributes: impl IntoIterator<Item = &'a mut KeyValue>, limit: usize) {
    let cut = |text: &mut StringValue| {
        let kept = truncated(text.as_str(), limit);
        if kept.len() < text.as_str().len() {
            *text = kept.to_owned().into();
        }
    };
    for attribute in attributes {
        match &mut attribute.value {
            Value::String(text) => cut(text),
            Value::Array(Array::String(texts)) => texts.iter_mut().for_each(cut),
            _ => {}
        }
    }
}

pub(super) fn attribute_bytes(attribute: &KeyValue) -> usize {
    attribute.key.as_str().len() + value_bytes(&attribute.value)
}

pub(super) fn event_bytes(name: &str, attributes: &[KeyValue]) -> usize {
    size_of::<Event>() + name.len() + all_bytes(attributes)
}

pub(super) fn link_bytes(link: &Link) -> usize {
    let state = link.span_context.trace_state().header().len();
    size_of::<Link>() + state + all_bytes(&link.attributes)
}

fn all_bytes(attributes: &[KeyValue]) -> usize {
    attributes.iter().map(attribute_bytes).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(Array::Bool(values)) => values.len(),
        Value::Array(Array::I64(values)) => 8 * values.len(),
        Value::Array(Array::F64(values)) => 8 * values.len(),
        Value::Array(Array::String(values)) => {
            values.iter().map(|value| size_of_val(value) + value.as_str().len()).sum()
        }
        _ => 8,
    }
}
