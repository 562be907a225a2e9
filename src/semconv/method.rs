//! `http.request.method` and its companions.

use std::sync::Arc;

/// Names the methods that are known, separated by commas, in place of the conventions' list.
const KNOWN_METHODS_VARIABLE: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";

/// The methods that are recorded as they are. All others are `_OTHER`, since a client can make up
/// as many as it likes.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownMethods(Option<Arc<[String]>>);

impl KnownMethods {
    /// Exactly `methods`, whatever the conventions say.
    pub(crate) fn new<M: Into<String>>(methods: impl IntoIterator<Item = M>) -> Self {
        Self(Some(methods.into_iter().map(Into::into).collect()))
    }

    /// What the environment says; the conventions' list if that is nothing.
    pub(crate) fn from_env() -> Self {
        Self::from_variable(std::env::var(KNOWN_METHODS_VARIABLE).ok().as_deref())
    }

    fn from_variable(value: Option<&str>) -> Self {
        match value.map(str::trim) {
            None | Some("") => Self::default(),
            Some(list) => {
                Self::new(list.split(',').map(str::trim).filter(|method| !method.is_empty()))
            }
        }
    }

    /// Methods are case-sensitive: `get` is not `GET`.
    pub(crate) fn classify<'a>(&self, raw: &'a str) -> RequestMethod<'a> {
        let is_known = match &self.0 {
            None => is_known_by_default(raw),
            Some(methods) => methods.iter().any(|method| method == raw),
        };
        RequestMethod { raw, is_known }
    }
}

/// A request method as the conventions record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestMethod<'a> {
    raw: &'a str,
    is_known: bool,
}

impl<'a> RequestMethod<'a> {
    /// The value of `http.request.method`.
    pub(crate) fn attribute(self) -> &'a str {
        if self.is_known { self.raw } else { "_OTHER" }
    }

    /// The value of `http.request.method_original`: only where the attribute does not say it all.
    pub(crate) fn original(self) -> Option<&'a str> {
        (!self.is_known).then_some(self.raw)
    }

    /// What a span name starts with; never the raw method, which a client can choose at will.
    pub(crate) fn in_span_name(self) -> &'a str {
        if self.is_known { self.raw } else { "HTTP" }
    }
}

fn is_known_by_default(raw: &str) -> bool {
    matches!(
        raw,
        "GET"
            | "POST"
            | "PUT"
            | "PATCH"
            | "DELETE"
            | "HEAD"
            | "OPTIONS"
            | "CONNECT"
            | "TRACE"
            | "QUERY"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_methods_are_recorded_as_they_are() {
        for raw in [
            "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
        ] {
            let method = KnownMethods::default().classify(raw);
            assert_eq!(
                (method.attribute(), method.original(), method.in_span_name()),
                (raw, None, raw)
            );
        }
    }

    #[test]
    fn other_methods_are_kept_apart_from_the_name() {
        for raw in ["get", "Get", "PROPFIND", "GETX", "", "\u{fc}"] {
            let method = KnownMethods::default().classify(raw);
            assert_eq!(
                (method.attribute(), method.original(), method.in_span_name()),
                ("_OTHER", Some(raw), "HTTP")
            );
        }
    }

    #[test]
    fn list_of_the_environment_replaces_the_other() {
        let known = KnownMethods::from_variable(Some("GET, PROPFIND,,"));
        for (raw, attribute, name) in [
            ("GET", "GET", "GET"),
            ("PROPFIND", "PROPFIND", "PROPFIND"),
            ("POST", "_OTHER", "HTTP"),
            ("propfind", "_OTHER", "HTTP"),
            ("", "_OTHER", "HTTP"),
        ] {
            let method = known.classify(raw);
            assert_eq!((method.attribute(), method.in_span_name()), (attribute, name), "{raw}");
        }
        for unset in [None, Some(""), Some("  ")] {
            let known = KnownMethods::from_variable(unset);
            assert_eq!(known.classify("POST").attribute(), "POST", "{unset:?}");
        }
    }
}
