//! `spanbridge import`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use opentelemetry_sdk::trace::SpanData;

use super::Exit;
use super::args::{Destination, ImportArgs};
use super::progress::Progress;
use super::report;
use super::sink::Sink;
use crate::import::{Importer, Options, Printable, Problem, ProblemKind, Receiver, block_name};

pub(super) fn run(args: &ImportArgs) -> Exit {
    let progress = Progress::new(args);
    let (sink, warnings) = match Sink::new(args) {
        Ok(made) => made,
        Err(problem) => {
            progress.finish();
            progress.line(&format!("spanbridge: {problem}"));
            return Exit::Usage;
        }
    };
    for warning in warnings {
        progress.line(&format!("spanbridge: {warning}"));
    }
    let mut importer = Importer::new(options(args));
    let mut output = Output { sink, progress: &progress, shows_problems: args.quiet < 2 };
    let result = import(args, &mut importer, &mut output);
    progress.finish();
    let summary = importer.summary();
    if args.quiet == 0 {
        progress.line(&report::summary(summary));
    }
    let refused = output.sink.refused();
    if let Some(refused) = &refused {
        progress.line(&format!("spanbridge: {refused}"));
    }
    match result {
        Ok(()) if refused.is_none() => {}
        Ok(()) => return Exit::Failed,
        // Who read from us has seen enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            if args.quiet == 0 {
                progress.line("stopped: standard output was closed before the end");
            }
            return Exit::Done;
        }
        Err(error) => {
            let what = match args.to {
                Destination::Otlp => "",
                Destination::Json | Destination::Tree => "standard output: ",
            };
            progress.line(&format!("spanbridge: {what}{error}; the import has stopped"));
            return Exit::Failed;
        }
    }
    let mut exit = Exit::Done;
    for (kind, _) in summary.problems() {
        if kind == ProblemKind::Unreadable {
            return Exit::Failed;
        }
        if args.strict {
            exit = Exit::Problems;
        }
    }
    exit
}

fn options(args: &ImportArgs) -> Options {
    let mut options =
        Options::default().with_max_open_blocks(args.max_open_blocks).with_slowest(args.slowest);
    if let Some(zone) = &args.time_zone {
        options = options.with_time_zone(zone.clone());
    }
    if let Some(year) = args.year {
        options = options.with_year(year);
    }
    options
}

fn import(args: &ImportArgs, importer: &mut Importer, output: &mut Output<'_>) -> io::Result<()> {
    for path in &args.files {
        let name = path.display().to_string();
        match open(path) {
            Ok(input) => {
                let mut input = output.progress.reading(path, input);
                importer.read(&name, &mut input, output)?;
            }
            Err(error) => importer.cannot_open(&name, &error, output)?,
        }
    }
    importer.finish(output)?;
    let finished = output.sink.finish();
    output.tell();
    finished
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        let advice = format!("it is a directory; give the files in it, as {}/*", path.display());
        return Err(io::Error::new(io::ErrorKind::IsADirectory, advice));
    }
    Ok(Box::new(file))
}

struct Output<'a> {
    sink: Sink,
    progress: &'a Progress,
    shows_problems: bool,
}

impl Output<'_> {
    /// Prints what a collector says of single spans, which is as much of a problem.
    fn tell(&mut self) {
        for line in self.sink.take_told() {
            if self.shows_problems {
                self.progress.line(&line);
            }
        }
    }
}

impl Receiver for Output<'_> {
    fn spans(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
        let taken = self.sink.take(spans);
        self.tell();
        taken
    }

    fn problem(&mut self, problem: &Problem) -> io::Result<()> {
        if self.shows_problems {
            self.progress.line(&problem.to_string());
        }
        Ok(())
    }

    fn interleaved(&mut self, file: &str, line: u64, number: Option<u32>) -> io::Result<()> {
        if self.shows_problems {
            let (file, block) = (Printable(file), block_name(number));
            let what = "was mixed with lines of others, and is put together";
            self.progress.line(&format!("{file}:{line}: {block} {what}"));
        }
        Ok(())
    }
}
