//! Where spans go.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::args::{Destination, ImportArgs};
use crate::config::TracingConfig;
use crate::config::env::EnvSettings;
use crate::config::settings::Settings;
use crate::export::StdoutExporter;
use crate::export::otlp::{Delivered, Failure, OtlpExporter, Retry};
use crate::export::worker::{self, OwnRuntime};
use crate::import;

/// How many spans one request to a collector has at most.
const BATCH: usize = 512;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A collector that asks for a longer pause is not waited for.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Takes the spans of whole blocks.
pub(super) enum Sink {
    /// Trees, on standard output.
    Tree,
    Exporter(Box<ExporterSink>),
}

enum Exporter {
    Otlp(Box<OtlpExporter>),
    Stdout(StdoutExporter),
}

pub(super) struct ExporterSink {
    runtime: OwnRuntime,
    exporter: Exporter,
    batch: Vec<SpanData>,
    /// Whether nothing is kept back for a larger batch.
    is_immediate: bool,
    retries: u32,
    /// How many spans a collector has answered for.
    answered: usize,
    rejected: Rejected,
    /// Why writing to standard output failed, which the exporter only tells as text.
    write_error: WriteError,
}

/// What a collector did not take of what it got, and its last word on it.
#[derive(Default)]
struct Rejected {
    spans: usize,
    message: String,
    /// The blocks that the first of them are of, if known.
    place: Option<String>,
}

impl Rejected {
    fn add(&mut self, spans: usize, message: String, batch: &[SpanData]) {
        self.spans += spans;
        self.message = message;
        self.place = self.place.take().or_else(|| place(batch));
    }
}

type WriteError = Arc<Mutex<Option<io::Error>>>;

impl Sink {
    /// The destination that the command line and the environment say, and what was ignored of them.
    pub(super) fn new(args: &ImportArgs) -> Result<(Self, Vec<String>), String> {
        if args.to == Destination::Tree {
            return Ok((Self::Tree, Vec::new()));
        }
        let settings = settings(args)?;
        let runtime = OwnRuntime::new().map_err(|error| format!("no runtime: {error}"))?;
        let write_error = WriteError::default();
        let (mut exporter, retries) = match args.to {
            Destination::Otlp => {
                let exporter = worker::build_in(&runtime, || OtlpExporter::new(&settings));
                let exporter =
                    exporter.map_err(|problem| format!("cannot send spans: {problem}"))?;
                (Exporter::Otlp(Box::new(exporter)), args.retries)
            }
            Destination::Json | Destination::Tree => {
                let writer = Watched { error: Arc::clone(&write_error) };
                (Exporter::Stdout(StdoutExporter::with_writer(writer)), 0)
            }
        };
        let default_name = args.service_name.as_deref().unwrap_or("spanbridge-import");
        let resource = crate::init::resource(&settings, Some(default_name));
        match &mut exporter {
            Exporter::Otlp(exporter) => exporter.set_resource(&resource),
            Exporter::Stdout(exporter) => SpanExporter::set_resource(exporter, &resource),
        }
        let sink = ExporterSink {
            runtime,
            exporter,
            batch: Vec::new(),
            // Who reads JSON lines may be waiting for them.
            is_immediate: args.to == Destination::Json,
            retries,
            answered: 0,
            rejected: Rejected::default(),
            write_error,
        };
        Ok((Self::Exporter(Box::new(sink)), settings.warnings))
    }

    /// Takes the spans of one block.
    pub(super) fn take(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
        match self {
            Self::Tree => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(import::tree(&spans).as_bytes())?;
                stdout.flush()
            }
            Self::Exporter(sink) => sink.take(spans),
        }
    }

    /// Delivers what is left. Returns what there is to say of spans that were refused.
    pub(super) fn finish(&mut self) -> io::Result<Option<String>> {
        let Self::Exporter(sink) = self else { return Ok(None) };
        sink.flush()?;
        let Rejected { spans, message, place } = &sink.rejected;
        if *spans == 0 {
            return Ok(None);
        }
        let place = place.as_ref().map(|place| format!(" (first {place})")).unwrap_or_default();
        let all = sink.answered;
        Ok(Some(format!("the collector rejected {spans} of {all} spans: {message}{place}")))
    }
}

fn settings(args: &ImportArgs) -> Result<Settings, String> {
    // Flags win over variables.
    let env = EnvSettings::from_lookup(&|name| match (name, args.protocol, &args.service_name) {
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", Some(protocol), _) => {
            Some(protocol.name().to_owned())
        }
        ("OTEL_SERVICE_NAME", _, Some(name)) => Some(name.clone()),
        // These are for services that make traces.
        ("OTEL_TRACES_SAMPLER" | "OTEL_TRACES_EXPORTER" | "OTEL_SDK_DISABLED", _, _) => None,
        _ => std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
    });
    let config = args.endpoint.as_ref().map(|endpoint| {
        let config = TracingConfig::default();
        if endpoint.starts_with("unix") {
            config.with_endpoint(endpoint)
        } else {
            config.with_url(endpoint)
        }
    });
    Settings::new(config.as_ref(), env).map_err(|error| {
        let endpoint = args.endpoint.as_deref().unwrap_or_default();
        format!("--endpoint {endpoint}: {error}")
    })
}

impl ExporterSink {
    fn take(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
        self.batch.extend(spans);
        while self.batch.len() >= BATCH {
            let rest = self.batch.split_off(BATCH);
            let full = std::mem::replace(&mut self.batch, rest);
            self.deliver(&full)?;
        }
        if self.is_immediate { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.deliver(&batch) }
    }

    fn deliver(&mut self, batch: &[SpanData]) -> io::Result<()> {
        let mut pause = FIRST_PAUSE;
        let mut left = self.retries;
        loop {
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            let sent = match &self.exporter {
                // One try: pauses and repetitions are made here.
                Exporter::Otlp(exporter) => {
                    self.runtime.block_on(exporter.send_data(batch, || true))
                }
                Exporter::Stdout(exporter) => self
                    .runtime
                    .block_on(exporter.export(batch.to_vec()))
                    .map(|()| Delivered::default())
                    .map_err(|error| Failure { problem: error.to_string(), retry: Retry::No }),
            };
            let failure = match sent {
                Ok(Delivered { rejected, message }) => {
                    self.answered += batch.len();
                    if rejected > 0 {
                        self.rejected.add(rejected, message, batch);
                    }
                    return Ok(());
                }
                Err(failure) => failure,
            };
            if let Some(error) =
                self.write_error.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                return Err(error);
            }
            if failure.retry == Retry::No && matches!(self.exporter, Exporter::Otlp(_)) {
                // What is in other batches may be to its liking.
                self.answered += batch.len();
                self.rejected.add(batch.len(), failure.to_string(), batch);
                return Ok(());
            }
            let delay = delay(failure.retry).filter(|_| left > 0);
            let Some(delay) = delay else {
                let spans = batch.len() + self.batch.len();
                let before = self.answered - self.rejected.spans;
                return Err(io::Error::other(format!(
                    "{spans} spans could not be delivered, after {before} that were: {failure}"
                )));
            };
            left -= 1;
            std::thread::sleep(delay.max(pause));
            pause *= 2;
        }
    }
}

/// Where the blocks begin that these are spans of.
fn place(batch: &[SpanData]) -> Option<String> {
    let mut places = batch.iter().filter_map(import::place);
    let (file, line) = places.next()?;
    Some(match places.next_back() {
        None => format!("of {file}:{line}"),
        Some((last, end)) => format!("among {file}:{line} to {last}:{end}"),
    })
}

/// How long to wait at least before the batch is sent again; `None` where that would be in vain.
fn delay(retry: Retry) -> Option<Duration> {
    match retry {
        Retry::No | Retry::Hopeless => None,
        Retry::Now | Retry::Soon => Some(Duration::ZERO),
        Retry::After(delay) => (delay <= LONGEST_DELAY).then_some(delay),
    }
}

/// Standard output, remembering why it failed.
struct Watched {
    error: WriteError,
}

impl Watched {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
        })
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.note(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.note(io::stdout().flush())
    }
}
