//! Certificates and keys from the files that the variables name, and what becomes of them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription as Alert, CertificateError, ClientConfig, Error, RootCertStore};

use crate::config::env::TlsFiles;

/// What the files hold, in PEM.
#[derive(Debug, Default)]
struct Files {
    /// Certificates to trust in place of the system's.
    ca: Option<Vec<u8>>,
    /// Our own certificate and its key, for collectors that ask for one.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    fn read(files: &TlsFiles) -> Result<Self, String> {
        let ca = files.ca.as_deref().map(|path| read("CERTIFICATE", path)).transpose()?;
        let identity = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => {
                Some((read("CLIENT_CERTIFICATE", certificate)?, read("CLIENT_KEY", key)?))
            }
            (None, None) => None,
            (Some(_), None) => {
                return Err("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is set without \
                            OTEL_EXPORTER_OTLP_CLIENT_KEY; set both or none"
                    .to_owned());
            }
            (None, Some(_)) => {
                return Err("OTEL_EXPORTER_OTLP_CLIENT_KEY is set without \
                            OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE; set both or none"
                    .to_owned());
            }
        };
        Ok(Self { ca, identity })
    }
}

fn read(variable: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path)
        .map_err(|error| format!("OTEL_EXPORTER_OTLP_{variable}: {}: {error}", path.display()))
}

/// What to trust, and who we are. Without `is_used` nothing is read.
pub(super) fn client_config(files: &TlsFiles, is_used: bool) -> Result<ClientConfig, String> {
    let files = if is_used { Files::read(files)? } else { Files::default() };
    let mut roots = named_roots(&files)?;
    if is_used && files.ca.is_none() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("the system has no certificates to trust; name some by \
                        OTEL_EXPORTER_OTLP_CERTIFICATE"
                .to_owned());
        }
    }
    config(&files, roots)
}

/// Why TLS does not come about, however often it is tried: it takes other certificates, another
/// URL, or another program at the other end.
#[derive(Clone, Debug)]
pub(super) struct Refusal(Error);

/// Whether the error, or one that it comes from, is such a reason.
pub(super) fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<Refusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<Error>() {
            return is_final(error).then(|| Refusal(error.clone()));
        }
        // An I/O error passes over the one that it wraps.
        next = match error.downcast_ref().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn is_final(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(_)
        | Error::InvalidMessage(_)
        | Error::NoApplicationProtocol
        | Error::PeerIncompatible(_)
        | Error::UnsupportedNameType => true,
        Error::AlertReceived(alert) => {
            is_about_us(*alert)
                || matches!(
                    alert,
                    Alert::HandshakeFailure
                        | Alert::InsufficientSecurity
                        | Alert::NoApplicationProtocol
                        | Alert::ProtocolVersion
                        | Alert::UnrecognisedName
                )
        }
        _ => false,
    }
}

/// Whether it is our certificate that is not liked, or that there is none.
fn is_about_us(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate
    )
}

impl Refusal {
    /// What the transport says, with what it leaves out and what may help.
    pub(super) fn told_of(&self, problem: String) -> String {
        let own = self.0.to_string();
        let own = if problem.contains(&own) { String::new() } else { format!(": {own}") };
        let advice = match &self.0 {
            Error::AlertReceived(Alert::CertificateRequired) => {
                "; the collector asks for a client certificate: name one by \
                 OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and its key by OTEL_EXPORTER_OTLP_CLIENT_KEY"
            }
            Error::AlertReceived(alert) if is_about_us(*alert) => {
                "; the collector does not trust the client certificate that \
                 OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE names"
            }
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                "; if the collector is who it should be, name the authority that has issued its \
                 certificate by OTEL_EXPORTER_OTLP_CERTIFICATE"
            }
            Error::InvalidMessage(_) => {
                "; the collector may not speak TLS: then its URL begins with http://"
            }
            _ => "",
        };
        format!("{problem}{own}{advice}")
    }
}

/// The authorities in the file, if one is named.
fn named_roots(files: &Files) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(pem) = &files.ca else { return Ok(roots) };
    for certificate in certificates("CERTIFICATE", pem)? {
        roots
            .add(certificate)
            .map_err(|error| format!("OTEL_EXPORTER_OTLP_CERTIFICATE: {error}"))?;
    }
    Ok(roots)
}

fn config(files: &Files, roots: RootCertStore) -> Result<ClientConfig, String> {
    // Named, since an application may have chosen another one for the whole process.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match &files.identity {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| format!("OTEL_EXPORTER_OTLP_CLIENT_KEY: {error}"))?;
            config
                .with_client_auth_cert(certificates("CLIENT_CERTIFICATE", certificate)?, key)
                .map_err(|error| format!("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: {error}"))
        }
    }
}

fn certificates(variable: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("OTEL_EXPORTER_OTLP_{variable}: there is no certificate in it")),
        Err(error) => Err(format!("OTEL_EXPORTER_OTLP_{variable}: {error}")),
    }
}
