//! OTLP, encoded straight from the records, over gRPC or HTTP.
//!
//! Source of what is done with answers and failures: the OTLP specification 1.x,
//! <https://opentelemetry.io/docs/specs/otlp/>.

mod delivery;
mod encode;
mod fields;
#[cfg(feature = "otlp-grpc")]
mod grpc_client;
#[cfg(feature = "otlp-http")]
mod http_client;
mod request;
mod response;
#[cfg(all(test, feature = "otlp-grpc", feature = "otlp-http"))]
mod sending_tests;
mod span_data;
#[cfg(test)]
mod tests;
mod tls;
mod value;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::delivery::Delivered;
use self::delivery::{BackOff, Failure};
pub(crate) use self::encode::{EncodedSpans, SpanEncoder};
use self::request::Envelope;
use crate::config::Protocol;
use crate::config::settings::Settings;

const USER_AGENT: &str = concat!("OTel-OTLP-Exporter-Rust spanbridge/", env!("CARGO_PKG_VERSION"));

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
}

#[derive(Debug)]
enum Transport {
    #[cfg(feature = "otlp-grpc")]
    Grpc(Box<grpc_client::Grpc>),
    #[cfg(feature = "otlp-http")]
    Http(Box<http_client::Http>),
}

impl Transport {
    async fn send(&self, request: Bytes) -> Result<Delivered, Failure> {
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
        Ok(Self { transport, envelope: Envelope::default(), timeout })
    }

    pub(crate) fn set_resource(&mut self, resource: &Resource) {
        self.envelope.set_resource(resource);
    }

    pub(crate) fn set_scope(&mut self, scope: &InstrumentationScope) {
        self.envelope.set_scope(scope);
    }

    /// Sends the spans, again and again where that makes sense, until the timeout is over or
    /// `is_urgent` says that there is no time for another try.
    pub(crate) async fn send(
        &self,
        spans: &EncodedSpans,
        is_urgent: impl Fn() -> bool,
    ) -> Result<Delivered, String> {
        self.send_in(&self.envelope, spans, is_urgent).await
    }

    async fn send_in(
        &self,
        envelope: &Envelope,
        spans: &EncodedSpans,
        is_urgent: impl Fn() -> bool,
    ) -> Result<Delivered, String> {
        let request = Bytes::from(envelope.around(spans.bytes()));
        let deadline = Instant::now() + self.timeout;
        let mut back_off = BackOff::new();
        loop {
            let sent = timeout_at(deadline, self.transport.send(request.clone())).await;
            let failure = match sent {
                Ok(Ok(delivered)) => return Ok(delivered),
                Ok(Err(failure)) => failure,
                Err(_) => return Err(format!("no answer within {:?}", self.timeout)),
            };
            let Some(pause) = back_off.pause(failure.retry) else { return Err(failure.problem) };
            if is_urgent() || pause >= deadline.saturating_duration_since(Instant::now()) {
                return Err(failure.problem);
            }
            pause_unless(pause, &is_urgent).await;
        }
    }
}

impl OtlpExporter {
    /// Sends spans that another part of the program has built: of any scope, and of any length.
    ///
    /// With an error, some of them may have arrived.
    pub(crate) async fn send_data(
        &self,
        batch: &[SpanData],
        is_urgent: impl Fn() -> bool,
    ) -> Result<Delivered, String> {
        let mut delivered = Delivered::default();
        // Mostly all of them are of one scope.
        for spans in batch.chunk_by(|a, b| a.instrumentation_scope == b.instrumentation_scope) {
            let mut envelope = self.envelope.clone();
            envelope.set_scope(&spans[0].instrumentation_scope);
            let mut encoded = EncodedSpans::from_span_data(spans);
            while let Some(part) = encoded.take_batch(usize::MAX, MAX_REQUEST, true) {
                let Delivered { rejected, message } =
                    self.send_in(&envelope, &part, &is_urgent).await?;
                delivered.rejected += rejected.min(part.len());
                if !message.is_empty() {
                    delivered.message = message;
                }
            }
        }
        Ok(delivered)
    }
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
impl SpanExporter for OtlpExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        match self.send_data(&batch, || false).await {
            Ok(Delivered { rejected: 0, .. }) => Ok(()),
            Ok(Delivered { rejected, message }) => Err(OTelSdkError::InternalFailure(format!(
                "{rejected} of {} spans rejected: {message}",
                batch.len()
            ))),
            Err(problem) => Err(OTelSdkError::InternalFailure(problem)),
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        Self::set_resource(self, resource);
    }
}
