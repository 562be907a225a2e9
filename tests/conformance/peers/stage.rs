//! Our service, those of other SDKs, and receivers for the spans of both.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use awc::Client;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use spanbridge::{TracingConfig, TracingGuard};
use tokio::runtime::Runtime;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

use crate::process::Process;
use crate::relay::{Arrived, Call, Request, Service, post};
use crate::sdk::{Sdk, listening_on};
use crate::support::otlp_receiver::{OtlpReceiver, ReceivedSpan};

/// Long enough for a chain in which every call takes as long as it may.
const PATIENCE: Duration = Duration::from_secs(60);

/// What our service is set up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ours {
    Layer,
    /// tracing-opentelemetry's layer in place of ours, with the SDK and its exporter.
    TheirLayer,
    NoLayer,
}

/// A place in a chain: our service or another's, with what it adds to the baggage.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) service: &'static str,
    set: BTreeMap<String, String>,
}

/// Our service.
pub(crate) const RUST: &str = "rust";

impl Hop {
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        self.set.insert(name.to_owned(), value.to_owned());
        self
    }
}

pub(crate) fn rust() -> Hop {
    Hop { service: RUST, set: BTreeMap::new() }
}

impl From<Sdk> for Hop {
    fn from(sdk: Sdk) -> Self {
        Self { service: sdk.name(), set: BTreeMap::new() }
    }
}

/// What the SDK's exporter works on. Not the test's own runtime: that waits while the provider shuts
/// down.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

/// Where the spans of our service go through.
enum Pipeline {
    Ours(TracingGuard),
    Theirs(SdkTracerProvider),
    None,
}

impl Pipeline {
    fn new(setup: Ours, endpoint: &str) -> (Dispatch, Self) {
        let registry = tracing_subscriber::registry();
        match setup {
            Ours::NoLayer => (Dispatch::new(NoSubscriber::new()), Self::None),
            Ours::Layer => {
                let config = TracingConfig::default()
                    .with_url(endpoint)
                    .with_sampling_rate_per_million(1_000_000)
                    .with_service_name(RUST);
                let built = spanbridge::layer_from(Some(config)).unwrap();
                let (layer, guard) = built.expect("tracing is on");
                (Dispatch::new(registry.with(layer)), Self::Ours(guard))
            }
            Ours::TheirLayer => {
                let entered = RUNTIME.enter();
                let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
                let exporter = exporter.build().unwrap();
                drop(entered);
                let provider = SdkTracerProvider::builder()
                    .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
                    .with_resource(Resource::builder().with_service_name(RUST).build())
                    .with_batch_exporter(exporter)
                    .build();
                // Not what HTTP's libraries record of themselves.
                let layer = tracing_opentelemetry::layer()
                    .with_tracer(provider.tracer("peers"))
                    .with_filter(LevelFilter::INFO);
                (Dispatch::new(registry.with(layer)), Self::Theirs(provider))
            }
        }
    }

    /// Sends what is left.
    fn end(self) {
        match self {
            Self::Ours(guard) => guard.shutdown(PATIENCE).unwrap(),
            Self::Theirs(provider) => provider.shutdown_with_timeout(PATIENCE).unwrap(),
            Self::None => {}
        }
    }
}

/// All that a test needs, each part running. Processes end with it, also when the test fails.
pub(crate) struct Stage {
    peers: Vec<Process>,
    urls: BTreeMap<&'static str, String>,
    pipeline: Pipeline,
    service: Service,
    /// Ours speaks gRPC, the others HTTP.
    ours: OtlpReceiver,
    theirs: OtlpReceiver,
}

impl Stage {
    /// `None` if one of `sdks` is not here: the test is skipped.
    pub(crate) fn set(sdks: &[Sdk], ours: Ours) -> Option<Self> {
        Self::with_sampler(sdks, ours, "parentbased_always_on")
    }

    /// The same; the others sample what starts at them as `sampler` says.
    pub(crate) fn with_sampler(sdks: &[Sdk], setup: Ours, sampler: &str) -> Option<Self> {
        if !sdks.iter().all(|sdk| sdk.is_here()) {
            return None;
        }
        let (ours, theirs) = (OtlpReceiver::grpc(), OtlpReceiver::http());
        // All are started before the first is waited for.
        let started: Vec<_> =
            sdks.iter().map(|sdk| (*sdk, sdk.start(theirs.endpoint(), sampler))).collect();
        let (dispatch, pipeline) = Pipeline::new(setup, ours.endpoint());
        let service = Service::start(dispatch);
        let mut urls = BTreeMap::from([(RUST, format!("{}/relay", service.url))]);
        let mut peers = Vec::new();
        for (sdk, mut process) in started {
            let url = process.wait_for("its address", listening_on);
            urls.insert(sdk.name(), format!("{url}/relay"));
            peers.push(process);
        }
        Some(Self { peers, urls, pipeline, service, ours, theirs })
    }

    /// Sends a request with these header lines through the chain, and gives what has arrived at
    /// each of its services.
    pub(crate) async fn relay(&self, lines: &[(&str, &str)], chain: &[Hop]) -> Vec<Arrived> {
        let (first, others) = chain.split_first().expect("a chain has a first service");
        let call = |hop: &Hop| Call { url: self.url(hop), set: hop.set.clone() };
        let request = Request { set: first.set.clone(), calls: others.iter().map(call).collect() };
        let client = Client::builder().timeout(PATIENCE).finish();
        // Left open it would keep the service from ending.
        let mut post_to = client.post(self.url(first)).force_close();
        for line in lines {
            post_to = post_to.append_header(*line);
        }
        let arrived = post(post_to, &request).await;
        let arrived = arrived.unwrap_or_else(|err| panic!("{chain:?}: {err}"));
        assert_eq!(arrived.len(), chain.len(), "all services have answered");
        arrived
    }

    /// Ends everything, in an order in which no span is lost, and gives the spans of all.
    pub(crate) async fn end(self) -> Vec<ReceivedSpan> {
        // The others first, since ours waits for the connections that they have to it.
        self.peers.into_iter().for_each(Process::stop);
        self.service.end(PATIENCE).await;
        self.pipeline.end();
        for receiver in [&self.ours, &self.theirs] {
            assert_eq!(receiver.counts().malformed, 0);
        }
        [self.ours.spans(), self.theirs.spans()].concat()
    }

    fn url(&self, hop: &Hop) -> String {
        self.urls[hop.service].clone()
    }
}
