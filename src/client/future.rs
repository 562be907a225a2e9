//! From sending the request to the head of the response.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use awc::ConnectResponse;
use awc::error::SendRequestError;
use pin_project_lite::pin_project;

use super::span::ClientSpan;

pin_project! {
    /// Resolves to the response to a traced request.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the span without a status.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // `None` once resolved.
        span: Option<ClientSpan>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, span: ClientSpan) -> Self {
        Self { inner, span: Some(span) }
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
        if let Some(span) = this.span.take() {
            span.respond(&result);
        }
        Poll::Ready(result)
    }
}
