//! From the head of the response to the end of its body.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use pin_project_lite::pin_project;

use super::span::RequestGuard;

pin_project! {
    /// A response body that ends the request's span when it ends, or when it is dropped.
    #[derive(Debug)]
    pub struct TracedBody<B> {
        #[pin]
        content: Content<B>,
        size: BodySize,
        // `None` once ended, and where there is nothing to do.
        guard: Option<RequestGuard>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = ContentProj]
    enum Content<B> {
        // Nothing runs when this is polled, so the span is not entered.
        Bytes { bytes: Bytes },
        Body { #[pin] body: B },
    }
}

impl<B: MessageBody> TracedBody<B> {
    pub(super) fn new(body: B, mut guard: Option<RequestGuard>) -> Self {
        let size = body.size();
        let content = match body.try_into_bytes() {
            Ok(bytes) => Content::Bytes { bytes },
            Err(body) => Content::Body { body },
        };
        if let Some(guard) = &mut guard {
            guard.expect_body(size);
        }
        Self { content, size, guard }
    }
}

impl<B: MessageBody> MessageBody for TracedBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.project();
        let next = match this.content.project() {
            ContentProj::Bytes { bytes } => {
                let bytes = mem::take(bytes);
                (!bytes.is_empty()).then_some(Ok(bytes))
            }
            ContentProj::Body { body } => {
                let _entered = this.guard.as_ref().map(RequestGuard::enter);
                ready!(body.poll_next(cx))
            }
        };
        if let Some(guard) = this.guard {
            match &next {
                Some(Ok(chunk)) => guard.sent(chunk.len()),
                Some(Err(_)) => {
                    guard.body_failed();
                    *this.guard = None;
                }
                None => {
                    guard.body_ended();
                    *this.guard = None;
                }
            }
        }
        Poll::Ready(next)
    }

    /// Whoever takes the bytes has all of the response, so the span ends here.
    fn try_into_bytes(self) -> Result<Bytes, Self> {
        match self.content {
            Content::Bytes { bytes } => {
                if let Some(mut guard) = self.guard {
                    guard.sent(bytes.len());
                    guard.body_ended();
                }
                Ok(bytes)
            }
            Content::Body { .. } => Err(self),
        }
    }
}
