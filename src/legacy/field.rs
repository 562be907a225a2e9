//! Pairs that say more about an operation or a step.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::{self, Debug, Display, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{Array, KeyValue, StringValue, Value};

use crate::legacy::go::{Float, Nanoseconds};
use crate::legacy::text::Fields;

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
        Self::new(key, FieldValue(Kind::Debug(Arc::new(value))))
    }

    /// A field that shows `value` by its `Display`, once it is printed.
    pub fn display(
        key: impl Into<Cow<'static, str>>,
        value: impl Display + Send + Sync + 'static,
    ) -> Self {
        Self::new(key, FieldValue(Kind::Display(Arc::new(value))))
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
/// A value is a boolean, a number, a text, a [`Duration`], a list or an [`Option`] of these; `%`
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

/// The value of a [`Field`], with the type that it has as an attribute of a span.
///
/// It is printed as Go's `%v` prints it: no quotes around a text, `[a b]` for a list, `1.5s` for a
/// duration, `<nil>` for what is not there.
#[derive(Clone)]
pub struct FieldValue(Kind);

#[derive(Clone)]
enum Kind {
    Bool(bool),
    Debug(Arc<dyn Debug + Send + Sync>),
    Display(Arc<dyn Display + Send + Sync>),
    Duration(Duration),
    F64(f64),
    I64(i64),
    List(Arc<[FieldValue]>),
    Nil,
    Text(Cow<'static, str>),
    U64(u64),
}

impl FieldValue {
    fn attribute(&self) -> Option<Value> {
        Some(match &self.0 {
            Kind::Bool(value) => (*value).into(),
            Kind::F64(value) => (*value).into(),
            Kind::I64(value) => (*value).into(),
            Kind::List(values) => Value::Array(array(values)),
            Kind::Nil => return None,
            Kind::Text(Cow::Borrowed(text)) => (*text).into(),
            Kind::Text(Cow::Owned(text)) => text.clone().into(),
            Kind::U64(value) => match i64::try_from(*value) {
                Ok(value) => value.into(),
                Err(_) => value.to_string().into(),
            },
            Kind::Debug(_) | Kind::Display(_) | Kind::Duration(_) => self.to_string().into(),
        })
    }
}

/// A list of one type; any other is a list of texts.
fn array(values: &[FieldValue]) -> Array {
    fn all<T>(values: &[FieldValue], of: impl Fn(&Kind) -> Option<T>) -> Option<Vec<T>> {
        values.iter().map(|value| of(&value.0)).collect()
    }
    let bools = |kind: &Kind| if let Kind::Bool(value) = kind { Some(*value) } else { None };
    let floats = |kind: &Kind| if let Kind::F64(value) = kind { Some(*value) } else { None };
    let integers = |kind: &Kind| match kind {
        Kind::I64(value) => Some(*value),
        Kind::U64(value) => i64::try_from(*value).ok(),
        _ => None,
    };
    let texts = || values.iter().map(|value| StringValue::from(value.to_string())).collect();
    if values.is_empty() {
        return Array::String(Vec::new());
    }
    None.or_else(|| all(values, bools).map(Array::Bool))
        .or_else(|| all(values, integers).map(Array::I64))
        .or_else(|| all(values, floats).map(Array::F64))
        .unwrap_or_else(|| Array::String(texts()))
}

impl Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Bool(value) => write!(f, "{value}"),
            Kind::Debug(value) => guarded(f, format_args!("{value:?}"), "Debug"),
            Kind::Display(value) => guarded(f, format_args!("{value}"), "Display"),
            Kind::Duration(value) => {
                let nanos = i128::try_from(value.as_nanos()).unwrap_or(i128::MAX);
                write!(f, "{}", Nanoseconds(nanos))
            }
            Kind::F64(value) => write!(f, "{}", Float(*value)),
            Kind::I64(value) => write!(f, "{value}"),
            Kind::List(values) => {
                f.write_char('[')?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at > 0 { " " } else { "" })?;
                }
                f.write_char(']')
            }
            Kind::Nil => f.write_str("<nil>"),
            Kind::Text(text) => f.write_str(text),
            Kind::U64(value) => write!(f, "{value}"),
        }
    }
}

impl Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// Writes a value of the user's. If it panics the text says so, as Go's does.
fn guarded(f: &mut fmt::Formatter<'_>, value: fmt::Arguments<'_>, method: &str) -> fmt::Result {
    let written = catch_unwind(AssertUnwindSafe(|| {
        let mut text = String::new();
        // One that fails is shown as far as it came.
        let _ = text.write_fmt(value);
        text
    }));
    match written {
        Ok(text) => f.write_str(&text),
        Err(panic) => write!(f, "%!v(PANIC={method} method: {})", message(&*panic)),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
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

macro_rules! values {
    ($($kind:ident: $($from:ty as $into:ty),*;)*) => {
        $($(
            impl From<$from> for FieldValue {
                fn from(value: $from) -> Self {
                    Self(Kind::$kind(<$into>::from(value)))
                }
            }
        )*)*
    };
}

values! {
    Bool: bool as bool;
    Duration: Duration as Duration;
    F64: f64 as f64;
    I64: i8 as i64, i16 as i64, i32 as i64, i64 as i64;
    Text: String as Cow<'static, str>, Cow<'static, str> as Cow<'static, str>;
    U64: u8 as u64, u16 as u64, u32 as u64, u64 as u64;
}

impl From<isize> for FieldValue {
    fn from(value: isize) -> Self {
        Self(Kind::I64(value as i64))
    }
}

impl From<usize> for FieldValue {
    fn from(value: usize) -> Self {
        Self(Kind::U64(value as u64))
    }
}

/// The number that its shortest decimal form stands for: `0.1`, not `0.10000000149011612`.
impl From<f32> for FieldValue {
    fn from(value: f32) -> Self {
        Self(Kind::F64(value.to_string().parse().unwrap_or_else(|_| f64::from(value))))
    }
}

impl From<char> for FieldValue {
    fn from(value: char) -> Self {
        String::from(value).into()
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for FieldValue {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<fmt::Arguments<'_>> for FieldValue {
    fn from(text: fmt::Arguments<'_>) -> Self {
        let text = text.as_str().map_or_else(|| Cow::Owned(text.to_string()), Cow::Borrowed);
        text.into()
    }
}

impl<T: Into<Self>> From<Option<T>> for FieldValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self(Kind::Nil), Into::into)
    }
}

impl<T: Into<Self>> From<Vec<T>> for FieldValue {
    fn from(values: Vec<T>) -> Self {
        Self(Kind::List(values.into_iter().map(Into::into).collect()))
    }
}

impl<T: Into<Self> + Clone> From<&[T]> for FieldValue {
    fn from(values: &[T]) -> Self {
        Self(Kind::List(values.iter().cloned().map(Into::into).collect()))
    }
}

impl<T: Into<Self>, const N: usize> From<[T; N]> for FieldValue {
    fn from(values: [T; N]) -> Self {
        Self(Kind::List(values.into_iter().map(Into::into).collect()))
    }
}

impl From<Value> for FieldValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Array(Array::Bool(values)) => values.into(),
            Value::Array(Array::F64(values)) => values.into(),
            Value::Array(Array::I64(values)) => values.into(),
            Value::Array(Array::String(values)) => {
                values.into_iter().map(String::from).collect::<Vec<_>>().into()
            }
            Value::Bool(value) => value.into(),
            Value::F64(value) => value.into(),
            Value::I64(value) => value.into(),
            Value::String(value) => String::from(value).into(),
            other => other.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
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
