//! From sending the request to the head of the response.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use awc::ConnectResponse;
use awc::error::SendRequestError;
use pin_project_lite::pin_project;

use super::body;
use super::redirects::{Attempt, Note, Redirects};
use super::span::ClientSpan;

pin_project! {
    /// Resolves to the response to a traced request.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the span; without a status, unless it is known that awc has given up.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // `None` once resolved.
        span: Option<ClientSpan>,
        attempt: Attempt,
        redirects: Rc<Redirects>,
        // What the future has resolved to was a redirect.
        note: Option<Note>,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(note) = this.note {
                this.redirects.forget(note);
            }
        }
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(
        inner: F,
        span: ClientSpan,
        attempt: Attempt,
        redirects: Rc<Redirects>,
    ) -> Self {
        Self { inner, span: Some(span), attempt, redirects, note: None }
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<ConnectResponse, SendRequestError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = {
            let _entered = this.span.as_ref().map(ClientSpan::enter);
            ready!(this.inner.poll(cx))
        };
        if let Ok(response) = &result {
            *this.note = this.redirects.note(*this.attempt, response);
        }
        let Some(mut span) = this.span.take() else { return Poll::Ready(result) };
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                span.fail_with(&error);
                return Poll::Ready(Err(error));
            }
        };
        span.respond(&response);
        let is_watched = span.watches_body();
        let may_be_last = this.note.is_some() && this.attempt.resend_count > 0;
        if may_be_last {
            span.hold();
        } else {
            span.end_head();
        }
        if !is_watched && !may_be_last {
            return Poll::Ready(Ok(response));
        }
        let span = Rc::new(RefCell::new(span));
        if may_be_last {
            this.redirects.hold(Rc::clone(&span));
        }
        Poll::Ready(Ok(if is_watched { body::watch(response, span) } else { response }))
    }
}
