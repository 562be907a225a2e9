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
    /// [`Work::Span8`] at a level that a filter above all layers turns off: nobody wants it.
    ///
    /// Counted is the macro's look at the level, and that the span, which the compiler does not know
    /// to be none, is entered, exited and dropped. The eight values are not made, and the layer does
    /// not hear of it. The loop around it counts as well, and so does what `tracing` does in each of
    /// these steps for its feature `log`, which actix-web turns on.
    Disabled8,
    /// What each poll of a traced future costs.
    EnterExit,
    /// A message with two fields, within an entered span.
    Event,
    /// Eight values that a span gets after it was made, without the span.
    Records,
    /// Extract, a SERVER span with ten attributes, in it a CLIENT span with five, inject.
    Request,
    /// A span with two attributes and two events, or what else tells how long an operation of two
    /// steps took.
    Trace,
}

/// More than nearly all spans have, so that their own cost weighs little, and as many as our layer
/// has room for without asking: a span with more events allocates as they come, up to twice for the
/// 128 that it keeps, and once more when it is closed, to give that room back.
pub(crate) const EVENTS_A_SPAN: u64 = 32;

/// The clock is read twice for so many spans that get records, so that it weighs nothing.
pub(crate) const SPANS_A_BATCH: u64 = 32;

impl Work {
    /// All but [`Work::Trace`], which has stacks of its own.
    pub(crate) const ALL: [Self; 9] = [
        Self::Span,
        Self::Span8,
        Self::Span9,
        Self::Child8,
        Self::Disabled8,
        Self::EnterExit,
        Self::Event,
        Self::Records,
        Self::Request,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::Span8 => "span, 8 attributes",
            Self::Span9 => "span, 9 attributes",
            Self::Child8 => "child, 8 attributes",
            Self::Disabled8 => "disabled, 8 attributes",
            Self::EnterExit => "enter and exit",
            Self::Event => "event, 2 fields",
            Self::Records => "8 late records",
            Self::Request => "request",
            Self::Trace => "trace, 2 steps",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain([Self::Trace]).find(|work| work.name() == name)
    }

    /// How often it may be done before the spans that it made must be exported, so that no stack's
    /// queue is ever full: the smallest, of the SDK's batch processor, holds 2,048.
    pub(crate) fn burst(self) -> u64 {
        const SPANS: u64 = 1_000;
        match self {
            Self::Disabled8 | Self::EnterExit => u64::MAX,
            Self::Request => SPANS / 2,
            _ => SPANS * self.a_span(),
        }
    }

    /// How often it is done with one span.
    pub(crate) fn a_span(self) -> u64 {
        if self == Self::Event { EVENTS_A_SPAN } else { 1 }
    }

    /// How many spans one call of an [`Op`] makes.
    pub(crate) fn spans(self, iterations: u64) -> u64 {
        match self {
            Self::Span | Self::Span8 | Self::Span9 | Self::Records | Self::Trace => iterations,
            Self::Child8 => iterations + 1,
            Self::Disabled8 => 0,
            Self::EnterExit => 1,
            Self::Event => iterations.div_ceil(EVENTS_A_SPAN),
            Self::Request => iterations * 2,
        }
    }
}
