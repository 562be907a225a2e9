//! Headers that are recorded: those that are asked for, and never those that hold credentials.

use actix_http::header::{self, HeaderMap, HeaderName};
use opentelemetry::{Array, Key, KeyValue, StringValue, Value};

/// Headers that are not recorded whoever asks for them, unless the list is replaced.
const DENIED: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
];

/// Which headers of requests and responses become attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderCapture {
    request: Vec<(HeaderName, Key)>,
    response: Vec<(HeaderName, Key)>,
    /// `None`: [`DENIED`].
    denied: Option<Vec<HeaderName>>,
}

impl HeaderCapture {
    pub(crate) fn set_request(&mut self, names: impl IntoIterator<Item = HeaderName>) {
        self.request = with_keys("http.request.header.", names);
    }

    pub(crate) fn set_response(&mut self, names: impl IntoIterator<Item = HeaderName>) {
        self.response = with_keys("http.response.header.", names);
    }

    pub(crate) fn set_denied(&mut self, names: impl IntoIterator<Item = HeaderName>) {
        self.denied = Some(names.into_iter().collect());
    }

    pub(crate) fn of_request(&self, headers: &HeaderMap, set: impl FnMut(KeyValue)) {
        self.capture(&self.request, headers, set);
    }

    pub(crate) fn of_response(&self, headers: &HeaderMap, set: impl FnMut(KeyValue)) {
        self.capture(&self.response, headers, set);
    }

    fn capture(
        &self,
        wanted: &[(HeaderName, Key)],
        headers: &HeaderMap,
        mut set: impl FnMut(KeyValue),
    ) {
        let denied = self.denied.as_deref().unwrap_or(&DENIED);
        for (name, key) in wanted {
            if denied.contains(name) {
                continue;
            }
            let lines: Vec<StringValue> = headers
                .get_all(name)
                .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned().into())
                .collect();
            if !lines.is_empty() {
                set(KeyValue::new(key.clone(), Value::Array(Array::String(lines))));
            }
        }
    }
}

fn with_keys(prefix: &str, names: impl IntoIterator<Item = HeaderName>) -> Vec<(HeaderName, Key)> {
    let with_key = |name: HeaderName| {
        let key = Key::from(format!("{prefix}{name}"));
        (name, key)
    };
    names.into_iter().map(with_key).collect()
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderValue;
    use opentelemetry_semantic_conventions::attribute;

    use super::*;

    fn name(name: &'static str) -> HeaderName {
        HeaderName::from_static(name)
    }

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (line, value) in [
            ("accept", "a"),
            ("accept", "b"),
            ("authorization", "secret"),
            ("cookie", "secret"),
            ("x-id", "4711"),
            ("x-bytes", "\u{fc}"),
        ] {
            headers.append(name(line), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn captured(capture: &HeaderCapture) -> Vec<String> {
        let mut all = Vec::new();
        capture.of_request(&headers(), |kv| all.push(format!("{}={}", kv.key, kv.value.as_str())));
        all
    }

    #[test]
    fn headers_are_recorded_line_by_line_unless_they_hold_credentials() {
        let mut capture = HeaderCapture::default();
        assert!(captured(&capture).is_empty(), "by default there are none");

        let wanted = ["accept", "authorization", "x-id", "x-none", "x-bytes", "cookie"];
        capture.set_request(wanted.map(name));
        let expected = [
            "http.request.header.accept=[\"a\",\"b\"]",
            "http.request.header.x-id=[\"4711\"]",
            "http.request.header.x-bytes=[\"\u{fc}\"]",
        ];
        assert_eq!(captured(&capture), expected);

        capture.set_denied([name("x-id"), name("accept"), name("x-bytes")]);
        let expected = ["http.request.header.authorization", "http.request.header.cookie"]
            .map(|key| format!("{key}=[\"secret\"]"));
        assert_eq!(captured(&capture), expected, "the list is replaced");
    }

    #[test]
    fn attributes_are_named_by_the_conventions() {
        let mut capture = HeaderCapture::default();
        capture.set_request([name("x-id")]);
        capture.set_response([name("x-id")]);
        let keys = [&capture.request, &capture.response].map(|of| of[0].1.as_str());
        let prefixes = [attribute::HTTP_REQUEST_HEADER, attribute::HTTP_RESPONSE_HEADER];
        assert_eq!(keys.map(String::from), prefixes.map(|prefix| format!("{prefix}.x-id")));
    }
}
