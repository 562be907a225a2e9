//! Where the text goes, and what is in it.

mod builder;

use std::cell::RefCell;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use tracing::Level;

pub use self::builder::TextLogBuilder;
use crate::legacy::go::Zone;
use crate::legacy::klog::Header;
use crate::legacy::text::Style;

/// The `target` of the events that the text is written to, where no writer is given.
const TARGET: &str = "spanbridge::legacy::text";

/// Where slow [`Trace`](crate::legacy::Trace)s are printed, and how.
///
/// A process has one, and [`TextLog::install`] sets it. Until then, and without one, a block of text
/// is a `tracing` event of level `INFO` and target `spanbridge::legacy::text`, at verbosity 2. A
/// clone is the same log.
///
/// # Examples
///
/// As klog does it, on standard error, header and all:
///
/// ```
/// use spanbridge::legacy::TextLog;
///
/// TextLog::builder().with_writer(std::io::stderr).build().install()?;
/// # Ok::<_, spanbridge::legacy::AlreadyInstalledError>(())
/// ```
///
/// No text at all, which leaves the spans:
///
/// ```
/// use spanbridge::legacy::TextLog;
///
/// let text_log = TextLog::builder().with_verbosity(0).build();
/// text_log.install()?;
/// // It can be had later all the same.
/// text_log.set_verbosity(2);
/// # Ok::<_, spanbridge::legacy::AlreadyInstalledError>(())
/// ```
#[derive(Clone)]
pub struct TextLog(Arc<Settings>);

struct Settings {
    verbosity: AtomicU8,
    lost_blocks: AtomicU64,
    output: Output,
    has_header: bool,
    is_exact: bool,
    has_ids: bool,
    keeps_unsampled: bool,
    zone: Zone,
}

#[derive(Clone)]
enum Output {
    Event,
    Writer(Arc<Write>),
}

/// Writes one record.
type Write = dyn Fn(&str) -> io::Result<()> + Send + Sync;

impl Default for Settings {
    fn default() -> Self {
        Self {
            verbosity: AtomicU8::new(2),
            lost_blocks: AtomicU64::new(0),
            output: Output::Event,
            has_header: true,
            is_exact: false,
            has_ids: false,
            keeps_unsampled: false,
            zone: Zone::Local,
        }
    }
}

thread_local! {
    static SCOPED: RefCell<Option<TextLog>> = const { RefCell::new(None) };
}

/// Whether any thread ever had one, which spares a service the look.
static IS_SCOPED: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<TextLog> = OnceLock::new();
static DEFAULT: LazyLock<TextLog> = LazyLock::new(|| TextLog::builder().build());

impl TextLog {
    /// A log with the defaults, to be changed.
    pub fn builder() -> TextLogBuilder {
        TextLogBuilder(Settings::default())
    }

    /// Makes this the process's log, which [`Trace::new`](crate::legacy::Trace::new) uses.
    ///
    /// # Errors
    ///
    /// Fails if there is one already. It stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use spanbridge::legacy::TextLog;
    ///
    /// let text_log = TextLog::builder().with_verbosity(4).build();
    /// text_log.install()?;
    /// assert!(text_log.install().is_err());
    /// # Ok::<_, spanbridge::legacy::AlreadyInstalledError>(())
    /// ```
    pub fn install(&self) -> Result<(), AlreadyInstalledError> {
        INSTALLED.set(self.clone()).map_err(|_| AlreadyInstalledError(()))
    }

    /// Changes how much is printed, as klog's `-v` does: nothing below 2; from 2 on what is slow; from 4
    /// on also all that happened within what is slow.
    ///
    /// Whether a trace keeps anything for its text is settled when it starts, unless the text is
    /// [upstream's](TextLogBuilder::with_upstream_exact).
    pub fn set_verbosity(&self, verbosity: u8) {
        self.0.verbosity.store(verbosity, Ordering::Relaxed);
    }

    /// How much is printed; see [`set_verbosity`](Self::set_verbosity).
    pub fn verbosity(&self) -> u8 {
        self.0.verbosity.load(Ordering::Relaxed)
    }

    /// How many blocks are lost because the writer failed or panicked. No operation fails with it.
    pub fn lost_blocks(&self) -> u64 {
        self.0.lost_blocks.load(Ordering::Relaxed)
    }

    /// Runs `f` with this as the log of the roots that it starts on this thread, in place of the
    /// process's: for tests.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{self, Write};
    /// use std::sync::{Arc, Mutex};
    /// use std::time::Duration;
    /// use spanbridge::legacy::{TextLog, Trace, fields};
    ///
    /// #[derive(Clone, Default)]
    /// struct Captured(Arc<Mutex<Vec<u8>>>);
    ///
    /// impl Write for Captured {
    ///     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
    ///         self.0.lock().unwrap().write(bytes)
    ///     }
    ///
    ///     fn flush(&mut self) -> io::Result<()> {
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let captured = Captured::default();
    /// let writer = captured.clone();
    /// let text_log = TextLog::builder().with_writer(move || writer.clone()).build();
    /// text_log.in_scope(|| Trace::new("List", fields![]).log_if_long(Duration::ZERO));
    /// let text = String::from_utf8(captured.0.lock().unwrap().clone())?;
    /// assert!(text.contains("]: \"List\" ("));
    /// # Ok::<_, std::string::FromUtf8Error>(())
    /// ```
    pub fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(Option<TextLog>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let _ = SCOPED.try_with(|scoped| scoped.replace(self.0.take()));
            }
        }
        IS_SCOPED.store(true, Ordering::Relaxed);
        let before = SCOPED.try_with(|scoped| scoped.replace(Some(self.clone())));
        let _restore = Restore(before.ok().flatten());
        f()
    }

    /// The log of the [`in_scope`](Self::in_scope) that this thread is in.
    pub(super) fn scoped() -> Option<Self> {
        if !IS_SCOPED.load(Ordering::Relaxed) {
            return None;
        }
        SCOPED.try_with(|scoped| scoped.borrow().clone()).ok().flatten()
    }

    pub(super) fn installed() -> &'static Self {
        INSTALLED.get().unwrap_or_else(|| &DEFAULT)
    }

    /// Whether the text of an operation that starts now can reach anyone.
    fn is_wanted(&self) -> bool {
        // Upstream does not ask before the end.
        (self.is_exact() || self.verbosity() >= 2)
            && match self.0.output {
                Output::Event => tracing::enabled!(target: TARGET, Level::INFO),
                Output::Writer(_) => true,
            }
    }

    /// Whether what a text is made from has to be recorded for an operation with a span or without:
    /// for the text, or for the spans that may be made from it.
    pub(super) fn is_recorded(&self, has_span: bool) -> bool {
        self.is_wanted() || (has_span && self.keeps_unsampled())
    }

    pub(super) fn is_exact(&self) -> bool {
        self.0.is_exact
    }

    pub(super) fn keeps_unsampled(&self) -> bool {
        self.0.keeps_unsampled
    }

    /// Whether a span's ids must be known when its operation ends.
    pub(super) fn needs_ids(&self) -> bool {
        self.0.has_ids || self.0.keeps_unsampled
    }

    pub(super) fn style(&self) -> Style {
        let Settings { is_exact, has_ids, zone, .. } = *self.0;
        Style { verbosity: self.verbosity(), is_exact, zone, has_ids }
    }

    /// Writes a block, as one record.
    pub(super) fn write(&self, block: &str, location: &Location<'_>) {
        let Settings { is_exact, zone, has_header, output, lost_blocks, .. } = &*self.0;
        let write = match output {
            // A root: the block says itself what it belongs to, and is no event of whichever span
            // the thread is in.
            Output::Event => {
                tracing::info!(target: TARGET, parent: None, "{}", block.trim_end_matches('\n'));
                return;
            }
            Output::Writer(write) => write,
        };
        let mut record = String::new();
        if *has_header {
            record.reserve(block.len() + 64);
            let header = Header::now(location, *is_exact, *zone);
            let _ = write!(record, "{header}{block}");
        }
        let record = if *has_header { &record } else { block };
        // Operations end while others unwind: a panic in here must not become the service's.
        if !matches!(catch_unwind(AssertUnwindSafe(|| write(record))), Ok(Ok(()))) {
            lost_blocks.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for TextLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextLog")
            .field("verbosity", &self.verbosity)
            .field("lost_blocks", &self.lost_blocks)
            .field("has_writer", &matches!(self.output, Output::Writer(_)))
            .field("has_header", &self.has_header)
            .field("is_upstream_exact", &self.is_exact)
            .field("has_ids", &self.has_ids)
            .field("keeps_unsampled", &self.keeps_unsampled)
            .field("is_utc", &(self.zone == Zone::Utc))
            .finish()
    }
}

/// The process has a [`TextLog`] already.
#[derive(Debug)]
pub struct AlreadyInstalledError(());

impl fmt::Display for AlreadyInstalledError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text log is installed already; a process has one, set up once")
    }
}

impl Error for AlreadyInstalledError {}

/// A number that tells one block's lines from another's: random enough, below 2^31.
pub(crate) fn block_number() -> u32 {
    static STATE: LazyLock<AtomicU64> =
        LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(std::process::id())));
    // SplitMix64: a counter in steps of the golden ratio, then mixed.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut mixed = STATE.fetch_add(STEP, Ordering::Relaxed);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 33) as u32
}
