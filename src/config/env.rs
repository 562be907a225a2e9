//! The `OTEL_*` variables, as the OpenTelemetry specification has them.
//!
//! An empty variable is an unset one. A value that cannot be used is ignored, and a warning says
//! which and why; nothing here fails. Names of exporters, samplers and the like are taken in any
//! case.
//!
//! `opentelemetry_sdk`'s detector of resource attributes does not decode percent-escapes, so the
//! attributes are read here.

mod limits;
mod otlp;
mod reader;
mod resource;

use std::time::Duration;

pub(crate) use self::limits::{BatchSettings, SpanLimits};
pub(crate) use self::otlp::OtlpSettings;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
pub(crate) use self::otlp::TlsFiles;
use self::reader::Reader;
use super::{
    Protocol,
    endpoint::{CollectorAddress, TracesPath},
    quote::Quoted,
    sampler::{RootSampler, SamplerSetting},
};

/// Where finished spans go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exporter {
    Console,
    Otlp,
}

/// What the variables say. `None` where they are silent and a file may decide.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EnvSettings {
    pub(super) batch: BatchSettings,
    pub(super) endpoint: Option<CollectorAddress>,
    /// Empty: spans are sent nowhere.
    pub(super) exporters: Option<Vec<Exporter>>,
    pub(super) is_disabled: bool,
    pub(super) limits: SpanLimits,
    pub(super) otlp: OtlpSettings,
    pub(super) protocol: Option<Protocol>,
    pub(super) resource_attributes: Vec<(String, String)>,
    pub(super) sampler: Option<SamplerSetting>,
    pub(super) service_name: Option<String>,
    pub(super) timeout: Option<Duration>,
    pub(super) warnings: Vec<String>,
}

impl EnvSettings {
    /// Reads the variables of this process.
    pub(crate) fn from_env() -> Self {
        // Bytes that are not UTF-8 make a value that is refused with a warning, not ignored.
        Self::from_lookup(&|name| {
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    /// Reads the variables that `lookup` has.
    pub(crate) fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut env = Reader::new(lookup);
        let protocol = protocol(&mut env);
        let (resource_attributes, service_name) = resource::read(&mut env);
        check_propagators(&mut env);
        Self {
            batch: BatchSettings::read(&mut env),
            endpoint: endpoint(&mut env, protocol.unwrap_or_default()),
            exporters: exporters(&mut env),
            is_disabled: env.boolean("OTEL_SDK_DISABLED").unwrap_or(false),
            limits: SpanLimits::read(&mut env),
            otlp: OtlpSettings::read(&mut env),
            protocol,
            resource_attributes,
            sampler: sampler(&mut env),
            service_name,
            timeout: ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]
                .into_iter()
                .find_map(|name| env.positive_milliseconds(name)),
            warnings: env.into_warnings(),
        }
    }
}

fn protocol(env: &mut Reader<'_>) -> Option<Protocol> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    names.into_iter().find_map(|name| {
        let value = env.text(name)?;
        match value.to_ascii_lowercase().as_str() {
            "grpc" => Some(Protocol::Grpc),
            "http/protobuf" => Some(Protocol::HttpProtobuf),
            "http/json" => {
                env.warn(name, &value, "is not supported; http/protobuf is the nearest");
                None
            }
            _ => {
                env.warn(name, &value, "is not one of grpc, http/protobuf");
                None
            }
        }
    })
}

fn endpoint(env: &mut Reader<'_>, protocol: Protocol) -> Option<CollectorAddress> {
    let is_insecure = ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"]
        .into_iter()
        .find_map(|name| env.boolean(name))
        .unwrap_or(false);
    let names = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", TracesPath::Given),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", TracesPath::Appended),
    ];
    names.into_iter().find_map(|(name, path)| {
        let value = env.text(name)?;
        let address = if let Some(socket) = value.strip_prefix("unix:") {
            CollectorAddress::unix(socket.strip_prefix("//").unwrap_or(socket))
        } else if value.contains("//") {
            CollectorAddress::from_web_url(&value, path)
        } else if protocol == Protocol::Grpc {
            CollectorAddress::from_plain_host(&value, is_insecure)
        } else {
            Err(format!("must be a URL such as http://{value}"))
        };
        address.map_err(|problem| env.warn(name, &value, &problem)).ok()
    })
}

fn exporters(env: &mut Reader<'_>) -> Option<Vec<Exporter>> {
    const NAME: &str = "OTEL_TRACES_EXPORTER";
    env.list(NAME, "is not one of otlp, console, none", |item| match item {
        "console" | "logging" => Some(Exporter::Console),
        "otlp" => Some(Exporter::Otlp),
        _ => None,
    })
}

/// Context is always passed on as W3C headers; code can say otherwise, a variable cannot.
fn check_propagators(env: &mut Reader<'_>) {
    const NAME: &str = "OTEL_PROPAGATORS";
    let Some(value) = env.text(NAME) else { return };
    let has = |name| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(name));
    if !has("tracecontext") || !has("baggage") || value.split(',').count() != 2 {
        let advice = "tracecontext,baggage are used; give another propagator in code, to \
                      ServerTracing::with_propagator and ClientTracing::with_propagator";
        env.warn(NAME, &value, advice);
    }
}

fn sampler(env: &mut Reader<'_>) -> Option<SamplerSetting> {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    let value = env.text(NAME)?;
    let lower = value.to_ascii_lowercase();
    let (is_parent_based, root) = match lower.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, lower.as_str()),
    };
    let root = match root {
        "always_off" => RootSampler::AlwaysOff,
        "always_on" => RootSampler::AlwaysOn,
        "traceidratio" => RootSampler::TraceIdRatio(ratio(env)),
        _ => {
            env.warn(
                NAME,
                &value,
                "is not one of always_on, always_off, traceidratio, parentbased_always_on, \
                 parentbased_always_off, parentbased_traceidratio",
            );
            return None;
        }
    };
    Some(SamplerSetting { is_parent_based, root })
}

fn ratio(env: &mut Reader<'_>) -> f64 {
    const NAME: &str = "OTEL_TRACES_SAMPLER_ARG";
    let Some(value) = env.text(NAME) else {
        return 1.0;
    };
    match value.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
        _ => {
            env.warn(NAME, &value, "is not a number from 0 to 1; every trace is sampled");
            1.0
        }
    }
}

fn warning(name: &str, value: &str, problem: &str) -> String {
    // A value may be of any length, and may be a secret put into the wrong variable.
    const SHOWN: usize = 64;
    let mut shown = value;
    if let Some((end, _)) = value.char_indices().nth(SHOWN) {
        shown = &value[..end];
    }
    let more = if shown.len() < value.len() { "..." } else { "" };
    format!("{name} is ignored: {}{more} {problem}", Quoted(shown))
}

#[cfg(test)]
mod tests;
