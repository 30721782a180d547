//! `portolan status`: what the running server knows.

use std::process::ExitCode;

use reqwest::Method;

use super::running::{Call, Running, say};
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
pub fn run(arguments: Arguments) -> ExitCode {
    let (config, json) = (arguments.config.config, arguments.output.json);
    let call = Call {
        method: Method::GET,
        path: "status",
        query: Vec::new(),
        body: None,
        in_words: !json,
    };
    match Running::find(&config).and_then(|running| running.call(&config, call)) {
        Ok(status) => say(&status),
        Err(error) => error.report(json),
    }
}
