//! Field values, kept until it is known whether anybody wants to read them.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tracing::field::{Field, Visit};

use crate::legacy::go::Float;

/// Longer values are cut: one value must not use up what a whole tree may take.
const MAX_VALUE_BYTES: usize = 1_024;

/// A value as it was recorded: numbers are not formatted until they are printed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    F64(f64),
    I128(i128),
    I64(i64),
    Text(Box<str>),
    U128(u128),
    U64(u64),
}

impl Value {
    /// What the value takes beside its place in a list.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => 0,
        }
    }

    fn duration_of_millis(&self) -> Option<Duration> {
        match *self {
            Self::F64(millis) => Duration::try_from_secs_f64(millis / 1_000.0).ok(),
            Self::I64(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
            Self::U64(millis) => Some(Duration::from_millis(millis)),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::F64(value) => Float(*value).fmt(f),
            Self::I128(value) => value.fmt(f),
            Self::I64(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::U128(value) => value.fmt(f),
            Self::U64(value) => value.fmt(f),
        }
    }
}

/// The fields of a span or an event, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Sets a field; an earlier value of it is replaced where it stands.
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let values: usize = self.0.iter().map(|(_, value)| value.heap_bytes()).sum();
        values + size_of_val(self.0.as_slice())
    }
}

impl IntoIterator for Fields {
    type Item = (&'static str, Value);
    type IntoIter = std::vec::IntoIter<(&'static str, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// As `k8s.io/utils/trace` prints them: `key:value`, with commas between.
impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{name}:{value}")?;
        }
        Ok(())
    }
}

/// Takes the values of a span or an event apart: what is shown, and what means something here.
#[derive(Debug)]
pub(super) struct Visitor<'a> {
    threshold_field: &'a str,
    pub(super) fields: Fields,
    /// The target that a `log` record had before it became an event.
    pub(super) log_target: Option<Box<str>>,
    pub(super) message: Option<Box<str>>,
    /// `otel.name`.
    pub(super) name: Option<Box<str>>,
    pub(super) threshold: Option<Duration>,
}

impl<'a> Visitor<'a> {
    pub(super) fn new(threshold_field: &'a str) -> Self {
        Self {
            threshold_field,
            // No room in advance: middleware declares many fields that stay empty.
            fields: Fields::default(),
            log_target: None,
            message: None,
            name: None,
            threshold: None,
        }
    }

    fn add_text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // What becomes a name is quoted where it is printed.
        let is_quoted = matches!(field.name(), "message" | "otel.name");
        self.add(field, Value::Text(text(value, !is_quoted)));
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            (name, value) if name == self.threshold_field => {
                self.threshold = value.duration_of_millis().or(self.threshold);
            }
            ("message", Value::Text(text)) => self.message = Some(text),
            ("otel.name", Value::Text(text)) => self.name = Some(text),
            ("log.target", Value::Text(text)) => self.log_target = Some(text),
            // The rest of what `tracing-log` says of a record: its place in the source.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => {
                self.fields.set(name.strip_prefix("r#").unwrap_or(name), value);
            }
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bool(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::F64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.add(field, Value::I128(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::I64(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.add(field, Value::U128(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::U64(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add_text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, format_args!("{value:?}"));
    }
}

/// What a value says, of bounded length and, if `escapes`, on one line. A panic in the value's own code ends here:
/// without this layer it would not have been called.
fn text(value: fmt::Arguments<'_>, escapes: bool) -> Box<str> {
    let mut line = Line { text: String::new(), escapes, is_cut: false };
    let formatted = catch_unwind(AssertUnwindSafe(|| line.write_fmt(value)));
    match formatted {
        Err(_) => line.text.push_str("<panicked while formatting>"),
        // The only error of our own is the one for text that was cut.
        Ok(Err(_)) if !line.is_cut => line.text.push_str("<failed to format>"),
        Ok(_) => {}
    }
    if line.is_cut {
        line.text.push('…');
    }
    line.text.into_boxed_str()
}

struct Line {
    text: String,
    escapes: bool,
    is_cut: bool,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.text.len() + c.len_utf8() > MAX_VALUE_BYTES {
                self.is_cut = true;
                return Err(fmt::Error);
            }
            // A line break from a caller could pass for a line of the log.
            if self.escapes && c.is_control() {
                self.text.extend(c.escape_default());
            } else {
                self.text.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics;

    impl fmt::Debug for Panics {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half ")?;
            panic!("no")
        }
    }

    #[test]
    fn a_value_that_panics_keeps_what_it_said_so_far() {
        assert_eq!(&*text(format_args!("{Panics:?}"), true), "half <panicked while formatting>");
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let long = text(format_args!("{}", "ä".repeat(600)), true);
        assert_eq!(long.chars().count(), 513);
        assert!(long.ends_with("ä…"));
    }

    #[test]
    fn line_breaks_do_not_make_lines() {
        assert_eq!(&*text(format_args!("a\nTrace[1]: b\x1b[0m"), true), r"a\nTrace[1]: b\u{1b}[0m");
    }

    #[test]
    fn milliseconds_of_any_number_are_a_threshold() {
        let ms = |value: Value| value.duration_of_millis();
        assert_eq!(ms(Value::U64(20)), Some(Duration::from_millis(20)));
        assert_eq!(ms(Value::I64(20)), Some(Duration::from_millis(20)));
        assert_eq!(ms(Value::F64(0.5)), Some(Duration::from_micros(500)));
        assert_eq!(ms(Value::I64(-1)), None);
        assert_eq!(ms(Value::F64(f64::NAN)), None);
        assert_eq!(ms(Value::Text("20".into())), None);
    }
}
