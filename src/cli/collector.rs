//! Batches -> a collector, in as many requests and tries as it takes.

use std::io;
use std::ops::Range;
use std::time::Duration;

use opentelemetry::Context;

use super::batch::Batch;
use super::report;
use crate::export::otlp::{Cause, Delivered, Failure, MAX_REQUEST, OtlpExporter, Parts, Retry};
use crate::export::worker::OwnRuntime;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A collector that asks for a longer pause is not waited for.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A span of this size fits into what any collector takes.
const SMALL: usize = 64 << 10;
/// When so many small spans in a row are refused alone as if they were too large, it is not that.
const MAX_IMPLAUSIBLE: u32 = 2;

/// A collector, and what became of what it was sent.
pub(super) struct Collector {
    exporter: OtlpExporter,
    /// Where it is, for people.
    address: String,
    retries: u32,
    /// How many spans it has answered for.
    answered: usize,
    rejected: Rejected,
    /// Small spans that were refused alone for their size, since it last took anything.
    implausible: u32,
    /// What is to be told of single spans.
    told: Vec<String>,
}

/// What a collector did not take of what it got, and its last word on it.
#[derive(Default)]
struct Rejected {
    spans: usize,
    message: String,
    /// The blocks that the first of them are of.
    places: String,
}

/// What to do about a request that failed.
enum Verdict {
    Halve,
    Reject,
    Retry,
    Stop,
}

impl Collector {
    pub(super) fn new(exporter: OtlpExporter, address: String, retries: u32) -> Self {
        Self {
            exporter,
            address,
            retries,
            answered: 0,
            rejected: Rejected::default(),
            implausible: 0,
            told: Vec::new(),
        }
    }

    /// Sends a batch. What is refused for good is counted, and does not keep the rest from being
    /// sent. `waiting` is how many spans come after it.
    ///
    /// # Errors
    ///
    /// Fails if there is no point in sending anything more.
    pub(super) fn deliver(
        &mut self,
        runtime: &OwnRuntime,
        batch: &Batch,
        waiting: usize,
    ) -> io::Result<()> {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let parts = self.exporter.parts(batch.spans());
        // Of parts that follow each other, the first on top.
        let all = 0..batch.spans().len();
        let mut to_do = vec![all];
        while let Some(part) = to_do.pop() {
            if part.is_empty() {
                continue;
            }
            if part.len() > 1 && parts.size(&part) > MAX_REQUEST {
                let (first, rest) = parts.split_at_limit(&part);
                to_do.extend([rest, first]);
                continue;
            }
            let (failure, verdict) = match self.send(runtime, &parts, &part) {
                Ok(Delivered { rejected, message }) => {
                    self.implausible = 0;
                    self.answered += part.len();
                    if rejected > 0 {
                        self.rejected.add(rejected.min(part.len()), message, batch, &part);
                    }
                    continue;
                }
                Err(failed) => failed,
            };
            match verdict {
                Verdict::Halve => {
                    let middle = part.start + part.len() / 2;
                    to_do.extend([middle..part.end, part.start..middle]);
                }
                Verdict::Reject => {
                    self.answered += part.len();
                    if failure.cause == Cause::Size && part.len() == 1 {
                        let size = parts.size(&part);
                        self.tell(batch, part.start, size, &failure);
                        self.implausible += u32::from(size <= SMALL);
                    }
                    self.rejected.add(part.len(), failure.to_string(), batch, &part);
                    if failure.cause == Cause::Size && !self.believes_in_size() {
                        let rest = part.end..batch.spans().len();
                        to_do = vec![rest];
                    }
                }
                Verdict::Retry | Verdict::Stop => {
                    let left = part.start..batch.spans().len();
                    return Err(self.stopped(&failure, batch, &left, waiting));
                }
            }
        }
        Ok(())
    }

    /// What there is to tell of single spans since it was asked last.
    pub(super) fn take_told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    /// What there is to say of spans that were refused, if any were.
    pub(super) fn refused(&self) -> Option<String> {
        let Rejected { spans, message, places } = &self.rejected;
        let all = self.answered;
        (*spans > 0).then(|| {
            format!("the collector rejected {spans} of {all} spans: {message} (first {places})")
        })
    }

    pub(super) fn exporter_mut(&mut self) -> &mut OtlpExporter {
        &mut self.exporter
    }

    /// Sends one request until it is accepted or another try makes no sense.
    fn send(
        &self,
        runtime: &OwnRuntime,
        parts: &Parts,
        part: &Range<usize>,
    ) -> Result<Delivered, (Failure, Verdict)> {
        let mut pause = FIRST_PAUSE;
        let mut left = self.retries;
        loop {
            let failure = match runtime.block_on(self.exporter.send_part(parts, part)) {
                Ok(delivered) => return Ok(delivered),
                Err(failure) => failure,
            };
            let verdict = self.verdict(&failure, part.len(), parts.size(part));
            let delay = delay(failure.retry).filter(|_| left > 0);
            let (Verdict::Retry, Some(delay)) = (&verdict, delay) else {
                return Err((failure, verdict));
            };
            left -= 1;
            std::thread::sleep(delay.max(pause));
            pause *= 2;
        }
    }

    fn verdict(&self, failure: &Failure, spans: usize, size: usize) -> Verdict {
        match failure.cause {
            Cause::Access => Verdict::Stop,
            Cause::Size if spans > 1 && self.believes_in_size() => Verdict::Halve,
            // Also where the specification would have it tried again, as it has OUT_OF_RANGE.
            Cause::Size if spans == 1 && size > SMALL => Verdict::Reject,
            // What is in other requests may be to its liking.
            _ if failure.retry == Retry::No => Verdict::Reject,
            _ => Verdict::Retry,
        }
    }

    /// Whether a refusal for a request's size is taken for what it says: some collectors answer in
    /// the same way when a quota is used up.
    fn believes_in_size(&self) -> bool {
        self.implausible < MAX_IMPLAUSIBLE
    }

    fn tell(&mut self, batch: &Batch, position: usize, size: usize, failure: &Failure) {
        let name = &batch.spans()[position].name;
        let (place, size) = (batch.place(position), report::size(size as u64));
        self.told.push(format!(
            "{place}: the collector refuses this block's span {name:?}, which has {size}: {failure}"
        ));
    }

    fn stopped(
        &self,
        failure: &Failure,
        batch: &Batch,
        left: &Range<usize>,
        waiting: usize,
    ) -> io::Error {
        let spans = left.len() + waiting;
        let before = self.answered - self.rejected.spans;
        let place = batch.place(left.start);
        let address = &self.address;
        let advice = match failure.cause {
            Cause::Access => format!(
                ". Any other request would be answered like this: see to the address ({address}, \
                 by --endpoint and --protocol) and the credentials (OTEL_EXPORTER_OTLP_HEADERS)"
            ),
            Cause::Other | Cause::Size if before == 0 => format!(
                ". They were for {address}: see --endpoint, or --to tree, which needs no collector"
            ),
            Cause::Other | Cause::Size => String::new(),
        };
        io::Error::other(format!(
            "{spans} spans could not be delivered, after {before} that were: {failure} (from \
             {place} on){advice}"
        ))
    }
}

impl Rejected {
    fn add(&mut self, spans: usize, message: String, batch: &Batch, part: &Range<usize>) {
        self.spans += spans;
        self.message = message;
        if self.places.is_empty() {
            self.places = batch.places(part);
        }
    }
}

/// How long to wait at least before the request is sent again; `None` where that would be in vain.
fn delay(retry: Retry) -> Option<Duration> {
    match retry {
        Retry::No | Retry::Hopeless => None,
        Retry::Now | Retry::Soon => Some(Duration::ZERO),
        Retry::After(delay) => (delay <= LONGEST_DELAY).then_some(delay),
    }
}
