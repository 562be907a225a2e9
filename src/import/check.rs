//! What a block says that cannot all be true: lines of another one in it, or damage that left lines
//! which can be read.

use std::time::Duration;

use super::block::{Block, excerpt};
use super::line::{First, Item, ItemKind};
use super::rebuild::RootStart;
use super::shape::Tree;
use super::text::{MILLISECOND, Nanos, SECOND};
use super::tree;

/// Printed times are cut to the millisecond, so two of them differ by less than this from the truth.
pub(super) const SLACK: Nanos = 2 * MILLISECOND;
/// Of a longer block, times of day do not tell which half of a day they are in.
pub(super) const HALF_A_DAY: Nanos = 12 * 3_600 * SECOND;

/// The first contradiction, if there is one.
pub(super) fn contradiction(
    block: &Block,
    first: &First,
    tree: &Tree<'_>,
    start: RootStart,
) -> Option<String> {
    totals(block, first).or_else(|| times(block, tree, start))
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
    // Versions that print zeros for seconds contradict themselves all the time.
    let zeros = block.items.iter().all(|item| match item.kind {
        ItemKind::Clock { at, .. } => at.has_zero_seconds(),
        ItemKind::Elapsed { .. } => false,
    });
    if took > HALF_A_DAY || zeros {
        return None;
    }
    let mut last = vec![start.local; tree.nodes.len()];
    for (entry, item) in tree.entries.iter().zip(&block.items) {
        let at = entry.time(tree);
        let since = |moment: Nanos| short(at.saturating_sub(moment));
        let name = || excerpt(&item.name);
        if at.saturating_sub(end) > SLACK {
            let (name, at, took) = (name(), since(start.local), short(took));
            return Some(format!("{name} came {at} after the start, and the whole took {took}"));
        }
        if entry.is_nested {
            // Not the end of what a step counts from: a trace that is not printed may be around it.
            last[entry.index] = at;
            continue;
        }
        let before = std::mem::replace(&mut last[entry.owner], at);
        if is_longer(item, at.saturating_sub(before)) {
            let (name, took) = (name(), short(item.took()));
            let since = since(before);
            return Some(format!(
                "{name} took {took}, and ended {since} after the step before it or the start"
            ));
        }
    }
    None
}

fn is_longer(step: &Item, than: Nanos) -> bool {
    step.took().saturating_sub(than) > SLACK
}

fn short(nanos: Nanos) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{sign}{}", tree::short(Duration::from_nanos(nanos.unsigned_abs())))
}
