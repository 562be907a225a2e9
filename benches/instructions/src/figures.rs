//! The committed figures: what is counted, and how two counts are compared.

use std::fmt::Write as _;

use crate::shared::callgrind::Count;

/// Growth by more than this fails.
const TOLERATED: f64 = 0.05;

/// What a work costs that none of our code takes part in: what another compiler makes of it shows
/// what it makes of the rest. Of two compilers that are two versions apart, one made 0.6 % more or
/// less of each figure than the other.
const FLOOR: &str = "registry alone";

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

impl Figures {
    fn find(&self, work: &str, stack: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.work == work && row.stack == stack)
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

impl Change {
    /// Whether a check fails by it.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::Grown | Self::New | Self::Gone)
    }
}

/// A row of either side, and what is expected of it.
#[derive(Debug)]
pub(crate) struct Compared<'a> {
    pub(crate) row: &'a Row,
    /// What was committed, as far as it was; for figures of another compiler as many instructions
    /// more or fewer as the floor of that work has.
    pub(crate) expected: Option<f64>,
    pub(crate) change: Change,
}

/// Each row of either side.
pub(crate) fn compare<'a>(committed: &'a Figures, counted: &'a Figures) -> Vec<Compared<'a>> {
    let is_same_compiler = committed.rustc == counted.rustc;
    let now = counted.rows.iter().map(|row| match committed.find(&row.work, &row.stack) {
        None => Compared { row, expected: None, change: Change::New },
        Some(before) => {
            let drift = if is_same_compiler { 1.0 } else { drift(committed, counted, &row.work) };
            let expected = before.instructions * drift;
            let change = change(expected, before.allocations, row);
            Compared { row, expected: Some(expected), change }
        }
    });
    let gone = committed
        .rows
        .iter()
        .filter(|row| counted.find(&row.work, &row.stack).is_none())
        .map(|row| Compared { row, expected: Some(row.instructions), change: Change::Gone });
    now.chain(gone).collect()
}

/// By what factor another compiler has changed what none of our code takes part in.
fn drift(committed: &Figures, counted: &Figures, work: &str) -> f64 {
    match (committed.find(work, FLOOR), counted.find(work, FLOOR)) {
        (Some(before), Some(now)) => now.instructions / before.instructions,
        _ => 1.0,
    }
}

fn change(expected: f64, allocations: f64, now: &Row) -> Change {
    let ratio = now.instructions / expected;
    if ratio > 1.0 + TOLERATED || now.allocations > allocations + TOLERATED_ALLOCATIONS {
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

    fn figures(rustc: &str, rows: &[(&str, f64, f64)]) -> Figures {
        let row = |&(stack, instructions, allocations): &(&str, f64, f64)| Row {
            stack: stack.into(),
            ..row(instructions, allocations)
        };
        Figures { rustc: rustc.into(), rows: rows.iter().map(row).collect() }
    }

    /// What becomes of the first row.
    fn changed(committed: &Figures, counted: &Figures) -> Change {
        compare(committed, counted).remove(0).change
    }

    #[test]
    fn growth_by_more_than_a_twentieth_is_growth() {
        let before = figures("rustc 1", &[("spanbridge", 1_000.0, 0.0)]);
        for (instructions, allocations, expected) in [
            (1_000.0, 0.0, Change::Same),
            (1_050.0, 0.4, Change::Same),
            (1_051.0, 0.0, Change::Grown),
            (1_000.0, 1.0, Change::Grown),
            (949.0, 0.0, Change::Less),
        ] {
            let now = figures("rustc 1", &[("spanbridge", instructions, allocations)]);
            assert_eq!(changed(&before, &now), expected, "{instructions} {allocations}");
        }
    }

    #[test]
    fn figures_of_another_compiler_are_held_against_what_it_makes_of_the_floor() {
        let before = figures("rustc 1", &[("spanbridge", 1_000.0, 0.0), (FLOOR, 500.0, 0.0)]);
        for (instructions, floor, expected) in [
            (1_500.0, 750.0, Change::Same),
            (1_580.0, 750.0, Change::Grown),
            (1_060.0, 500.0, Change::Grown),
            (1_000.0, 550.0, Change::Less),
        ] {
            let rows = [("spanbridge", instructions, 0.0), (FLOOR, floor, 0.0)];
            assert_eq!(changed(&before, &figures("rustc 2", &rows)), expected, "{instructions}");
        }
        // There is not a floor of everything.
        let before = figures("rustc 1", &[("text", 1_000.0, 0.0)]);
        let now = |count| figures("rustc 2", &[("text", count, 0.0)]);
        assert_eq!(changed(&before, &now(1_040.0)), Change::Same);
        assert_eq!(changed(&before, &now(1_060.0)), Change::Grown);
        let allocates = figures("rustc 2", &[("text", 1_000.0, 1.0)]);
        assert_eq!(changed(&before, &allocates), Change::Grown);
    }

    #[test]
    fn a_row_that_only_one_side_has_fails() {
        let (none, one) =
            (figures("rustc 1", &[]), figures("rustc 1", &[("spanbridge", 1.0, 0.0)]));
        assert_eq!(changed(&none, &one), Change::New);
        assert_eq!(changed(&one, &none), Change::Gone);
        assert!(Change::New.is_failure() && Change::Gone.is_failure());
    }
}
