//! The route that a request took.

use actix_web::HttpRequest;

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
