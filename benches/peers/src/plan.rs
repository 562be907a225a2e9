//! How much is measured.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Runs spanbridge and its peers in turn, and writes a dated result file with tables and plots.
#[derive(Debug, Parser)]
pub(crate) struct Plan {
    /// One short round of everything: to see that it works, not for figures.
    #[arg(long)]
    pub(crate) quick: bool,

    /// The folder of the repository, whose benches/results the result goes to.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))]
    pub(crate) repository: PathBuf,

    /// Where the result goes instead; a quick run's goes to the folder for temporary files.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,

    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Spans and requests on one thread.
    Hot,
    /// The same under valgrind.
    Instructions,
    /// Requests on several threads.
    Scaling,
    /// Processor time for each span that arrives.
    Export,
    /// Operations that are timed, with and without a span.
    Legacy,
    /// actix-web under wrk.
    Http,
}

impl Plan {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub(crate) fn wants_http(&self) -> bool {
        self.wants(Part::Http)
    }

    pub(crate) fn rounds(&self, full: usize) -> usize {
        if self.quick { 1 } else { full }
    }

    /// How long one stack is measured in one round.
    pub(crate) fn slice(&self) -> Duration {
        if self.quick { Duration::from_millis(2) } else { Duration::from_millis(25) }
    }

    /// How long the stacks of one work wait, in turn, until nobody else is on the core.
    pub(crate) fn patience(&self) -> Duration {
        if self.quick { Duration::from_millis(100) } else { Duration::from_secs(30) }
    }

    /// Where results go.
    pub(crate) fn folder(&self) -> PathBuf {
        match &self.out {
            Some(folder) => folder.clone(),
            None if self.quick => std::env::temp_dir(),
            None => self.repository.join("benches/results"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_named_runs_alone() {
        let plan = Plan::parse_from(["peers", "--only", "legacy,scaling"]);
        assert!(plan.wants(Part::Legacy) && plan.wants(Part::Scaling));
        assert!(!plan.wants(Part::Hot) && !plan.wants_http());
        let plan = Plan::parse_from(["peers"]);
        assert!(plan.wants(Part::Legacy) && plan.wants_http());
    }
}
