//! What trusted proxies tell of the client: `Forwarded` ([RFC 7239]) and `X-Forwarded-*`.
//!
//! Each proxy appends to these headers what it saw, so that the right end was written by the peer,
//! and everything beyond the first address that is no trusted proxy's may be made up.
//!
//! [RFC 7239]: https://www.rfc-editor.org/rfc/rfc7239

use std::net::IpAddr;

use actix_http::header::{self, HeaderMap, HeaderName};

use super::address::host_and_port;

/// What the outermost trusted proxy saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forwarded<'a> {
    /// Whether there was anything to read about the client, even if that was not its address.
    pub(crate) names_client: bool,
    pub(crate) client: Option<(IpAddr, Option<u16>)>,
    pub(crate) scheme: Option<&'static str>,
    /// As in a `Host` header.
    pub(crate) host: Option<&'a str>,
}

/// Reads the headers of a request whose peer is a trusted proxy.
///
/// `Forwarded` wins over the others, field by field.
pub(crate) fn forwarded<'a>(
    headers: &'a HeaderMap,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Forwarded<'a> {
    let standard = standard(headers, &is_trusted);
    let other = de_facto(headers, &is_trusted);
    let client = if standard.names_client { standard } else { other };
    Forwarded {
        names_client: client.names_client,
        client: client.client,
        scheme: standard.scheme.or(other.scheme),
        host: standard.host.or(other.host),
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Element<'a> {
    r#for: Option<&'a str>,
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

impl<'a> Element<'a> {
    fn parse(text: &'a str) -> Self {
        let mut element = Self::default();
        for pair in split_unquoted(text, b';') {
            let Some((key, value)) = pair.split_once('=') else { continue };
            let value = unquoted(value.trim());
            match key.trim() {
                key if key.eq_ignore_ascii_case("for") => element.r#for = value,
                key if key.eq_ignore_ascii_case("proto") => element.proto = value,
                key if key.eq_ignore_ascii_case("host") => element.host = value,
                _ => {}
            }
        }
        element
    }
}

fn standard<'a>(headers: &'a HeaderMap, is_trusted: &impl Fn(IpAddr) -> bool) -> Forwarded<'a> {
    let elements: Vec<_> = lines(headers, &header::FORWARDED)
        .flat_map(|line| split_unquoted(line, b','))
        .map(Element::parse)
        .collect();
    let nodes: Vec<_> = elements.iter().map(|element| element.r#for).collect();
    let outermost = outermost(&nodes, is_trusted);
    // A proxy may leave out what the one before it, which it trusts as we do, has not changed.
    let from = &elements[outermost..];
    let node = nodes.get(outermost).copied().flatten();
    Forwarded {
        names_client: node.is_some(),
        client: node.and_then(address),
        scheme: from.iter().find_map(|element| element.proto).and_then(scheme),
        host: from.iter().find_map(|element| element.host).filter(|host| !host.is_empty()),
    }
}

fn de_facto<'a>(headers: &'a HeaderMap, is_trusted: &impl Fn(IpAddr) -> bool) -> Forwarded<'a> {
    let all = |name: &HeaderName| -> Vec<&'a str> {
        lines(headers, name).flat_map(|line| line.split(',')).map(str::trim).collect()
    };
    let nodes: Vec<_> = all(&header::X_FORWARDED_FOR).into_iter().map(Some).collect();
    let outermost = outermost(&nodes, is_trusted);
    // The other lists may be shorter: not every proxy appends to them.
    let hops = nodes.len().saturating_sub(outermost + 1);
    let pick = |name: &HeaderName| {
        let values = all(name);
        let last = values.len().checked_sub(1)?;
        Some(values[last.saturating_sub(hops)]).filter(|value| !value.is_empty())
    };
    let node = nodes.get(outermost).copied().flatten();
    Forwarded {
        names_client: node.is_some(),
        client: node.and_then(address),
        scheme: pick(&header::X_FORWARDED_PROTO).and_then(scheme),
        host: pick(&header::X_FORWARDED_HOST),
    }
}

/// Where the first node from the right is that is not a trusted proxy; the leftmost if all are.
fn outermost(nodes: &[Option<&str>], is_trusted: &impl Fn(IpAddr) -> bool) -> usize {
    let is_proxy = |node: &Option<&str>| {
        node.and_then(address).is_some_and(|(ip, _)| is_trusted(ip.to_canonical()))
    };
    nodes.iter().rposition(|node| !is_proxy(node)).unwrap_or(0)
}

/// `None` for `unknown` and for names made up by a proxy.
fn address(node: &str) -> Option<(IpAddr, Option<u16>)> {
    let (host, port) = host_and_port(node)?;
    Some((host.parse().ok()?, port))
}

fn scheme(proto: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| scheme.eq_ignore_ascii_case(proto))
}

/// Lines that are not text are skipped.
fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).filter_map(|line| std::str::from_utf8(line.as_bytes()).ok())
}

/// Splits at `separator`, but not within quotes.
fn split_unquoted(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|b| {
            if escaped {
                escaped = false;
            } else if quoted && b == b'\\' {
                escaped = true;
            } else if b == b'"' {
                quoted = !quoted;
            } else {
                return b == separator && !quoted;
            }
            false
        });
        // The separator is ASCII, so both sides of it are text.
        let (part, tail) = match end {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        rest = tail;
        Some(part)
    })
}

/// `None` for quotes that do not close, and for escapes, which no address or name needs.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        None => Some(value),
        Some(rest) => rest.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
    }
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderValue;

    use super::*;

    /// 10.0.0.0/8 is ours.
    fn read(lines: &[(&'static str, &str)]) -> (Option<String>, Option<String>, Option<String>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        let is_trusted = |ip| matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 10);
        let read = forwarded(&headers, is_trusted);
        let client = read.client.map(|(ip, port)| match port {
            Some(port) => format!("{ip} {port}"),
            None => ip.to_string(),
        });
        (client, read.scheme.map(str::to_owned), read.host.map(str::to_owned))
    }

    #[test]
    fn standard_header_is_read_from_the_right() {
        for (value, client, scheme, host) in [
            ("for=192.0.2.60;proto=https;host=a.example", "192.0.2.60", "https", "a.example"),
            ("For=\"[2001:db8::1]:4711\"", "2001:db8::1 4711", "", ""),
            ("for=\"192.0.2.60:80\" ; Proto=HTTP", "192.0.2.60 80", "http", ""),
            ("for=1.1.1.1, for=192.0.2.60, for=10.0.0.1", "192.0.2.60", "", ""),
            ("for=10.0.0.2, for=10.0.0.1", "10.0.0.2", "", ""),
            ("for=1.1.1.1;proto=https, for=192.0.2.60", "192.0.2.60", "", ""),
            ("for=192.0.2.60, for=10.0.0.1;proto=https;host=b", "192.0.2.60", "https", "b"),
            ("for=unknown;proto=https", "", "https", ""),
            ("for=_hidden", "", "", ""),
            ("for=1.1.1.1, for=_hidden, for=10.0.0.1", "", "", ""),
            ("proto=ftp;host=\"\"", "", "", ""),
            ("host=\"a;b,c\";proto=https", "", "https", "a;b,c"),
            ("for=\"192.0.2.60", "", "", ""),
            ("for=\"192.0.2.\\60\"", "", "", ""),
            (";;,,=,for", "", "", ""),
            ("", "", "", ""),
        ] {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let expected = (some(client), some(scheme), some(host));
            assert_eq!(read(&[("forwarded", value)]), expected, "{value}");
        }
    }

    #[test]
    fn other_headers_take_the_place_of_the_standard_one() {
        let read = |lines: &[(&'static str, &str)]| {
            let (client, scheme, host) = read(lines);
            [client, scheme, host].map(Option::unwrap_or_default).join("|")
        };
        for (lines, expected) in [
            (vec![("x-forwarded-for", "192.0.2.60")], "192.0.2.60||"),
            (vec![("x-forwarded-for", "1.1.1.1, 192.0.2.60:80 , 10.0.0.1")], "192.0.2.60 80||"),
            (vec![("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "::1")], "::1||"),
            (vec![("x-forwarded-for", "unknown")], "||"),
            (
                vec![
                    ("x-forwarded-for", "192.0.2.60, 10.0.0.1"),
                    ("x-forwarded-proto", "https, http"),
                    ("x-forwarded-host", "a.example"),
                ],
                "192.0.2.60|https|a.example",
            ),
            (
                vec![
                    ("x-forwarded-for", "192.0.2.60"),
                    ("x-forwarded-proto", "https, http"),
                    ("x-forwarded-host", "made.up, a.example"),
                ],
                "192.0.2.60|http|a.example",
            ),
            (
                vec![
                    ("forwarded", "for=192.0.2.1"),
                    ("x-forwarded-for", "192.0.2.60"),
                    ("x-forwarded-proto", "https"),
                ],
                "192.0.2.1|https|",
            ),
            (vec![("forwarded", "for=_a"), ("x-forwarded-for", "192.0.2.60")], "||"),
            (vec![("forwarded", "proto=https"), ("x-forwarded-for", "::1")], "::1|https|"),
        ] {
            assert_eq!(read(&lines), expected, "{lines:?}");
        }
    }
}
