//! `portolan backend`: backends of the running server's L4 services, added, removed and weighted
//! until that is cleared. No connection is touched that need not be.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Subcommand;

use super::overrides::{Terms, set};
use super::{ConfigPath, Output};
use crate::control::{Action, Target};

/// The command line of `backend`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Let backends stand behind a service that its files do not name
    Add {
        #[command(flatten)]
        which: Which,
        /// Its share among its equals
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        weight: u32,
        /// Let it take connections only while no other can
        #[arg(long)]
        backup: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Take backends away from a service; their connections go on to their end
    Remove {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        common: Common,
    },
    /// Give a backend another weight than its file says; 0 takes no new connections
    Weight {
        /// The service's name
        service: String,
        /// The backend's address and port
        address: SocketAddr,
        /// Its share among its equals
        weight: u32,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The service's name
    service: String,
    /// The backends' addresses and ports
    #[arg(required = true)]
    addresses: Vec<SocketAddr>,
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    config: ConfigPath,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    let (service, addresses, action, common) = match arguments.what {
        What::Add { which, weight, backup, common } => {
            (which.service, which.addresses, Action::Add { weight, backup }, common)
        }
        What::Remove { which, common } => (which.service, which.addresses, Action::Remove, common),
        What::Weight { service, address, weight, common } => {
            (service, vec![address], Action::Weight { weight }, common)
        }
    };
    let Common { terms, config, output } = common;
    for address in addresses {
        let target = Target::L4 { service: service.clone(), backend: address.to_string() };
        let code = set(target, action, &terms, &config.config, output.json);
        if code != ExitCode::SUCCESS {
            return code;
        }
    }
    ExitCode::SUCCESS
}
