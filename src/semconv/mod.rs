//! semconv

/// The schema of the attributes that this crate emits.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";
