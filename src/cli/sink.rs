//! Where spans go.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::Context;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::args::{Destination, ImportArgs};
use super::batch::Waiting;
use super::collector::Collector;
use crate::config::TracingConfig;
use crate::config::endpoint::{CollectorAddress, TcpAddress};
use crate::config::env::EnvSettings;
use crate::config::settings::Settings;
use crate::export::StdoutExporter;
use crate::export::otlp::OtlpExporter;
use crate::export::worker::{self, OwnRuntime};
use crate::import;

/// How many spans one request to a collector has at most.
const BATCH: usize = 512;

/// Takes the spans of whole blocks.
pub(super) enum Sink {
    /// Trees, on standard output.
    Tree,
    Exporter(Box<ExporterSink>),
}

enum Exporter {
    Otlp(Box<Collector>),
    Stdout(StdoutExporter),
}

pub(super) struct ExporterSink {
    runtime: OwnRuntime,
    exporter: Exporter,
    waiting: Waiting,
    /// Whether nothing is kept back for a larger batch.
    is_immediate: bool,
    /// Why writing to standard output failed, which the exporter only tells as text.
    write_error: WriteError,
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
        let mut exporter = match args.to {
            Destination::Otlp => {
                let exporter = worker::build_in(&runtime, || OtlpExporter::new(&settings));
                let exporter =
                    exporter.map_err(|problem| format!("cannot send spans: {problem}"))?;
                Exporter::Otlp(Box::new(Collector::new(exporter, address(&settings), args.retries)))
            }
            Destination::Json | Destination::Tree => {
                let writer = Watched { error: Arc::clone(&write_error) };
                Exporter::Stdout(StdoutExporter::with_writer(writer))
            }
        };
        let default_name = args.service_name.as_deref().unwrap_or("spanbridge-import");
        let resource = crate::init::resource(&settings, Some(default_name));
        match &mut exporter {
            Exporter::Otlp(collector) => collector.exporter_mut().set_resource(&resource),
            Exporter::Stdout(exporter) => SpanExporter::set_resource(exporter, &resource),
        }
        let sink = ExporterSink {
            runtime,
            exporter,
            waiting: Waiting::default(),
            // Who reads JSON lines may be waiting for them.
            is_immediate: args.to == Destination::Json,
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

    /// Delivers what is left.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Tree => Ok(()),
            Self::Exporter(sink) => sink.flush(),
        }
    }

    /// What there is to tell of single spans since it was asked last.
    pub(super) fn take_told(&mut self) -> Vec<String> {
        self.collector().map(Collector::take_told).unwrap_or_default()
    }

    /// What there is to say of all spans that were refused, if any were.
    pub(super) fn refused(&mut self) -> Option<String> {
        self.collector()?.refused()
    }

    fn collector(&mut self) -> Option<&mut Collector> {
        let Self::Exporter(sink) = self else { return None };
        match &mut sink.exporter {
            Exporter::Otlp(collector) => Some(collector),
            Exporter::Stdout(_) => None,
        }
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

/// The collector's address as `--endpoint` takes it.
fn address(settings: &Settings) -> String {
    match &settings.endpoint {
        None => TcpAddress::localhost().url(settings.protocol),
        Some(CollectorAddress::Tcp(address)) => address.url(settings.protocol),
        Some(CollectorAddress::Unix(path)) => format!("unix:{}", path.display()),
        Some(CollectorAddress::UnixAbstract(name)) => format!("unix-abstract:{name}"),
    }
}

impl ExporterSink {
    fn take(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
        self.waiting.add(spans);
        while self.waiting.len() >= BATCH {
            self.deliver(BATCH)?;
        }
        if self.is_immediate { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.waiting.len() {
            0 => Ok(()),
            rest => self.deliver(rest),
        }
    }

    /// Delivers the first spans.
    fn deliver(&mut self, count: usize) -> io::Result<()> {
        let batch = self.waiting.take(count);
        match &mut self.exporter {
            Exporter::Otlp(collector) => {
                collector.deliver(&self.runtime, &batch, self.waiting.len())
            }
            Exporter::Stdout(exporter) => {
                let _suppressed = Context::enter_telemetry_suppressed_scope();
                let written = self.runtime.block_on(exporter.export(batch.into_spans()));
                let error = self.write_error.lock().unwrap_or_else(PoisonError::into_inner).take();
                match (error, written) {
                    (Some(error), _) => Err(error),
                    (None, written) => written.map_err(io::Error::other),
                }
            }
        }
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
