//! Splits a URL by the rules of Go's `net/url`, with its error texts.
//!
//! Kubernetes shows those texts when an endpoint cannot be parsed, and which endpoints are valid
//! depends on details such as where a colon may stand. Each function below was compared with Go
//! on the table in this folder's tests.

use std::net::Ipv6Addr;

use super::quote::Quoted;

/// The parts of a URL that configuration looks at, percent-decoded but for the query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    /// In lower case; empty if there is none.
    pub(super) scheme: String,
    pub(super) has_userinfo: bool,
    /// With the port, and with the brackets of an IPv6 address.
    pub(super) host: String,
    /// Empty, or starts with a slash; or what follows a scheme without slashes.
    pub(super) path: String,
    pub(super) raw_path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) has_fragment: bool,
}

/// Splits `text`.
///
/// # Errors
///
/// Fails with the text that Go's `url.Parse` has for it.
pub(super) fn parse(text: &str) -> Result<Url<'_>, String> {
    split(text).map_err(|problem| format!("parse {}: {problem}", Quoted(text)))
}

fn split(text: &str) -> Result<Url<'_>, String> {
    let (before_fragment, fragment) = match text.split_once('#') {
        Some((before, fragment)) => (before, Some(fragment)),
        None => (text, None),
    };
    if before_fragment.bytes().any(|b| b.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (scheme, rest) = split_scheme(before_fragment)?;
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };

    let mut has_userinfo = false;
    let mut host = String::new();
    let mut raw_path = rest;
    let mut is_opaque = false;
    if !rest.starts_with('/') {
        is_opaque = !scheme.is_empty();
        let first_segment = rest.split('/').next().unwrap_or_default();
        if !is_opaque && first_segment.contains(':') {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    } else if let Some(authority) = rest.strip_prefix("//")
        && (!scheme.is_empty() || !authority.starts_with('/'))
    {
        let end = authority.find('/').unwrap_or(authority.len());
        raw_path = &authority[end..];
        (has_userinfo, host) = split_authority(&scheme, &authority[..end])?;
    }
    let path = if is_opaque { raw_path.to_owned() } else { unescape(raw_path, Part::Other)? };
    if let Some(fragment) = fragment {
        unescape(fragment, Part::Other)?;
    }
    Ok(Url { scheme, has_userinfo, host, path, raw_path, query, has_fragment: fragment.is_some() })
}

fn split_scheme(text: &str) -> Result<(String, &str), String> {
    // A character that no scheme has means that there is no scheme, wherever the colon is.
    let end =
        text.bytes().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')));
    match end {
        Some(0) if text.starts_with(':') => Err("missing protocol scheme".to_owned()),
        Some(end) if text[end..].starts_with(':') && text.as_bytes()[0].is_ascii_alphabetic() => {
            Ok((text[..end].to_ascii_lowercase(), &text[end + 1..]))
        }
        _ => Ok((String::new(), text)),
    }
}

fn split_authority(scheme: &str, authority: &str) -> Result<(bool, String), String> {
    let Some((userinfo, host)) = authority.rsplit_once('@') else {
        return Ok((false, check_host(scheme, authority)?));
    };
    let host = check_host(scheme, host)?;
    let is_userinfo = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !userinfo.chars().all(is_userinfo) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    unescape(user, Part::Other)?;
    unescape(password, Part::Other)?;
    Ok((true, host))
}

fn check_host(scheme: &str, host: &str) -> Result<String, String> {
    match host.rfind('[') {
        Some(0) => return check_ip_literal(host),
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => {}
    }
    // For anything but the web's schemes Go keeps taking hosts with several colons.
    let colon = match scheme {
        "http" | "https" => host.find(':'),
        _ => host.rfind(':'),
    };
    if let Some(colon) = colon {
        check_port(&host[colon..])?;
    }
    unescape(host, Part::Host)
}

fn check_ip_literal(host: &str) -> Result<String, String> {
    let Some(end) = host.rfind(']') else {
        return Err("missing ']' in host".to_owned());
    };
    let (address, port) = (&host[1..end], &host[end + 1..]);
    check_port(port)?;
    let (address, zone) = match address.find("%25") {
        Some(at) => (&address[..at], unescape(&address[at..], Part::Zone)?),
        None => (address, String::new()),
    };
    let address = unescape(address, Part::Host)?;
    let whole = format!("{address}{zone}");
    if address.parse::<Ipv6Addr>().is_err() || zone == "%" {
        return Err(format!("invalid host: {} is not an IPv6 address", Quoted(&whole)));
    }
    Ok(format!("[{whole}]{port}"))
}

fn check_port(colon_port: &str) -> Result<(), String> {
    let digits = colon_port.strip_prefix(':');
    if colon_port.is_empty() || digits.is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(());
    }
    Err(format!("invalid port {} after host", Quoted(colon_port)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Only bytes outside ASCII, and the percent sign itself, may be escaped.
    Host,
    /// What may stand in a host may be escaped too, and so may a space.
    Zone,
    Other,
}

fn unescape(text: &str, part: Part) -> Result<String, String> {
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&b);
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        if byte != b'%' {
            if part != Part::Other && byte.is_ascii() && !is_host(byte) {
                let character = char::from(byte).to_string();
                return Err(format!("invalid character {} in host name", Quoted(&character)));
            }
            decoded.push(byte);
            at += 1;
            continue;
        }
        let escape = &text.as_bytes()[at..text.len().min(at + 3)];
        let value = unescape_byte(escape).filter(|&value| {
            value == b'%'
                || match part {
                    Part::Host => !value.is_ascii(),
                    Part::Zone => value == b' ' || is_host(value),
                    Part::Other => true,
                }
        });
        let Some(value) = value else {
            return Err(bad_escape(escape));
        };
        decoded.push(value);
        at += 3;
    }
    // Go's strings need not be UTF-8; a host or path that is not would be useless here.
    String::from_utf8(decoded).map_err(|_| "escaped bytes are not UTF-8".to_owned())
}

fn unescape_byte(escape: &[u8]) -> Option<u8> {
    let [_, high, low] = *escape else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn bad_escape(escape: &[u8]) -> String {
    format!("invalid URL escape {}", Quoted(&String::from_utf8_lossy(escape)))
}
