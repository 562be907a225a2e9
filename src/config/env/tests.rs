//! Each variable by itself. The look-up is a list; the process's own variables are never touched.

use std::time::Duration;

use proptest::prelude::*;

use super::{BatchSettings, EnvSettings, Exporter, SpanLimits};
use crate::config::{
    Protocol,
    endpoint::CollectorAddress,
    sampler::{RootSampler, SamplerSetting},
};

type Variables<'a> = &'a [(&'a str, &'a str)];

fn read(variables: Variables<'_>) -> EnvSettings {
    EnvSettings::from_lookup(&|name| {
        let found = variables.iter().find(|(known, _)| *known == name)?;
        Some(found.1.to_owned())
    })
}

/// The settings of one variable, and its only warning or "".
fn read_one(name: &str, value: &str) -> (EnvSettings, String) {
    let settings = read(&[(name, value)]);
    assert!(settings.warnings.len() < 2, "{:?}", settings.warnings);
    let warning = settings.warnings.first().cloned().unwrap_or_default();
    (settings, warning)
}

/// The URL that is sent to, by the protocol that is in force.
fn url(settings: &EnvSettings) -> Option<String> {
    match settings.endpoint.as_ref()? {
        CollectorAddress::Tcp(address) => Some(address.url(settings.protocol.unwrap_or_default())),
        other => Some(format!("{other:?}")),
    }
}

const NAMES: &[&str] = &[
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_PROPAGATORS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

#[test]
fn empty_and_blank_variables_are_unset() {
    let unset = read(&[]);
    assert_eq!(unset.warnings, [""; 0]);
    assert_eq!(unset.exporters, None);
    for value in ["", "  "] {
        let variables: Vec<_> = NAMES.iter().map(|name| (*name, value)).collect();
        assert_eq!(read(&variables), unset);
    }
}

#[test]
fn every_variable_is_looked_up_and_none_that_is_not_tested() {
    let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
    EnvSettings::from_lookup(&|name| {
        asked.borrow_mut().insert(name.to_owned());
        // The sampler's argument is read only if it counts.
        (name == "OTEL_TRACES_SAMPLER").then(|| "traceidratio".to_owned())
    });
    assert!(asked.borrow().iter().eq(NAMES), "{:?}", asked.borrow());
}

#[test]
fn unusable_values_are_warned_of_and_ignored() {
    let unset = read(&[]);
    let free_text = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_SERVICE_NAME",
        "OTEL_TRACES_SAMPLER_ARG",
    ];
    // Paths are tried when they are needed, and headers have tests of their own.
    let is_free = |name: &str| {
        let ends = ["_HEADERS", "_CERTIFICATE", "_CLIENT_KEY"];
        free_text.contains(&name) || ends.iter().any(|end| name.ends_with(end))
    };
    for name in NAMES.iter().filter(|name| !is_free(name)) {
        for value in ["-1 %zz", "99999999999999999999999.5", "\u{fffd}"] {
            let (mut settings, warning) = read_one(name, value);
            assert!(
                warning.starts_with(&format!("{name} is ignored: {value:?} ")),
                "{name}={value}: {warning:?}"
            );
            settings.warnings.clear();
            assert_eq!(settings, unset, "{name}={value}");
        }
    }
}

#[test]
fn a_warning_shows_only_the_start_of_a_long_value() {
    let (_, warning) = read_one("OTEL_TRACES_SAMPLER", &"é".repeat(10_000));
    assert!(warning.len() < 400 && warning.contains("é\"... is not one of"), "{warning}");
}

#[test]
fn the_sdk_is_disabled_by_true_alone() {
    for (value, expected, has_warning) in [
        ("true", true, false),
        ("TRUE", true, false),
        (" True ", true, false),
        ("false", false, false),
        ("1", false, true),
        ("yes", false, true),
    ] {
        let (settings, warning) = read_one("OTEL_SDK_DISABLED", value);
        assert_eq!((settings.is_disabled, !warning.is_empty()), (expected, has_warning), "{value}");
    }
}

#[test]
fn exporters_are_a_list() {
    use Exporter::{Console, Otlp};
    let cases: &[(&str, Option<&[Exporter]>, &str)] = &[
        ("otlp", Some(&[Otlp]), ""),
        ("Console", Some(&[Console]), ""),
        ("none", Some(&[]), ""),
        ("otlp, console,otlp", Some(&[Otlp, Console]), ""),
        ("otlp,none", Some(&[Otlp]), "\"none\" stands beside other values"),
        ("zipkin", None, "\"zipkin\" is not one of otlp, console, none"),
        ("zipkin,console", Some(&[Console]), "\"zipkin\" is not one of"),
        (",", None, ""),
    ];
    for (value, expected, warning) in cases {
        let (settings, text) = read_one("OTEL_TRACES_EXPORTER", value);
        assert_eq!(settings.exporters.as_deref(), *expected, "{value}");
        assert!(text.contains(warning) && text.is_empty() == warning.is_empty(), "{value}: {text}");
    }
}

#[test]
fn other_propagators_are_refused_with_a_word_of_advice() {
    for (value, is_fine) in [
        ("tracecontext,baggage", true),
        ("Baggage, TraceContext", true),
        ("tracecontext", false),
        ("none", false),
        ("b3,tracecontext,baggage", false),
    ] {
        let (_, text) = read_one("OTEL_PROPAGATORS", value);
        assert_eq!(text.is_empty(), is_fine, "{value}: {text}");
        assert!(is_fine || text.contains("with_propagator"), "{value}: {text}");
    }
}

#[test]
fn samplers_have_their_names() {
    let cases = [
        ("always_on", None, false, RootSampler::AlwaysOn),
        ("always_off", None, false, RootSampler::AlwaysOff),
        ("traceidratio", Some("0.25"), false, RootSampler::TraceIdRatio(0.25)),
        ("traceidratio", None, false, RootSampler::TraceIdRatio(1.0)),
        ("parentbased_always_on", Some("x"), true, RootSampler::AlwaysOn),
        ("parentbased_always_off", None, true, RootSampler::AlwaysOff),
        ("PARENTBASED_TRACEIDRATIO", Some("1e-3"), true, RootSampler::TraceIdRatio(0.001)),
    ];
    for (name, argument, is_parent_based, root) in cases {
        let settings = read(&[
            ("OTEL_TRACES_SAMPLER", name),
            ("OTEL_TRACES_SAMPLER_ARG", argument.unwrap_or_default()),
        ]);
        let expected = SamplerSetting { is_parent_based, root };
        assert_eq!(settings.sampler, Some(expected), "{name}");
        assert_eq!(settings.warnings, [""; 0], "{name}");
    }
    for name in ["jaeger_remote", "parentbased_jaeger_remote", "xray", "parentbased_"] {
        let (settings, warning) = read_one("OTEL_TRACES_SAMPLER", name);
        assert_eq!(settings.sampler, None);
        assert!(warning.contains("is not one of always_on, "), "{warning}");
    }
    for argument in ["1.5", "-0.1", "NaN", "inf", "half", "50%"] {
        let settings =
            read(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", argument)]);
        let root = settings.sampler.unwrap().root;
        assert_eq!(root, RootSampler::TraceIdRatio(1.0), "{argument}");
        assert!(settings.warnings[0].contains("every trace is sampled"), "{argument}");
    }
}

#[test]
fn samplers_become_the_sdks() {
    let cases = [
        (SamplerSetting::PARENT_BASED_ON, true, "AlwaysOn"),
        (SamplerSetting::PARENT_BASED_OFF, true, "AlwaysOff"),
        (SamplerSetting::from_rate_per_million(0), true, "AlwaysOff"),
        (SamplerSetting::from_rate_per_million(250_000), true, "TraceIdRatioBased(0.25)"),
        (SamplerSetting { is_parent_based: false, root: RootSampler::AlwaysOn }, false, "AlwaysOn"),
    ];
    for (setting, is_parent_based, root) in cases {
        assert_eq!(setting.is_parent_based, is_parent_based);
        assert_eq!(format!("{:?}", setting.root.to_sdk()), root);
    }
}

#[test]
fn the_protocol_of_traces_wins() {
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
    const GENERAL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
    let both = read(&[(TRACES, "http/protobuf"), (GENERAL, "grpc")]);
    assert_eq!(both.protocol, Some(Protocol::HttpProtobuf));
    let unusable = read(&[(TRACES, "http/json"), (GENERAL, "GRPC")]);
    assert_eq!(unusable.protocol, Some(Protocol::Grpc));
    assert_eq!(
        unusable.warnings,
        [format!(
            "{TRACES} is ignored: \"http/json\" is not supported; http/protobuf is the nearest"
        )]
    );
}

#[test]
fn endpoints_follow_the_rules_of_their_protocol() {
    const TRACES: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t:1/x?k=v");
    const GENERAL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://g:2/base/");
    const PLAIN: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "host:3");
    const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    const HTTP: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    const INSECURE: (&str, &str) = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    const TRACES_SECURE: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false");
    let cases: &[(Variables<'_>, Option<&str>)] = &[
        (&[HTTP, GENERAL], Some("http://g:2/base/v1/traces")),
        (&[GRPC, GENERAL], Some("http://g:2/base")),
        (&[HTTP, GENERAL, TRACES], Some("https://t:1/x?k=v")),
        (&[GRPC, PLAIN], Some("https://host:3")),
        (&[GRPC, PLAIN, INSECURE], Some("http://host:3")),
        (&[GRPC, PLAIN, INSECURE, TRACES_SECURE], Some("https://host:3")),
        (&[GRPC, GENERAL, TRACES_SECURE], Some("http://g:2/base")),
        (
            &[GRPC, ("OTEL_EXPORTER_OTLP_ENDPOINT", "unix:///run/c.sock")],
            Some("Unix(\"/run/c.sock\")"),
        ),
        (
            &[HTTP, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c/v1/traces")],
            Some("http://c:80/v1/traces/v1/traces"),
        ),
    ];
    for (variables, expected) in cases {
        let settings = read(variables);
        assert_eq!(url(&settings).as_deref(), *expected, "{variables:?}");
        assert_eq!(settings.warnings, [""; 0]);
    }
    let plain = read(&[HTTP, PLAIN]);
    assert_eq!(plain.endpoint, None);
    assert_eq!(
        plain.warnings,
        ["OTEL_EXPORTER_OTLP_ENDPOINT is ignored: \"host:3\" must be a URL such as http://host:3"]
    );
}

#[test]
fn numbers_are_read() {
    let settings = read(&[
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4096"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1024"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "2000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3000"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
    ]);
    let expected = BatchSettings {
        export_timeout: Duration::from_secs(2),
        max_export_batch_size: Some(1024),
        max_queue_size: Some(4096),
        schedule_delay: Duration::ZERO,
    };
    assert_eq!(settings.batch, expected);
    assert_eq!(settings.timeout, Some(Duration::from_secs(3)));
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn zero_is_no_size_and_no_timeout() {
    for name in [
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BSP_EXPORT_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    ] {
        let (settings, warning) = read_one(name, "0");
        assert_eq!(warning, format!("{name} is ignored: \"0\" must be at least 1"));
        assert_eq!((settings.batch, settings.timeout), (BatchSettings::default(), None));
    }
}

#[test]
fn a_batch_is_never_larger_than_the_queue() {
    let (settings, warning) = read_one("OTEL_BSP_MAX_QUEUE_SIZE", "100");
    assert_eq!((settings.batch.max_export_batch_size, warning.as_str()), (None, ""));
    let settings =
        read(&[("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "200")]);
    assert_eq!(settings.batch.max_export_batch_size, Some(100));
    assert!(settings.warnings[0].contains("\"200\" is more than OTEL_BSP_MAX_QUEUE_SIZE"));
}

#[test]
fn special_limits_win_over_the_general_one() {
    assert_eq!(read(&[]).limits, SpanLimits::default());
    let general =
        [("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "20")];
    let expected = SpanLimits {
        attributes: 10,
        attributes_per_event: 10,
        attributes_per_link: 10,
        attribute_value_length: Some(20),
        ..SpanLimits::default()
    };
    assert_eq!(read(&general).limits, expected);
    let special = [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "2"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "3"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "4"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "5"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "0"),
    ];
    let expected = SpanLimits {
        attributes: 1,
        attributes_per_event: 3,
        attributes_per_link: 4,
        attribute_value_length: Some(2),
        events: 5,
        links: 0,
    };
    assert_eq!(read(&[&general[..], &special[..]].concat()).limits, expected);
}

#[test]
fn resource_attributes_are_decoded_or_discarded() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let (settings, warning) =
        read_one("OTEL_RESOURCE_ATTRIBUTES", "a=1, b = x%2Cy%3D%C3%A9 ,c=,a=2,d=e=f,");
    assert_eq!(
        settings.resource_attributes,
        [pair("a", "2"), pair("b", "x,y=é"), pair("c", ""), pair("d", "e=f")]
    );
    assert_eq!(warning, "");
    for (value, problem) in [
        ("a=1,b", "must be key=value pairs"),
        ("a=1,b=%2", "has a bad percent-escape"),
        ("a=1,b=%zz", "has a bad percent-escape"),
        ("a=1,b=%+1", "has a bad percent-escape"),
        ("a=1,b=%ff", "has a bad percent-escape"),
        ("a=1,=2", "has an empty key"),
    ] {
        let (settings, warning) = read_one("OTEL_RESOURCE_ATTRIBUTES", value);
        assert_eq!(settings.resource_attributes, [], "{value}");
        assert!(warning.contains(problem), "{value}: {warning}");
    }
}

#[test]
fn the_service_name_has_a_variable_of_its_own() {
    const NAME: &str = "OTEL_SERVICE_NAME";
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let cases: &[(Variables<'_>, Option<&str>)] = &[
        (&[], None),
        (&[(NAME, "shop")], Some("shop")),
        (&[(ATTRIBUTES, "service.name=a%20b,x=y")], Some("a b")),
        (&[(NAME, "shop"), (ATTRIBUTES, "service.name=other,x=y")], Some("shop")),
        (&[(ATTRIBUTES, "service.name=")], None),
    ];
    for (variables, expected) in cases {
        let settings = read(variables);
        assert_eq!(settings.service_name.as_deref(), *expected, "{variables:?}");
        assert!(settings.resource_attributes.iter().all(|(key, _)| key == "x"));
    }
}

proptest! {
    #[test]
    fn no_value_panics(value: String, small in "[0-9a-z:/.,=%+ -]{0,20}") {
        for value in [value, small] {
            let settings = EnvSettings::from_lookup(&|_| Some(value.clone()));
            prop_assert!(settings.batch.max_export_batch_size != Some(0));
            prop_assert!(settings.batch.export_timeout > Duration::ZERO);
        }
    }
}
