//! The HTTP client that the stock OTLP exporter is given in tests.

// Each test binary and each example is a crate of its own; few of them need this.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};

/// A client for `http://` alone that gives a request up after `timeout`, which the exporter leaves
/// to a client that it is given. With the features that this crate switches on, reqwest wants to be
/// told whose cryptography to use even where none is needed.
pub(crate) fn plain(timeout: Duration) -> reqwest::Client {
    let tls =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(timeout)
        .build()
        .expect("the parts are valid")
}
