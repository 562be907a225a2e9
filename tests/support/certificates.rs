//! Certificate authorities that live as long as a test.

// Each user has its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    Client,
    /// For `localhost`, until some day in the past.
    Expired,
    /// For a server that is not on this machine.
    OfAnotherHost,
    /// For `localhost`.
    Server,
}

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub(crate) struct Issued {
    certificate: String,
    key: String,
}

/// Files in a folder of their own, which goes with this.
#[derive(Debug)]
pub(crate) struct Files(PathBuf);

impl Authority {
    pub(crate) fn new() -> Self {
        static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);
        // Issuers are looked up by name: each has its own.
        let name = format!("authority {}", AUTHORITIES.fetch_add(1, Ordering::Relaxed));
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    pub(crate) fn issue(&self, leaf: Leaf) -> Issued {
        let name = match leaf {
            Leaf::Client | Leaf::Expired | Leaf::Server => "localhost",
            Leaf::OfAnotherHost => "collector.example",
        };
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("{leaf:?}"));
        if leaf == Leaf::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A folder with what somebody needs who trusts this authority.
    pub(crate) fn files(&self) -> Files {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("spanbridge-certificates-{}-{number}", std::process::id());
        let files = Files(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&files.0).unwrap();
        std::fs::write(files.ca(), self.issuer.pem()).unwrap();
        files
    }

    fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }
}

impl Issued {
    /// A server with this certificate, which asks clients for one of `clients`, if there is any.
    pub(crate) fn server(&self, clients: Option<&Authority>) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        config.with_single_cert(vec![certificate], key).unwrap()
    }
}

impl Files {
    pub(crate) fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("client.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("client.key")
    }

    /// Adds a client's certificate and its key.
    pub(crate) fn add_client(&self, issued: &Issued) {
        std::fs::write(self.certificate(), &issued.certificate).unwrap();
        std::fs::write(self.key(), &issued.key).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
