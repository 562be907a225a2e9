//! From YAML or JSON text to a [`TracingConfig`], strictly.
//!
//! The text becomes a list of fields first, with nothing lost: a map would hide duplicates, and a
//! derived struct stops at the first mistake. What the list says is judged afterwards, so that
//! all problems of a step are reported together.

use std::{collections::HashSet, fmt, marker::PhantomData};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::{
    Collector, TracingConfig,
    error::{ConfigError, FieldError},
    file::check_length,
    kinds::{API_VERSION, ENDPOINT, KIND, Kind, SAMPLING_RATE, URL},
    quote::Quoted,
    validate,
};

pub(super) fn from_yaml(text: &str) -> Result<TracingConfig, ConfigError> {
    check_length(text.len())?;
    // The default limits suit documents; a configuration of a few fields needs far less.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 100,
            max_anchors: 100,
            max_depth: 32,
            max_nodes: 50_000,
            max_recorded_anchor_bytes: 1 << 20,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // `010` is eight to YAML 1.1 and ten to YAML 1.2: refused as a number rather than guessed.
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
    };
    let text = text.trim_start_matches('\u{feff}');
    let object: Object<Spanned<String>> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ConfigError::Decode {
            reason: match error.without_snippet() {
                serde_saphyr::Error::MultipleDocuments { location, .. } => format!(
                    "yaml: line {}: a second document starts here, but one file is one \
                     configuration",
                    location.line()
                ),
                error => bounded(format!("yaml: {error}")),
            },
        })?;
    from_fields(object.fields.into_iter().map(|(key, value)| Field {
        line: Some(key.referenced.line()),
        name: key.value,
        value,
    }))
}

pub(super) fn from_json(text: &str) -> Result<TracingConfig, ConfigError> {
    check_length(text.len())?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Ok(TracingConfig::default());
    }
    let object: Object<String> = serde_json::from_str(text)
        .map_err(|error| ConfigError::Decode { reason: bounded(format!("json: {error}")) })?;
    from_fields(object.fields.into_iter().map(|(name, value)| Field { line: None, name, value }))
}

/// A parser's message, which may repeat what it could not read, cut to a size for a log.
fn bounded(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(1024) {
        reason.truncate(end);
        reason.push_str("...");
    }
    reason
}

struct Field {
    line: Option<u64>,
    name: String,
    value: Value,
}

fn from_fields(fields: impl Iterator<Item = Field>) -> Result<TracingConfig, ConfigError> {
    let fields: Vec<Field> = fields.collect();
    if fields.is_empty() {
        return Ok(TracingConfig::default());
    }
    let kind = read_kind(&fields)?;
    check_strictly(kind, &fields)?;

    let mut config = TracingConfig::default();
    let mut errors = Vec::new();
    for Field { name, value, .. } in &fields {
        let result = match name.as_str() {
            ENDPOINT => collector_value(ENDPOINT, value, Collector::Endpoint)
                .map(|collector| config.collector = collector),
            URL => collector_value(URL, value, Collector::Url)
                .map(|collector| config.collector = collector),
            SAMPLING_RATE => rate_value(value).map(|rate| config.sampling_rate_per_million = rate),
            _ => Ok(()),
        };
        errors.extend(result.err());
    }
    if errors.is_empty() { Ok(config) } else { Err(ConfigError::Invalid { errors }) }
}

fn read_kind(fields: &[Field]) -> Result<Kind, ConfigError> {
    let find = |name: &'static str, example: &str| match fields.iter().find(|f| f.name == name) {
        Some(field) => match text_value(name, &field.value)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(FieldError::required(name, format!("such as {example}"))),
        },
        None => Err(FieldError::required(name, format!("such as {example}"))),
    };
    let api_version = find(API_VERSION, "apiserver.config.k8s.io/v1");
    let kind = find(KIND, "TracingConfiguration");
    let (api_version, kind) = match (api_version, kind) {
        (Ok(api_version), Ok(kind)) => (api_version, kind),
        (api_version, kind) => {
            let errors = api_version.err().into_iter().chain(kind.err()).collect();
            return Err(ConfigError::Invalid { errors });
        }
    };
    if api_version.matches('/').count() > 1 {
        return Err(ConfigError::Decode {
            reason: bounded(format!("unexpected GroupVersion string: {api_version}")),
        });
    }
    Kind::find(api_version, kind).ok_or_else(|| ConfigError::UnknownKind {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
    })
}

fn check_strictly(kind: Kind, fields: &[Field]) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for Field { line, name, .. } in fields {
        let name_is_new = seen.insert(name.as_str());
        if name_is_new && !kind.has_field(name) {
            problems.push(format!("unknown field {}", Quoted(name)));
        } else if !name_is_new {
            problems.push(match line {
                Some(line) => format!("line {line}: key {} already set in map", Quoted(name)),
                None => format!("duplicate field {}", Quoted(name)),
            });
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(ConfigError::Strict { problems }) }
}

fn text_value<'a>(field: &'static str, value: &'a Value) -> Result<Option<&'a str>, FieldError> {
    match value {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(text)),
        other => Err(FieldError::invalid(
            field,
            other,
            format!("must be a string, not {}", other.name()),
        )),
    }
}

fn collector_value(
    field: &'static str,
    value: &Value,
    make: impl FnOnce(String) -> Collector,
) -> Result<Option<Collector>, FieldError> {
    let collector = text_value(field, value)?.map(|text| make(text.to_owned()));
    if let Some(collector) = &collector {
        collector.address()?;
    }
    Ok(collector)
}

fn rate_value(value: &Value) -> Result<Option<u32>, FieldError> {
    let rate = match value {
        Value::Null => return Ok(None),
        Value::Integer(rate) => *rate,
        // As in Kubernetes, `1e3` and `5.0` are integers too. The bound keeps the cast exact.
        Value::Float(rate) if rate.fract() == 0.0 && rate.abs() < 1e38 => *rate as i128,
        other => {
            let detail = format!("must be a whole number, not {}", other.name());
            return Err(FieldError::invalid(SAMPLING_RATE, other, detail));
        }
    };
    validate::sampling_rate(rate).map(Some)
}

/// The fields of a document in their order, duplicates kept.
struct Object<K> {
    fields: Vec<(K, Value)>,
}

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Object<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<K>(PhantomData<K>);

impl<'de, K: Deserialize<'de>> Visitor<'de> for ObjectVisitor<K> {
    type Value = Object<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping with the fields apiVersion and kind")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Object { fields: Vec::new() })
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Object { fields: Vec::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Object { fields })
    }
}

/// A field's value, as far as any field here can use it.
#[derive(Debug, PartialEq)]
enum Value {
    Boolean(bool),
    Float(f64),
    Integer(i128),
    List,
    Mapping,
    Null,
    Text(String),
}

impl Value {
    fn name(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Float(_) => "a floating-point number",
            Self::Integer(_) => "a number",
            Self::List => "a list",
            Self::Mapping => "a mapping",
            Self::Null => "null",
            Self::Text(_) => "a string",
        }
    }
}

/// As the value of an error message.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::List => f.write_str("[...]"),
            Self::Mapping => f.write_str("{...}"),
            Self::Null => f.write_str("null"),
            Self::Text(value) => Quoted(value).fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        let value = i128::try_from(value).map_err(|_| E::custom("the number is too large"))?;
        Ok(Value::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Mapping)
    }
}
