//! The life of one server process: tracing on, serve, stop when told, spans out, say so.

use std::error::Error;
use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::rt::{System, signal};
use spanbridge::TracingConfig;
use tokio::sync::oneshot;

/// How long the last spans may take to be exported.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Resolves when the process has been told to stop.
pub(crate) type Stopped = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a process is started with.
#[derive(Debug)]
pub(crate) struct Process {
    /// `service.name`, unless the environment says otherwise.
    pub(crate) service_name: &'static str,
    pub(crate) listen: SocketAddr,
    /// `None`: trace context is passed on, nothing is recorded or sent.
    pub(crate) config: Option<TracingConfig>,
    pub(crate) exit_on_stdin_close: bool,
}

impl Process {
    /// Runs the server that `start` makes until SIGINT, SIGTERM or the end of standard input.
    ///
    /// Prints `listening on http://ADDR` on standard output once connections are accepted.
    ///
    /// # Errors
    ///
    /// Fails if tracing cannot be set up, the address cannot be bound, or the last spans could not
    /// be exported in time.
    pub(crate) fn serve(
        self,
        start: impl FnOnce(TcpListener, Stopped) -> io::Result<Server>,
    ) -> Result<(), Box<dyn Error>> {
        let config = self.config.map(|config| {
            config.with_service_name(self.service_name).with_stdout_without_collector()
        });
        let guard = spanbridge::init(config)?;

        let listener = TcpListener::bind(self.listen)
            .map_err(|err| format!("cannot listen on {}: {err}", self.listen))?;
        let addr = listener.local_addr()?;
        System::new().block_on(async {
            let server = start(listener, stopped(self.exit_on_stdin_close)?)?;
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "listening on http://{addr}")?;
            stdout.flush()?;
            drop(stdout);
            server.await
        })?;

        let exported = guard.shutdown(SHUTDOWN);
        writeln!(io::stderr(), "{}: stopped; {}", self.service_name, guard.stats())?;
        Ok(exported?)
    }
}

/// Reads the tracing configuration that a flag names.
///
/// # Errors
///
/// Fails if the file cannot be read or is not a valid configuration.
pub(crate) fn read_config(path: Option<&Path>) -> Result<Option<TracingConfig>, Box<dyn Error>> {
    Ok(path.map(TracingConfig::from_path).transpose()?)
}

fn stopped(exit_on_stdin_close: bool) -> io::Result<Stopped> {
    let (closed, stdin) = oneshot::channel();
    let mut still_open = None;
    if exit_on_stdin_close {
        // A thread, since reading standard input cannot be cancelled; it ends with the process.
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut buffer = [0; 1024];
            while matches!(io::stdin().read(&mut buffer), Ok(1..)) {}
            let _ = closed.send(());
        })?;
    } else {
        still_open = Some(closed);
    }
    let terminated = terminated()?;
    Ok(Box::pin(async move {
        let _still_open = still_open;
        tokio::select! {
            _ = signal::ctrl_c() => {}
            () = terminated => {}
            _ = stdin => {}
        }
    }))
}

#[cfg(unix)]
fn terminated() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    Ok(async move {
        terminate.recv().await;
    })
}

#[cfg(not(unix))]
fn terminated() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(std::future::pending())
}
