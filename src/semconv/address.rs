//! Hosts, ports and socket addresses.

#[cfg(feature = "actix-web")]
use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
#[cfg(feature = "actix-web")]
use std::rc::Rc;

/// The port of a URL that names none.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Splits the authority of a URL, or a `Host` header, into `server.address` and `server.port`.
///
/// User information is dropped, and so are the brackets around an IPv6 address and a port that is
/// none. `None` where no host is left.
pub(crate) fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    plain_host_and_port(authority).or_else(|| any_host_and_port(authority))
}

/// The same in one look at each byte, for what most requests have: a name or an IPv4 address, with
/// or without a port. `None` where it is anything else.
fn plain_host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let bytes = authority.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let end = bytes.iter().position(|byte| !is_plain(byte)).unwrap_or(bytes.len());
    let host = authority.get(..end).filter(|host| !host.is_empty())?;
    match &bytes[end..] {
        [] => Some((host, None)),
        [b':', digits @ ..] if (1..=5).contains(&digits.len()) => {
            let port = digits.iter().try_fold(0_u32, |port, digit| {
                digit.is_ascii_digit().then(|| port * 10 + u32::from(digit - b'0'))
            });
            Some((host, Some(u16::try_from(port?).ok()?)))
        }
        _ => None,
    }
}

fn any_host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let authority = match authority.rsplit_once('@') {
        Some((_userinfo, rest)) => rest,
        None => authority,
    }
    .trim();

    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, rest.strip_prefix(':'))
    } else {
        match authority.split_once(':') {
            Some((_, rest)) if rest.contains(':') && authority.parse::<Ipv6Addr>().is_ok() => {
                (authority, None)
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    // `parse` alone would take a sign.
    let port = port.filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    (!host.is_empty()).then(|| (host, port.and_then(|port| port.parse().ok())))
}

#[cfg(feature = "actix-web")]
thread_local! {
    /// The address that was asked for last.
    static LAST: RefCell<Option<(IpAddr, Rc<str>)>> = const { RefCell::new(None) };
}

/// A [`PeerAddress`] as text, for a field of text: that costs layers less than one that they have to
/// format. Mostly it is the address of the request before.
#[cfg(feature = "actix-web")]
pub(crate) fn address_text(ip: IpAddr) -> Rc<str> {
    let known = |last: &RefCell<Option<(IpAddr, Rc<str>)>>| {
        let last = last.borrow();
        last.as_ref().filter(|(last, _)| *last == ip).map(|(_, text)| Rc::clone(text))
    };
    if let Ok(Some(text)) = LAST.try_with(known) {
        return text;
    }
    let text: Rc<str> = PeerAddress(ip).to_string().into();
    let _ = LAST.try_with(|last| last.replace(Some((ip, Rc::clone(&text)))));
    text
}

/// The IP address of a peer, without port, brackets or IPv4-in-IPv6 mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_canonical() {
            // By hand: a third of what the formatting machinery takes, twice per sampled request.
            IpAddr::V4(ip) => {
                let mut text = [0; 15];
                let mut len = 0;
                for (i, octet) in ip.octets().into_iter().enumerate() {
                    if i > 0 {
                        text[len] = b'.';
                        len += 1;
                    }
                    for (scale, digit) in [(100, octet / 100), (10, octet / 10 % 10)] {
                        if octet >= scale {
                            text[len] = b'0' + digit;
                            len += 1;
                        }
                    }
                    text[len] = b'0' + octet % 10;
                    len += 1;
                }
                f.write_str(std::str::from_utf8(&text[..len]).unwrap_or_default())
            }
            IpAddr::V6(ip) => fmt::Display::fmt(&ip, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn authorities_are_split() {
        for (authority, expected) in [
            ("example.com", Some(("example.com", None))),
            ("example.com:8080", Some(("example.com", Some(8080)))),
            ("example.com:80", Some(("example.com", Some(80)))),
            ("example.com:", Some(("example.com", None))),
            ("example.com:x", Some(("example.com", None))),
            ("example.com:+80", Some(("example.com", None))),
            ("example.com:65536", Some(("example.com", None))),
            ("10.0.0.1:443", Some(("10.0.0.1", Some(443)))),
            ("[::1]", Some(("::1", None))),
            ("[::1]:8443", Some(("::1", Some(8443)))),
            ("[fe80::1%25eth0]:1", Some(("fe80::1%25eth0", Some(1)))),
            ("2001:db8::1", Some(("2001:db8::1", None))),
            ("u:p@example.com:1", Some(("example.com", Some(1)))),
            (" example.com ", Some(("example.com", None))),
            ("", None),
            (":80", None),
            ("[]:80", None),
            ("[::1", None),
            ("u@", None),
        ] {
            assert_eq!(host_and_port(authority), expected, "{authority}");
        }
    }

    proptest! {
        #[test]
        fn one_look_finds_what_several_do(authority in "[a-c0-9.:@_ \\[\\]%+-]{0,12}|[a-z.]{1,5}:[0-9]{0,6}") {
            if let Some(found) = plain_host_and_port(&authority) {
                prop_assert_eq!(Some(found), any_host_and_port(&authority));
            }
        }
    }

    #[test]
    fn peers_are_written_as_plain_addresses() {
        for (ip, expected) in [
            ("0.0.0.0", "0.0.0.0"),
            ("127.0.0.1", "127.0.0.1"),
            ("10.20.30.40", "10.20.30.40"),
            ("100.105.9.255", "100.105.9.255"),
            ("255.255.255.255", "255.255.255.255"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::1", "::1"),
            ("2001:db8::a", "2001:db8::a"),
        ] {
            let ip: IpAddr = ip.parse().expect("the table holds addresses");
            assert_eq!(PeerAddress(ip).to_string(), expected);
            #[cfg(feature = "actix-web")]
            assert_eq!([&*address_text(ip), &*address_text(ip)], [expected; 2]);
        }
        for octet in 0..=u8::MAX {
            let ip = IpAddr::from([octet, 0, octet, 1]);
            assert_eq!(PeerAddress(ip).to_string(), ip.to_string());
        }
    }

    #[test]
    fn schemes_have_a_default_port() {
        for (scheme, port) in [
            ("http", Some(80)),
            ("https", Some(443)),
            ("ws", Some(80)),
            ("wss", Some(443)),
            ("ftp", None),
        ] {
            assert_eq!(default_port(scheme), port);
        }
    }
}
