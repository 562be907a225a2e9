//! All stacks that do the works, in the order of the tables.

use crate::shared::stack::Stack;
use crate::shared::{floor, ours};
use crate::{fastrace_stack, sdk, theirs};

/// Whether a row is of ours, by its name.
pub(crate) fn is_ours(stack: &str) -> bool {
    stack.starts_with("spanbridge") || stack.starts_with("legacy")
}

pub(crate) const ALL: &[Stack] = &[
    ours::REGISTRY,
    floor::FLOOR,
    floor::KEPT,
    ours::SAMPLED,
    ours::UNSAMPLED,
    ours::NO_LAYER,
    ours::OFF,
    theirs::OURS_BY_PROPAGATOR,
    theirs::OPTIONS_OFF,
    theirs::DEFAULTS,
    theirs::UNSAMPLED,
    sdk::SDK,
    fastrace_stack::FASTRACE,
];
