//! What can be wrong with a configuration.

use std::{error::Error, fmt, io, path::PathBuf};

use super::quote::Quoted;

/// How many problems of one kind an error message lists before it only counts them.
const LISTED_PROBLEMS: usize = 16;

/// Why a [`TracingConfig`](super::TracingConfig) could not be read or is not valid.
///
/// Its text is the one a Kubernetes API server prints for the same mistake, where there is one.
/// The text is complete, so [`Error::source`] is always `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Whether the file exists could not be found out.
    #[non_exhaustive]
    CheckPath {
        /// The path as given.
        path: PathBuf,
        /// The kind of the failure.
        kind: io::ErrorKind,
        /// The failure as the operating system words it.
        reason: String,
    },
    /// The text is not YAML or JSON of the expected form.
    #[non_exhaustive]
    Decode {
        /// What is wrong, with the line where it is known.
        reason: String,
    },
    /// The path is the empty string.
    EmptyPath,
    /// One or more fields have a value that cannot be used.
    #[non_exhaustive]
    Invalid {
        /// Every such field, in the order of the file.
        errors: Vec<FieldError>,
    },
    /// There is no file at the path.
    #[non_exhaustive]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// The file could not be opened or read.
    #[non_exhaustive]
    Read {
        /// The path as given.
        path: PathBuf,
        /// The kind of the failure.
        kind: io::ErrorKind,
        /// The failed operation, the path, and the failure as the operating system words it.
        reason: String,
    },
    /// There are fields that the kind does not have, or fields that are there twice.
    #[non_exhaustive]
    Strict {
        /// Each such field, in the order of the file.
        problems: Vec<String>,
    },
    /// The text is longer than any configuration should be.
    #[non_exhaustive]
    TooLarge {
        /// The greatest length accepted, in bytes.
        limit: usize,
    },
    /// The `apiVersion` and `kind` do not name a configuration that this crate knows.
    #[non_exhaustive]
    UnknownKind {
        /// The `apiVersion` as given.
        api_version: String,
        /// The `kind` as given.
        kind: String,
    },
}

impl Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DECODE: &str = "unable to decode tracing configuration data";
        match self {
            Self::CheckPath { path, reason, .. } => write!(
                f,
                "error checking if tracing-config-file {} exists: {reason}",
                path.display()
            ),
            Self::Decode { reason } => write!(f, "{DECODE}: {reason}"),
            Self::EmptyPath => f.write_str("tracing config file was empty"),
            Self::Invalid { errors } => {
                f.write_str("failed to validate tracing configuration: ")?;
                match errors.as_slice() {
                    [error] => error.fmt(f),
                    errors => {
                        f.write_str("[")?;
                        write_list(f, errors)?;
                        f.write_str("]")
                    }
                }
            }
            Self::NotFound { path } => {
                write!(f, "tracing-config-file {} does not exist", path.display())
            }
            Self::Read { path, reason, .. } => write!(
                f,
                "unable to read tracing configuration from {}: {reason}",
                Quoted(&path.to_string_lossy())
            ),
            Self::Strict { problems } => {
                write!(f, "{DECODE}: strict decoding error: ")?;
                write_list(f, problems)
            }
            Self::TooLarge { limit } => {
                write!(f, "{DECODE}: it is longer than {limit} bytes")
            }
            Self::UnknownKind { api_version, kind } => write!(
                f,
                "{DECODE}: no kind {} is registered for version {} in scheme {}",
                Quoted(kind),
                Quoted(api_version),
                Quoted(super::kinds::GROUP)
            ),
        }
    }
}

/// One field of a configuration and what is wrong with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    field: &'static str,
    value: Option<String>,
    detail: String,
}

impl FieldError {
    /// A field whose value, rendered as it should be printed, cannot be used.
    pub(super) fn invalid(
        field: &'static str,
        value: impl fmt::Display,
        detail: impl Into<String>,
    ) -> Self {
        Self { field, value: Some(value.to_string()), detail: detail.into() }
    }

    /// A field that must be there.
    pub(super) fn required(field: &'static str, detail: impl Into<String>) -> Self {
        Self { field, value: None, detail: detail.into() }
    }

    /// The name of the field, as in the file.
    pub fn field(&self) -> &str {
        self.field
    }

    /// The value as the message prints it: strings quoted, an endpoint without scheme after
    /// `dns://` was prepended. `None` for a field that is missing.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// What is wrong with the value.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, detail } = self;
        match value {
            Some(value) => write!(f, "{field}: Invalid value: {value}: {detail}"),
            None => write!(f, "{field}: Required value: {detail}"),
        }
    }
}

impl Error for FieldError {}

fn write_list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (index, item) in items.iter().take(LISTED_PROBLEMS).enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(f, "{separator}{item}")?;
    }
    match items.len().saturating_sub(LISTED_PROBLEMS) {
        0 => Ok(()),
        more => write!(f, ", and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, FieldError};

    #[test]
    fn errors_can_cross_threads_and_be_boxed() {
        fn assert_error<T: std::error::Error + Send + Sync + 'static>() {}
        assert_error::<ConfigError>();
        assert_error::<FieldError>();
    }

    #[test]
    fn a_flood_of_problems_is_counted_instead_of_listed() {
        let problems = (0..1000).map(|n| format!("unknown field \"f{n}\"")).collect();
        let text = ConfigError::Strict { problems }.to_string();
        assert!(text.ends_with("unknown field \"f15\", and 984 more"), "{text}");
    }
}
