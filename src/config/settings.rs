//! File and variables together: what the file sets wins.

use std::time::Duration;

use super::{
    Collector, ConfigError, Protocol, TracingConfig,
    endpoint::CollectorAddress,
    env::{BatchSettings, EnvSettings, Exporter, OtlpSettings, SpanLimits},
    sampler::SamplerSetting,
};

/// Everything that decides how spans are made and sent, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) batch: BatchSettings,
    /// `None`: the protocol's port on this machine.
    pub(crate) endpoint: Option<CollectorAddress>,
    /// Empty: spans are sent nowhere.
    pub(crate) exporters: Vec<Exporter>,
    /// `OTEL_SDK_DISABLED`: context is passed on, and nothing else is done.
    pub(crate) is_disabled: bool,
    pub(crate) limits: SpanLimits,
    pub(crate) otlp: OtlpSettings,
    pub(crate) protocol: Protocol,
    /// Without the service's name.
    pub(crate) resource_attributes: Vec<(String, String)>,
    pub(crate) sampler: SamplerSetting,
    pub(crate) service_name: Option<String>,
    /// How long one request to the collector may take, if a variable says.
    pub(crate) timeout: Option<Duration>,
    /// What was ignored and why, to be logged once there is a subscriber.
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    /// Merges.
    ///
    /// A configuration without a sampling rate leaves that to `OTEL_TRACES_SAMPLER`, and without
    /// either only callers decide. Without a configuration the specification's default holds:
    /// callers decide, and what starts here is sampled.
    ///
    /// # Errors
    ///
    /// Fails if `config` is not valid.
    pub(crate) fn new(
        config: Option<&TracingConfig>,
        env: EnvSettings,
    ) -> Result<Self, ConfigError> {
        let mut warnings = env.warnings;
        let mut protocol = env.protocol.unwrap_or_default();
        let mut endpoint = env.endpoint;
        let mut sampler = env.sampler;
        let mut default_sampler = SamplerSetting::PARENT_BASED_ON;
        if let Some(config) = config {
            config.validate()?;
            default_sampler = SamplerSetting::PARENT_BASED_OFF;
            let rate = config.sampling_rate_per_million;
            sampler = rate.map(SamplerSetting::from_rate_per_million).or(sampler);
            if let Some(collector) = &config.collector {
                if let Collector::Endpoint(endpoint) = collector {
                    warnings.extend(ignored_dns_server(endpoint));
                }
                let address = collector
                    .address()
                    .map_err(|error| ConfigError::Invalid { errors: vec![error] })?;
                endpoint = Some(address);
            }
        }
        let is_socket = endpoint.as_ref().is_some_and(CollectorAddress::is_socket);
        if is_socket && protocol != Protocol::Grpc {
            warnings.push(
                "OTEL_EXPORTER_OTLP_PROTOCOL is ignored: a Unix domain socket is reached by gRPC"
                    .to_owned(),
            );
            protocol = Protocol::Grpc;
        }
        let prints = config.is_some_and(|config| config.prints_without_collector);
        let exporters = env.exporters.unwrap_or_else(|| match prints && endpoint.is_none() {
            true => vec![Exporter::Console],
            false => vec![Exporter::Otlp],
        });
        Ok(Self {
            batch: env.batch,
            endpoint,
            exporters,
            is_disabled: env.is_disabled,
            limits: env.limits,
            otlp: env.otlp,
            protocol,
            resource_attributes: env.resource_attributes,
            sampler: sampler.unwrap_or(default_sampler),
            service_name: env.service_name,
            timeout: env.timeout,
            warnings,
        })
    }
}

/// What to say of the `server` in `dns://server/host:port`.
fn ignored_dns_server(endpoint: &str) -> Option<String> {
    let (server, name) = endpoint.strip_prefix("dns://")?.split_once('/')?;
    if server.is_empty() || name.is_empty() {
        return None;
    }
    Some(format!(
        "the DNS server {server} of the collector's endpoint is not asked: names are looked up as \
         the system does it"
    ))
}

#[cfg(test)]
mod tests {
    use super::{EnvSettings, Protocol, SamplerSetting, Settings, TracingConfig};
    use crate::config::{endpoint::CollectorAddress, sampler::RootSampler};

    fn merge(config: Option<TracingConfig>, variables: &[(&str, &str)]) -> Settings {
        let env = EnvSettings::from_lookup(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        });
        Settings::new(config.as_ref(), env).unwrap()
    }

    fn url(settings: &Settings) -> String {
        match &settings.endpoint {
            Some(CollectorAddress::Tcp(address)) => address.url(settings.protocol),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_rate_of_the_file_wins_over_the_variable() {
        let on = [("OTEL_TRACES_SAMPLER", "always_on")];
        let always_on = SamplerSetting { is_parent_based: false, root: RootSampler::AlwaysOn };
        let unknown = [("OTEL_TRACES_SAMPLER", "xray")];
        let silent = TracingConfig::default();
        let rate = |rate| silent.clone().with_sampling_rate_per_million(rate);
        let cases = [
            (None, &[][..], SamplerSetting::PARENT_BASED_ON),
            (None, &on[..], always_on),
            (Some(silent.clone()), &[][..], SamplerSetting::PARENT_BASED_OFF),
            (Some(silent.clone()), &on[..], always_on),
            (Some(silent.clone()), &unknown[..], SamplerSetting::PARENT_BASED_OFF),
            (Some(rate(0)), &on[..], SamplerSetting::PARENT_BASED_OFF),
            (
                Some(rate(500_000)),
                &on[..],
                SamplerSetting { is_parent_based: true, root: RootSampler::TraceIdRatio(0.5) },
            ),
        ];
        for (config, variables, expected) in cases {
            let settings = merge(config.clone(), variables);
            assert_eq!(settings.sampler, expected, "{config:?} {variables:?}");
        }
    }

    #[test]
    fn the_collector_of_the_file_wins_over_the_variable() {
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let env = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://env:1");
        let config = TracingConfig::default();
        let cases = [
            (config.clone(), vec![env, http], "https://env:1/v1/traces"),
            (config.clone().with_endpoint("f"), vec![env, http], "http://f:4318/v1/traces"),
            (config.clone().with_url("http://f"), vec![env, http], "http://f:80/v1/traces"),
            (config, vec![http], "None"),
        ];
        for (config, variables, expected) in cases {
            assert_eq!(url(&merge(Some(config), &variables)), expected);
        }
    }

    #[test]
    fn spans_are_printed_only_where_that_is_wanted_and_no_collector_is_named() {
        use crate::config::env::Exporter::{Console, Otlp};
        let plain = TracingConfig::default();
        let prints = plain.clone().with_stdout_without_collector();
        let named = prints.clone().with_endpoint("collector:4317");
        let url = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces");
        let otlp = ("OTEL_TRACES_EXPORTER", "otlp");
        let none = ("OTEL_TRACES_EXPORTER", "none");
        let cases = [
            (plain, vec![], vec![Otlp]),
            (prints.clone(), vec![], vec![Console]),
            (named, vec![], vec![Otlp]),
            (prints.clone(), vec![url], vec![Otlp]),
            (prints.clone(), vec![otlp], vec![Otlp]),
            (prints, vec![none], vec![]),
        ];
        for (config, variables, expected) in cases {
            let settings = merge(Some(config.clone()), &variables);
            assert_eq!(settings.exporters, expected, "{config:?} {variables:?}");
        }
    }

    #[test]
    fn a_socket_is_reached_by_grpc_only() {
        let config = TracingConfig::default().with_endpoint("unix:/run/c.sock");
        let settings = merge(Some(config), &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]);
        assert_eq!(settings.protocol, Protocol::Grpc);
        assert_eq!(settings.warnings.len(), 1);
    }

    #[test]
    fn a_dns_server_that_is_not_asked_is_mentioned() {
        for (endpoint, warnings) in [
            ("dns://8.8.8.8/host:1", 1),
            ("dns:///host:1", 0),
            ("dns://host:1", 0),
            ("dns://host:1/", 0),
        ] {
            let config = TracingConfig::default().with_endpoint(endpoint);
            assert_eq!(merge(Some(config), &[]).warnings.len(), warnings, "{endpoint}");
        }
    }

    #[test]
    fn a_configuration_that_is_not_valid_is_refused() {
        let config = TracingConfig::default().with_sampling_rate_per_million(1_000_001);
        assert!(Settings::new(Some(&config), EnvSettings::from_lookup(&|_| None)).is_err());
    }
}
