//! `portolan explain`: each step of a decision, or of what becomes of a flow.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use reqwest::Method;

use super::running::{Call, CallError, Running, report, say};
use super::{ConfigPath, FAILED, Output, USAGE};
use crate::admin::api::question;
use crate::admin::error::Said;
use crate::admin::explain::explain;
use crate::admin::text;
use crate::config;
use crate::control::publish::{Ground, Publisher, Tables};

/// The command line of `explain`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name asked for; with --flow, the L4 service that is come to
    #[arg(value_name = "NAME|SERVICE")]
    pub name: String,
    /// The record type asked for
    #[arg(value_name = "TYPE", default_value = "A")]
    pub rtype: String,
    /// The client's address or subnet, as a resolver would send it
    #[arg(long, value_name = "ADDRESS[/LENGTH]", required_unless_present = "flow")]
    pub client: Option<String>,
    /// Show what becomes of a new connection, or session of datagrams, of this client's
    #[arg(long, value_name = "ADDRESS[:PORT]", conflicts_with_all = ["client", "rtype", "resolver", "offline"])]
    pub flow: Option<String>,
    /// To which of the service's addresses it comes; the first if not given
    #[arg(long, value_name = "ADDRESS:PORT", requires = "flow")]
    pub vip: Option<SocketAddr>,
    /// The TLS server name with which it comes
    #[arg(long, value_name = "NAME", requires = "flow")]
    pub server_name: Option<String>,
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

const OFFLINE_NOTE: &str = "decided from the files alone: every check counts as passed, no \
                            datacenter has reported, and no override is set";

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    if arguments.offline { offline(&arguments) } else { online(&arguments) }
}

fn online(arguments: &Arguments) -> ExitCode {
    let (config, json) = (&arguments.config.config, arguments.output.json);
    let name = arguments.name.clone();
    let mut query = match &arguments.flow {
        Some(client) => vec![("flow", client.clone()), ("service", name)],
        None => vec![("name", name), ("type", arguments.rtype.clone())],
    };
    query.extend(arguments.client.clone().map(|client| ("client", client)));
    query.extend(arguments.resolver.map(|resolver| ("resolver", resolver.to_string())));
    query.extend(arguments.vip.map(|vip| ("vip", vip.to_string())));
    query.extend(arguments.server_name.clone().map(|name| ("server_name", name)));
    let call = Call { method: Method::GET, path: "explain", query, body: None, in_words: !json };
    match Running::find(config).and_then(|running| running.call(config, call)) {
        Ok(explained) => say(&explained),
        Err(CallError::Unreachable(mut said)) => {
            if arguments.flow.is_none() {
                let help = "start the server, or use --offline to decide from the files";
                said.help = Some(help.into());
            }
            CallError::Unreachable(said).report(json)
        }
        Err(error) => error.report(json),
    }
}

fn offline(arguments: &Arguments) -> ExitCode {
    let (config, json) = (&arguments.config.config, arguments.output.json);
    let Arguments { name, rtype, client, resolver, .. } = arguments;
    let resolver = resolver.map(|resolver| resolver.to_string());
    let question = match question(name, rtype, client.as_deref(), resolver.as_deref()) {
        Ok(question) => question,
        Err(error) => {
            report(&Said { error, help: None }, json);
            return ExitCode::from(USAGE);
        }
    };
    let settings = match config::load(config, None) {
        Ok(loaded) => loaded.settings.control,
        Err(_) => {
            let error = format!("{}: the configuration has errors", config.display());
            let help = Some("`portolan check` shows them".into());
            report(&Said { error, help }, json);
            return ExitCode::from(FAILED);
        }
    };
    let ground = Ground::new(Arc::new(settings), &[], None);
    let snapshot = Publisher::new(ground, Tables::default()).published().load_full();
    let mut explained = explain(&snapshot, &question);
    explained.note = Some(OFFLINE_NOTE.into());
    match serde_json::to_string(&explained) {
        Ok(explained) if json => say(&format!("{explained}\n")),
        _ => say(&text::explain::explained(&explained)),
    }
}
