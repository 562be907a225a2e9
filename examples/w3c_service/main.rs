//! The service that the W3C's trace-context harness tests: it makes the calls that it is told to,
//! and each has to carry the trace context that came in.
//!
//! ```text
//! cargo run --example w3c_service
//! curl -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03' \
//!     -H 'Content-Type: application/json' \
//!     -d '[{"url": "http://127.0.0.1:7777/callback", "arguments": []}]' \
//!     http://127.0.0.1:5000/test
//! ```
//!
//! You should see `listening on http://127.0.0.1:5000`, and, at whatever listens on port 7777, a
//! request with the same trace id and flags and another parent id. Without such a listener curl is
//! told that the call failed.
//!
//! `just w3c CHECKOUT` starts it and runs the harness of a checkout of
//! <https://github.com/w3c/trace-context> against it: level 2, strict, 41 tests.

mod service;

use std::error::Error;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};

use actix_web::{App, HttpServer};
use clap::Parser;
use spanbridge::ServerTracing;
use tracing_subscriber::prelude::*;

/// Makes the calls that it is told to, within the trace that it is told them in.
#[derive(Debug, Parser)]
#[command(name = "w3c_service")]
struct Cli {
    /// Where to listen; port 0 for any that is free.
    #[arg(long, default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    // Spans are made, so that each call has a parent id of its own, and go nowhere.
    let (layer, _guard) = spanbridge::layer().build();
    tracing_subscriber::registry().with(layer).init();

    let listener = TcpListener::bind(cli.listen)
        .map_err(|err| format!("cannot listen on {}: {err}", cli.listen))?;
    let address = listener.local_addr()?;
    let server =
        HttpServer::new(|| App::new().configure(service::routes).wrap(ServerTracing::new()))
            .workers(1)
            .listen(listener)?;
    writeln!(io::stdout(), "listening on http://{address}")?;
    Ok(server.run().await?)
}
