//! Fetches a datacenter's report over HTTP, at its interval.

use std::time::Duration;

use super::{Report, ReportSource};
use crate::health::http::root_cause;

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
        client.map(|client| Poller { client }).map_err(|error| root_cause(&error))
    }

    /// Fetches one report; the error says what is wrong.
    pub async fn fetch(&self, source: &ReportSource) -> Result<Report, String> {
        let failed = |error: reqwest::Error| root_cause(&error);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// No condition takes this long, even on a busy machine.
    const DEADLINE: Duration = Duration::from_secs(20);

    /// A site whose nth answer, from 0, is what `answer` says; none: it stays silent.
    async fn site(answer: impl Fn(usize) -> Option<Vec<u8>> + Send + Sync + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v1/report", listener.local_addr().unwrap());
        let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    match answer(count.fetch_add(1, Ordering::SeqCst)) {
                        Some(bytes) => {
                            let _ = stream.write_all(&bytes).await;
                            let _ = stream.shutdown().await;
                        }
                        None => while let Ok(1..) = stream.read(&mut [0; 64]).await {},
                    }
                });
            }
        });
        url
    }

    fn http(status: &str, body: &str) -> Option<Vec<u8>> {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n");
        Some((head + body).into_bytes())
    }

    async fn fetched(url: &str) -> Result<Report, String> {
        let source = ReportSource { url: url.into(), interval: Duration::from_secs(2) };
        Poller::new().unwrap().fetch(&source).await
    }

    #[tokio::test]
    async fn a_report_is_fetched() {
        let body = r#"{"capacity": 40000, "load": 13250.5, "rejected": 5, "utilisation": 0.4,
                       "unit": "requests/s", "later": {}}"#;
        let url = site(|_| http("200 OK", body)).await;
        let unit = Some("requests/s".into());
        let wanted = Report {
            capacity: Some(40000.0),
            load: 13250.5,
            rejected: Some(5.0),
            utilisation: Some(0.4),
            unit,
            time: None,
        };
        assert_eq!(fetched(&url).await, Ok(wanted));
    }

    #[tokio::test]
    async fn what_is_no_report_says_why() {
        let endless = "9".repeat(MAX_REPORT_BYTES + 1);
        let endless = format!("{{\"capacity\": {endless}");
        for (status, body, words) in [
            ("500 Internal Server Error", "{}", "the answer is 500"),
            ("302 Found", "", "the answer is 302"),
            ("200 OK", "<html>", "no report"),
            ("200 OK", "", "no report"),
            ("200 OK", r#"{"capacity": 1}"#, "missing field `load`"),
            ("200 OK", r#"{"capacity": 1, "load": "1"}"#, "expected f64"),
            ("200 OK", &endless, "longer than 65536 bytes"),
        ] {
            let answer = http(status, body);
            let url = site(move |_| answer.clone()).await;
            let error = fetched(&url).await.unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn a_site_that_is_silent_or_gone_says_so() {
        let url = site(|_| None).await;
        let error = tokio::time::timeout(DEADLINE, fetched(&url)).await.unwrap().unwrap_err();
        assert!(error.contains("timed out"), "{error}");
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = fetched(&format!("http://{gone}/")).await.unwrap_err();
        assert!(error.starts_with("Connection refused"), "the cause alone: {error}");
        assert!(fetched("not a url").await.is_err());
    }

    #[tokio::test]
    async fn polling_goes_on_after_a_failure() {
        let answers = |n| match n {
            0 => http("503 Service Unavailable", ""),
            n => http("200 OK", &format!(r#"{{"capacity": 10, "load": {n}}}"#)),
        };
        let source =
            ReportSource { url: site(answers).await, interval: Duration::from_millis(100) };
        let (send, mut results) = mpsc::unbounded_channel();
        let take = move |result| send.send(result).unwrap_or(());
        let polling = tokio::spawn(Poller::new().unwrap().poll(source, take));
        let mut next = async || tokio::time::timeout(DEADLINE, results.recv()).await.unwrap();
        assert!(next().await.unwrap().unwrap_err().contains("503"));
        assert_eq!(next().await.unwrap().unwrap().load, 1.0);
        assert_eq!(next().await.unwrap().unwrap().load, 2.0);
        polling.abort();
    }
}
