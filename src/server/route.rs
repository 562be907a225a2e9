//! The route that a request took.

#[cfg(feature = "metrics")]
use actix_web::HttpMessage as _;
use actix_web::HttpRequest;
use actix_web::http::Method;

#[cfg(feature = "metrics")]
use super::labels::MetricLabels;
use super::request_span::innermost;
use crate::interop;

/// The route of a request that has no response yet.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) route: String,
    pub(super) method: Method,
}

/// Makes the route of a request known before its response, where there is a use for it.
pub(super) fn tell_route(request: &HttpRequest) {
    let shared = innermost().filter(|shared| interop::may_be_recording(&shared.span));
    let is_wanted = shared.is_some();
    #[cfg(feature = "metrics")]
    let labels = request.extensions().get::<MetricLabels>().cloned();
    #[cfg(feature = "metrics")]
    let is_wanted = is_wanted || labels.is_some();
    if !is_wanted {
        return;
    }
    let Some(route) = matched_route(request) else { return };
    #[cfg(feature = "metrics")]
    if let Some(labels) = labels {
        labels.set_route(route.clone());
    }
    if let Some(shared) = shared {
        let method = request.method().clone();
        shared.taken.get_or_init(|| Box::new(Taken { route, method }));
    }
}

/// The pattern of the resource that a routed request went to, with the prefixes of its scopes.
///
/// `None` where a default service answered. [`HttpRequest::match_pattern`] alone does not tell: for
/// a request that no resource took it looks for one by path, and finds the one whose guards have
/// just refused it.
///
/// One case cannot be told: a scope that took all of the path, and in which the guards of the
/// resource `""` refused the request. It looks like that resource, and has its pattern.
pub(super) fn matched_route(request: &HttpRequest) -> Option<String> {
    let info = request.match_info();
    let (path, rest) = (info.as_str(), info.unprocessed());
    if rest.len() == path.len() {
        // Neither a scope nor a resource took any of the path.
        return None;
    }
    let pattern = request.match_pattern().filter(|pattern| !pattern.is_empty())?;
    if rest.is_empty() {
        return Some(pattern);
    }
    // What took a part of the path is either a resource that owns all that is below it (files in a
    // folder, say), whose pattern describes that part, or a scope in which nothing took the rest,
    // and then the pattern is the longer one of a resource that did not.
    let taken = &path[..path.len() - rest.len()];
    (slashes(&pattern) <= slashes(taken)).then_some(pattern)
}

fn slashes(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'/').count()
}
