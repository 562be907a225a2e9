//! The service around one worker's application, scope or resource.

use std::rc::Rc;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, forward_ready};

use super::body::TracedBody;
use super::future::ResponseFuture;
use super::settings::Settings;
use super::span::RequestGuard;

/// A service whose requests are traced. Made by [`ServerTracing`](super::ServerTracing).
#[derive(Debug)]
pub struct ServerTracingService<S> {
    service: S,
    settings: Rc<Settings>,
}

impl<S> ServerTracingService<S> {
    pub(super) fn new(service: S, settings: Rc<Settings>) -> Self {
        Self { service, settings }
    }
}

impl<S, B> Service<ServiceRequest> for ServerTracingService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<TracedBody<B>>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let mut guard = RequestGuard::start(&self.settings, &request);
        guard.watch_request_body(&mut request);
        let inner = {
            // Routing, guards and the first part of other middleware run right here.
            let _entered = guard.enter();
            self.service.call(request)
        };
        ResponseFuture::new(inner, guard)
    }
}
