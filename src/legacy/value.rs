//! The values of fields: their types as attributes, and how Go prints them.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::{self, Debug, Display, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{Array, StringValue, Value};

use crate::legacy::go::{Float, Nanoseconds};

/// The value of a [`Field`](crate::legacy::Field), with the type that it has as an attribute of a span.
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
    pub(super) fn debug(value: impl Debug + Send + Sync + 'static) -> Self {
        Self(Kind::Debug(Arc::new(value)))
    }

    pub(super) fn display(value: impl Display + Send + Sync + 'static) -> Self {
        Self(Kind::Display(Arc::new(value)))
    }

    /// The value of an attribute; none if there is nothing.
    pub(super) fn attribute(&self) -> Option<Value> {
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
