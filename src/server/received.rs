//! When a request was received, where somebody further out knows it.

use std::time::{Duration, SystemTime};

use actix_web::dev::ServiceRequest;
use actix_web::http::header::HeaderName;

use super::proxies::TrustedProxies;

const X_REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");

impl TrustedProxies {
    /// When the request was received, if it comes from one of these proxies and that says so in
    /// `X-Request-Start`: for
    /// [`ServerTracing::with_start_time`](super::ServerTracing::with_start_time).
    ///
    /// The header holds a time since 1970 in seconds, milliseconds, microseconds or nanoseconds,
    /// told apart by how large it is, with a fraction or without, and with `t=` before it or not.
    /// Of several lines the last one counts, which the nearest proxy has written.
    pub fn request_start(&self, request: &ServiceRequest) -> Option<SystemTime> {
        let peer = request.peer_addr()?;
        let value = request.headers().get_all(X_REQUEST_START).last()?;
        parse(value.to_str().ok()?).filter(|_| self.contains(peer.ip()))
    }
}

fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let number = text.strip_prefix("t=").unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let unit: u64 = match whole {
        // A time that is none of these is longer ago than any request.
        100_000_000..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        100_000_000_000_000_000.. => 1,
        _ => return None,
    };
    let digits = fraction.get(..9).unwrap_or(fraction);
    let fraction = digits.bytes().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let scale = 10_u64.pow(digits.len() as u32);
    // Below 2^60: less than a second in nanoseconds, with nine more digits.
    let nanos = fraction * unit / scale;
    let (seconds, rest) = (whole / (1_000_000_000 / unit), whole % (1_000_000_000 / unit));
    let since = Duration::new(seconds, 0) + Duration::from_nanos(rest * unit + nanos);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn units_are_told_apart_by_their_size() {
        for (text, seconds, nanos) in [
            ("1512379167", 1_512_379_167, 0),
            ("t=1512379167.574", 1_512_379_167, 574_000_000),
            ("1512379167574", 1_512_379_167, 574_000_000),
            (" t=1512379167574.25 ", 1_512_379_167, 574_250_000),
            ("1512379167574001", 1_512_379_167, 574_001_000),
            ("t=1512379167574001002", 1_512_379_167, 574_001_002),
            ("1512379167.574001002999", 1_512_379_167, 574_001_002),
            ("1512379167.", 1_512_379_167, 0),
            ("18446744073709551615", 18_446_744_073, 709_551_615),
        ] {
            let expected = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_of_a_request_is_skipped() {
        for text in [
            "",
            "t=",
            "0",
            "99999999",
            "-1512379167",
            "+1512379167",
            "1e9",
            "t=t=1",
            "1512379167,5",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("99999999999999999999"), None, "more than 64 bits");
    }

    #[test]
    fn nearest_proxy_is_believed_if_it_is_trusted() {
        let proxies = TrustedProxies::from_networks(["10.0.0.0/8"]).unwrap();
        let start = |peer: &str| {
            let request = TestRequest::get()
                .append_header(("x-request-start", "1"))
                .append_header(("x-request-start", "t=1512379167"))
                .peer_addr(peer.parse().unwrap());
            proxies.request_start(&request.to_srv_request())
        };
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(1_512_379_167);
        assert_eq!(start("10.0.0.1:80"), Some(expected));
        assert_eq!(start("192.0.2.1:80"), None);
        let unknown = TestRequest::get().insert_header(("x-request-start", "t=1512379167"));
        assert_eq!(proxies.request_start(&unknown.to_srv_request()), None);
    }
}
