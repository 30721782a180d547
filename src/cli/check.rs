//! `portolan check`: reads everything `serve` would read, and prints every problem at once.

use std::process::ExitCode;

use super::{ConfigPath, Output};

/// The command line of `check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigPath,
    /// How the problems are printed.
    #[command(flatten)]
    pub output: Output,
}

/// Runs it.
pub fn run(_arguments: Arguments) -> ExitCode {
    ExitCode::FAILURE
}
