//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::import::TimeZone;

/// Turns the timings that services have written already into OpenTelemetry traces.
#[derive(Debug, Parser)]
#[command(name = "spanbridge", version, about)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Import(ImportArgs),
}

const AFTER_HELP: &str = "\
Examples:
  Send the slow operations in an API server's logs, rotated and packed, to a collector on this host:
    spanbridge import --service-name kube-apiserver /var/log/pods/*apiserver*/*/*
  Have a look at those of the last hour, sending nothing:
    journalctl -u k3s -o json --since -1h | spanbridge import --to tree -
  The five slowest, of a log whose clocks were in Berlin:
    spanbridge import --to json --slowest 5 --time-zone Europe/Berlin apiserver.log >spans.json

Exit codes:
  0  everything readable was imported (what was damaged was told of)
  1  a file could not be read, or spans could not be delivered; where no other request would fare
     better, as without access, the import stops
  2  the command line is wrong
  3  with --strict: something in the logs was damaged, cut off or missing";

/// Finds the blocks that k8s.io/utils/trace prints for slow operations in logs, and makes traces of
/// them.
///
/// Blocks are found in klog's text and JSON, as they are or wrapped by a container runtime (CRI,
/// Docker), journald (journalctl -o short, short-iso, json) or another logger, in all formats since
/// 2015. Steps become events, nested traces child spans. The same block always gets the same ids:
/// importing a log again adds nothing to a backend.
#[derive(Debug, Parser)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(super) struct ImportArgs {
    /// Logs to read, gzip or not; `-` is standard input.
    ///
    /// Give all parts of a rotated log, the oldest first or the newest: blocks that were split are put
    /// together.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,

    /// Where the spans go: to a collector, or to standard output as JSON lines or as trees.
    #[arg(short, long, value_enum, value_name = "TO", default_value_t = Destination::Otlp)]
    pub(super) to: Destination,

    /// The collector's address, such as http://localhost:4317 or unix:/run/otel.sock.
    ///
    /// By default what OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT say, else
    /// this machine at the protocol's port. Headers, compression and timeout come from the other
    /// OTEL_EXPORTER_OTLP_* variables.
    #[arg(long, value_name = "URL")]
    pub(super) endpoint: Option<String>,

    /// How spans travel [default: OTEL_EXPORTER_OTLP_PROTOCOL, else grpc].
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub(super) protocol: Option<ProtocolArg>,

    /// The service that wrote the logs: `service.name` of all spans.
    ///
    /// By default what OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say, else spanbridge-import.
    /// For logs of several services run the command for each.
    #[arg(long, value_name = "NAME")]
    pub(super) service_name: Option<String>,

    /// The zone of times that are printed without one: UTC, local, +02:00, Europe/Berlin.
    ///
    /// By default it is found out for each file from what wraps its lines, where that notes the
    /// moment (CRI, Docker, journald's JSON and short-iso, JSON loggers); else UTC is assumed, and
    /// the summary says so. Ids do not depend on it, so a wrong one can be set right by importing
    /// again.
    #[arg(long, visible_alias = "timezone", value_name = "ZONE")]
    pub(super) time_zone: Option<TimeZone>,

    /// The year of klog's headers, which have none, such as 2020.
    ///
    /// Only needed for blocks whose own start cannot be read, and only if nothing around them has
    /// a year.
    #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i16).range(1970..=2200))]
    pub(super) year: Option<i16>,

    /// How many operations the summary lists as the slowest.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) slowest: usize,

    /// How many blocks may be unfinished at once; more are taken as they are, and told of.
    ///
    /// Raise it for logs in which the lines of very many processes mix.
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = positive)]
    pub(super) max_open_blocks: usize,

    /// How often sending a batch of spans is tried again before the import stops, with pauses of
    /// 0.5 s, 1 s, 2 s and so on.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=10))]
    pub(super) retries: u32,

    /// Ends with exit code 3 if anything in the logs was damaged, cut off or missing.
    #[arg(long)]
    pub(super) strict: bool,

    /// Shows no progress and no summary; given twice, not what was damaged either.
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) quiet: u8,
}

/// Where spans go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Destination {
    /// A collector, over OTLP.
    Otlp,
    /// Standard output, one JSON object a span and line.
    Json,
    /// Standard output, for people.
    Tree,
}

/// How spans travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProtocolArg {
    /// OTLP over gRPC, port 4317.
    Grpc,
    /// OTLP over HTTP with protobuf bodies, port 4318.
    #[value(name = "http/protobuf", alias = "http")]
    HttpProtobuf,
}

impl ProtocolArg {
    /// Its name in `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("must be a whole number from 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
