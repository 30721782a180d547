//! `portolan demo`: three datacenters on loopback, to try it out.

use std::process::ExitCode;

use super::Output;

/// The command line of `demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// JSON makes the log JSON.
    #[command(flatten)]
    pub output: Output,
}

/// Runs it.
pub fn run(_arguments: Arguments) -> ExitCode {
    ExitCode::FAILURE
}
