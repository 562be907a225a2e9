//! The command `spanbridge`. No part of the library's interface: what it does is in
//! [`import`](crate::import), and how it is used is in `docs/import.md`.

mod args;
mod batch;
mod collector;
mod import;
mod progress;
mod report;
mod sink;

use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Args, Command};

/// Runs the command with the process's arguments.
pub fn main() -> ExitCode {
    let Args { command: Command::Import(args) } = Args::parse();
    import::run(&args).into()
}

/// How the command ends. The numbers are documented in the help text and `docs/import.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    /// A file could not be read, or spans could not be delivered.
    Failed = 1,
    /// The command line or the environment is wrong; clap uses the same number.
    Usage = 2,
    /// There were problems in the logs, and `--strict` was given.
    Problems = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
