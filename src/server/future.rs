//! From the request to the head of the response.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use pin_project_lite::pin_project;

use super::body::TracedBody;
use super::span::RequestGuard;

pin_project! {
    /// Resolves to the response of a traced request.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the span, with `error.type` saying that there was no response.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        // `None` once resolved.
        #[pin]
        inner: Option<F>,
        // `None` once the body has it.
        guard: Option<RequestGuard>,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(guard) = &this.guard {
                // What a cancelled handler does on its way out still belongs to the request.
                let _entered = guard.enter();
                this.inner.set(None);
            }
        }
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, guard: RequestGuard) -> Self {
        Self { inner: Some(inner), guard: Some(guard) }
    }
}

impl<F, B> Future for ResponseFuture<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
    B: MessageBody,
{
    type Output = Result<ServiceResponse<TracedBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = {
            let _entered = this.guard.as_ref().map(RequestGuard::enter);
            let inner = this.inner.as_mut().as_pin_mut();
            let result = ready!(inner.expect("polled after it resolved").poll(cx));
            this.inner.set(None);
            result
        };
        let guard = this.guard.take();
        Poll::Ready(match result {
            Ok(mut response) => {
                let guard = guard.and_then(|guard| guard.respond(&mut response));
                Ok(response.map_body(|_, body| TracedBody::new(body, guard)))
            }
            Err(error) => {
                if let Some(guard) = guard {
                    guard.respond_with_error(&error);
                }
                Err(error)
            }
        })
    }
}
