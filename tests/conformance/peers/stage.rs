//! Our service, those of other SDKs, and receivers for the spans of both.

use std::collections::BTreeMap;
use std::time::Duration;

use awc::Client;
use spanbridge::{TracingConfig, TracingGuard};
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
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

/// All that a test needs, each part running. Processes end with it, also when the test fails.
pub(crate) struct Stage {
    peers: Vec<Process>,
    urls: BTreeMap<&'static str, String>,
    guard: Option<TracingGuard>,
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
        let (dispatch, guard) = match setup {
            Ours::NoLayer => (Dispatch::new(NoSubscriber::new()), None),
            Ours::Layer => {
                let config = TracingConfig::default()
                    .with_url(ours.endpoint())
                    .with_sampling_rate_per_million(1_000_000)
                    .with_service_name(RUST);
                let built = spanbridge::layer_from(Some(config)).unwrap();
                let (layer, guard) = built.expect("tracing is on");
                (Dispatch::new(tracing_subscriber::registry().with(layer)), Some(guard))
            }
        };
        let service = Service::start(dispatch);
        let mut urls = BTreeMap::from([(RUST, format!("{}/relay", service.url))]);
        let mut peers = Vec::new();
        for (sdk, mut process) in started {
            let url = process.wait_for("its address", listening_on);
            urls.insert(sdk.name(), format!("{url}/relay"));
            peers.push(process);
        }
        Some(Self { peers, urls, guard, service, ours, theirs })
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
        if let Some(guard) = self.guard {
            guard.shutdown(PATIENCE).unwrap();
        }
        for receiver in [&self.ours, &self.theirs] {
            assert_eq!(receiver.counts().malformed, 0);
        }
        [self.ours.spans(), self.theirs.spans()].concat()
    }

    fn url(&self, hop: &Hop) -> String {
        self.urls[hop.service].clone()
    }
}
