//! How long a request's body is, where the head of the request does not say.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::BoxedPayloadStream;
use actix_web::HttpMessage as _;
use actix_web::dev::{Payload, ServiceRequest};
use futures_core::Stream;

use super::extras::content_length;

/// How much of a body the handler has read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadBytes(Rc<Cell<u64>>);

impl ReadBytes {
    /// Counts the body of a request that has one of unknown length.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Self> {
        if content_length(request.headers()).is_some() {
            return None;
        }
        let payload = match request.take_payload() {
            Payload::None => return None,
            payload => payload,
        };
        let read = Self::default();
        let counted: BoxedPayloadStream = Box::pin(Counted { payload, read: read.clone() });
        request.set_payload(Payload::Stream { payload: counted });
        Some(read)
    }

    pub(super) fn count(&self) -> u64 {
        self.0.get()
    }
}

struct Counted {
    payload: Payload,
    read: ReadBytes,
}

impl Stream for Counted {
    type Item = <Payload as Stream>::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = ready!(Pin::new(&mut this.payload).poll_next(cx));
        if let Some(Ok(bytes)) = &next {
            this.read.0.set(this.read.0.get() + bytes.len() as u64);
        }
        Poll::Ready(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.payload.size_hint()
    }
}
