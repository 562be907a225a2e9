//! `http.request.method` and its companions.

/// A request method as the conventions record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestMethod<'a> {
    known: Option<&'static str>,
    raw: &'a str,
}

impl<'a> RequestMethod<'a> {
    /// Methods are case-sensitive: `get` is not `GET`.
    pub(crate) fn new(raw: &'a str) -> Self {
        Self { known: known_method(raw), raw }
    }

    /// The value of `http.request.method`.
    pub(crate) fn attribute(self) -> &'static str {
        self.known.unwrap_or("_OTHER")
    }

    /// The value of `http.request.method_original`: only where the attribute does not say it all.
    pub(crate) fn original(self) -> Option<&'a str> {
        match self.known {
            Some(_) => None,
            None => Some(self.raw),
        }
    }

    /// What a span name starts with; never the raw method, which a client can choose at will.
    pub(crate) fn in_span_name(self) -> &'static str {
        self.known.unwrap_or("HTTP")
    }
}

fn known_method(raw: &str) -> Option<&'static str> {
    Some(match raw {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        "QUERY" => "QUERY",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_methods_are_recorded_as_they_are() {
        for raw in [
            "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
        ] {
            let method = RequestMethod::new(raw);
            assert_eq!(
                (method.attribute(), method.original(), method.in_span_name()),
                (raw, None, raw)
            );
        }
    }

    #[test]
    fn other_methods_are_kept_apart_from_the_name() {
        for raw in ["get", "Get", "PROPFIND", "GETX", "", "\u{fc}"] {
            let method = RequestMethod::new(raw);
            assert_eq!(
                (method.attribute(), method.original(), method.in_span_name()),
                ("_OTHER", Some(raw), "HTTP")
            );
        }
    }
}
