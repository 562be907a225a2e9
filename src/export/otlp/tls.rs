//! Certificates and keys from the files that the variables name.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::env::TlsFiles;

/// What the files hold, in PEM.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Certificates to trust in place of the system's.
    pub(super) ca: Option<Vec<u8>>,
    /// Our own certificate and its key, for collectors that ask for one.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, String> {
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

/// Sees that the files hold what they should, for a transport that finds out late or never.
#[cfg(feature = "otlp-grpc")]
pub(super) fn check(files: &Files) -> Result<(), String> {
    config(files, named_roots(files)?).map(drop)
}

/// For a transport that brings no TLS of its own. Without `is_used` nothing is read.
#[cfg(feature = "otlp-http")]
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
