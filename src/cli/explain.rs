//! `portolan explain`: each step of a decision.

use std::net::IpAddr;
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

const OFFLINE_NOTE: &str = "decided from the files alone: every check counts as passed, no \
                            datacenter has reported, and no override is set";

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    if arguments.offline { offline(&arguments) } else { online(&arguments) }
}

fn online(arguments: &Arguments) -> ExitCode {
    let (config, json) = (&arguments.config.config, arguments.output.json);
    let mut query = vec![
        ("name", arguments.name.clone()),
        ("type", arguments.rtype.clone()),
        ("client", arguments.client.clone()),
    ];
    query.extend(arguments.resolver.map(|resolver| ("resolver", resolver.to_string())));
    let call = Call { method: Method::GET, path: "explain", query, body: None, in_words: !json };
    match Running::find(config).and_then(|running| running.call(config, call)) {
        Ok(explained) => say(&explained),
        Err(CallError::Unreachable(mut said)) => {
            said.help = Some("start the server, or use --offline to decide from the files".into());
            CallError::Unreachable(said).report(json)
        }
        Err(error) => error.report(json),
    }
}

fn offline(arguments: &Arguments) -> ExitCode {
    let (config, json) = (&arguments.config.config, arguments.output.json);
    let Arguments { name, rtype, client, resolver, .. } = arguments;
    let resolver = resolver.map(|resolver| resolver.to_string());
    let question = match question(name, rtype, Some(client.as_str()), resolver.as_deref()) {
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
