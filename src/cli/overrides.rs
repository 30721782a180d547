//! `portolan drain`, `force` and `clear`: the operator's overrides.

use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use super::{ConfigPath, Output};
use crate::control::Target;

const TARGETS: &str = "\
Targets: datacenter/NAME, pool/ZONE/POOL, member/ZONE/POOL/DATACENTER, l4/SERVICE/ADDRESS:PORT";

/// The command line of `drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = TARGETS)]
pub struct DrainArguments {
    /// What takes no new clients
    #[arg(value_parser = str::parse::<Target>)]
    pub target: Target,
    /// For how long, and why.
    #[command(flatten)]
    pub terms: Terms,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigPath,
    /// How the result is printed.
    #[command(flatten)]
    pub output: Output,
}

/// The command line of `force`.
#[derive(Debug, clap::Args)]
#[command(after_help = TARGETS)]
pub struct ForceArguments {
    /// What counts as up or down
    #[arg(value_parser = str::parse::<Target>)]
    pub target: Target,
    /// Which of both
    pub verdict: Verdict,
    /// For how long, and why.
    #[command(flatten)]
    pub terms: Terms,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigPath,
    /// How the result is printed.
    #[command(flatten)]
    pub output: Output,
}

/// The command line of `clear`.
#[derive(Debug, clap::Args)]
#[command(after_help = TARGETS)]
pub struct ClearArguments {
    /// What follows its checks again
    #[arg(value_parser = str::parse::<Target>)]
    pub target: Target,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigPath,
    /// How the result is printed.
    #[command(flatten)]
    pub output: Output,
}

/// For how long an override holds, and why it was set.
#[derive(Debug, clap::Args)]
pub struct Terms {
    /// Until it ends by itself: `90s`, `2h`; without it, it holds until cleared
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Why, for whoever looks at the status
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// What a target counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Verdict {
    /// Healthy
    Up,
    /// Not healthy
    Down,
}

/// Runs `drain`.
pub fn drain(_arguments: DrainArguments) -> ExitCode {
    ExitCode::FAILURE
}

/// Runs `force`.
pub fn force(_arguments: ForceArguments) -> ExitCode {
    ExitCode::FAILURE
}

/// Runs `clear`.
pub fn clear(_arguments: ClearArguments) -> ExitCode {
    ExitCode::FAILURE
}
