//! What the layer's callbacks, the guard and the exporter's thread share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry_sdk::trace::IdGenerator;
use parking_lot::Mutex;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;

use crate::export::queue::Queue;
use crate::layer::clock::Clock;
use crate::layer::departures::Departures;
use crate::layer::encoding::ValueLimits;
use crate::layer::hand_over::HandOver;
use crate::layer::outbound::ThreadShared;
use crate::layer::record::{Identity, Slot};
use crate::layer::sampling::Decider;
use crate::layer::slots::{At, Slots};
use crate::layer::table::Table;
use crate::layer::thread::with_local;

/// Counts of what one span may hold, after the `OTEL_*_LIMIT` variables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) attributes: u32,
    pub(crate) events: u32,
    pub(crate) links: u32,
    pub(crate) event_attributes: u32,
    pub(crate) link_attributes: u32,
    pub(crate) values: ValueLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attributes: 128,
            events: 128,
            links: 128,
            event_attributes: 128,
            link_attributes: 128,
            values: ValueLimits { length: usize::MAX, span_bytes: 64 * 1024 },
        }
    }
}

/// In place of a registry's address, once the layer is gone.
const GONE: usize = usize::MAX;

/// Engines that are still in use; taken out of the lock, since dropping one may run foreign code.
fn all_engines() -> Vec<Arc<Engine>> {
    let engines = ENGINES.lock();
    engines.iter().filter_map(Weak::upgrade).collect()
}

/// One pipeline, from the layer's callbacks to the queue.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Unique in the process; a thread finds its state for this engine by it.
    pub(super) id: u64,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(super) max_level: LevelFilter,
    pub(super) decider: Decider,
    pub(super) id_generator: Option<Box<dyn IdGenerator>>,
    pub(super) table: Table,
    slots: Slots,
    pub(super) departures: Departures,
    pub(crate) hand_over: HandOver,
    /// Where the registry lives that this engine's layer sits on; 0 before it is known.
    registry: AtomicUsize,
    has_siblings: AtomicBool,
}

/// What a builder settles.
#[derive(Debug)]
pub(crate) struct EngineOptions {
    pub(crate) limits: Limits,
    pub(crate) max_level: LevelFilter,
    pub(crate) decider: Decider,
    pub(crate) id_generator: Option<Box<dyn IdGenerator>>,
    /// Whether the names of threads are wanted.
    pub(crate) names_threads: bool,
    pub(crate) max_live_spans: usize,
    pub(crate) max_queue_size: usize,
    pub(crate) max_export_batch_size: usize,
}

/// For so long a closed span can still be linked to by its id.
const RECENTLY: Duration = Duration::from_secs(10);

/// Spans in a chunk before it is handed over; less where the queue is smaller.
const CHUNK_SPANS: usize = 64;

const FIRST_ENGINE: u64 = 1;
static NEXT_ENGINE: AtomicU64 = AtomicU64::new(FIRST_ENGINE);
/// Every engine whose layer was given to a subscriber. Read only where a layer cannot be reached
/// from the subscriber itself (behind `reload`) or where two sit on one registry.
static ENGINES: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());

impl Engine {
    pub(crate) fn new(options: EngineOptions) -> Arc<Self> {
        let EngineOptions { max_live_spans, max_queue_size, max_export_batch_size, .. } = options;
        let chunk_spans = CHUNK_SPANS.min(max_queue_size).max(1);
        let engine = Arc::new(Self {
            id: NEXT_ENGINE.fetch_add(1, Ordering::Relaxed),
            clock: Clock::new(),
            limits: options.limits,
            max_level: options.max_level,
            decider: options.decider,
            id_generator: options.id_generator,
            table: Table::new(max_live_spans),
            slots: Slots::new(max_live_spans),
            departures: Departures::default(),
            hand_over: HandOver::new(
                Queue::new(max_queue_size, max_export_batch_size, chunk_spans),
                chunk_spans,
                options.names_threads,
            ),
            registry: AtomicUsize::new(0),
            has_siblings: AtomicBool::new(false),
        });
        let mut engines = ENGINES.lock();
        engines.retain(|engine| engine.strong_count() > 0);
        engines.push(Arc::downgrade(&engine));
        drop(engines);
        engine
    }

    /// Whether there has been no layer of ours in this process: then nobody has a record of anything.
    #[inline]
    pub(super) fn is_none_made() -> bool {
        NEXT_ENGINE.load(Ordering::Relaxed) == FIRST_ENGINE
    }

    /// False once shutdown began: nothing new is recorded.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.hand_over.is_open()
    }

    // ----- the registry this layer sits on

    pub(super) fn registered(self: &Arc<Self>, dispatch: &Dispatch) {
        let registry = registry_address(dispatch);
        self.registry.store(registry, Ordering::Release);
        for sibling in all_engines() {
            let is_same = sibling.registry.load(Ordering::Acquire) == registry;
            if registry != 0 && is_same && sibling.id != self.id {
                sibling.has_siblings.store(true, Ordering::Release);
                self.has_siblings.store(true, Ordering::Release);
            }
        }
    }

    /// The layer is gone, and its registry's address may come to be another's.
    pub(super) fn unregister(&self) {
        self.registry.store(GONE, Ordering::Release);
    }

    pub(super) fn has_siblings(&self) -> bool {
        self.has_siblings.load(Ordering::Acquire)
    }

    /// All engines whose layer sits on `dispatch`'s registry. Some wrappers (`Option`, a layer
    /// swapped in by `reload`) do not tell a layer where it sits; such a one is taken to sit where
    /// it has a record of the span in question.
    pub(super) fn of(dispatch: &Dispatch, id: Option<u64>) -> Vec<Arc<Self>> {
        let registry = registry_address(dispatch);
        let mut engines = all_engines();
        engines.retain(|engine| match engine.registry.load(Ordering::Acquire) {
            0 => id.is_none_or(|id| engine.find(id).is_some()),
            known => known == registry,
        });
        engines
    }

    // ----- slots and threads

    #[inline]
    pub(super) fn slot(&self, at: At) -> &Slot {
        self.slots.get(at)
    }

    /// The live record of `id`, if this layer has one.
    #[inline]
    pub(super) fn find(&self, id: u64) -> Option<&Slot> {
        self.table.get(id).map(|at| self.slot(at))
    }

    #[cold]
    pub(super) fn refill(&self, free: &mut Vec<At>) -> Option<At> {
        self.slots.refill(free);
        free.pop()
    }

    /// Gives a slot back to the thread that closed its span.
    #[inline]
    pub(super) fn release(&self, free: &mut Vec<At>, at: At) {
        free.push(at);
        let batch = self.slots.batch();
        if free.len() >= 2 * batch {
            self.give_back(free.drain(..batch));
        }
    }

    #[cold]
    pub(super) fn give_back(&self, slots: impl Iterator<Item = At>) {
        self.slots.give_back(slots);
    }

    pub(super) fn thread_ended(&self, shared: &Arc<ThreadShared>, free: Vec<At>) {
        self.slots.give_back(free.into_iter());
        self.hand_over.thread_ended(shared);
    }

    /// An identity of a span that is closed already.
    pub(super) fn recently_closed(&self, id: u64) -> Option<Identity> {
        let (ticks, identity) = self.hand_over.recently_closed(id)?;
        // The registry uses an id again after some thousand others.
        let age = self.clock.duration(ticks, self.clock.now());
        (age < RECENTLY).then_some(identity)
    }

    // ----- counts

    pub(super) fn count_decision(self: &Arc<Self>, is_sampled: bool) {
        let counted = with_local(self, |local| local.shared.counters.decided(is_sampled));
        if counted.is_none() {
            self.hand_over.count_ended(|ended| {
                *if is_sampled { &mut ended.started } else { &mut ended.not_sampled } += 1;
            });
        }
    }

    /// Takes a start back: the span got another parent before its ids were seen.
    pub(super) fn count_restart(self: &Arc<Self>) {
        with_local(self, |local| local.shared.counters.restarted.increment())
            .unwrap_or_else(|| self.hand_over.count_ended(|ended| ended.restarted += 1));
    }
}

fn registry_address(dispatch: &Dispatch) -> usize {
    dispatch.downcast_ref::<Registry>().map_or(0, |registry| std::ptr::from_ref(registry).addr())
}
