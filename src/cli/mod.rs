//! The verbs of the command line.

pub mod agent;
pub mod backend;
pub mod check;
pub mod demo;
mod detach;
pub mod explain;
pub mod overrides;
pub mod plan;
pub mod running;
pub mod serve;
pub mod simulate;
pub mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Exit code: the problem was found, or the verb failed.
pub const FAILED: u8 = 1;
/// Exit code: the command line is not understood.
pub const USAGE: u8 = 2;
/// Exit code: the running server could not be reached.
pub const UNREACHABLE: u8 = 3;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `check`: no errors (there may be warnings)
  1  failed; for `check`: there are errors
  2  the command line is not understood
  3  the running server could not be reached (explain, status, plan, drain,
     force, backend, clear)";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, about, after_help = EXIT_CODES)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run what the configuration asks for: the DNS, L4 services, or both
    Serve(serve::Arguments),
    /// Run three datacenters, the DNS and the admin page on loopback, to try it out
    Demo(demo::Arguments),
    /// Read everything `serve` would read and print every problem at once
    Check(check::Arguments),
    /// Tell load balancers how much this machine can take, by its CPU, memory and load
    Agent(Box<agent::Arguments>),
    /// Show each step of a decision, or of what becomes of a flow, and what was passed over and why
    Explain(explain::Arguments),
    /// Try policies and configurations out in simulated time, without a network
    Simulate(Box<simulate::Arguments>),
    /// Show what the running server knows
    Status(status::Arguments),
    /// Show which clients go where by capacity, and what the loss of a datacenter would mean
    Plan(plan::Arguments),
    /// Let a target take no new clients
    Drain(overrides::DrainArguments),
    /// Count a target as up or down, whatever its checks say
    Force(overrides::ForceArguments),
    /// Add, remove and weight backends of the running server's L4 services
    Backend(backend::Arguments),
    /// Take back `drain`, `force` and `backend`
    Clear(overrides::ClearArguments),
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub struct ConfigPath {
    /// The server's configuration file
    #[arg(long, value_name = "FILE", default_value = "portolan.toml")]
    pub config: PathBuf,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// Print JSON, for machines
    #[arg(long)]
    pub json: bool,
}

/// Parses the command line, runs the verb, and returns its exit code.
pub fn main() -> ExitCode {
    match CommandLine::parse().verb {
        Verb::Serve(arguments) => serve::run(arguments),
        Verb::Demo(arguments) => demo::run(arguments),
        Verb::Check(arguments) => check::run(arguments),
        Verb::Agent(arguments) => agent::run(*arguments),
        Verb::Explain(arguments) => explain::run(arguments),
        Verb::Simulate(arguments) => simulate::run(*arguments),
        Verb::Status(arguments) => status::run(arguments),
        Verb::Plan(arguments) => plan::run(arguments),
        Verb::Drain(arguments) => overrides::drain(arguments),
        Verb::Force(arguments) => overrides::force(arguments),
        Verb::Backend(arguments) => backend::run(arguments),
        Verb::Clear(arguments) => overrides::clear(arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_verb_prints_json() {
        for verb in [
            "serve",
            "demo",
            "check",
            "explain www.example.com --client 203.0.113.9/24",
            "explain web --flow 203.0.113.9:4242 --server-name www.example.com",
            "status",
            "plan --all",
            "drain datacenter/fra --for 2h --reason maintenance",
            "force pool/example.com/web down",
            "clear l4/web/10.0.0.5:443",
            "clear l4/web/10.0.0.5:443 --only standing",
            "backend add web 10.0.0.5:443 [2001:db8::5]:443 --weight 3 --backup --for 2h",
            "backend remove web 10.0.0.5:443 --reason broken",
            "backend weight web 10.0.0.5:443 7",
        ] {
            parse(&format!("portolan {verb} --json")).unwrap_or_else(|e| panic!("{verb}: {e}"));
        }
    }

    #[test]
    fn a_mistaken_command_line_exits_with_2() {
        for line in [
            "portolan",
            "portolan chek",
            "portolan force datacenter/fra sideways",
            "portolan explain www.example.com",
            "portolan explain web --flow 203.0.113.9 --client 203.0.113.9",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), i32::from(USAGE), "{line}");
        }
    }
}
