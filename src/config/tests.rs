//! Vectors of Kubernetes' own tests, and what its code says to further inputs.
//!
//! The texts were printed by k8s.io/apiserver and k8s.io/component-base 0.37.2, built with
//! Go 1.26. Where this crate deliberately differs, the vector is in a test that says so.

mod addresses;
mod files;
mod kinds;
mod properties;
mod text;
mod values;

use super::{
    ConfigError, Protocol, TracingConfig, endpoint::CollectorAddress, file::MAX_BYTES, url,
};

const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n";
const JSON_HEAD: &str =
    r#""apiVersion":"apiserver.config.k8s.io/v1","kind":"TracingConfiguration""#;

/// Endpoint and rate, or the error's text.
fn yaml(text: &str) -> Result<(Option<String>, Option<u32>), String> {
    summary(TracingConfig::from_yaml(text))
}

fn json(text: &str) -> Result<(Option<String>, Option<u32>), String> {
    summary(TracingConfig::from_json(text))
}

fn summary(
    config: Result<TracingConfig, ConfigError>,
) -> Result<(Option<String>, Option<u32>), String> {
    config
        .map(|config| {
            let collector = config.endpoint().or_else(|| config.url()).map(str::to_owned);
            (collector, config.sampling_rate_per_million())
        })
        .map_err(|error| error.to_string())
}

fn field(line: &str) -> Result<(Option<String>, Option<u32>), String> {
    yaml(&format!("{HEAD}{line}\n"))
}

/// The part of the text after what is the same for every bad value.
fn field_error(line: &str) -> String {
    let text = field(line).expect_err(line);
    text.strip_prefix("failed to validate tracing configuration: ")
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

fn decode_error(text: &str) -> String {
    let text = yaml(text).expect_err(text);
    text.strip_prefix("unable to decode tracing configuration data: ")
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}
