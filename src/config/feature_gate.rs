//! Feature gates, as Kubernetes' `--feature-gates` has them.

use std::{error::Error, fmt};

use super::quote::Quoted;

/// A feature that can be switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// `APIServerTracing`: whether requests are traced at all. On by default, as in Kubernetes
    /// since 1.27.
    ApiServerTracing,
}

/// Which features are on.
///
/// ```
/// use spanbridge::config::{Feature, FeatureGates};
///
/// let gates = FeatureGates::parse("APIServerTracing=false")?;
/// assert!(!gates.is_enabled(Feature::ApiServerTracing));
/// assert!(FeatureGates::default().is_enabled(Feature::ApiServerTracing));
/// # Ok::<(), spanbridge::config::FeatureGateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureGates {
    api_server_tracing: bool,
}

impl Default for FeatureGates {
    fn default() -> Self {
        Self { api_server_tracing: true }
    }
}

impl FeatureGates {
    /// Reads a list such as `APIServerTracing=false`; entries are separated by commas, spaces
    /// around names and values do not count, and the last entry of a name wins.
    ///
    /// Values are `1`, `t`, `T`, `true`, `True`, `TRUE` and their opposites. `AllBeta` switches
    /// every feature that has no entry of its own; `AllAlpha` is accepted and switches nothing.
    ///
    /// # Errors
    ///
    /// Fails if an entry has no value, a value that is not a boolean, or an unknown name.
    pub fn parse(list: &str) -> Result<Self, FeatureGateError> {
        let mut entries = Vec::new();
        for entry in list.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let (name, value) = entry
                .split_once('=')
                .ok_or_else(|| FeatureGateError::MissingValue { name: entry.to_owned() })?;
            let (name, value) = (name.trim(), value.trim());
            let is_on = parse_bool(value).ok_or_else(|| FeatureGateError::InvalidValue {
                name: name.to_owned(),
                value: value.to_owned(),
            })?;
            entries.push((name, is_on));
        }

        let mut all_beta = None;
        let mut api_server_tracing = None;
        for (name, is_on) in entries {
            match name {
                "APIServerTracing" => api_server_tracing = Some(is_on),
                "AllAlpha" => {}
                "AllBeta" => all_beta = Some(is_on),
                _ => {
                    return Err(FeatureGateError::Unrecognized { name: name.to_owned() });
                }
            }
        }
        Ok(Self { api_server_tracing: api_server_tracing.or(all_beta).unwrap_or(true) })
    }

    /// Whether `feature` is on.
    pub fn is_enabled(&self, feature: Feature) -> bool {
        match feature {
            Feature::ApiServerTracing => self.api_server_tracing,
        }
    }
}

impl std::str::FromStr for FeatureGates {
    type Err = FeatureGateError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        Self::parse(list)
    }
}

/// Why a list of feature gates could not be read; the texts are Kubernetes'.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeatureGateError {
    /// The value of an entry is not a boolean.
    #[non_exhaustive]
    InvalidValue {
        /// The name of the feature.
        name: String,
        /// The value as given.
        value: String,
    },
    /// An entry has no `=`.
    #[non_exhaustive]
    MissingValue {
        /// The entry as given.
        name: String,
    },
    /// There is no feature of this name.
    #[non_exhaustive]
    Unrecognized {
        /// The name as given.
        name: String,
    },
}

impl Error for FeatureGateError {}

impl fmt::Display for FeatureGateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidValue { name, value } => write!(
                f,
                "invalid value of {name}={value}, err: strconv.ParseBool: parsing {}: invalid \
                 syntax",
                Quoted(value)
            ),
            Self::MissingValue { name } => write!(f, "missing bool value for {name}"),
            Self::Unrecognized { name } => write!(f, "unrecognized feature gate: {name}"),
        }
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Feature, FeatureGateError, FeatureGates};

    #[test]
    fn lists_are_read_as_kubernetes_reads_them() {
        let on = Ok(true);
        let off = Ok(false);
        let bad = |value: &str| {
            Err(format!(
                "invalid value of APIServerTracing={value}, err: strconv.ParseBool: parsing \
                 \"{value}\": invalid syntax"
            ))
        };
        let cases = [
            ("", on.clone()),
            ("APIServerTracing=true", on.clone()),
            ("APIServerTracing=false", off.clone()),
            ("APIServerTracing", Err("missing bool value for APIServerTracing".to_owned())),
            ("APIServerTracing=", bad("")),
            ("APIServerTracing=x", bad("x")),
            ("APIServerTracing=1", on.clone()),
            ("APIServerTracing=T", on.clone()),
            ("APIServerTracing=TRUE", on.clone()),
            ("APIServerTracing=tRue", bad("tRue")),
            ("APIServerTracing=true=false", bad("true=false")),
            ("APIServerTracing=F", off.clone()),
            ("Other=true", Err("unrecognized feature gate: Other".to_owned())),
            (
                "APIServerTracing=true,Other=false",
                Err("unrecognized feature gate: Other".to_owned()),
            ),
            ("B=true,A=true", Err("unrecognized feature gate: B".to_owned())),
            ("=true", Err("unrecognized feature gate: ".to_owned())),
            (
                "apiservertracing=true",
                Err("unrecognized feature gate: apiservertracing".to_owned()),
            ),
            ("Other=true,APIServerTracing=x", bad("x")),
            ("APIServerTracing=true,APIServerTracing=false", off.clone()),
            (" APIServerTracing = true ", on.clone()),
            (",,APIServerTracing=false,", off.clone()),
            ("AllAlpha=false", on.clone()),
            ("AllBeta=false", off),
            ("AllBeta=false,APIServerTracing=true", on.clone()),
            ("APIServerTracing=true,AllBeta=false", on),
        ];
        for (list, expected) in cases {
            let result = FeatureGates::parse(list)
                .map(|gates| gates.is_enabled(Feature::ApiServerTracing))
                .map_err(|error| error.to_string());
            assert_eq!(result, expected, "{list:?}");
        }
    }

    #[test]
    fn the_error_can_cross_threads_and_be_boxed() {
        fn assert_error<T: std::error::Error + Send + Sync + 'static>() {}
        assert_error::<FeatureGateError>();
    }
}
