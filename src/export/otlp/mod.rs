//! OTLP, encoded straight from the records, over gRPC or HTTP.
//!
//! Source of what is done with answers and failures: the OTLP specification 1.x,
//! <https://opentelemetry.io/docs/specs/otlp/>.

#[cfg(all(test, feature = "otlp-grpc", feature = "otlp-http"))]
mod connection_tests;
mod connector;
mod delivery;
mod encode;
mod encoded_spans;
mod fields;
#[cfg(feature = "otlp-grpc")]
mod grpc_client;
#[cfg(feature = "otlp-http")]
mod http_client;
#[cfg(feature = "cli")]
mod parts;
#[cfg(all(test, feature = "otlp-grpc", feature = "otlp-http"))]
mod peer_tests;
mod request;
mod response;
#[cfg(all(test, feature = "otlp-grpc", feature = "otlp-http"))]
mod sending_tests;
mod span_data;
#[cfg(test)]
mod tests;
mod throttle;
mod tls;
#[cfg(all(test, feature = "otlp-grpc", feature = "otlp-http"))]
mod tls_tests;
mod value;
mod wire;

use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;
use tokio::time::{Instant, sleep, timeout_at};

use self::delivery::BackOff;
pub(crate) use self::delivery::{Cause, Delivered, Failure, Retry};
pub(crate) use self::encode::SpanEncoder;
pub(crate) use self::encoded_spans::EncodedSpans;
#[cfg(feature = "cli")]
pub(crate) use self::parts::Parts;
use self::request::{Envelope, Request};
use self::throttle::Throttle;
use crate::config::Protocol;
use crate::config::settings::Settings;
use crate::export::exporter::{DynExporter, Exporting, Urgency};
use crate::export::sink::Outcome;

const USER_AGENT: &str = concat!(
    "spanbridge/",
    env!("CARGO_PKG_VERSION"),
    " OTel-OTLP-Exporter-Rust/",
    env!("CARGO_PKG_VERSION")
);

/// What the specification gives one export, its repetitions included.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of spans in one request at most: receivers commonly refuse 4 MiB and more.
pub(crate) const MAX_REQUEST: usize = 3 * 1024 * 1024;

/// Sends encoded spans to a collector.
#[derive(Debug)]
pub(crate) struct OtlpExporter {
    transport: Transport,
    envelope: Envelope,
    timeout: Duration,
    throttle: Throttle,
}

#[derive(Debug)]
enum Transport {
    #[cfg(feature = "otlp-grpc")]
    Grpc(Box<grpc_client::Grpc>),
    #[cfg(feature = "otlp-http")]
    Http(Box<http_client::Http>),
}

impl Transport {
    async fn send(&self, request: Request) -> Result<Delivered, Failure> {
        match self {
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc(grpc) => grpc.send(request).await,
            #[cfg(feature = "otlp-http")]
            Self::Http(http) => http.send(request).await,
        }
    }
}

impl OtlpExporter {
    /// An exporter for what `settings` name. Called where its runtime is entered.
    ///
    /// # Errors
    ///
    /// Says what cannot be done, and what could be.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let timeout = settings.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let transport = match settings.protocol {
            #[cfg(feature = "otlp-grpc")]
            Protocol::Grpc => Transport::Grpc(Box::new(grpc_client::Grpc::new(settings, timeout)?)),
            #[cfg(feature = "otlp-http")]
            Protocol::HttpProtobuf => {
                Transport::Http(Box::new(http_client::Http::new(settings, timeout)?))
            }
            #[allow(unreachable_patterns, reason = "reachable where a protocol's feature is off")]
            protocol => {
                let (name, feature) = match protocol {
                    Protocol::Grpc => ("grpc", "otlp-grpc"),
                    Protocol::HttpProtobuf => ("http/protobuf", "otlp-http"),
                };
                return Err(format!(
                    "OTLP over {name} is not built in: switch on spanbridge's feature {feature}, \
                     or set OTEL_EXPORTER_OTLP_PROTOCOL to a protocol that is"
                ));
            }
        };
        Ok(Self {
            transport,
            envelope: Envelope::default(),
            timeout,
            throttle: Throttle::default(),
        })
    }

    pub(crate) fn set_resource(&mut self, resource: &Resource) {
        self.envelope.set_resource(resource);
    }

    pub(crate) fn set_scope(&mut self, scope: &InstrumentationScope) {
        self.envelope.set_scope(scope);
    }

    /// Waits where the collector has asked to be left alone. Spans are better kept meanwhile than
    /// taken out for a request that must not be made yet.
    ///
    /// # Errors
    ///
    /// Fails as soon as that takes longer than `limit` allows.
    pub(crate) async fn ready(&self, limit: impl Fn() -> Option<Duration>) -> Result<(), Failure> {
        self.throttle.is_over(limit).await.map_err(|left| Failure {
            problem: "the collector has asked for a pause that is not over".to_owned(),
            retry: Retry::After(left),
            cause: Cause::Other,
        })
    }

    /// Sends the spans, again and again where that makes sense, until the timeout is over or
    /// `is_urgent` says that there is no time for another try. The spans are gone then.
    ///
    /// # Cancel safety
    ///
    /// Without their memory, which cannot be used again, if the future is dropped.
    pub(crate) async fn send(
        &self,
        spans: &mut EncodedSpans,
        is_urgent: impl Fn() -> bool,
    ) -> Result<Delivered, Failure> {
        self.send_in(&self.envelope, spans, is_urgent).await
    }

    async fn send_in(
        &self,
        envelope: &Envelope,
        spans: &mut EncodedSpans,
        is_urgent: impl Fn() -> bool,
    ) -> Result<Delivered, Failure> {
        let request = spans.lend(envelope);
        let sent = self.send_request(&request, is_urgent).await;
        spans.give_back(request);
        sent
    }

    async fn send_request(
        &self,
        request: &Request,
        is_urgent: impl Fn() -> bool,
    ) -> Result<Delivered, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut back_off = BackOff::new();
        loop {
            let sent = timeout_at(deadline, self.transport.send(request.clone())).await;
            let failure = match sent {
                Ok(Ok(delivered)) => return Ok(delivered),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    let problem = format!("no answer within {:?}", self.timeout);
                    let (retry, cause) = (Retry::Soon, Cause::Other);
                    return Err(Failure { problem, retry, cause });
                }
            };
            if let Retry::After(pause) = failure.retry {
                self.throttle.asked_for(pause);
            }
            let Some(pause) = back_off.pause(failure.retry) else { return Err(failure) };
            let has_time = pause < deadline.saturating_duration_since(Instant::now());
            if failure.retry != Retry::Now && (is_urgent() || !has_time) {
                return Err(failure);
            }
            pause_unless(pause, &is_urgent).await;
        }
    }
}

impl OtlpExporter {
    /// Sends spans that another part of the program has built: of any scope, and of any length.
    ///
    /// They may take several requests. What a collector refuses for good does not keep the others
    /// from being sent, and counts as rejected, unless it refuses all. With an error that may pass,
    /// some of them may have arrived.
    pub(crate) async fn send_data(
        &self,
        batch: &[SpanData],
        is_urgent: impl Fn() -> bool,
    ) -> Result<Delivered, Failure> {
        let mut delivered = Delivered::default();
        let mut arrived = false;
        let mut refused = None;
        // Mostly all of them are of one scope.
        for spans in batch.chunk_by(|a, b| a.instrumentation_scope == b.instrumentation_scope) {
            let mut envelope = self.envelope.clone();
            envelope.set_scope(&spans[0].instrumentation_scope);
            let mut encoded = EncodedSpans::from_span_data(spans);
            let mut part = EncodedSpans::default();
            while encoded.take_batch(&mut part, usize::MAX, MAX_REQUEST, true) {
                let Delivered { rejected, message } =
                    match self.send_in(&envelope, &mut part, &is_urgent).await {
                        Ok(delivered) => {
                            arrived = true;
                            delivered
                        }
                        Err(failure) if failure.retry == Retry::No => {
                            let message = failure.problem.clone();
                            refused.get_or_insert(failure);
                            Delivered { rejected: part.len(), message }
                        }
                        Err(failure) => return Err(failure),
                    };
                delivered.rejected += rejected.min(part.len());
                if !message.is_empty() {
                    delivered.message = message;
                }
            }
        }
        match refused {
            Some(failure) if !arrived => Err(failure),
            _ => Ok(delivered),
        }
    }
}

/// Nothing is told of the value: it may be a secret.
fn not_allowed(header: &str) -> String {
    format!(
        "OTEL_EXPORTER_OTLP_HEADERS or OTEL_EXPORTER_OTLP_TRACES_HEADERS: the protocol does not \
         allow the header {header} or its value"
    )
}

/// Waits, but for no longer than it takes to see that it is urgent.
async fn pause_unless(pause: Duration, is_urgent: impl Fn() -> bool) {
    const STEP: Duration = Duration::from_millis(50);
    let until = Instant::now() + pause;
    while Instant::now() < until && !is_urgent() {
        sleep(STEP.min(until - Instant::now())).await;
    }
}

/// For where spans go to other destinations as well, and so are built for these anyway.
impl DynExporter for OtlpExporter {
    fn export<'a>(&'a self, batch: Vec<SpanData>, urgency: Urgency<'a>) -> Exporting<'a> {
        Box::pin(async move {
            // Others wait for this one, so it does not wait for longer than a request may take.
            let limit = || Some(urgency().map_or(self.timeout, |left| left.min(self.timeout)));
            match self.ready(limit).await {
                Ok(()) => self.send_data(&batch, || urgency().is_some()).await.into(),
                Err(failure) => Outcome::Failed(failure.to_string()),
            }
        })
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown(&self) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        Self::set_resource(self, resource);
    }
}
