//! What is done again and again, whoever does it.

use std::time::Duration;

/// Does its work so many times, and gives the time that this took.
pub(crate) type Op = Box<dyn FnMut(u64) -> Duration>;

/// A work, whose name is what tables and command lines say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A span without attributes: created, entered, exited, closed.
    Span,
    /// The same with eight: four short texts, three integers, one boolean.
    Span8,
    /// The same with nine: one floating-point number more.
    Span9,
    /// [`Work::Span8`] within an entered span.
    Child8,
    /// What each poll of a traced future costs.
    EnterExit,
    /// A message with two fields, within an entered span.
    Event,
    /// Eight values that a span gets after it was made, without the span.
    Records,
    /// Extract, a SERVER span with ten attributes, in it a CLIENT span with five, inject.
    Request,
}

/// A span keeps 128 events, so there are fewer in each.
pub(crate) const EVENTS_A_SPAN: u64 = 64;

/// The clock is read twice for so many spans that get records, so that it weighs nothing.
pub(crate) const SPANS_A_BATCH: u64 = 32;

impl Work {
    pub(crate) const ALL: [Self; 8] = [
        Self::Span,
        Self::Span8,
        Self::Span9,
        Self::Child8,
        Self::EnterExit,
        Self::Event,
        Self::Records,
        Self::Request,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::Span8 => "span, 8 attributes",
            Self::Span9 => "span, 9 attributes",
            Self::Child8 => "child, 8 attributes",
            Self::EnterExit => "enter and exit",
            Self::Event => "event, 2 fields",
            Self::Records => "8 late records",
            Self::Request => "request",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.name() == name)
    }

    /// How often it may be done before the spans that it made must be exported, so that no stack's
    /// queue is ever full: the smallest, of the SDK's batch processor, holds 2,048.
    pub(crate) fn burst(self) -> u64 {
        const SPANS: u64 = 1_000;
        match self {
            Self::EnterExit => u64::MAX,
            Self::Event => SPANS * EVENTS_A_SPAN,
            Self::Request => SPANS / 2,
            _ => SPANS,
        }
    }

    /// How many spans one call of an [`Op`] makes.
    pub(crate) fn spans(self, iterations: u64) -> u64 {
        match self {
            Self::Span | Self::Span8 | Self::Span9 | Self::Records => iterations,
            Self::Child8 => iterations + 1,
            Self::EnterExit => 1,
            Self::Event => iterations.div_ceil(EVENTS_A_SPAN),
            Self::Request => iterations * 2,
        }
    }
}
