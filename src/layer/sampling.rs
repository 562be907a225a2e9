//! Who is recorded: one decision for each local trace.

use std::any::Any;

use opentelemetry::trace::{Link, SpanKind, TraceState};
use opentelemetry::{Context, KeyValue, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::config::sampler::SamplerSetting;
use crate::layer::thread::asking;

/// A sampler, taken apart as far as its type allows, so that the usual ones are asked without
/// attributes being built for them.
#[derive(Debug)]
pub(crate) struct Decider {
    follows_parent: bool,
    root: Root,
}

#[derive(Debug)]
enum Root {
    AlwaysOff,
    AlwaysOn,
    /// Looks at the trace id alone.
    Ratio(Sampler),
    Custom(Box<dyn ShouldSample>),
}

/// What a sampler that wants to know more is told.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) parent: Option<&'a Context>,
    pub(crate) trace_id: TraceId,
    pub(crate) name: &'a str,
    pub(crate) kind: &'a SpanKind,
    pub(crate) attributes: &'a [KeyValue],
    pub(crate) links: &'a [Link],
}

/// The outcome.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    pub(crate) is_sampled: bool,
    pub(crate) attributes: Vec<KeyValue>,
    /// The trace state that the sampler returned, unless it is empty.
    pub(crate) trace_state: Option<TraceState>,
}

impl Decider {
    /// What a configuration says.
    pub(crate) fn from_setting(setting: SamplerSetting) -> Self {
        let root = Self::new(setting.root.to_sdk());
        Self { follows_parent: setting.is_parent_based, ..root }
    }

    pub(crate) fn new(sampler: impl ShouldSample + 'static) -> Self {
        let (follows_parent, root) = match (&sampler as &dyn Any).downcast_ref::<Sampler>() {
            Some(Sampler::AlwaysOn) => (false, Root::AlwaysOn),
            Some(Sampler::AlwaysOff) => (false, Root::AlwaysOff),
            Some(Sampler::TraceIdRatioBased(ratio)) => {
                (false, Root::Ratio(Sampler::TraceIdRatioBased(*ratio)))
            }
            Some(Sampler::ParentBased(root)) => (true, Root::Custom(root.clone())),
            _ => (false, Root::Custom(Box::new(sampler))),
        };
        Self { follows_parent, root }
    }

    /// The decision, where the parent's flag and the trace id are enough for it.
    #[inline]
    pub(crate) fn quick(&self, parent_sampled: Option<bool>, trace_id: TraceId) -> Option<bool> {
        if let (true, Some(is_sampled)) = (self.follows_parent, parent_sampled) {
            return Some(is_sampled);
        }
        match &self.root {
            Root::AlwaysOff => Some(false),
            Root::AlwaysOn => Some(true),
            Root::Ratio(sampler) => {
                let result =
                    sampler.should_sample(None, trace_id, "", &SpanKind::Internal, &[], &[]);
                Some(result.decision == SamplingDecision::RecordAndSample)
            }
            Root::Custom(_) => None,
        }
    }

    /// Asks a sampler of the user's. One that panics has turned the trace down.
    pub(crate) fn ask(&self, question: &Question<'_>) -> Decision {
        let Root::Custom(sampler) = &self.root else {
            let is_sampled = self.quick(None, question.trace_id).unwrap_or(false);
            return Decision { is_sampled, ..Decision::default() };
        };
        let asked = asking(|| {
            sampler.should_sample(
                question.parent,
                question.trace_id,
                question.name,
                question.kind,
                question.attributes,
                question.links,
            )
        });
        match asked {
            Some(SamplingResult { decision, attributes, trace_state }) => Decision {
                is_sampled: decision == SamplingDecision::RecordAndSample,
                attributes,
                trace_state: (trace_state != TraceState::NONE).then_some(trace_state),
            },
            None => Decision::default(),
        }
    }
}

impl Default for Decider {
    /// Follows the parent, and samples every trace that starts here.
    fn default() -> Self {
        Self::from_setting(SamplerSetting::PARENT_BASED_ON)
    }
}
