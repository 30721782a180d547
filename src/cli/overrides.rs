//! `portolan drain`, `force` and `clear`: the operator's overrides.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use reqwest::Method;

use super::running::{Call, Running, say};
use super::{ConfigPath, Output};
use crate::admin::change::OverrideRequest;
use crate::control::{Action, Target};

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
    /// What follows its checks, and its files, again
    #[arg(value_parser = str::parse::<Target>)]
    pub target: Target,
    /// Take back only this of what is said of it
    #[arg(long, value_name = "ASPECT")]
    pub only: Option<OnlyAspect>,
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

/// What of a target is overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnlyAspect {
    /// `drain` and `force`
    Standing,
    /// `backend add` and `backend remove`
    Membership,
    /// `backend weight`
    Weight,
}

/// Runs `drain`.
pub fn drain(arguments: DrainArguments) -> ExitCode {
    let DrainArguments { target, terms, config, output } = arguments;
    set(target, Action::Drain, &terms, &config.config, output.json)
}

/// Runs `force`.
pub fn force(arguments: ForceArguments) -> ExitCode {
    let ForceArguments { target, verdict, terms, config, output } = arguments;
    let action = match verdict {
        Verdict::Up => Action::ForceUp,
        Verdict::Down => Action::ForceDown,
    };
    set(target, action, &terms, &config.config, output.json)
}

/// Runs `clear`.
pub fn clear(arguments: ClearArguments) -> ExitCode {
    let ClearArguments { target, only, config, output } = arguments;
    let only = only.map(|only| match only {
        OnlyAspect::Standing => "standing",
        OnlyAspect::Membership => "membership",
        OnlyAspect::Weight => "weight",
    });
    let mut query = vec![("target", target.to_string())];
    query.extend(only.map(|only| ("only", only.to_owned())));
    let (config, json) = (config.config, output.json);
    let call =
        Call { method: Method::DELETE, path: "overrides", query, body: None, in_words: !json };
    match Running::find(&config).and_then(|running| running.call(&config, call)) {
        Ok(answer) => say(&answer),
        Err(error) => error.report(json),
    }
}

/// Sets an override, and prints what comes of it.
pub(super) fn set(
    target: Target,
    action: Action,
    terms: &Terms,
    config: &Path,
    json: bool,
) -> ExitCode {
    let (action, weight, backup) = action.parts();
    let wanted = OverrideRequest {
        target,
        action,
        weight,
        backup,
        lasts: terms.duration.map(|lasts| humantime::format_duration(lasts).to_string()),
        reason: terms.reason.clone(),
    };
    let call = Call {
        method: Method::POST,
        path: "overrides",
        query: Vec::new(),
        body: Some(serde_json::json!(wanted)),
        in_words: !json,
    };
    match Running::find(config).and_then(|running| running.call(config, call)) {
        Ok(answer) => say(&answer),
        Err(error) => error.report(json),
    }
}
