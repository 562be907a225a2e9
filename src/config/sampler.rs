//! Which traces are recorded, as files and variables can say it.

use opentelemetry_sdk::trace::Sampler;

/// A sampler that can be compared and printed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SamplerSetting {
    /// What a caller decided holds; `root` decides only where there is no caller.
    pub(crate) is_parent_based: bool,
    pub(crate) root: RootSampler,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RootSampler {
    AlwaysOff,
    AlwaysOn,
    /// From 0 to 1.
    TraceIdRatio(f64),
}

impl RootSampler {
    pub(crate) fn to_sdk(self) -> Sampler {
        match self {
            Self::AlwaysOff => Sampler::AlwaysOff,
            Self::AlwaysOn => Sampler::AlwaysOn,
            Self::TraceIdRatio(ratio) => Sampler::TraceIdRatioBased(ratio),
        }
    }
}

impl SamplerSetting {
    pub(crate) const PARENT_BASED_OFF: Self = Self::parent_based(RootSampler::AlwaysOff);
    pub(crate) const PARENT_BASED_ON: Self = Self::parent_based(RootSampler::AlwaysOn);

    const fn parent_based(root: RootSampler) -> Self {
        Self { is_parent_based: true, root }
    }

    /// What Kubernetes makes of a rate: callers are followed, and of the other traces `rate` in a
    /// million are recorded.
    pub(super) fn from_rate_per_million(rate: u32) -> Self {
        Self::parent_based(match rate {
            0 => RootSampler::AlwaysOff,
            rate => RootSampler::TraceIdRatio(f64::from(rate) / 1e6),
        })
    }
}
