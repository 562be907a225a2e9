//! Which request follows a redirect.
//!
//! awc follows redirects around its hooks: each hop is a request of its own, and nothing says so.
//! But the next hop is asked for within the very poll in which the one before it has resolved, and
//! before that one's future is dropped. So a future that resolves to a redirect leaves a note, and
//! takes it back when it is dropped.
//!
//! A note that is still there then was not followed. If that is a redirect which itself followed
//! another, the client does follow redirects, and has had enough of them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use awc::ConnectResponse;
use awc::http::uri::PathAndQuery;
use awc::http::{StatusCode, Uri, header};

use super::span::ClientSpan;

/// Where a client's notes are left.
#[derive(Default)]
pub(super) struct Redirects {
    expected: Cell<Option<Hop>>,
    /// How many notes there have been, so that each future knows its own.
    noted: Cell<u64>,
}

/// One attempt of what the caller knows as one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempt {
    /// How often the request has been sent before.
    pub(super) resend_count: u32,
    pub(super) without_propagation: bool,
    /// When the first of them was sent, where there is a use for it: awc's time limit is for all.
    pub(super) started: Option<Instant>,
}

#[derive(Debug)]
struct Hop {
    note: u64,
    target: PathAndQuery,
    attempt: Attempt,
    /// The span of what was answered with the redirect, if it depends on whether that is followed.
    span: Option<Rc<RefCell<ClientSpan>>>,
}

/// Says which note is a future's own.
#[derive(Debug)]
pub(super) struct Note(u64);

impl Redirects {
    /// The attempt that a request to `uri` is, if it follows a redirect.
    pub(super) fn follow(&self, uri: &Uri) -> Option<Attempt> {
        let hop = self.expected.take()?;
        if let Some(span) = &hop.span {
            span.borrow_mut().end_head();
        }
        (uri.path_and_query() == Some(&hop.target)).then_some(hop.attempt)
    }

    /// Leaves a note if `response`, which `attempt` got, is a redirect.
    pub(super) fn note(&self, attempt: Attempt, response: &ConnectResponse) -> Option<Note> {
        let ConnectResponse::Client(response) = response else { return None };
        let is_redirect = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        if !is_redirect {
            return None;
        }
        let target = target(response.headers().get(header::LOCATION)?.as_bytes())?;
        let note = self.noted.get();
        self.noted.set(note + 1);
        let attempt = Attempt { resend_count: attempt.resend_count + 1, ..attempt };
        self.expected.set(Some(Hop { note, target, attempt, span: None }));
        Some(Note(note))
    }

    /// Leaves the end of `span` to whether the redirect is followed that the last note is of.
    pub(super) fn hold(&self, span: Rc<RefCell<ClientSpan>>) {
        if let Some(hop) = self.expected.take() {
            self.expected.set(Some(Hop { span: Some(span), ..hop }));
        }
    }

    /// Takes a note back, unless it has been followed.
    pub(super) fn forget(&self, Note(note): &Note) {
        match self.expected.take() {
            Some(hop) if hop.note == *note => {
                if let Some(span) = &hop.span {
                    span.borrow_mut().end_redirects();
                }
            }
            other => self.expected.set(other),
        }
    }
}

/// The path and query that awc makes of a `Location`.
fn target(location: &[u8]) -> Option<PathAndQuery> {
    if location.starts_with(b"//") {
        let uri = Uri::try_from([b"http:", location].concat()).ok()?;
        return uri.path_and_query().cloned();
    }
    match Uri::try_from(location) {
        Ok(uri) if uri.scheme().is_some() && uri.authority().is_some() => {
            uri.path_and_query().cloned()
        }
        _ if location.starts_with(b"/") => PathAndQuery::try_from(location).ok(),
        _ => PathAndQuery::try_from(&*[b"/", location].concat()).ok(),
    }
}

impl fmt::Debug for Redirects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirects").field("noted", &self.noted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_those_of_awc() {
        for (location, expected) in [
            ("http://h/a?b", Some("/a?b")),
            ("http://h", Some("/")),
            ("//h/a", Some("/a")),
            ("/a?b#c", Some("/a?b")),
            ("a", Some("/a")),
            ("", Some("/")),
            ("http://h/ ", None),
        ] {
            let found = target(location.as_bytes());
            assert_eq!(found.as_ref().map(PathAndQuery::as_str), expected, "{location}");
        }
    }

    #[test]
    fn notes_are_followed_once_and_only_to_their_target() {
        let redirects = Redirects::default();
        let hop = |note| Hop {
            note,
            target: PathAndQuery::from_static("/a"),
            attempt: Attempt { resend_count: 2, ..Attempt::default() },
            span: None,
        };
        let [there, elsewhere] =
            ["http://h/a", "http://h/b"].map(|uri| Uri::try_from(uri).unwrap());

        redirects.expected.set(Some(hop(0)));
        assert_eq!(redirects.follow(&there).map(|attempt| attempt.resend_count), Some(2));
        assert!(redirects.follow(&there).is_none(), "it has been followed");

        redirects.expected.set(Some(hop(1)));
        assert!(redirects.follow(&elsewhere).is_none());

        redirects.expected.set(Some(hop(2)));
        redirects.forget(&Note(1));
        assert!(redirects.follow(&there).is_some(), "it was another's note");
        redirects.expected.set(Some(hop(3)));
        redirects.forget(&Note(3));
        assert!(redirects.follow(&there).is_none(), "it was taken back");
    }
}
