//! The summary at the end.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::import::{self, Summary};

/// What an import came to, for people.
pub(super) fn summary(summary: &Summary) -> String {
    let mut out = format!(
        "{} as {} with {}; {} read",
        count(summary.blocks(), "block"),
        count(summary.spans(), "span"),
        count(summary.events(), "event"),
        size(summary.bytes()),
    );
    if summary.duplicates() > 0 {
        let blocks = count(summary.duplicates(), "block");
        let _ = write!(out, "\n{blocks} found again and left out");
    }
    if summary.interleaved() > 0 {
        let blocks = count(summary.interleaved(), "block");
        let _ = write!(out, "\nlines of {blocks} were mixed with those of others: put together");
    }
    if summary.assumed_utc() > 0 {
        let blocks = count(summary.assumed_utc(), "block");
        let _ =
            write!(out, "\ntimes of {blocks} have no zone, so UTC was assumed: see --time-zone");
    }
    let problems: Vec<_> =
        summary.problems().map(|(kind, number)| format!("{kind} ({number})")).collect();
    if !problems.is_empty() {
        let _ = write!(out, "\nproblems: {}", problems.join(", "));
    }
    if !summary.slowest().is_empty() {
        out.push_str("\nslowest:");
    }
    for operation in summary.slowest() {
        let start = Timestamp::try_from(operation.start()).unwrap_or_default();
        let took = import::short(operation.duration());
        let name = import::Printable(operation.name());
        let _ = write!(out, "\n{took:>12}  {start:.3}  {}  {name}", operation.trace_id());
    }
    out
}

fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// So many bytes, in a unit that suits them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_of_nothing_is_one_line() {
        let text = summary(&Summary::default());
        assert_eq!(text, "0 blocks as 0 spans with 0 events; 0 B read");
    }

    #[test]
    fn sizes_have_units() {
        let sizes = [999, 1_000, 12_345_678, 5_000_000_000].map(size);
        assert_eq!(sizes, ["999 B", "1.0 kB", "12.3 MB", "5.0 GB"]);
    }
}
