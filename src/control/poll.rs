//! Fetches a datacenter's report over HTTP, at its interval.

use std::time::Duration;

use super::{Report, ReportSource};

/// A report longer than this is not read.
const MAX_REPORT_BYTES: usize = 64 * 1024;
/// A poll without an answer by then has failed.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// Fetches reports. One client serves all sources, so that connections are kept.
#[derive(Clone, Debug)]
pub struct Poller {
    client: reqwest::Client,
}

impl Poller {
    /// The error is for people.
    pub fn new() -> Result<Poller, String> {
        // The client takes the process's provider; if there is one already, it is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(POLL_TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .build();
        client.map(|client| Poller { client }).map_err(|error| chain(&error))
    }

    /// Fetches one report; the error says what is wrong.
    pub async fn fetch(&self, source: &ReportSource) -> Result<Report, String> {
        let failed = |error: reqwest::Error| chain(&error.without_url());
        let mut response = self.client.get(&source.url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_REPORT_BYTES {
                return Err(format!("the answer is longer than {MAX_REPORT_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| format!("the answer is no report: {error}"))
    }

    /// Fetches for ever, and hands every result to `take`.
    pub async fn poll(self, source: ReportSource, take: impl Fn(Result<Report, String>)) {
        let mut ticks = tokio::time::interval(source.interval.max(Duration::from_millis(100)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            take(self.fetch(&source).await);
        }
    }
}

/// An error with all its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
