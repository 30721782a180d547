//! `portolan serve`: runs what the configuration asks for.

use std::process::ExitCode;

use super::{ConfigPath, Output};

/// The command line of `serve`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigPath,
    /// JSON makes the log JSON.
    #[command(flatten)]
    pub output: Output,
}

/// Runs it.
pub fn run(_arguments: Arguments) -> ExitCode {
    ExitCode::FAILURE
}
