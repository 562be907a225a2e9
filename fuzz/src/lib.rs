//! What must hold for any bytes that arrive in a header, a URL or a log. Each target takes the bytes
//! and panics where something does not hold.

// Compiled in here, and not with the crate's feature, which would bring two transports with it.
#[allow(dead_code, unused_imports, reason = "not all of it is fuzzed")]
#[path = "../../src/import/mod.rs"]
mod import;
mod logs;
#[allow(dead_code, reason = "not all of it reads what comes from outside")]
#[path = "../../src/semconv/mod.rs"]
mod semconv;

use std::collections::BTreeMap;
use std::net::IpAddr;

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use spanbridge::propagation::{BaggagePropagator, TraceContextPropagator};

pub use logs::import;
use semconv::forwarded::forwarded as read_forwarded;
use semconv::redact::{RedactedQuery, RedactedUrl, SensitiveKeys};

/// The query keys that the semantic conventions list, written down a second time on purpose.
const SENSITIVE: [&str; 7] = [
    "AWSAccessKeyId",
    "Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Goog-Signature",
    "sig",
];

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";

/// The files of a target in `seeds/`, which libFuzzer starts from too.
macro_rules! seeds {
    ($target:ident: $($name:ident)*) => {
        &[$(include_str!(concat!("../seeds/", stringify!($target), "/", stringify!($name)))),*]
    };
}

/// A name, what takes the input, and input to start from.
pub type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("traceparent", traceparent, seeds!(traceparent: valid later_version two_lines)),
    ("tracestate", tracestate, seeds!(tracestate: valid two_lines empty_members)),
    ("baggage", baggage, seeds!(baggage: two_lines properties not_encoded)),
    ("forwarded", forwarded, seeds!(forwarded: all_headers open_quote)),
    ("import", import, seeds!(import: oldest nested wrapped)),
    ("redaction", redaction, seeds!(redaction: user_and_key address all_keys encoded_keys)),
];

/// Header lines, in order.
#[derive(Debug, Default)]
struct Lines(Vec<(String, String)>);

impl Lines {
    fn new(name: &str, data: &[u8]) -> Self {
        let text = String::from_utf8_lossy(data);
        Self(text.split('\n').map(|line| (name.to_owned(), line.to_owned())).collect())
    }

    fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| &**value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }
}

impl Extractor for Lines {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| &**name).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values: Vec<_> =
            self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| &**value).collect();
        (!values.is_empty()).then_some(values)
    }
}

impl Injector for Lines {
    fn set(&mut self, key: &str, value: String) {
        self.0.push((key.to_owned(), value));
    }
}

fn injected(propagator: &impl TextMapPropagator, cx: &Context) -> Lines {
    let mut lines = Lines::default();
    propagator.inject_context(cx, &mut lines);
    lines
}

fn span_context(cx: &Context) -> SpanContext {
    cx.span().span_context().clone()
}

/// What is accepted is sent on as it came, in the one valid form.
pub fn traceparent(data: &[u8]) {
    let propagator = TraceContextPropagator::new();
    let cx = propagator.extract_with_context(&Context::new(), &Lines::new("traceparent", data));
    let sent = injected(&propagator, &cx);
    let sc = span_context(&cx);
    let Some(text) = sent.one("traceparent") else {
        assert!(!sc.is_valid());
        return;
    };
    assert_eq!(text.len(), TRACEPARENT.len(), "{text}");
    assert!(text.starts_with("00-"), "{text}");
    let again = propagator.extract_with_context(&Context::new(), &sent);
    assert_eq!(span_context(&again).trace_id(), sc.trace_id());
    assert_eq!(span_context(&again).span_id(), sc.span_id());
    assert_eq!(span_context(&again).trace_flags(), sc.trace_flags());
}

/// It never harms the traceparent, and what is sent on stays the same from hop to hop.
pub fn tracestate(data: &[u8]) {
    let propagator = TraceContextPropagator::new();
    let mut lines = Lines::new("tracestate", data);
    lines.set("traceparent", TRACEPARENT.to_owned());
    let cx = propagator.extract_with_context(&Context::new(), &lines);
    let sent = injected(&propagator, &cx);
    assert_eq!(sent.one("traceparent"), Some(TRACEPARENT));
    if let Some(state) = sent.one("tracestate") {
        assert!(!state.is_empty() && state.split(',').count() <= 32, "{state:?}");
        assert!(state.bytes().all(|b| matches!(b, b' '..=b'~')), "{state:?}");
    }
    let again = injected(&propagator, &propagator.extract_with_context(&Context::new(), &sent));
    assert_eq!(again.one("tracestate"), sent.one("tracestate"));
}

/// What is sent is within the limits, and is read back as it was.
pub fn baggage(data: &[u8]) {
    let propagator = BaggagePropagator::new();
    let read = |lines: &Lines| {
        let cx = propagator.extract_with_context(&Context::new(), lines);
        let entries: BTreeMap<_, _> = cx
            .baggage()
            .iter()
            .map(|(name, (value, _))| (name.to_string(), value.as_str().to_owned()))
            .collect();
        (cx, entries)
    };
    let (cx, entries) = read(&Lines::new("baggage", data));
    let sent = injected(&propagator, &cx);
    let Some(text) = sent.one("baggage") else {
        assert!(entries.is_empty(), "{entries:?}");
        return;
    };
    assert!(text.len() <= 8192 && text.split(',').count() <= 64, "{text:?}");
    let (_, again) = read(&sent);
    for (name, value) in &again {
        assert_eq!(entries.get(name), Some(value), "{name}");
    }
    // Only a member that does not fit may be lost.
    assert!(again.len() == entries.len() || text.len() > 8192 / 2, "{text:?}");
}

/// Whatever a proxy says, there is no more than an address, one of two schemes and a part of the
/// header in it.
pub fn forwarded(data: &[u8]) {
    let names = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    let mut headers = HeaderMap::new();
    for (name, line) in names.into_iter().cycle().zip(data.split(|b| *b == b'\n').take(64)) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let is_trusted = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 10);
    let read = read_forwarded(&headers, is_trusted);
    assert!(matches!(read.scheme, None | Some("http" | "https")));
    assert!(read.client.is_none() || read.names_client);
    assert!(read.host.is_none_or(|host| !host.is_empty()));
}

/// No value of a sensitive key and no user information is left; all else is.
pub fn redaction(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let sensitive = &SensitiveKeys::default();
    let (before, query) = text.split_once('?').unwrap_or((&text, ""));
    let redacted = RedactedQuery { query, sensitive }.to_string();
    let pairs: Vec<_> = redacted.split('&').collect();
    assert_eq!(pairs.len(), query.split('&').count(), "{query:?}");
    for (pair, redacted) in query.split('&').zip(pairs) {
        match pair.split_once('=') {
            Some((key, _)) if is_sensitive(key) => {
                assert_eq!(redacted, format!("{key}=REDACTED"));
            }
            _ => assert_eq!(redacted, pair),
        }
    }
    let (authority, path) = before.split_once('/').unwrap_or((before, ""));
    let query = Some(query);
    let url = RedactedUrl { scheme: "https", authority, path, query, sensitive }.to_string();
    if let Some((_, host)) = authority.rsplit_once('@') {
        assert_eq!(url, format!("https://REDACTED:REDACTED@{host}{path}?{redacted}"));
    } else {
        assert_eq!(url, format!("https://{authority}{path}?{redacted}"));
    }
}

/// Whether any server would take the key for one of the list.
fn is_sensitive(key: &str) -> bool {
    let mut decoded = Vec::new();
    let mut rest = key;
    while let Some(first) = rest.chars().next() {
        let code = rest.get(1..3).filter(|_| first == '%');
        let code = code.filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        let taken = match code {
            Some(code) => {
                decoded.push(u8::from_str_radix(code, 16).unwrap());
                3
            }
            None => {
                decoded.extend_from_slice(rest[..first.len_utf8()].as_bytes());
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    SENSITIVE.iter().any(|sensitive| sensitive.as_bytes() == decoded)
}
