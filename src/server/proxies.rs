//! Whose forwarding headers are believed.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The proxies whose `Forwarded` and `X-Forwarded-*` headers are believed.
///
/// See [`ServerTracing::with_trusted_proxies`](super::ServerTracing::with_trusted_proxies). There
/// are none by default: anybody can send these headers.
///
/// A trusted proxy has to overwrite, append to, or strip *both* `Forwarded` and `X-Forwarded-*`. One
/// that writes the one kind and passes the other on as it came lets clients say what they like:
/// `Forwarded` is taken wherever it is there, and `X-Forwarded-*` for what it does not tell.
///
/// # Examples
///
/// ```
/// use spanbridge::server::TrustedProxies;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let proxies = TrustedProxies::from_networks(["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"])?;
/// assert!(proxies.contains("10.1.2.3".parse()?));
/// assert!(!proxies.contains("192.0.2.1".parse()?));
///
/// let error = TrustedProxies::from_networks(["10.0.0.0/33"]).unwrap_err();
/// assert_eq!(error.network(), "10.0.0.0/33");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TrustedProxies(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl TrustedProxies {
    /// The proxies in these networks, each an address, or an address and the length of its prefix.
    ///
    /// # Errors
    ///
    /// Fails at the first text that is neither.
    pub fn from_networks<'a>(
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidNetwork> {
        let networks: Vec<_> =
            networks.into_iter().map(Network::parse).collect::<Result<_, _>>()?;
        Ok(Self::matching(move |ip| networks.iter().any(|network| network.contains(ip))))
    }

    /// The proxies for whose address `is_trusted` returns true.
    ///
    /// IPv4 addresses that are mapped into IPv6 are given as IPv4.
    pub fn matching(is_trusted: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_trusted))
    }

    /// Whether the proxy with this address is one of them.
    pub fn contains(&self, ip: IpAddr) -> bool {
        (self.0)(ip.to_canonical())
    }
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedProxies").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Network {
    base: IpAddr,
    prefix: u32,
}

impl Network {
    fn parse(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork { network: text.to_owned() };
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| invalid())?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            // `parse` alone would take a sign.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(invalid)?
            }
            Some(_) => return Err(invalid()),
        };
        Ok(Self { base, prefix })
    }

    fn contains(&self, ip: IpAddr) -> bool {
        let differ = match (self.base, ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => (base.to_bits() ^ ip.to_bits()).leading_zeros(),
            (IpAddr::V6(base), IpAddr::V6(ip)) => (base.to_bits() ^ ip.to_bits()).leading_zeros(),
            _ => return false,
        };
        differ >= self.prefix
    }
}

/// A text that was to name a network does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidNetwork {
    network: String,
}

impl InvalidNetwork {
    /// The text.
    pub fn network(&self) -> &str {
        &self.network
    }
}

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a network: it has to be an IP address, such as 127.0.0.1, or one with \
             the length of a prefix, such as 10.0.0.0/8 or 2001:db8::/32",
            self.network
        )
    }
}

impl Error for InvalidNetwork {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_has_their_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/8", "10.0.0.1", "9.255.255.255"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.0/31", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("::/0", "::1", "1.2.3.4"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
        ] {
            let proxies = TrustedProxies::from_networks([network]).unwrap();
            assert!(proxies.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!proxies.contains(outside.parse().unwrap()), "{network} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for network in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/", "a/8"] {
            let error = TrustedProxies::from_networks(["::1", network]).unwrap_err();
            assert_eq!(error.network(), network);
            assert!(error.to_string().contains(&format!("{network:?}")), "{error}");
        }
        fn is_error<E: Error + Send + Sync + 'static>() {}
        is_error::<InvalidNetwork>();
    }
}
