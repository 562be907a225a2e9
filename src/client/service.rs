//! The service around a client's connector.

use std::rc::Rc;
use std::time::Instant;

use actix_http::body::{BodySize, MessageBody as _};
use actix_service::{Service, forward_ready};
use awc::error::SendRequestError;
use awc::{ConnectRequest, ConnectResponse};

use super::future::ResponseFuture;
use super::inject::{inject, remove};
use super::redirects::{Attempt, Redirects};
use super::request_tracing::RequestTracing;
use super::settings::Settings;
use super::span::{ClientSpan, Request};

/// A connector whose requests are traced. Made by [`ClientTracing`](super::ClientTracing).
#[derive(Debug)]
pub struct ClientTracingService<S> {
    service: S,
    settings: Rc<Settings>,
    redirects: Rc<Redirects>,
}

impl<S> ClientTracingService<S> {
    pub(super) fn new(service: S, settings: Rc<Settings>) -> Self {
        Self { service, settings, redirects: Rc::default() }
    }
}

impl<S> Service<ConnectRequest> for ClientTracingService<S>
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError>,
{
    type Response = ConnectResponse;
    type Error = SendRequestError;
    type Future = ResponseFuture<S::Future>;

    forward_ready!(service);

    fn call(&self, mut connect: ConnectRequest) -> Self::Future {
        let (span, propagates, attempt) = {
            let (head, size, address) = match &connect {
                ConnectRequest::Client(head, body, address) => {
                    (head.as_ref(), body.size(), *address)
                }
                ConnectRequest::Tunnel(head, address) => (head, BodySize::None, *address),
            };
            let body_size = match size {
                BodySize::None => Some(0),
                BodySize::Sized(size) => Some(size),
                BodySize::Stream => None,
            };
            let scope = RequestTracing::current();
            let (mut attempt, template) = match (self.redirects.follow(&head.uri), scope) {
                // The scope is that of whoever polls.
                (Some(attempt), _) => (attempt, None),
                (None, None) => (Attempt::default(), None),
                (None, Some(RequestTracing { url_template, without_propagation })) => {
                    (Attempt { without_propagation, ..Attempt::default() }, url_template)
                }
            };
            let wanted = self.settings.propagate_to.as_ref().is_none_or(|to| to(&head.uri));
            let propagates = wanted && !attempt.without_propagation;
            if self.settings.timeout.is_some() {
                attempt.started.get_or_insert_with(Instant::now);
            }
            let request = Request { head, body_size, address, template, attempt };
            (ClientSpan::start(&self.settings, request), propagates, attempt)
        };
        if propagates {
            inject(&self.settings, &span.carried(), &mut connect);
        } else {
            remove(&self.settings, &mut connect);
        }
        let inner = {
            let _entered = span.enter();
            self.service.call(connect)
        };
        ResponseFuture::new(inner, span, attempt, Rc::clone(&self.redirects))
    }
}
