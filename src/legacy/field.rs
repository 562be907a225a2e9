//! Pairs that say more about an operation or a step.

use std::borrow::Cow;
use std::fmt::{self, Debug, Display};

use opentelemetry::KeyValue;

use crate::legacy::text::Fields;
use crate::legacy::value::FieldValue;

/// A key and a value, formatted only if the text that it belongs to is printed.
///
/// Mostly made by [`fields!`](crate::legacy::fields).
///
/// # Examples
///
/// ```
/// use spanbridge::legacy::{Field, Trace};
///
/// let page = [Field::new("limit", 500), Field::new("continue", "")];
/// let trace = Trace::new("List", page);
/// ```
#[derive(Clone, Debug)]
pub struct Field {
    key: Cow<'static, str>,
    value: FieldValue,
}

impl Field {
    /// A field with a value of its own type, which is also the attribute's type on the span.
    pub fn new(key: impl Into<Cow<'static, str>>, value: impl Into<FieldValue>) -> Self {
        Self { key: key.into(), value: value.into() }
    }

    /// A field that shows `value` by its `Debug`, once it is printed.
    pub fn debug(
        key: impl Into<Cow<'static, str>>,
        value: impl Debug + Send + Sync + 'static,
    ) -> Self {
        Self::new(key, FieldValue::debug(value))
    }

    /// A field that shows `value` by its `Display`, once it is printed.
    pub fn display(
        key: impl Into<Cow<'static, str>>,
        value: impl Display + Send + Sync + 'static,
    ) -> Self {
        Self::new(key, FieldValue::display(value))
    }

    /// The attribute of a span or an event; none if there is no value.
    fn attribute(&self) -> Option<KeyValue> {
        Some(KeyValue::new(self.key.clone(), self.value.attribute()?))
    }
}

/// An attribute of the OpenTelemetry API as a field.
impl From<KeyValue> for Field {
    fn from(attribute: KeyValue) -> Self {
        Self::new(attribute.key.as_str().to_owned(), attribute.value)
    }
}

/// What may be given where an operation or a step takes fields.
///
/// [`fields!`](crate::legacy::fields) is not evaluated where neither text nor span is wanted; a
/// list of [`Field`]s or attributes has been made by then.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of fields",
    note = "use `fields![\"key\" => value]`, or an array or `Vec` of `Field` or `KeyValue`"
)]
pub trait IntoFields {
    /// The fields, in the order in which they are printed.
    fn into_fields(self) -> Vec<Field>;
}

impl<T: Into<Field>> IntoFields for Vec<T> {
    fn into_fields(self) -> Vec<Field> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<Field>, const N: usize> IntoFields for [T; N] {
    fn into_fields(self) -> Vec<Field> {
        self.map(Into::into).into()
    }
}

/// Fields that are made only where somebody wants them; see [`fields!`](crate::legacy::fields).
pub struct LazyFields<F>(F);

impl<F: FnOnce() -> Vec<Field>> LazyFields<F> {
    #[doc(hidden)]
    pub fn new(make: F) -> Self {
        Self(make)
    }
}

impl<F: FnOnce() -> Vec<Field>> IntoFields for LazyFields<F> {
    fn into_fields(self) -> Vec<Field> {
        (self.0)()
    }
}

impl<F> Debug for LazyFields<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyFields").finish_non_exhaustive()
    }
}

/// Fields for a [`Trace`](crate::legacy::Trace) or a step of it: `fields!["key" => value, ...]`.
///
/// A value is a boolean, a number, a text, a [`Duration`](std::time::Duration), a list or an [`Option`] of these; `%`
/// before it takes anything that is `Display`, `?` anything that is `Debug`, and formats it only if
/// it is printed, or at once if the span is recorded. These two keep the value until then, so it
/// must be owned (`'static`); of a text that is borrowed a copy is made.
///
/// Where neither text nor span is wanted the values are not even evaluated.
///
/// # Examples
///
/// ```
/// use std::net::Ipv4Addr;
/// use spanbridge::legacy::{Trace, fields};
///
/// let path = String::from("/api/v1/pods");
/// let trace = Trace::new("List", fields!["url" => &path, "client" => %Ipv4Addr::LOCALHOST]);
/// trace.step("listed from storage", fields!["count" => 3, "keys" => ?["a", "b"]]);
/// trace.step("done", fields![]);
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __legacy_fields {
    (@list [$($done:expr,)*]) => { ::std::vec![$($done,)*] };
    (@list [$($done:expr,)*] $key:expr => %$value:expr $(, $($rest:tt)*)?) => {
        $crate::__legacy_fields!(
            @list [$($done,)* $crate::legacy::Field::display($key, $value),] $($($rest)*)?
        )
    };
    (@list [$($done:expr,)*] $key:expr => ?$value:expr $(, $($rest:tt)*)?) => {
        $crate::__legacy_fields!(
            @list [$($done,)* $crate::legacy::Field::debug($key, $value),] $($($rest)*)?
        )
    };
    (@list [$($done:expr,)*] $key:expr => $value:expr $(, $($rest:tt)*)?) => {
        $crate::__legacy_fields!(
            @list [$($done,)* $crate::legacy::Field::new($key, $value),] $($($rest)*)?
        )
    };
    ($($fields:tt)*) => {
        $crate::legacy::LazyFields::new(|| $crate::__legacy_fields!(@list [] $($fields)*))
    };
}

/// The fields of one operation or step. Displayed as they stand in a line: `key:value,key:value`.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldList(pub(super) Vec<Field>);

impl FieldList {
    pub(super) fn attributes(&self) -> Vec<KeyValue> {
        self.0.iter().filter_map(Field::attribute).collect()
    }

    pub(super) fn as_text(&self) -> Fields<'_> {
        Fields((!self.0.is_empty()).then_some(self as &dyn Display))
    }
}

impl Display for FieldList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, field) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}:{}", field.key, field.value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::{Array, Value};

    use super::*;
    use crate::legacy::fields;

    fn shown(fields: impl IntoFields) -> String {
        FieldList(fields.into_fields()).to_string()
    }

    #[test]
    fn values_are_shown_as_go_shows_them() {
        let long = Duration::from_millis(61_500);
        assert_eq!(
            shown(fields!["str" => "text", "int" => 2, "bool" => false]),
            "str:text,int:2,bool:false"
        );
        assert_eq!(shown(fields!["f" => 3.0, "g" => 1e6, "h" => 0.1_f32]), "f:3,g:1e+06,h:0.1");
        assert_eq!(shown(fields!["none" => None::<u8>, "some" => Some(1_u8)]), "none:<nil>,some:1");
        assert_eq!(shown(fields!["l" => ["a", "b"], "d" => long]), "l:[a b],d:1m1.5s");
        assert_eq!(shown(fields!["u" => u64::MAX, "c" => 'c']), format!("u:{},c:c", u64::MAX));
        assert_eq!(shown(fields!["k" => "a,b:c d"]), "k:a,b:c d");
        assert_eq!(shown(fields![]), "");
    }

    #[test]
    fn attributes_have_the_values_types() {
        let of = |fields: Vec<Field>| FieldList(fields).attributes();
        let fields = fields![
            "b" => true, "i" => -1, "u" => 7_u64, "big" => u64::MAX, "f" => 0.5_f32, "s" => "s",
            "none" => None::<bool>, "ints" => [1_u8, 2], "texts" => vec!["x"], "shown" => %'x',
            "d" => Duration::from_micros(1500),
        ];
        let expected = vec![
            KeyValue::new("b", true),
            KeyValue::new("i", -1_i64),
            KeyValue::new("u", 7_i64),
            KeyValue::new("big", u64::MAX.to_string()),
            KeyValue::new("f", 0.5),
            KeyValue::new("s", "s"),
            KeyValue::new("ints", Value::Array(Array::I64(vec![1, 2]))),
            KeyValue::new("texts", Value::Array(Array::String(vec!["x".into()]))),
            KeyValue::new("shown", "x"),
            KeyValue::new("d", "1.5ms"),
        ];
        assert_eq!(of(fields.into_fields()), expected);
        assert_eq!(of(expected.clone().into_fields()), expected, "there and back");
    }

    #[test]
    fn a_value_that_panics_is_shown_as_such() {
        struct Broken;
        impl Display for Broken {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("boom")
            }
        }
        let text = shown(fields!["a" => %Broken, "b" => 1]);
        assert_eq!(text, "a:%!v(PANIC=Display method: boom),b:1");
    }

    #[test]
    fn a_list_is_made_only_when_asked_for() {
        let mut made = 0;
        let _never_asked = fields!["n" => { made += 1; made }];
        assert_eq!(made, 0);
    }
}
