//! What spanbridge itself has to say, on standard error.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The targets under which this crate logs.
pub(super) const TARGETS: [&str; 2] = ["spanbridge::config", "spanbridge::export"];

/// Prints our own warnings (a variable that is ignored, spans that could not be exported): where
/// `init` made the subscriber, nothing else would show them. Other events pass by at the cost of
/// one comparison.
#[derive(Debug)]
pub(super) struct Report;

impl<S: Subscriber> Layer<S> for Report {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || !TARGETS.contains(&metadata.target()) {
            return;
        }
        let mut line = Line { text: format!("{}:", metadata.target()), fields: String::new() };
        event.record(&mut line);
        // A closed standard error is no reason to fail.
        let _ = writeln!(std::io::stderr(), "{}{}", line.text, line.fields);
    }
}

struct Line {
    text: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.text, " {value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
