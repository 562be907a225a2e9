//! The service around a client's connector.

use actix_service::{Service, forward_ready};
use awc::error::SendRequestError;
use awc::{ConnectRequest, ConnectResponse};

use super::future::ResponseFuture;
use super::inject::inject;
use super::middleware::Settings;
use super::span::ClientSpan;

/// A connector whose requests are traced. Made by [`ClientTracing`](super::ClientTracing).
#[derive(Debug)]
pub struct ClientTracingService<S> {
    service: S,
    settings: Settings,
}

impl<S> ClientTracingService<S> {
    pub(super) fn new(service: S, settings: Settings) -> Self {
        Self { service, settings }
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

    fn call(&self, mut request: ConnectRequest) -> Self::Future {
        let span = ClientSpan::start(&request);
        inject(&self.settings, &span.carried(), &mut request);
        let inner = {
            let _entered = span.enter();
            self.service.call(request)
        };
        ResponseFuture::new(inner, span)
    }
}
