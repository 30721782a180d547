//! `portolan status`: what the running server knows.

use std::process::ExitCode;

use super::{ConfigPath, Output};

/// The command line of `status`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigPath,
    /// How the result is printed.
    #[command(flatten)]
    pub output: Output,
}

/// Runs it.
pub fn run(_arguments: Arguments) -> ExitCode {
    ExitCode::FAILURE
}
