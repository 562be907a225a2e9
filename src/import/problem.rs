//! What is wrong with a log.

use std::fmt;
use std::sync::Arc;

use super::block::Place;
use super::printable::Printable;

/// Something in a log that could not be imported, or not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: ProblemKind,
    file: Arc<str>,
    line: u64,
    message: String,
}

/// What sort of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Lines of a block cannot all be true, as where those of another one got into it. It is
    /// imported as it stands.
    Contradictory,
    /// A line cannot be understood. The rest of its block is imported.
    Damaged,
    /// The first line of a block is missing, and so is nearly all that a span needs: not imported.
    Headless,
    /// Too much was unfinished at once, so a block was taken as it was.
    Limit,
    /// A block ends before its last line. What there is of it is imported.
    Truncated,
    /// A file, or the rest of one, cannot be read.
    Unreadable,
}

impl Problem {
    pub(super) fn new(kind: ProblemKind, place: &Place, message: String) -> Self {
        Self { kind, file: Arc::clone(&place.file), line: place.line, message }
    }

    /// What sort of problem it is.
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The name under which the file is read.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line in it, from 1; 0 if it is none in particular.
    pub fn line(&self) -> u64 {
        self.line
    }
}

/// `file:line: what is wrong`, without what a terminal would obey.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, message) = (Printable(&self.file), Printable(&self.message));
        match self.line {
            0 => write!(f, "{file}: {message}"),
            line => write!(f, "{file}:{line}: {message}"),
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Contradictory => "blocks that contradict themselves",
            Self::Damaged => "damaged lines",
            Self::Headless => "blocks without a first line",
            Self::Limit => "blocks given up for want of room",
            Self::Truncated => "blocks cut off",
            Self::Unreadable => "unreadable files",
        })
    }
}
