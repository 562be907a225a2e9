//! What a thread shares with those that collect and count: its outbound chunk, and its counters.

use crate::export::chunk::Chunk;
use crate::layer::record::Identity;
use crate::layer::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// The part of a thread's state that the exporter's thread reads too. Two threads' share no cache
/// line, nor a pair of lines that a processor fetches together.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ThreadShared {
    pub(super) number: u32,
    pub(super) name: Option<String>,
    outbound: Mutex<Outbound>,
    pub(super) counters: ThreadCounters,
}

#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) chunk: Chunk,
    /// The last spans closed here and handed over, for links to spans that are gone.
    recent: [(u64, u64, Identity); RECENT],
    next_recent: usize,
}

const RECENT: usize = 32;

/// Written by their thread alone, so that a plain store is enough.
#[derive(Debug, Default)]
pub(crate) struct ThreadCounters {
    pub(super) started: Counter,
    /// Starts taken back because the span got another parent before its ids were seen.
    pub(super) restarted: Counter,
    pub(super) closed: Counter,
    pub(super) not_sampled: Counter,
    pub(super) no_slot: Counter,
    pub(super) after_shutdown: Counter,
}

impl ThreadCounters {
    #[inline]
    pub(super) fn decided(&self, is_sampled: bool) {
        if is_sampled { self.started.increment() } else { self.not_sampled.increment() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(super) fn increment(&self) {
        // Release: who reads this count sees all counts of what happened before.
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    pub(super) fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl ThreadShared {
    pub(super) fn new(number: u32, name: Option<String>, chunk: Chunk) -> Self {
        let recent = [(0, 0, Identity::NONE); RECENT];
        Self {
            number,
            name,
            outbound: Mutex::new(Outbound { chunk, recent, next_recent: 0 }),
            counters: ThreadCounters::default(),
        }
    }

    pub(super) fn outbound(&self) -> MutexGuard<'_, Outbound> {
        self.outbound.lock()
    }

    /// When a span was closed here, and its identity, if that is a short while ago.
    pub(super) fn recently_closed(&self, id: u64) -> Option<(u64, Identity)> {
        let outbound = self.outbound();
        let recent = outbound.recent.iter().copied();
        let here = outbound.chunk.spans.iter().map(|span| (span.id, span.end, span.head.identity));
        let same = recent.chain(here).filter(|(recent, ..)| *recent == id);
        same.map(|(_, ticks, identity)| (ticks, identity)).max_by_key(|(ticks, _)| *ticks)
    }
}

impl Outbound {
    /// Keeps what is to be known of the spans in the chunk, before it goes.
    pub(super) fn remember(&mut self) {
        let last = self.chunk.spans.iter().rev().take(RECENT).rev();
        for span in last {
            self.recent[self.next_recent % RECENT] = (span.id, span.end, span.head.identity);
            self.next_recent = self.next_recent.wrapping_add(1);
        }
    }
}
