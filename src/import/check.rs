//! What a block says that cannot all be true: lines of another one in it, or damage that left lines
//! which can be read.

use std::time::Duration;

use super::block::{Block, excerpt};
use super::line::{First, ItemKind, Start};
use super::rebuild::RootStart;
use super::shape::Tree;
use super::text::{MILLISECOND, Nanos, SECOND};
use super::time::Change;
use super::tree;

/// Printed times are cut to the millisecond, so two of them differ by less than this from the truth.
pub(super) const SLACK: Nanos = 2 * MILLISECOND;
/// Of a longer block, times of day do not tell which half of a day they are in.
pub(super) const HALF_A_DAY: Nanos = 12 * HOUR;

const MINUTE: Nanos = 60 * SECOND;
const QUARTER: Nanos = 15 * MINUTE;
const HOUR: Nanos = 60 * MINUTE;
/// From UTC, of Kiribati.
const MAX_OFFSET: Nanos = 14 * HOUR;
/// So long may it take until a block that has ended is written.
const MAX_LATE: Nanos = 10 * SECOND;

/// The first contradiction, if there is one.
pub(super) fn contradiction(
    block: &Block,
    first: &First,
    tree: &Tree<'_>,
    start: RootStart,
) -> Option<String> {
    totals(block, first)
        .or_else(|| times(block, tree, start))
        .or_else(|| written(block, first, tree, start.change))
}

/// The first line and the last both tell how long it took.
fn totals(block: &Block, first: &First) -> Option<String> {
    let (total, end) = (first.total?, block.end?);
    let differ = total.saturating_sub(end).saturating_abs() > SLACK;
    differ.then(|| {
        format!("its first line says that it took {}, and its last {}", short(total), short(end))
    })
}

/// Nothing happens after the end, and no step takes longer than since the one before it.
fn times(block: &Block, tree: &Tree<'_>, start: RootStart) -> Option<String> {
    let end = tree.nodes.first()?.end;
    let took = end.saturating_sub(start.local);
    if took > HALF_A_DAY {
        return None;
    }
    // Versions that print zeros for seconds contradict themselves all the time.
    let zeros = block.items.iter().all(|item| match item.kind {
        ItemKind::Clock { at, .. } => at.has_zero_seconds(),
        ItemKind::Elapsed { .. } => false,
    });
    let slack = if zeros { MINUTE } else { SLACK };
    let mut last = vec![start.local; tree.nodes.len()];
    for (entry, item) in tree.entries.iter().zip(&block.items) {
        let at = entry.time(tree);
        let since = |moment: Nanos| short(at.saturating_sub(moment));
        let name = || excerpt(&item.name);
        if at.saturating_sub(end) > slack {
            let (name, at, took) = (name(), since(start.local), short(took));
            return Some(format!("{name} came {at} after the start, and the whole took {took}"));
        }
        if entry.is_nested {
            // Not the end of what a step counts from: a trace that is not printed may be around it.
            last[entry.index] = at;
            continue;
        }
        let before = std::mem::replace(&mut last[entry.owner], at);
        if item.took().saturating_sub(at.saturating_sub(before)) > slack {
            let (name, took) = (name(), short(item.took()));
            let since = since(before);
            return Some(format!(
                "{name} took {took}, and ended {since} after the step before it or the start"
            ));
        }
    }
    None
}

/// A block is written when it ends, which klog's header tells as well, on the clocks of its process.
fn written(
    block: &Block,
    first: &First,
    tree: &Tree<'_>,
    change: Option<Change>,
) -> Option<String> {
    // Without either, how long it took is not known.
    first.total.or(block.end)?;
    let end = tree.nodes.first()?.end;
    let late = block.header?.near(end)?.saturating_sub(end);
    // How far the header's clocks may be ahead, and by what multiples.
    let (unit, most) = match (first.start, change) {
        // In whichever zone they are.
        (Start::At(_), _) => (QUARTER, MAX_OFFSET),
        // Some versions print zeros for the seconds.
        (Start::Local(at), _) if at.rem_euclid(MINUTE) < SECOND => return None,
        // They are known to be set meanwhile, or may be, for summer time.
        (Start::Local(_), Some(change)) => (change.by().abs(), change.by().abs()),
        (Start::Local(_), None) => (HOUR, HOUR),
        (Start::Damaged | Start::Unknown, _) => return None,
    };
    let ahead = late.saturating_add(unit / 2).div_euclid(unit) * unit;
    let is_one = ahead.abs() <= most && late.saturating_sub(ahead).abs() <= MAX_LATE;
    let (by, which) = (short(late.saturating_abs()), if late < 0 { "after" } else { "before" });
    (!is_one).then(|| format!("by its first line it ended {by} {which} the log's time"))
}

fn short(nanos: Nanos) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{sign}{}", tree::short(Duration::from_nanos(nanos.unsigned_abs())))
}
