//! Logs that services have written already -> spans.
//!
//! Kubernetes components, and others that use `k8s.io/utils/trace` or a port of it such as
//! [`legacy`](crate::legacy), print slow operations as blocks of text. An [`Importer`] finds them in
//! whatever else the log holds, in all formats since 2015, wrapped by container runtimes, journald
//! or JSON loggers or not, packed by gzip or not. Each block becomes a trace: steps are events,
//! nested traces are child spans, fields are attributes.
//!
//! Ids are made from what a block says, so that importing a log again gives the same spans. What
//! cannot be used is told of by file and line, and counted. Memory does not grow with the log.
//!
//! The command `spanbridge import` is made of this.
//!
//! # Examples
//!
//! ```
//! use std::io;
//!
//! use opentelemetry_sdk::trace::SpanData;
//! use spanbridge::import::{Importer, Options, Problem, Receiver};
//!
//! struct Print;
//!
//! impl Receiver for Print {
//!     fn spans(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
//!         assert_eq!(spans[0].name, "List");
//!         assert_eq!(spans[0].events.events[0].name, "Listing from storage done");
//!         Ok(())
//!     }
//!
//!     fn problem(&mut self, problem: &Problem) -> io::Result<()> {
//!         panic!("{problem}");
//!     }
//! }
//!
//! let log = b"\
//! I1123 11:36:52.772270 1 trace.go:205] Trace[1110288377]: \"List\" url:/api (23-Nov-2021 11:36:52.195) (total time: 576ms):
//! Trace[1110288377]: ---\"Listing from storage done\" 576ms (11:36:52.772)
//! Trace[1110288377]: [576.952177ms] [576.952177ms] END
//! ";
//! let mut importer = Importer::new(Options::default());
//! importer.read("apiserver.log", &mut &log[..], &mut Print)?;
//! let summary = importer.finish(&mut Print)?;
//! assert_eq!(summary.blocks(), 1);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! Times without a zone in a log from New York, and room for few unfinished blocks:
//!
//! ```
//! use spanbridge::import::{Importer, Options};
//!
//! let options = Options::default()
//!     .with_time_zone("America/New_York".parse()?)
//!     .with_max_open_blocks(16);
//! # let _ = Importer::new(options);
//! # Ok::<(), spanbridge::import::TimeZoneError>(())
//! ```

mod block;
mod check;
#[cfg(test)]
mod damage_tests;
mod encoding;
mod feed;
mod ids;
mod json;
mod line;
mod marker;
mod options;
mod printable;
mod problem;
#[cfg(test)]
mod property_tests;
mod rebuild;
mod recent;
mod scan;
mod shape;
mod source;
mod start;
mod summary;
mod text;
mod time;
mod tree;
mod unwrap;

use std::io::{self, Read};
use std::sync::Arc;

use opentelemetry_sdk::trace::SpanData;

pub(crate) use self::block::name as block_name;
use self::block::{Assembler, Block, Place};
use self::feed::Feed;
pub(crate) use self::printable::{Printable, PrintableLines};
use self::rebuild::Rebuilt;
pub(crate) use self::rebuild::place;
use self::recent::{Copy, Recent};
use self::scan::Stopped;
use self::start::{Found, Starts};
pub(crate) use self::tree::short;
pub use self::{
    options::Options,
    problem::{Problem, ProblemKind},
    summary::{SlowOperation, Summary},
    time::{TimeZone, TimeZoneError},
    tree::tree,
};

/// Who is given what an importer finds. An error ends the import.
pub trait Receiver {
    /// The spans of one block, the root first and parents before children.
    ///
    /// # Errors
    ///
    /// Fails if they can go nowhere.
    fn spans(&mut self, spans: Vec<SpanData>) -> io::Result<()>;

    /// Something could not be imported, or not whole.
    ///
    /// # Errors
    ///
    /// Fails if that can be told to nobody.
    fn problem(&mut self, problem: &Problem) -> io::Result<()>;

    /// Between the lines of a block stood those of others, and it was put together: the file and line
    /// where it begins, and the number in its `Trace[n]`, which the oldest format does not have. Does
    /// nothing unless it is implemented.
    ///
    /// # Errors
    ///
    /// Fails if that can be told to nobody.
    fn interleaved(&mut self, file: &str, line: u64, number: Option<u32>) -> io::Result<()> {
        let _ = (file, line, number);
        Ok(())
    }
}

/// Finds blocks in logs and makes spans of them. See the [module](self).
#[derive(Debug)]
pub struct Importer {
    assembler: Assembler,
    output: Output,
}

#[derive(Debug)]
struct Output {
    options: Options,
    starts: Starts,
    recent: Recent,
    summary: Summary,
}

impl Importer {
    /// An importer that has read nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            assembler: Assembler::new(options.max_open_blocks),
            output: Output {
                options,
                starts: Starts::default(),
                recent: Recent::default(),
                summary: Summary::default(),
            },
        }
    }

    /// Reads a log to its end. `name` is what problems and spans call it.
    ///
    /// Files that rotation has split are given one after the other, from the oldest to the newest or
    /// the other way round.
    ///
    /// # Errors
    ///
    /// Fails if `receiver` does. That `input` cannot be read (any further) is a [`Problem`].
    pub fn read(
        &mut self,
        name: &str,
        input: &mut dyn Read,
        receiver: &mut dyn Receiver,
    ) -> io::Result<()> {
        let Self { assembler, output } = self;
        let file: Arc<str> = name.into();
        let mut drain = |assembler: &mut Assembler| output.drain(assembler, receiver);
        let mut feed = Feed::new(Arc::clone(&file), assembler, &mut drain);
        let scanned = scan::scan(input, &mut feed);
        let finished = match &scanned {
            Err(Stopped::Handler { .. }) => Ok(()),
            Ok(_) | Err(Stopped::Read { .. }) => feed.finish(),
        };
        match scanned {
            Ok(bytes) => output.summary.bytes += bytes,
            Err(Stopped::Handler { bytes, error }) => {
                output.summary.bytes += bytes;
                return Err(error);
            }
            Err(Stopped::Read { line, bytes, error }) => {
                output.summary.bytes += bytes;
                let message = match line {
                    0 | 1 => format!("cannot be read: {error}"),
                    _ => format!("cannot be read any further: {error}"),
                };
                finished?;
                return self.unreadable(&Place { file, line }, message, receiver);
            }
        }
        finished
    }

    /// Takes what is unfinished as it is. Nothing more may be read; the summary is complete.
    ///
    /// # Errors
    ///
    /// Fails if `receiver` does.
    pub fn finish(&mut self, receiver: &mut dyn Receiver) -> io::Result<&Summary> {
        self.assembler.finish();
        self.output.drain(&mut self.assembler, receiver)?;
        Ok(&self.output.summary)
    }

    /// Counts a file that cannot even be opened, and tells `receiver`.
    ///
    /// # Errors
    ///
    /// Fails if `receiver` does.
    pub fn cannot_open(
        &mut self,
        name: &str,
        error: &io::Error,
        receiver: &mut dyn Receiver,
    ) -> io::Result<()> {
        let place = Place { file: name.into(), line: 0 };
        self.unreadable(&place, format!("cannot be opened: {error}"), receiver)
    }

    /// What was found so far.
    pub fn summary(&self) -> &Summary {
        &self.output.summary
    }

    fn unreadable(
        &mut self,
        place: &Place,
        message: String,
        receiver: &mut dyn Receiver,
    ) -> io::Result<()> {
        self.assembler.problems.push(Problem::new(ProblemKind::Unreadable, place, message));
        self.output.drain(&mut self.assembler, receiver)
    }
}

impl Output {
    fn drain(&mut self, assembler: &mut Assembler, receiver: &mut dyn Receiver) -> io::Result<()> {
        for problem in assembler.problems.drain(..) {
            self.problem(&problem, receiver)?;
        }
        for block in assembler.done.drain(..) {
            self.block(&block, receiver)?;
        }
        Ok(())
    }

    fn block(&mut self, block: &Block, receiver: &mut dyn Receiver) -> io::Result<()> {
        let Some(first) = &block.first else { return Ok(()) };
        let start = match self.starts.find(block, first, &self.options) {
            Found::Start(start) => start,
            Found::AssumedUtc(start) => {
                self.summary.assumed_utc += 1;
                start
            }
            Found::Nothing => {
                let message = format!(
                    "the start of {:?} cannot be read from {:?}, and the log's own time has no \
                     year: give --year",
                    first.name, first.start_text
                );
                let problem = Problem::new(ProblemKind::Damaged, &block.place, message);
                return self.problem(&problem, receiver);
            }
        };
        let Rebuilt { spans, flaw } = rebuild::spans(block, first, start);
        if !spans.iter().all(rebuild::can_be_told) {
            let message = format!(
                "{:?} began before 1970, says {:?}: spans cannot say so, and it is left out",
                first.name, first.start_text
            );
            let problem = Problem::new(ProblemKind::Damaged, &block.place, message);
            return self.problem(&problem, receiver);
        }
        let is_whole = !block.is_incomplete && flaw.is_none();
        // One without the last line, which its format may leave out, may be a part as well.
        let is_known_whole = is_whole && (block.end.is_some() || block.number.is_none());
        if let Some((kind, message)) = flaw {
            self.problem(&Problem::new(kind, &block.place, message), receiver)?;
        }
        let Some(root) = spans.first() else { return Ok(()) };
        let copy = Copy {
            is_whole: is_known_whole,
            content: rebuild::content(block, first),
            lines: block.items.len(),
        };
        let root = (root.span_context.trace_id(), root.span_context.span_id());
        if !self.recent.insert(root, copy) {
            self.summary.duplicates += 1;
            return Ok(());
        }
        if block.is_interleaved {
            self.summary.interleaved += 1;
            receiver.interleaved(&block.place.file, block.place.line, block.number)?;
        }
        self.summary.count(&spans, self.options.slowest);
        receiver.spans(spans)
    }

    fn problem(&mut self, problem: &Problem, receiver: &mut dyn Receiver) -> io::Result<()> {
        *self.summary.problems.entry(problem.kind()).or_default() += 1;
        receiver.problem(problem)
    }
}
