//! The kinds of configuration that are understood, and the fields that each has.

/// The API group of every kind.
pub(super) const GROUP: &str = "apiserver.config.k8s.io";

/// The versions of the group, newest first. Their content is the same.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

pub(super) const API_VERSION: &str = "apiVersion";
pub(super) const KIND: &str = "kind";
pub(super) const ENDPOINT: &str = "endpoint";
pub(super) const SAMPLING_RATE: &str = "samplingRatePerMillion";
pub(super) const URL: &str = "url";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Kubernetes' kind since 1.22.
    TracingConfiguration,
    /// The kind of KEP-647's first text. That text names no version, so all of the group's are
    /// taken.
    OpenTelemetryClientConfiguration,
}

impl Kind {
    pub(super) fn find(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/')?;
        if group != GROUP || !VERSIONS.contains(&version) {
            return None;
        }
        match kind {
            "TracingConfiguration" => Some(Self::TracingConfiguration),
            "OpenTelemetryClientConfiguration" => Some(Self::OpenTelemetryClientConfiguration),
            _ => None,
        }
    }

    pub(super) fn has_field(self, name: &str) -> bool {
        match self {
            _ if [API_VERSION, KIND].contains(&name) => true,
            Self::TracingConfiguration => [ENDPOINT, SAMPLING_RATE].contains(&name),
            Self::OpenTelemetryClientConfiguration => name == URL,
        }
    }
}
