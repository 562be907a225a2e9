//! How far it has come, for who watches.

use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{Destination, ImportArgs};

/// A bar on standard error where that is a terminal, and all else that is printed there.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(args: &ImportArgs) -> Self {
        // On one terminal the bar would be drawn over the spans.
        let is_shared = args.to != Destination::Otlp && io::stdout().is_terminal();
        if args.quiet > 0 || is_shared || !io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let total = total_size(&args.files);
        let (bar, template) = match total {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{bar:30} {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  {msg}",
            ),
            None => (ProgressBar::no_length(), "{spinner} {bytes}  {bytes_per_sec}  {msg}"),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// A reader that moves the bar by what is read of the file, packed as it may be.
    pub(super) fn reading<R: Read>(&self, file: &Path, input: R) -> impl Read + use<R> {
        self.bar.set_message(file.display().to_string());
        Counting { input, bar: self.bar.clone() }
    }

    /// Prints a line on standard error, above the bar. That nobody reads it is no reason to fail.
    pub(super) fn line(&self, line: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The size of all files together; `None` if one has no size, such as a pipe.
fn total_size(files: &[PathBuf]) -> Option<u64> {
    files
        .iter()
        .map(|file| {
            // Not opened: that would wait for the writer of a named pipe.
            let metadata = std::fs::metadata(file).ok()?;
            metadata.is_file().then_some(metadata.len())
        })
        .sum()
}

struct Counting<R> {
    input: R,
    bar: ProgressBar,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.bar.inc(read as u64);
        Ok(read)
    }
}
