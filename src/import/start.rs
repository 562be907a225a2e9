//! When a block began: its own first line, the wrapping's time and the log's header, and options.

use std::sync::Arc;

use super::Options;
use super::block::Block;
use super::line::{First, Format, ItemKind, Start};
use super::rebuild::{self, RootStart};
use super::text::{MILLISECOND, Nanos, SECOND};
use super::time::{self, Change};

/// Works out starts, and remembers what one block of a file tells of the next.
#[derive(Debug, Default)]
pub(super) struct Starts {
    /// The last offset from UTC that was found out, and the file that it was in.
    offset: Option<(Arc<str>, Nanos)>,
}

/// What is known of a block's start.
pub(super) enum Found {
    Start(RootStart),
    /// The same, but nothing says which time zone it is in, and UTC is assumed.
    AssumedUtc(RootStart),
    /// Neither the block nor its surroundings say.
    Nothing,
}

impl Starts {
    pub(super) fn find(&mut self, block: &Block, first: &First, options: &Options) -> Found {
        let total = rebuild::total(block, first);
        let local = match first.start {
            Start::At(at) => return exact(at),
            Start::Local(at) => at,
            Start::Damaged | Start::Unknown => match (written(block, options), block.logged_at) {
                (Some(written), _) => written.saturating_sub(total),
                (None, Some(at)) => {
                    let start = RootStart {
                        local: at.saturating_sub(total),
                        offset: 0,
                        is_estimated: true,
                        change: None,
                    };
                    return Found::Start(start);
                }
                (None, None) => return Found::Nothing,
            },
        };
        let shift = missing_seconds(block, first, local.saturating_add(total));
        let is_estimated = shift > 0 || matches!(first.start, Start::Damaged | Start::Unknown);
        let local = local.saturating_add(shift);
        let start = |offset| RootStart { local, offset, is_estimated, change: None };
        if let Some(zone) = &options.time_zone {
            let end = local.saturating_add(total);
            let change = |offset| zone.change(local, end, offset);
            let offset = zone.offset(time::to_local(local), |offset| {
                let by = change(offset).map_or(0, Change::by);
                let written = block.header.and_then(|header| header.near(end));
                let late = match (block.logged_at, written) {
                    (Some(at), _) => at.saturating_add(offset).saturating_sub(end),
                    (None, Some(written)) => written.saturating_sub(end.saturating_add(by)),
                    (None, None) => 0,
                };
                late.saturating_abs()
            });
            let change = change(offset);
            return Found::Start(RootStart { change, ..start(offset) });
        }
        // klog's header is the time of writing; without one, that is shortly after the end.
        let written = block.header.and_then(|header| header.near(local));
        let inferred = block.logged_at.and_then(|at| {
            time::infer_offset(written.unwrap_or_else(|| local.saturating_add(total)), at)
        });
        if let Some(offset) = inferred {
            self.offset = Some((Arc::clone(&block.place.file), offset));
        }
        match &self.offset {
            Some((file, offset)) if *file == block.place.file => Found::Start(start(*offset)),
            _ => Found::AssumedUtc(start(0)),
        }
    }
}

fn exact(at: Nanos) -> Found {
    Found::Start(RootStart { local: at, offset: 0, is_estimated: false, change: None })
}

/// When the block was written, on the clocks of its log: klog's header, and the year from elsewhere.
fn written(block: &Block, options: &Options) -> Option<Nanos> {
    let header = block.header?;
    match (block.logged_at, options.year) {
        (Some(at), _) => header.near(at),
        (None, Some(year)) => header.in_year(year),
        (None, None) => None,
    }
}

/// For a few months of 2020 the seconds of the start were printed as zero, too. The header then
/// tells how many there were: a block is written when it ends.
fn missing_seconds(block: &Block, first: &First, end: Nanos) -> Nanos {
    let Start::Local(start) = first.start else { return 0 };
    let has_zeros = first.format == Format::Clock
        && start.rem_euclid(60 * SECOND) < SECOND
        && !block.items.is_empty()
        && block
            .items
            .iter()
            .all(|item| matches!(item.kind, ItemKind::Clock { at, .. } if at.has_zero_seconds()));
    let written = block.header.and_then(|header| header.near(end));
    let Some(written) = written.filter(|_| has_zeros) else { return 0 };
    let seconds = written.saturating_sub(end).saturating_add(5 * MILLISECOND).div_euclid(SECOND);
    if (1..60).contains(&seconds) { seconds * SECOND } else { 0 }
}
