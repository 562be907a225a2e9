//! Span names.

use std::fmt;

/// `{method} {target}`, or `{method}` where no target of low cardinality is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanName<'a> {
    /// As [`RequestMethod::in_span_name`](super::method::RequestMethod::in_span_name) gives it.
    pub(crate) method: &'a str,
    /// The route on a server, the template on a client. Never the path.
    pub(crate) target: Option<&'a str>,
}

impl SpanName<'_> {
    /// As text, for a field of text: that costs layers less than one that they have to format.
    pub(crate) fn text(&self) -> String {
        match self.target {
            Some(target) => [self.method, " ", target].concat(),
            None => self.method.to_owned(),
        }
    }
}

impl fmt::Display for SpanName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method)?;
        if let Some(target) = self.target {
            f.write_str(" ")?;
            f.write_str(target)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_method_and_target() {
        for (method, target, expected) in [
            ("GET", Some("/pods/{name}"), "GET /pods/{name}"),
            ("GET", None, "GET"),
            ("HTTP", Some("/x"), "HTTP /x"),
            ("HTTP", None, "HTTP"),
        ] {
            let name = SpanName { method, target };
            assert_eq!(name.to_string(), expected);
            assert_eq!(name.text(), expected);
        }
    }
}
