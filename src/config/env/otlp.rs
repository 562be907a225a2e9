//! What only OTLP has: headers, compression, certificates.

use std::path::PathBuf;

use super::reader::Reader;
use super::resource;

/// How requests to the collector are dressed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OtlpSettings {
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) is_gzip: bool,
    pub(crate) tls: TlsFiles,
}

/// Files in PEM.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TlsFiles {
    /// Whom to trust, in place of the system's certificates.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl OtlpSettings {
    pub(super) fn read(env: &mut Reader<'_>) -> Self {
        Self {
            headers: headers(env),
            is_gzip: is_gzip(env),
            tls: TlsFiles {
                ca: file(env, "CERTIFICATE"),
                certificate: file(env, "CLIENT_CERTIFICATE"),
                key: file(env, "CLIENT_KEY"),
            },
        }
    }
}

/// The variable for traces goes before the one for all signals.
fn names(what: &str) -> [String; 2] {
    ["TRACES_", ""].map(|signal| format!("OTEL_EXPORTER_OTLP_{signal}{what}"))
}

fn file(env: &Reader<'_>, what: &str) -> Option<PathBuf> {
    names(what).iter().find_map(|name| env.text(name)).map(PathBuf::from)
}

fn is_gzip(env: &mut Reader<'_>) -> bool {
    for name in names("COMPRESSION") {
        let Some(value) = env.text(&name) else { continue };
        match value.to_ascii_lowercase().as_str() {
            "gzip" => return true,
            "none" => return false,
            _ => env.warn(&name, &value, "is neither gzip nor none"),
        }
    }
    false
}

/// Those for all signals, and over them those for traces. A mistake costs the one header: the
/// others may be what lets us in.
fn headers(env: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for name in names("HEADERS").iter().rev() {
        let Some(text) = env.text(name) else { continue };
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        for (at, pair) in pairs.enumerate() {
            match header(pair) {
                Ok((key, value)) => {
                    headers.retain(|(known, _)| *known != key);
                    headers.push((key, value));
                }
                // Nothing of it is told but where it stands: it may be a secret.
                Err(problem) => env.warn(name, &format!("header {}", at + 1), &problem),
            }
        }
    }
    headers
}

fn header(pair: &str) -> Result<(String, String), String> {
    let (key, value) =
        pair.split_once('=').ok_or("must be name=value pairs separated by commas")?;
    let key = resource::decode(key.trim())?.to_ascii_lowercase();
    let value = resource::decode(value.trim())?;
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if key.is_empty() || !key.bytes().all(is_token) {
        return Err("has a name that HTTP does not allow".to_owned());
    }
    if !value.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t')) {
        return Err("has a value that HTTP does not allow".to_owned());
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (OtlpSettings, Vec<String>) {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        };
        let mut env = Reader::new(&lookup);
        let settings = OtlpSettings::read(&mut env);
        (settings, env.into_warnings())
    }

    #[test]
    fn headers_for_traces_go_over_those_for_all() {
        let (settings, warnings) = read(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=a%20b, tenant=blue"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=c"),
        ]);
        let expected = [("tenant", "blue"), ("api-key", "c")];
        assert_eq!(settings.headers, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_bad_header_costs_itself_and_its_value_is_not_told() {
        let (settings, warnings) = read(&[(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=secret%zz,a b=secret,ok=1,x=secret%0a,auth: secret,Basic secret==",
        )]);
        assert_eq!(settings.headers, [("ok".to_owned(), "1".to_owned())]);
        assert_eq!(warnings.len(), 5, "{warnings:?}");
        assert!(warnings[0].contains("header 1"), "{warnings:?}");
        assert!(warnings.iter().all(|warning| !warning.contains("secret")), "{warnings:?}");
    }

    #[test]
    fn compression_is_gzip_or_none() {
        let gzip = ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP");
        for (variables, is_gzip, warned) in [
            (&[][..], false, 0),
            (&[gzip][..], true, 0),
            (&[gzip, ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none")][..], false, 0),
            (&[gzip, ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd")][..], true, 1),
        ] {
            let (settings, warnings) = read(variables);
            assert_eq!((settings.is_gzip, warnings.len()), (is_gzip, warned), "{variables:?}");
        }
    }

    #[test]
    fn files_for_traces_go_before_those_for_all() {
        let (settings, _) = read(&[
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "all.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "traces.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
        ]);
        assert_eq!(settings.tls.ca, Some("traces.pem".into()));
        assert_eq!(settings.tls.key, Some("key.pem".into()));
        assert_eq!(settings.tls.certificate, None);
    }
}
