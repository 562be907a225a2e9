//! What part of a stack's spans was lost, as it stands beside every figure that it makes look better.

use crate::shared::child::Spans;

/// So many of all spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) lost: u64,
    pub(crate) of: u64,
}

impl Loss {
    /// Of none, none is lost.
    pub(crate) fn part(self) -> f64 {
        self.lost as f64 / self.of.max(1) as f64
    }

    /// What follows a figure: nothing where no more than one in a hundred was lost, which makes
    /// nobody faster.
    pub(crate) fn note(self) -> String {
        let percent = self.part() * 100.0;
        if percent > 1.0 { format!(" ({percent:.0} % of spans lost)") } else { String::new() }
    }
}

impl From<Spans> for Loss {
    fn from(spans: Spans) -> Self {
        Self { lost: spans.started.saturating_sub(spans.exported), of: spans.started }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_one_in_a_hundred_is_said() {
        let note = |lost, of| Loss { lost, of }.note();
        assert_eq!(note(399_917, 855_711), " (47 % of spans lost)");
        assert_eq!(note(11, 1_000), " (1 % of spans lost)");
        assert_eq!(note(10, 1_000), "");
        assert_eq!(note(0, 0), "");
    }
}
