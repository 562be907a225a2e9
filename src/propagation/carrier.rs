//! Where headers are read from and written to.

use opentelemetry::propagation::Extractor;

#[cfg(any(feature = "actix-web", feature = "awc"))]
pub use header_map::{HeaderExtractor, HeaderInjector};

/// A header that propagation reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    TraceParent,
    TraceState,
    Baggage,
}

impl Field {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TraceParent => "traceparent",
            Self::TraceState => "tracestate",
            Self::Baggage => "baggage",
        }
    }
}

/// A carrier whose headers can be read without copying them.
pub(crate) trait HeaderLines {
    /// All lines of one header, in the order received.
    fn lines(&self, field: Field) -> impl Iterator<Item = &[u8]>;
}

/// The lines that a carrier of OpenTelemetry's interface has.
pub(super) struct ExtractorLines<'a>(pub(super) &'a dyn Extractor);

impl HeaderLines for ExtractorLines<'_> {
    fn lines(&self, field: Field) -> impl Iterator<Item = &[u8]> {
        self.0.get_all(field.name()).into_iter().flatten().map(str::as_bytes)
    }
}

/// Takes the optional white space of HTTP, spaces and tabs, off both ends.
pub(super) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The header map that actix-web and awc share: one type, whichever of the two names it.
#[cfg(any(feature = "actix-web", feature = "awc"))]
mod header_map {
    #[cfg(feature = "actix-web")]
    use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
    #[cfg(all(feature = "awc", not(feature = "actix-web")))]
    use awc::http::header::{HeaderMap, HeaderName, HeaderValue};
    use opentelemetry::propagation::{Extractor, Injector};

    use super::{Field, HeaderLines};
    use crate::layer;
    use crate::propagation::Sent;

    /// Stands for a line that is not UTF-8. Nothing that a propagator reads accepts it, and the
    /// number of lines stays true.
    const UNREADABLE: &str = "\u{fffd}";

    impl Field {
        /// The name, ready for a header map: looking it up does not allocate or parse.
        pub(crate) fn header_name(self) -> &'static HeaderName {
            static TRACE_PARENT: HeaderName = HeaderName::from_static(Field::TraceParent.name());
            static TRACE_STATE: HeaderName = HeaderName::from_static(Field::TraceState.name());
            static BAGGAGE: HeaderName = HeaderName::from_static(Field::Baggage.name());
            match self {
                Self::TraceParent => &TRACE_PARENT,
                Self::TraceState => &TRACE_STATE,
                Self::Baggage => &BAGGAGE,
            }
        }

        /// The name, to be given away. Made when this is compiled, so that nothing is cloned.
        pub(crate) fn into_header_name(self) -> HeaderName {
            match self {
                Self::TraceParent => const { HeaderName::from_static(Self::TraceParent.name()) },
                Self::TraceState => const { HeaderName::from_static(Self::TraceState.name()) },
                Self::Baggage => const { HeaderName::from_static(Self::Baggage.name()) },
            }
        }
    }

    impl Sent<'_> {
        /// Ready for a header map; `None` where HTTP does not allow it.
        #[inline]
        pub(crate) fn header_value(self) -> Option<HeaderValue> {
            match self {
                Self::Parent(parent) => Some(layer::header_value(parent)),
                Self::Text(text) => HeaderValue::from_str(text).ok(),
            }
        }
    }

    impl HeaderLines for HeaderMap {
        fn lines(&self, field: Field) -> impl Iterator<Item = &[u8]> {
            self.get_all(field.header_name()).map(HeaderValue::as_bytes)
        }
    }

    /// Lets any [`TextMapPropagator`] read the header map of an actix-web or awc message.
    ///
    /// [`get_all`](Extractor::get_all) gives every line of a header, in the order received. A line
    /// that is not UTF-8 appears there as U+FFFD, so that a header sent twice is not mistaken for
    /// one sent once; [`get`](Extractor::get) skips it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "actix-web")] {
    /// use actix_web::test::TestRequest;
    /// use opentelemetry::propagation::TextMapPropagator as _;
    /// use opentelemetry::trace::TraceContextExt as _;
    /// use spanbridge::propagation::{HeaderExtractor, TraceContextPropagator};
    ///
    /// let request = TestRequest::default()
    ///     .insert_header(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    ///     .to_http_request();
    /// let cx = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
    /// assert!(cx.span().span_context().is_remote());
    /// # }
    /// ```
    ///
    /// [`TextMapPropagator`]: opentelemetry::propagation::TextMapPropagator
    #[derive(Clone, Copy, Debug)]
    #[expect(clippy::exhaustive_structs, reason = "one public field is the whole interface")]
    pub struct HeaderExtractor<'a>(pub &'a HeaderMap);

    impl Extractor for HeaderExtractor<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get_all(key).find_map(text)
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(HeaderName::as_str).collect()
        }

        fn get_all(&self, key: &str) -> Option<Vec<&str>> {
            let lines: Vec<_> =
                self.0.get_all(key).map(|line| text(line).unwrap_or(UNREADABLE)).collect();
            (!lines.is_empty()).then_some(lines)
        }
    }

    fn text(line: &HeaderValue) -> Option<&str> {
        std::str::from_utf8(line.as_bytes()).ok()
    }

    /// Lets any [`TextMapPropagator`] write to the header map of an actix-web or awc message.
    ///
    /// [`set`](Injector::set) replaces all lines that the header had. A name or value that HTTP
    /// does not allow is skipped.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "awc")] {
    /// use opentelemetry::Context;
    /// use opentelemetry::propagation::TextMapPropagator as _;
    /// use spanbridge::propagation::{HeaderInjector, TraceContextPropagator};
    ///
    /// let mut request = awc::Client::new().get("http://127.0.0.1/");
    /// TraceContextPropagator::new()
    ///     .inject_context(&Context::current(), &mut HeaderInjector(request.headers_mut()));
    /// assert!(!request.headers().contains_key("traceparent"), "there is no current span");
    /// # }
    /// ```
    ///
    /// [`TextMapPropagator`]: opentelemetry::propagation::TextMapPropagator
    #[derive(Debug)]
    #[expect(clippy::exhaustive_structs, reason = "one public field is the whole interface")]
    pub struct HeaderInjector<'a>(pub &'a mut HeaderMap);

    impl Injector for HeaderInjector<'_> {
        fn set(&mut self, key: &str, value: String) {
            let name = HeaderName::from_bytes(key.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                self.0.insert(name, value);
            }
        }

        fn reserve(&mut self, additional: usize) {
            self.0.reserve(additional);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn map(lines: &[(&str, &[u8])]) -> HeaderMap {
            let mut map = HeaderMap::new();
            for &(name, value) in lines {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                map.append(name, HeaderValue::from_bytes(value).unwrap());
            }
            map
        }

        #[test]
        fn extractor_gives_all_lines_in_order_under_any_case_of_the_name() {
            let map = map(&[("Baggage", b"b=1"), ("x", b"y"), ("BAGGAGE", b"a=2")]);
            let carrier = HeaderExtractor(&map);
            assert_eq!(carrier.get_all("bagGage"), Some(vec!["b=1", "a=2"]));
            assert_eq!(carrier.get("baggage"), Some("b=1"));
            assert_eq!(carrier.get_all("absent"), None);
            assert_eq!(carrier.get_all("no header name"), None);
            let mut keys = carrier.keys();
            keys.sort_unstable();
            assert_eq!(keys, ["baggage", "x"]);
            assert_eq!(map.lines(Field::Baggage).collect::<Vec<_>>(), [b"b=1", b"a=2"]);
        }

        #[test]
        fn unreadable_line_still_counts() {
            let map = map(&[("traceparent", b"\xff"), ("traceparent", b"fine")]);
            let carrier = HeaderExtractor(&map);
            assert_eq!(carrier.get_all("traceparent"), Some(vec![UNREADABLE, "fine"]));
            assert_eq!(carrier.get("traceparent"), Some("fine"));
        }

        #[test]
        fn injector_replaces_all_lines() {
            let mut map = map(&[("baggage", b"a=1"), ("baggage", b"b=2")]);
            HeaderInjector(&mut map).set("Baggage", "c=3".to_owned());
            assert_eq!(map.lines(Field::Baggage).collect::<Vec<_>>(), [b"c=3"]);
        }

        #[test]
        fn injector_skips_what_http_forbids() {
            let mut map = map(&[("baggage", b"a=1")]);
            HeaderInjector(&mut map).set("baggage", "a\r\nx: y".to_owned());
            HeaderInjector(&mut map).set("no header name", "a".to_owned());
            assert_eq!(map.lines(Field::Baggage).collect::<Vec<_>>(), [b"a=1"]);
            assert_eq!(map.len(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trims_spaces_and_tabs_only() {
        for (value, expected) in
            [("", ""), (" \t", ""), ("\t a b\t ", "a b"), ("a", "a"), (" \u{a0}", "\u{a0}")]
        {
            assert_eq!(trim_ows(value.as_bytes()), expected.as_bytes());
        }
    }
}
