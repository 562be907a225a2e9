//! Credentials in URLs are never recorded.

use std::fmt;

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

/// A query string without its `?`, with the values of sensitive keys replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedactedQuery<'a>(pub(crate) &'a str);

impl fmt::Display for RedactedQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `clean` grows over everything that can be written as it is, usually the whole query.
        let (mut clean, mut at) = (0, 0);
        for pair in self.0.split('&') {
            if let Some((key, value)) = pair.split_once('=')
                && SENSITIVE_KEYS.contains(&key)
            {
                let value_at = at + pair.len() - value.len();
                f.write_str(&self.0[clean..value_at])?;
                f.write_str(REDACTED)?;
                clean = at + pair.len();
            }
            at += pair.len() + 1;
        }
        f.write_str(&self.0[clean..])
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
            RedactedQuery(query).fmt(f)?;
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
        ] {
            assert_eq!(RedactedQuery(query).to_string(), expected, "{query}");
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
            let url = RedactedUrl { scheme: "https", authority, path, query };
            assert_eq!(url.to_string(), expected);
        }
    }
}
