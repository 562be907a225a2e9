//! The committed figures: what is counted, and how two counts are compared.

use std::fmt::Write as _;

use crate::shared::callgrind::Count;

/// Growth by more than this fails.
const TOLERATED: f64 = 0.05;

/// An allocation that comes with every second iteration is one too many; one with each hundredth is
/// a table that grew.
const TOLERATED_ALLOCATIONS: f64 = 0.5;

/// Figures of one compiler.
#[derive(Debug, PartialEq)]
pub(crate) struct Figures {
    /// As `rustc --version` has it.
    pub(crate) rustc: String,
    pub(crate) rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) stack: String,
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

impl Row {
    pub(crate) fn new(work: &str, stack: &str, count: Count) -> Self {
        Self {
            work: work.to_owned(),
            stack: stack.to_owned(),
            instructions: count.instructions.round(),
            // Hundredths; and no minus before a zero.
            allocations: (count.allocations * 100.0).round() / 100.0 + 0.0,
        }
    }
}

impl Figures {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let rustc = lines.next().and_then(|line| line.strip_prefix("# ")).ok_or_else(|| {
            "the first line should be `# ` and what `rustc --version` says".to_owned()
        })?;
        let rows = lines
            .enumerate()
            .filter(|(_, line)| !line.starts_with('#') && !line.starts_with("work\t"))
            .map(|(at, line)| row(line).ok_or_else(|| format!("line {}: {line:?} should be work, stack, instructions and allocations, with tabs between them", at + 2)))
            .collect::<Result<_, _>>()?;
        Ok(Self { rustc: rustc.to_owned(), rows })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!(
            "# {}\n# Of one iteration, by `.ci/instructions update`.\nwork\tstack\tinstructions\tallocations\n",
            self.rustc
        );
        for row in &self.rows {
            writeln!(
                text,
                "{}\t{}\t{:.0}\t{:.2}",
                row.work, row.stack, row.instructions, row.allocations
            )
            .expect("writing to a String does not fail");
        }
        text
    }
}

fn row(line: &str) -> Option<Row> {
    let mut cells = line.split('\t');
    let row = Row {
        work: cells.next()?.to_owned(),
        stack: cells.next()?.to_owned(),
        instructions: cells.next()?.parse().ok()?,
        allocations: cells.next()?.parse().ok()?,
    };
    cells.next().is_none().then_some(row)
}

/// What became of one figure.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    /// Within what is tolerated.
    Same,
    /// Better by so much that the committed figure would hide a later loss.
    Less,
    Grown,
    /// Not in the committed figures.
    New,
    /// In the committed figures, but no longer counted.
    Gone,
}

/// Each row of either side, with the committed figure where there is one.
pub(crate) fn compare<'a>(
    committed: &'a [Row],
    counted: &'a [Row],
) -> Vec<(&'a Row, Option<&'a Row>, Change)> {
    let find = |rows: &'a [Row], row: &Row| {
        rows.iter().find(|other| other.work == row.work && other.stack == row.stack)
    };
    let now = counted.iter().map(|row| match find(committed, row) {
        None => (row, None, Change::New),
        Some(before) => (row, Some(before), change(before, row)),
    });
    let gone = committed
        .iter()
        .filter(|row| find(counted, row).is_none())
        .map(|row| (row, Some(row), Change::Gone));
    now.chain(gone).collect()
}

fn change(before: &Row, now: &Row) -> Change {
    let ratio = now.instructions / before.instructions;
    if ratio > 1.0 + TOLERATED || now.allocations > before.allocations + TOLERATED_ALLOCATIONS {
        Change::Grown
    } else if ratio < 1.0 - TOLERATED {
        Change::Less
    } else {
        Change::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(instructions: f64, allocations: f64) -> Row {
        Row { work: "span".into(), stack: "spanbridge".into(), instructions, allocations }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let figures = Figures { rustc: "rustc 1.95.0".into(), rows: vec![row(2_531.0, 0.01)] };
        assert_eq!(Figures::parse(&figures.to_text()), Ok(figures));
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = Figures::parse("# rustc 1.95.0\nspan\tspanbridge\tmany\t0\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("many"), "{error}");
        assert!(Figures::parse("span\tspanbridge\t1\t0\n").unwrap_err().contains("rustc"));
    }

    #[test]
    fn growth_by_more_than_a_twentieth_is_growth() {
        let before = row(1_000.0, 0.0);
        for (instructions, allocations, expected) in [
            (1_000.0, 0.0, Change::Same),
            (1_050.0, 0.4, Change::Same),
            (1_051.0, 0.0, Change::Grown),
            (1_000.0, 1.0, Change::Grown),
            (949.0, 0.0, Change::Less),
        ] {
            assert_eq!(change(&before, &row(instructions, allocations)), expected);
        }
    }

    #[test]
    fn a_row_that_only_one_side_has_is_said() {
        let rows = [row(1.0, 0.0)];
        assert_eq!(compare(&[], &rows)[0].2, Change::New);
        assert_eq!(compare(&rows, &[])[0].2, Change::Gone);
    }
}
