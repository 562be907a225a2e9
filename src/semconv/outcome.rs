//! How a request ended: span status and `error.type`.

/// `error.type` where no other value of the fixed sets applies.
pub(crate) const OTHER: &str = "_OTHER";

/// Whether a server span with this status code has failed. A 4xx is the client's failure, not ours.
pub(crate) fn is_server_error(status: u16) -> bool {
    status >= 500
}

/// Whether a client span with this status code has failed.
pub(crate) fn is_client_error(status: u16) -> bool {
    !(100..400).contains(&status)
}

/// Whether a response to a request can have a body that is sent at all.
pub(crate) fn may_have_body(is_head: bool, status: u16) -> bool {
    !(is_head || matches!(status, 100..=199 | 204 | 304))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_errors_fail_the_client_span_only() {
        for (status, server, client) in [
            (100, false, false),
            (101, false, false),
            (200, false, false),
            (204, false, false),
            (302, false, false),
            (304, false, false),
            (399, false, false),
            (400, false, true),
            (404, false, true),
            (499, false, true),
            (500, true, true),
            (503, true, true),
            (599, true, true),
            (600, true, true),
            (999, true, true),
        ] {
            assert_eq!((is_server_error(status), is_client_error(status)), (server, client));
        }
    }

    #[test]
    fn some_responses_never_have_a_body() {
        for (is_head, status, expected) in [
            (false, 200, true),
            (true, 200, false),
            (false, 101, false),
            (false, 103, false),
            (false, 204, false),
            (false, 304, false),
            (false, 205, true),
            (false, 404, true),
        ] {
            assert_eq!(may_have_body(is_head, status), expected, "{is_head} {status}");
        }
    }
}
