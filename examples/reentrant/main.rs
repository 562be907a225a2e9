//! KEP-647's webhook story: one trace through an API server, an admission webhook, and back.
//!
//! ```text
//! cargo run --example reentrant
//! cargo run --example reentrant -- --webhook-without-sdk
//! ```
//!
//! Three processes take part: this one, which receives spans over OTLP/gRPC as a Collector would,
//! and two that it starts from the same program, the API server and the webhook. A pod is created;
//! the API server asks the webhook; the webhook lists the namespace in the API server before it
//! says yes.
//!
//! You should see one tree of ten spans: the create and the `legacy::Trace` of its handler, the call
//! to the webhook, the webhook's own span and the trace of its handler, its call back, the list that
//! this is for the API server with its trace, and the two storage operations; and the text that the
//! traces are in the logs of the two. With `--webhook-without-sdk` the webhook passes on the trace
//! context and exports nothing: seven spans, and the list hangs directly on the API server's own
//! call. `--all-verbs` adds a trace each for list, get, update, patch and delete; `--json` prints
//! spans as JSON lines.

mod children;
#[path = "../support/json.rs"]
mod json;
#[path = "../support/process.rs"]
mod process;
#[path = "../apiserver/server/mod.rs"]
mod server;
mod story;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../support/tree.rs"]
mod tree;
mod webhook;

use std::error::Error;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use opentelemetry::trace::TraceId;
use rand::TryRngCore as _;
use rand::rngs::OsRng;

use self::children::Role;
use self::story::{COLLECTION, ExpectedTrace, OBJECT};
use self::support::otlp_receiver::{OtlpReceiver, ReceivedSpan};
use self::tree::SpanTree;

/// How often it is looked whether the children are still alive.
const LOOK: Duration = Duration::from_millis(250);

/// One trace through an API server, an admission webhook that calls it back, and its storage.
#[derive(Debug, Parser)]
#[command(name = "reentrant", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<RoleCommand>,
    #[command(flatten)]
    flags: Flags,
}

/// What the children are started with.
#[derive(Debug, Subcommand)]
enum RoleCommand {
    #[command(hide = true)]
    Apiserver(server::Flags),
    #[command(hide = true)]
    Webhook(webhook::Flags),
}

#[derive(Args, Debug)]
struct Flags {
    /// Run the webhook without exporting spans: it only passes the trace context on.
    #[arg(long)]
    webhook_without_sdk: bool,

    /// After the create, also list, get, update, patch and delete.
    #[arg(long)]
    all_verbs: bool,

    /// Print the spans as JSON, one object a line, instead of as a tree.
    #[arg(long)]
    json: bool,

    /// How long everything together may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (name, result) = match cli.role {
        None => ("reentrant", tell(&cli.flags)),
        Some(RoleCommand::Apiserver(flags)) => ("apiserver", server::run(flags)),
        Some(RoleCommand::Webhook(flags)) => ("webhook", webhook::run(flags)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            let _ = writeln!(io::stderr(), "{name}: {err}");
            ExitCode::FAILURE
        }
    }
}

fn tell(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(flags.timeout);
    let receiver = OtlpReceiver::grpc();
    let config = ConfigFile::for_collector(&receiver)?;
    let config_flag = [OsStr::new("--tracing-config-file"), config.0.as_os_str()];

    let mut args = vec![OsStr::new("webhook"), OsStr::new("--exit-on-stdin-close")];
    if !flags.webhook_without_sdk {
        args.extend(config_flag);
    }
    let webhook = Role::start("webhook", &args, deadline)?;
    let webhook_url = format!("{}/admit", webhook.url());
    let mut args = vec![OsStr::new("apiserver"), OsStr::new("--exit-on-stdin-close")];
    args.extend(["--listen", "127.0.0.1:0", "--webhook-url", &webhook_url].map(OsStr::new));
    // Every operation is slow enough, so that there is something to see.
    args.extend(["--slow-operation", "0"].map(OsStr::new));
    args.extend(config_flag);
    let apiserver = Role::start("apiserver", &args, deadline)?;
    let mut roles = [webhook, apiserver];
    let intro = format!(
        "3 processes: this one ({}) receives spans on {}; {} ({}) and {} ({}) serve.\n",
        std::process::id(),
        receiver.endpoint(),
        roles[0].name(),
        roles[0].pid(),
        roles[1].name(),
        roles[1].pid(),
    );

    let left = deadline.saturating_duration_since(Instant::now());
    let driven = story::drive(roles[1].url(), flags.all_verbs, left);
    // Why a request failed is better told by a child that has died of it.
    roles.iter_mut().try_for_each(Role::check)?;
    driven?;

    let expected = expected(flags);
    let spans = collect(&receiver, &expected, &mut roles, deadline)?;
    let [webhook, apiserver] = roles;
    let apiserver_log = apiserver.stop(deadline)?;
    let webhook_log = webhook.stop(deadline)?;
    let operations: &[&str] = match flags.all_verbs {
        true => &["Create", "List", "Get", "Update", "Patch", "Delete"],
        false => &["Create", "List"],
    };
    story::check_text(&apiserver_log, operations)?;
    story::check_text(&webhook_log, &["Admit"])?;

    let mut out = String::new();
    if flags.json {
        for span in &spans {
            out += &format!("{}\n", json::to_json(span));
        }
    } else {
        out += &intro;
        for tree in SpanTree::all(&spans) {
            out += &format!("\n{tree}");
        }
        out += &format!("\nThe API server's log:\n\n{apiserver_log}");
        out += &format!("\nThe webhook's log:\n\n{webhook_log}");
        out += explanation(flags.webhook_without_sdk);
    }
    match io::stdout().lock().write_all(out.as_bytes()) {
        // Whoever reads has seen enough.
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn expected(flags: &Flags) -> Vec<ExpectedTrace> {
    let mut expected = vec![ExpectedTrace::create(!flags.webhook_without_sdk)];
    if flags.all_verbs {
        expected.extend([
            ExpectedTrace::plain("GET", COLLECTION, "List"),
            ExpectedTrace::plain("GET", OBJECT, "Get"),
            ExpectedTrace::plain("PUT", OBJECT, "Update"),
            ExpectedTrace::plain("PATCH", OBJECT, "Patch"),
            ExpectedTrace::plain("DELETE", OBJECT, "Delete"),
        ]);
    }
    expected
}

/// Waits for the expected traces, and returns all of their spans.
fn collect(
    receiver: &OtlpReceiver,
    expected: &[ExpectedTrace],
    roles: &mut [Role],
    deadline: Instant,
) -> Result<Vec<ReceivedSpan>, Box<dyn Error>> {
    let complete = |spans: &[ReceivedSpan]| expected.iter().all(|trace| trace.find(spans).is_ok());
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.wait_until(complete, left.min(LOOK)) {
            Ok(spans) => {
                let traces: Vec<TraceId> =
                    expected.iter().filter_map(|trace| trace.find(&spans).ok()).collect();
                return Ok(spans.into_iter().filter(|s| traces.contains(&s.trace_id)).collect());
            }
            Err(timed_out) if left.is_zero() => {
                let spans = receiver.spans();
                let missing = expected.iter().filter_map(|trace| trace.find(&spans).err());
                let missing = missing.flatten().collect::<Vec<_>>().join(", ");
                return Err(format!("spans are missing: {missing}; {timed_out}").into());
            }
            Err(_) => roles.iter_mut().try_for_each(Role::check)?,
        }
    }
}

fn explanation(webhook_without_sdk: bool) -> &'static str {
    if webhook_without_sdk {
        "
One trace, although the webhook exported nothing: it was started without a tracing configuration,
so it only passed the trace context on. The re-entrant GET is therefore the direct child of the
API server's own call to the webhook, as KEP-647 says, and the webhook's time is what is left of
that call.
"
    } else {
        "
One trace: the create called the webhook (CLIENT), the webhook answered (SERVER) after it had
called back (CLIENT), and the API server served that re-entrant GET (SERVER) as a part of the
create that caused it. Try --webhook-without-sdk for a webhook that exports nothing.
"
    }
}

/// A tracing configuration in the temporary folder, for as long as this lives.
#[derive(Debug)]
struct ConfigFile(PathBuf);

impl ConfigFile {
    /// Every request is sampled and sent to `collector`.
    fn for_collector(collector: &OtlpReceiver) -> io::Result<Self> {
        let unique = OsRng.try_next_u64().map_err(io::Error::other)?;
        let path = std::env::temp_dir().join(format!("reentrant-{unique:016x}.yaml"));
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\n\
             kind: TracingConfiguration\n\
             endpoint: {}\n\
             samplingRatePerMillion: 1000000\n",
            collector.addr()
        );
        // Never through a file or link that someone else has put there.
        File::create_new(&path)?.write_all(text.as_bytes())?;
        Ok(Self(path))
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        // What is left over in the temporary folder is the system's to clean.
        let _ = fs::remove_file(&self.0);
    }
}
