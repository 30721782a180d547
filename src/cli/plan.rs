//! `portolan plan`: which clients go to which datacenter, and what the loss of one would mean.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use reqwest::Method;

use super::running::{Call, CallError, Running, say};
use super::{ConfigPath, Output};
use crate::admin::error::Said;
use crate::admin::text::plan::{Style, plan};
use crate::admin::view::plan::PlanView;

/// The command line of `plan`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Every client group, not only the heaviest
    #[arg(long)]
    pub all: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigPath,
    /// How the result is printed.
    #[command(flatten)]
    pub output: Output,
}

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    let Arguments { all, config, output } = arguments;
    let query = if all { vec![("all", "true".to_owned())] } else { Vec::new() };
    let call = Call { method: Method::GET, path: "plan", query, body: None, in_words: false };
    let told = Running::find(&config.config).and_then(|running| running.call(&config.config, call));
    let json = match told {
        Ok(json) if output.json => return say(&json),
        Ok(json) => json,
        Err(error) => return error.report(output.json),
    };
    let colours = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match serde_json::from_str::<PlanView>(&json) {
        Ok(view) => say(&plan(&view, Style { colours, all })),
        Err(error) => CallError::Refused(Said {
            error: format!("the server's plan is not understood: {error}"),
            help: Some("is it of another version? --json prints it as it is".into()),
        })
        .report(false),
    }
}
