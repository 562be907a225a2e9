//! What the middleware and the hook can both be told.

use std::sync::Arc;

use opentelemetry::propagation::TextMapPropagator;

use super::headers::HeaderCapture;
use super::method::KnownMethods;
use super::redact::SensitiveKeys;

/// The settings that mean the same for incoming and for outgoing requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpSettings {
    /// `None`: W3C trace context and baggage.
    pub(crate) propagator: Option<Arc<dyn TextMapPropagator + Send + Sync>>,
    pub(crate) known_methods: KnownMethods,
    pub(crate) sensitive_keys: SensitiveKeys,
    pub(crate) headers: HeaderCapture,
}

impl HttpSettings {
    /// What holds unless it is said otherwise.
    pub(crate) fn from_env() -> Self {
        Self { known_methods: KnownMethods::from_env(), ..Self::default() }
    }
}

/// The setters of [`HttpSettings`], for a builder that keeps them in `self.settings.http`.
macro_rules! http_setters {
    (propagator: $propagator:literal, request_headers: $request_headers:literal) => {
        #[doc = $propagator]
        #[must_use]
        pub fn with_propagator(
            mut self,
            propagator: impl opentelemetry::propagation::TextMapPropagator + Send + Sync + 'static,
        ) -> Self {
            self.settings.http.propagator = Some(std::sync::Arc::new(propagator));
            self
        }

        /// Records exactly these methods as they are, and all others as `_OTHER`.
        ///
        /// Replaces both the list of the conventions and that of the environment. Methods are
        /// case-sensitive.
        #[must_use]
        pub fn with_known_methods<M: Into<String>>(
            mut self,
            methods: impl IntoIterator<Item = M>,
        ) -> Self {
            self.settings.http.known_methods = $crate::semconv::method::KnownMethods::new(methods);
            self
        }

        /// Replaces the values of exactly these keys of a query by `REDACTED`.
        ///
        /// Keys are case-sensitive, and plain text: a query that spells one with percent-encoding
        /// has it too. By default these are the keys that the conventions list:
        /// `AWSAccessKeyId`, `Signature`, `X-Amz-Credential`, `X-Amz-Security-Token`,
        /// `X-Amz-Signature`, `X-Goog-Signature` and `sig`.
        #[must_use]
        pub fn with_sensitive_query_keys<K: Into<String>>(
            mut self,
            keys: impl IntoIterator<Item = K>,
        ) -> Self {
            self.settings.http.sensitive_keys = $crate::semconv::redact::SensitiveKeys::new(keys);
            self
        }

        /// Records these headers of requests as `http.request.header.<name>`, if they are not
        /// [denied](Self::with_denied_headers).
        ///
        #[doc = $request_headers]
        #[must_use]
        pub fn with_request_headers(
            mut self,
            names: impl IntoIterator<Item = actix_http::header::HeaderName>,
        ) -> Self {
            self.settings.http.headers.set_request(names);
            self
        }

        /// Records these headers of responses as `http.response.header.<name>`, if they are not
        /// [denied](Self::with_denied_headers).
        #[must_use]
        pub fn with_response_headers(
            mut self,
            names: impl IntoIterator<Item = actix_http::header::HeaderName>,
        ) -> Self {
            self.settings.http.headers.set_response(names);
            self
        }

        /// Never records these headers, whoever asks for them.
        ///
        /// By default these are `Authorization`, `Cookie`, `Proxy-Authenticate`,
        /// `Proxy-Authorization`, `Set-Cookie` and `WWW-Authenticate`, which are no longer denied
        /// unless `names` has them.
        #[must_use]
        pub fn with_denied_headers(
            mut self,
            names: impl IntoIterator<Item = actix_http::header::HeaderName>,
        ) -> Self {
            self.settings.http.headers.set_denied(names);
            self
        }
    };
}

pub(crate) use http_setters;
