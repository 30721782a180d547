//! `portolan agent`: tells load balancers how much this machine can take.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Output;
use super::serve::{log_to_stderr, until_stopped};
use crate::agent::{Gauge, Marks, Policy, Sampler, listen};

const WHAT_IT_SAYS: &str = "\
Whoever connects gets one line of HAProxy's agent-check protocol, for example `up 75%`: use it with
`agent-check agent-port 8054` in HAProxy, and with `agent = { port = 8054 }` in an L4 service of
Portolan's. The weight is 100% up to the first mark of each measure, and falls to --least at its
second; the fullest measure counts.

Signals:
  USR1  drain: no new connections
  USR2  take that back
  TERM  end";

/// The command line of `agent`.
#[derive(Debug, clap::Args)]
#[command(after_help = WHAT_IT_SAYS)]
pub struct Arguments {
    /// Where load balancers connect; may be given more than once
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8054")]
    pub listen: Vec<SocketAddr>,
    /// From one measurement to the next
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// Over which time measurements are averaged; `0s`: they are not
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    pub smoothing: Duration,
    /// Processors: percent in use, or `off`
    #[arg(long, value_name = "EASY-FULL", default_value = "60-95", value_parser = percents)]
    pub cpu: Measure,
    /// Memory: percent in use, caches not counted, or `off`
    #[arg(long, value_name = "EASY-FULL", default_value = "80-98", value_parser = percents)]
    pub memory: Measure,
    /// Load: tasks for each processor (mean of a minute), or `off`
    #[arg(long, value_name = "EASY-FULL", default_value = "2-6", value_parser = numbers)]
    pub load: Measure,
    /// The weight of a full machine, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub least: u8,
    /// Drain when full for so long, until it is relieved
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub drain_after: Option<Duration>,
    /// Be down when full for so long, until it is relieved
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub down_after: Option<Duration>,
    /// How many connections at a time this machine can take (`maxconn`)
    #[arg(long, value_name = "NUMBER")]
    pub maxconn: Option<u32>,
    /// Begin drained, as after the signal USR1
    #[arg(long)]
    pub drain: bool,
    /// Drain for as long as this file is there
    #[arg(long, value_name = "FILE")]
    pub drain_file: Option<PathBuf>,
    /// Measure this control group (version 2) by its limits; without it, the container's own, or the
    /// machine
    #[arg(long, value_name = "DIRECTORY")]
    pub cgroup: Option<PathBuf>,
    /// Print the line after one measurement, and end
    #[arg(long)]
    pub once: bool,
    /// JSON makes the log JSON, or what `--once` prints.
    #[command(flatten)]
    pub output: Output,
}

/// The marks of a measure; none: it is off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure(Option<Marks>);

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    log_to_stderr(arguments.output.json, "info");
    until_stopped(run_on(arguments))
}

async fn run_on(arguments: Arguments) -> anyhow::Result<()> {
    let sampler = Sampler::new(arguments.cgroup.clone()).with_context(|| {
        let of = arguments.cgroup.as_deref().unwrap_or(Path::new("/proc"));
        format!("cannot measure by {}", of.display())
    })?;
    let mut agent = Agent {
        sampler,
        gauge: Gauge::new(policy(&arguments), Instant::now()),
        told_to_drain: arguments.drain,
        drain_file: arguments.drain_file.clone(),
    };
    agent.measure();
    if arguments.once {
        tokio::time::sleep(arguments.interval).await;
        let line = agent.measure();
        match arguments.output.json {
            true => println!("{}", serde_json::json!({ "line": line.trim_end() })),
            false => print!("{line}"),
        }
        return Ok(());
    }
    agent.serve(&arguments.listen, arguments.interval).await
}

struct Agent {
    sampler: Sampler,
    gauge: Gauge,
    /// By a signal, or at the start.
    told_to_drain: bool,
    drain_file: Option<PathBuf>,
}

impl Agent {
    /// Measures, and returns what is to be said.
    fn measure(&mut self) -> Arc<str> {
        let now = Instant::now();
        let is_there = self.drain_file.as_ref().is_some_and(|path| path.exists());
        self.gauge.set_drained(self.told_to_drain || is_there, now);
        self.gauge.take(self.sampler.take(now), now);
        self.gauge.line(now).to_string().into()
    }

    async fn serve(mut self, listen: &[SocketAddr], interval: Duration) -> anyhow::Result<()> {
        let mut signals = Signals::new()?;
        let (line, _) = watch::channel(self.measure());
        let mut listeners = JoinSet::new();
        for address in listen {
            let listener = TcpListener::bind(address).await;
            let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
            tracing::info!(address = %listener.local_addr()?, "the agent listens");
            listeners.spawn(listen::answer(listener, line.subscribe()));
        }
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = signals.drain.recv() => self.told_to_drain = true,
                _ = signals.ready.recv() => self.told_to_drain = false,
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
            }
            let said = self.measure();
            if *line.borrow() != said {
                tracing::debug!(line = said.trim_end(), "says");
                line.send_replace(said);
            }
        }
    }
}

struct Signals {
    drain: Signal,
    ready: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        Ok(Signals {
            drain: signal(SignalKind::user_defined1())?,
            ready: signal(SignalKind::user_defined2())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

fn policy(arguments: &Arguments) -> Policy {
    Policy {
        cpu: arguments.cpu.0,
        memory: arguments.memory.0,
        load: arguments.load.0,
        smoothing: arguments.smoothing,
        least_percent: arguments.least,
        drain_after: arguments.drain_after,
        down_after: arguments.down_after,
        max_connections: arguments.maxconn,
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let least = Duration::from_millis(100);
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= least => Ok(interval),
        Ok(_) => Err("expected at least 100ms".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn percents(text: &str) -> Result<Measure, String> {
    let Measure(marks) = numbers(text)?;
    match marks {
        Some(Marks { full, .. }) if full > 100.0 => Err("expected no more than 100 percent".into()),
        marks => Ok(Measure(
            marks.map(|Marks { easy, full }| Marks { easy: easy / 100.0, full: full / 100.0 }),
        )),
    }
}

fn numbers(text: &str) -> Result<Measure, String> {
    if text == "off" {
        return Ok(Measure(None));
    }
    let number = |text: &str| text.trim().parse().ok().filter(|number: &f64| number.is_finite());
    match text.split_once('-').and_then(|(easy, full)| number(easy).zip(number(full))) {
        Some((easy, full)) if 0.0 <= easy && easy < full => Ok(Measure(Some(Marks { easy, full }))),
        Some(_) => Err("expected the second mark above the first".into()),
        None => Err("expected two marks, such as `60-95`, or `off`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_two_numbers_the_second_above_the_first() {
        let marks = |easy, full| Ok(Measure(Some(Marks { easy, full })));
        assert_eq!(percents("60-95"), marks(0.6, 0.95));
        assert_eq!(numbers("1.5-4"), marks(1.5, 4.0));
        assert_eq!(percents("off"), Ok(Measure(None)));
        for wrong in ["", "60", "95-60", "60-60", "-5-10", "60-101", "a-b", "nan-nan", "1-inf"] {
            assert!(percents(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_interval_cannot_spin() {
        assert!(interval("0s").is_err() && interval("1ms").is_err());
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
    }
}
