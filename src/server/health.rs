//! Requests that only ask whether the service is well.

use actix_web::dev::ServiceRequest;

/// Paths that health checks ask for, and that have paths below them for single checks.
const PATHS: [&str; 8] =
    ["/health", "/healthz", "/live", "/livez", "/ping", "/ready", "/readyz", "/startupz"];

/// Whether a request is one of the usual health checks: for
/// [`ServerTracing::filter`](super::ServerTracing::filter).
///
/// These are the paths `/health`, `/healthz`, `/live`, `/livez`, `/ping`, `/ready`, `/readyz` and
/// `/startupz`, and what is below them, such as `/livez/storage`.
///
/// # Examples
///
/// ```
/// use spanbridge::ServerTracing;
/// use spanbridge::server::is_health_check;
///
/// let tracing = ServerTracing::new().filter(|request| !is_health_check(request));
/// # let _ = tracing;
/// ```
pub fn is_health_check(request: &ServiceRequest) -> bool {
    let path = request.path();
    PATHS.iter().any(|known| {
        path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn health_checks_are_told_by_their_path() {
        for (path, expected) in [
            ("/healthz", true),
            ("/healthz?verbose", true),
            ("/livez/storage", true),
            ("/readyz/", true),
            ("/healthzz", false),
            ("/health-insurance", false),
            ("/api/health", false),
            ("/", false),
        ] {
            let request = TestRequest::with_uri(path).to_srv_request();
            assert_eq!(is_health_check(&request), expected, "{path}");
        }
    }
}
