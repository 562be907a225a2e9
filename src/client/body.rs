//! From the head of the response to the end of its body.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::{BoxedPayloadStream, Payload};
use awc::ConnectResponse;
use awc::http::header::{self, HeaderMap};
use futures_core::Stream;

use super::span::ClientSpan;

/// A response's body that ends the request's span when it ends, or when it is dropped.
struct TracedPayload {
    payload: Payload,
    // How much is still to come, if the response said so: awc takes a connection that breaks off
    // for the end of a body.
    left: Option<u64>,
    received: u64,
    // `None` once ended.
    span: Option<Rc<RefCell<ClientSpan>>>,
}

/// Hands the span over to the body of the response, if it has one.
pub(super) fn watch(response: ConnectResponse, span: Rc<RefCell<ClientSpan>>) -> ConnectResponse {
    match response {
        ConnectResponse::Client(response) => {
            ConnectResponse::Client(response.map_body(|head, payload| match payload {
                Payload::None => {
                    span.borrow_mut().end_body(0, None);
                    Payload::None
                }
                payload => {
                    let left = content_length(&head.headers);
                    let span = Some(span);
                    let traced: BoxedPayloadStream =
                        Box::pin(TracedPayload { payload, left, received: 0, span });
                    Payload::Stream { payload: traced }
                }
            }))
        }
        // What follows is not this request.
        tunnel @ ConnectResponse::Tunnel(..) => {
            span.borrow_mut().end();
            tunnel
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Stream for TracedPayload {
    type Item = <Payload as Stream>::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = {
            // Nobody ends the span from within the payload.
            let span = this.span.as_ref().map(|span| span.borrow());
            let _entered = span.as_ref().map(|span| span.enter());
            ready!(Pin::new(&mut this.payload).poll_next(cx))
        };
        let failed = match &next {
            Some(Ok(bytes)) => {
                this.received += bytes.len() as u64;
                this.left = this.left.map(|left| left.saturating_sub(bytes.len() as u64));
                return Poll::Ready(next);
            }
            Some(Err(_)) => true,
            None => this.left.is_some_and(|left| left > 0),
        };
        if let Some(span) = this.span.take() {
            span.borrow_mut().end_body(this.received, failed.then_some("body_read"));
        }
        Poll::Ready(next)
    }
}

impl Drop for TracedPayload {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            span.borrow_mut().end_body(self.received, None);
        }
    }
}
