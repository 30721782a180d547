//! `portolan explain`: each step of a decision.

use std::net::IpAddr;
use std::process::ExitCode;

use super::{ConfigPath, Output};

/// The command line of `explain`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name asked for
    pub name: String,
    /// The record type asked for
    #[arg(value_name = "TYPE", default_value = "A")]
    pub rtype: String,
    /// The client's address or subnet, as a resolver would send it
    #[arg(long, value_name = "ADDRESS[/LENGTH]")]
    pub client: String,
    /// The resolver's address; the client's if not given
    #[arg(long, value_name = "ADDRESS")]
    pub resolver: Option<IpAddr>,
    /// Decide from the files alone, with everything healthy
    #[arg(long)]
    pub offline: bool,
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
