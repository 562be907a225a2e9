//! Whether a request that came over HTTP/2 still has somebody to answer.
//!
//! actix-web hands a response over without telling what became of it. A body that it does not take
//! tells by being dropped; where there is none, the stream of the request's own body knows that it
//! was reset, or that its connection is lost.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::{fmt, thread};

use actix_http::BoxedPayloadStream;
use actix_web::HttpMessage as _;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::Version;
use futures_core::Stream;

/// A request's body as seen from the side.
#[derive(Clone)]
pub(super) struct StreamWatch(Rc<RefCell<Payload>>);

impl StreamWatch {
    /// `None` where nothing can be told: over HTTP/1.1, where actix-web drops what nobody waits for,
    /// and where middleware further out has put a stream of its own in the body's place.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Self> {
        if request.version() != Version::HTTP_2 {
            return None;
        }
        let payload = request.take_payload();
        if matches!(payload, Payload::Stream { .. }) {
            request.set_payload(payload);
            return None;
        }
        let watch = Self(Rc::new(RefCell::new(payload)));
        let body: BoxedPayloadStream = Box::pin(Body(watch.clone()));
        request.set_payload(Payload::Stream { payload: body });
        Some(watch)
    }

    /// Whether the client has reset the stream, or the connection is lost.
    pub(super) fn is_lost(&self) -> bool {
        // What somebody still reads is not taken away.
        let is_read = Rc::strong_count(&self.0) > 1;
        !is_read && matches!(self.poll(&mut no_task()), Poll::Ready(Some(Err(_))))
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<<Payload as Stream>::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

impl fmt::Debug for StreamWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWatch").finish_non_exhaustive()
    }
}

fn no_task() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// The body, for those who read it.
struct Body(StreamWatch);

impl Stream for Body {
    type Item = <Payload as Stream>::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.0.borrow().size_hint()
    }
}

impl Drop for Body {
    /// Lets go of what is still to come, as if nobody watched: what is kept unread holds up the
    /// other streams of the connection.
    fn drop(&mut self) {
        let is_over = !thread::panicking()
            && matches!(self.0.poll(&mut no_task()), Poll::Ready(None | Some(Err(_))));
        if !is_over {
            drop(self.0.0.replace(Payload::None));
        }
    }
}
