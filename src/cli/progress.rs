//! How far it has come, for who watches.

use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{Destination, ImportArgs};
use crate::import::{Printable, PrintableLines};

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
        let progress = Self::on(ProgressDrawTarget::stderr(), total_size(&args.files));
        progress.bar.enable_steady_tick(Duration::from_millis(200));
        progress
    }

    /// A bar for `total` bytes, if that is known.
    fn on(target: ProgressDrawTarget, total: Option<u64>) -> Self {
        let (bar, template) = match total {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{bar:30} {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  {msg}",
            ),
            None => (ProgressBar::no_length(), "{spinner} {bytes}  {bytes_per_sec}  {msg}"),
        };
        bar.set_draw_target(target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// A reader that moves the bar by what is read of the file, packed as it may be.
    pub(super) fn reading<R: Read>(&self, file: &Path, input: R) -> impl Read + use<R> {
        self.bar.set_message(Printable(&file.display().to_string()).to_string());
        Counting { input, bar: self.bar.clone() }
    }

    /// Prints text on standard error, above the bar, without what a terminal would obey in it. That
    /// nobody reads it is no reason to fail.
    pub(super) fn line(&self, text: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{}", PrintableLines(text));
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// What is drawn, without where.
    #[derive(Clone, Debug, Default)]
    struct Drawn(Arc<Mutex<String>>);

    impl Drawn {
        fn target(&self) -> ProgressDrawTarget {
            // As often as it changes.
            ProgressDrawTarget::term_like_with_hz(Box::new(self.clone()), 255)
        }

        fn take(&self) -> String {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl TermLike for Drawn {
        fn width(&self) -> u16 {
            120
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.write_str("<cleared>")
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_says_how_much_of_which_file_is_read() {
        let drawn = Drawn::default();
        let progress = Progress::on(drawn.target(), Some(2_000));
        let mut file = progress.reading(Path::new("a\x1b.log"), io::repeat(b'x').take(1_000));
        assert_eq!(io::copy(&mut file, &mut io::sink()).unwrap(), 1_000);
        progress.bar.force_draw();
        let text = drawn.take();
        assert!(text.contains(" 50 %") && text.contains("1000 B/1.95 KiB"), "{text}");
        assert!(text.contains(r"a\u{1b}.log") && !text.contains('\x1b'), "{text}");

        progress.finish();
        let last = drawn.take();
        assert!(last.ends_with("<cleared>"), "it would stay on the terminal: {last}");
    }

    #[test]
    fn without_a_size_only_what_was_read_is_told() {
        let drawn = Drawn::default();
        let progress = Progress::on(drawn.target(), None);
        let mut file = progress.reading(Path::new("-"), io::repeat(b'x').take(1_000));
        io::copy(&mut file, &mut io::sink()).unwrap();
        progress.bar.force_draw();
        let text = drawn.take();
        assert!(text.contains("1000 B") && !text.contains('%'), "{text}");
    }

    #[test]
    fn a_size_is_known_only_if_all_are() {
        let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let size = std::fs::metadata(&file).unwrap().len();
        assert_eq!(total_size(&[file.clone(), file.clone()]), Some(2 * size));
        assert_eq!(total_size(&[file, PathBuf::from("-")]), None);
    }
}
