//! Credentials in URLs are never recorded.

use std::fmt;
use std::sync::Arc;

const REDACTED: &str = "REDACTED";

/// Query keys whose values are signatures or credentials, as the conventions list them.
const SENSITIVE_KEYS: [&str; 7] = [
    "AWSAccessKeyId",
    "Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Goog-Signature",
    "sig",
];

/// The query keys whose values are not recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct SensitiveKeys(Option<Arc<[String]>>);

impl SensitiveKeys {
    /// Exactly `keys`, whatever the conventions say.
    pub(crate) fn new<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self(Some(keys.into_iter().map(Into::into).collect()))
    }

    /// Whether this is one of the keys, as a query spells it: `%73ig` is `sig` to every server.
    fn contains(&self, key: &str) -> bool {
        match &self.0 {
            None => SENSITIVE_KEYS.iter().any(|sensitive| spells(key, sensitive)),
            Some(keys) => keys.iter().any(|sensitive| spells(key, sensitive)),
        }
    }
}

/// Whether `encoded`, as it is or with what is encoded in it decoded, is `plain`.
fn spells(encoded: &str, plain: &str) -> bool {
    encoded == plain
        || (encoded.contains(['%', '+']) && decoded(encoded.as_bytes()).eq(plain.bytes()))
}

/// The bytes that a form's key stands for. A `%` that begins no byte stands for itself.
fn decoded(mut encoded: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    std::iter::from_fn(move || {
        let (byte, rest) = match *encoded {
            [] => return None,
            [b'%', high, low, ref rest @ ..] => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => ((high * 16 + low) as u8, rest),
                _ => (b'%', &encoded[1..]),
            },
            [b'+', ref rest @ ..] => (b' ', rest),
            [byte, ref rest @ ..] => (byte, rest),
        };
        encoded = rest;
        Some(byte)
    })
}

/// A query string without its `?`, with the values of sensitive keys replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedactedQuery<'a> {
    pub(crate) query: &'a str,
    pub(crate) sensitive: &'a SensitiveKeys,
}

impl fmt::Display for RedactedQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `clean` grows over everything that can be written as it is, usually the whole query.
        let (mut clean, mut at) = (0, 0);
        for pair in self.query.split('&') {
            if let Some((key, value)) = pair.split_once('=')
                && self.sensitive.contains(key)
            {
                let value_at = at + pair.len() - value.len();
                f.write_str(&self.query[clean..value_at])?;
                f.write_str(REDACTED)?;
                clean = at + pair.len();
            }
            at += pair.len() + 1;
        }
        f.write_str(&self.query[clean..])
    }
}

/// `url.full`: an absolute URL without credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedactedUrl<'a> {
    pub(crate) scheme: &'a str,
    /// With the user information and the port, if the URL has them.
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) sensitive: &'a SensitiveKeys,
}

impl fmt::Display for RedactedUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme)?;
        f.write_str("://")?;
        match self.authority.rsplit_once('@') {
            Some((_userinfo, host)) => {
                f.write_str("REDACTED:REDACTED@")?;
                f.write_str(host)?;
            }
            None => f.write_str(self.authority)?,
        }
        f.write_str(self.path)?;
        if let Some(query) = self.query {
            f.write_str("?")?;
            RedactedQuery { query, sensitive: self.sensitive }.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_sensitive_keys_are_replaced() {
        for (query, expected) in [
            ("", ""),
            ("color=blue", "color=blue"),
            ("color=blue&sig=abc", "color=blue&sig=REDACTED"),
            ("sig=abc&color=blue", "sig=REDACTED&color=blue"),
            ("SIG=abc", "SIG=abc"),
            ("a=1&&b", "a=1&&b"),
            ("sig", "sig"),
            ("sig=", "sig=REDACTED"),
            ("sig=a&sig=b", "sig=REDACTED&sig=REDACTED"),
            ("sig=a=b==&x=1", "sig=REDACTED&x=1"),
            ("design=a", "design=a"),
            ("&sig=a&", "&sig=REDACTED&"),
            ("Signature=s", "Signature=REDACTED"),
            ("AWSAccessKeyId=s", "AWSAccessKeyId=REDACTED"),
            ("X-Amz-Signature=s", "X-Amz-Signature=REDACTED"),
            ("X-Amz-Credential=s", "X-Amz-Credential=REDACTED"),
            ("X-Amz-Security-Token=s", "X-Amz-Security-Token=REDACTED"),
            ("X-Goog-Signature=s", "X-Goog-Signature=REDACTED"),
            ("gr\u{fc}n=\u{fc}&sig=\u{fc}", "gr\u{fc}n=\u{fc}&sig=REDACTED"),
            // Spelled otherwise, and printed as it is spelled.
            ("%73ig=a", "%73ig=REDACTED"),
            ("%73%69%67=a&x=%73ig", "%73%69%67=REDACTED&x=%73ig"),
            ("X%2DAmz%2dSignature=a", "X%2DAmz%2dSignature=REDACTED"),
            // These decode to other keys, or to none.
            ("%53IG=a", "%53IG=a"),
            ("%2573ig=a", "%2573ig=a"),
            ("sig%=a&sig%7=b&%zzsig=c", "sig%=a&sig%7=b&%zzsig=c"),
            ("sig%00=a&+sig=b&%ffsig=c", "sig%00=a&+sig=b&%ffsig=c"),
        ] {
            let sensitive = &SensitiveKeys::default();
            assert_eq!(RedactedQuery { query, sensitive }.to_string(), expected, "{query}");
        }
    }

    #[test]
    fn user_information_is_replaced() {
        for (authority, path, query, expected) in [
            ("h", "/", None, "https://h/"),
            ("h:8443", "/a", Some("b=c"), "https://h:8443/a?b=c"),
            ("u:p@h", "/", None, "https://REDACTED:REDACTED@h/"),
            ("u@h:1", "/", None, "https://REDACTED:REDACTED@h:1/"),
            ("u@p@h", "/", None, "https://REDACTED:REDACTED@h/"),
            ("[::1]:1", "/", Some("sig=x"), "https://[::1]:1/?sig=REDACTED"),
        ] {
            let sensitive = &SensitiveKeys::default();
            let url = RedactedUrl { scheme: "https", authority, path, query, sensitive };
            assert_eq!(url.to_string(), expected);
        }
    }

    #[test]
    fn list_of_keys_can_be_replaced() {
        let query = "token=a&sig=b&Token=c";
        for (sensitive, expected) in [
            (SensitiveKeys::new(["token"]), "token=REDACTED&sig=b&Token=c"),
            (SensitiveKeys::new(Vec::<String>::new()), query),
        ] {
            let redacted = RedactedQuery { query, sensitive: &sensitive };
            assert_eq!(redacted.to_string(), expected);
        }
    }

    #[test]
    fn keys_of_the_list_are_plain_text() {
        let sensitive = SensitiveKeys::new(["api key", "gr\u{fc}n", "a+b", "50%"]);
        for (query, expected) in [
            ("api+key=a&api%20key=b", "api+key=REDACTED&api%20key=REDACTED"),
            ("gr%C3%BCn=a&gr\u{fc}n=b", "gr%C3%BCn=REDACTED&gr\u{fc}n=REDACTED"),
            ("a+b=1&a%2Bb=2&a%2bb=3", "a+b=REDACTED&a%2Bb=REDACTED&a%2bb=REDACTED"),
            ("50%=1&50%25=2", "50%=REDACTED&50%25=REDACTED"),
        ] {
            let redacted = RedactedQuery { query, sensitive: &sensitive };
            assert_eq!(redacted.to_string(), expected, "{query}");
        }
    }
}
