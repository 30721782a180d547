//! The running server, as the verbs call it: found through the configuration's `[admin]`.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, Method, StatusCode, Url};
use serde::Deserialize;

use super::{FAILED, UNREACHABLE};
use crate::admin::error::Said;
use crate::health::http::root_cause;

/// The server must have answered by then.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    address: SocketAddr,
    /// Read only for calls that change something: who may only look may not be able to read it.
    token_file: Option<PathBuf>,
}

/// One call of its API.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is done.
    pub method: Method,
    /// After `/api/v1/`.
    pub path: &'static str,
    /// Names and values.
    pub query: Vec<(&'static str, String)>,
    /// What is sent.
    pub body: Option<serde_json::Value>,
    /// Whether the answer is wanted in words for people, instead of JSON.
    pub in_words: bool,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The configuration does not say where the server is.
    Configuration(Said),
    /// Nobody answers.
    Unreachable(Said),
    /// The server says no.
    Refused(Said),
}

/// The part of the configuration that is needed; the rest may be broken.
#[derive(Debug, Deserialize)]
struct Shape {
    admin: Option<AdminShape>,
}

#[derive(Debug, Deserialize)]
struct AdminShape {
    listen: SocketAddr,
    token_file: Option<PathBuf>,
}

impl Running {
    /// Where the configuration says it is. Only `[admin]` is read: with other parts broken, an
    /// operator can still drain.
    pub fn find(config: &Path) -> Result<Running, CallError> {
        let fail = |problem: String| {
            let error = format!("{}: {problem}", config.display());
            CallError::Configuration(Said { error, help: None })
        };
        let text = std::fs::read_to_string(config).map_err(|error| fail(error.to_string()))?;
        let shape: Shape = toml::from_str(&text).map_err(|error| fail(error.to_string()))?;
        let Some(admin) = shape.admin else {
            return Err(fail("it has no `[admin]`, so the server has no API to ask".into()));
        };
        let directory = config.parent().unwrap_or(Path::new(""));
        let token_file = admin.token_file.map(|path| directory.join(path));
        Ok(Running { address: reachable(admin.listen), token_file })
    }

    /// Calls, and returns the body of the answer.
    pub fn call(&self, config: &Path, call: Call) -> Result<String, CallError> {
        self.call_within(config, call, TIMEOUT)
    }

    /// The same for a server that must have answered by then.
    pub fn call_within(
        &self,
        config: &Path,
        call: Call,
        timeout: Duration,
    ) -> Result<String, CallError> {
        let unreachable = |cause: String| {
            let (address, file) = (self.address, config.display());
            let error = format!(
                "the server does not answer on {address} (`admin.listen` of {file}): {cause}"
            );
            let help = "start it with `portolan serve`, or name its configuration with --config";
            CallError::Unreachable(Said { error, help: Some(help.into()) })
        };
        let token = if call.method.is_safe() { None } else { self.token(config)? };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
        let answer = runtime.block_on(self.send(call, token.as_deref(), timeout));
        let (status, body) = answer.map_err(|error| unreachable(root_cause(&error)))?;
        if status.is_success() {
            return Ok(body);
        }
        let said = serde_json::from_str(&body).unwrap_or_else(|_| Said {
            error: format!("the server answers {status}"),
            help: Some(format!("is {} the address of Portolan's admin API?", self.address)),
        });
        Err(CallError::Refused(said))
    }

    fn token(&self, config: &Path) -> Result<Option<String>, CallError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let token = std::fs::read_to_string(path).map_err(|error| {
            let (config, path) = (config.display(), path.display());
            let error = format!("{config}: cannot read `admin.token_file`, {path}: {error}");
            let help = Some("run this as a user who may read it".into());
            CallError::Configuration(Said { error, help })
        })?;
        Ok(Some(token.trim().to_owned()))
    }

    async fn send(
        &self,
        call: Call,
        token: Option<&str>,
        timeout: Duration,
    ) -> reqwest::Result<(StatusCode, String)> {
        // The client wants a provider even where no TLS is spoken; a second one is not an error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redirects = reqwest::redirect::Policy::none();
        let client = Client::builder().no_proxy().redirect(redirects).timeout(timeout).build()?;
        let mut url = Url::parse(&format!("http://{}/api/v1/{}", self.address, call.path))
            .expect("an address and a fixed path make a URL");
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = client.request(call.method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let kind = if call.in_words { "text/plain" } else { "application/json" };
        let answer = request.header(ACCEPT, kind).send().await?;
        Ok((answer.status(), answer.text().await?))
    }
}

impl CallError {
    /// Prints it, on standard output when JSON is wanted, and returns the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        let (said, code) = match self {
            CallError::Unreachable(said) => (said, UNREACHABLE),
            CallError::Configuration(said) | CallError::Refused(said) => (said, FAILED),
        };
        report(said, json);
        ExitCode::from(code)
    }
}

/// Prints what is wrong, on standard output when JSON is wanted.
pub fn report(said: &Said, json: bool) {
    if json {
        say(&format!("{}\n", serde_json::json!(said)));
        return;
    }
    eprintln!("error: {}", said.error);
    if let Some(help) = &said.help {
        eprintln!("help: {help}");
    }
}

/// Prints a result. A reader that has seen enough closes the pipe; that is no failure.
pub fn say(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => ExitCode::from(FAILED),
        _ => ExitCode::SUCCESS,
    }
}

/// A server that listens on every address is called on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    fn configuration(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("portolan.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(directory.path().join("admin.token"), "secret\n").unwrap();
        (directory, path)
    }

    fn status() -> Call {
        let query = vec![("target", "a/b&c d".to_owned())];
        Call { method: Method::GET, path: "status", query, body: None, in_words: true }
    }

    /// Answers one call with `answer`, and returns what was sent.
    fn answering(answer: &'static str) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut sent = String::new();
            let mut byte = [0];
            while !sent.ends_with("\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                sent.push(char::from(byte[0]));
            }
            stream.write_all(answer.as_bytes()).unwrap();
            sent
        });
        (address, served)
    }

    #[test]
    fn only_the_admin_part_of_the_configuration_must_be_whole() {
        let (_directory, path) = configuration(
            "[dns]\nzones = 7\n[admin]\nlisten = \"0.0.0.0:8053\"\ntoken_file = \"admin.token\"\n",
        );
        let running = Running::find(&path).unwrap();
        assert_eq!(running.address, "127.0.0.1:8053".parse().unwrap());
        assert_eq!(running.token(&path), Ok(Some("secret".into())));
        for (text, told) in
            [("[dns]\n", "no `[admin]`"), ("[admin]\nlisten = \"here\"\n", "line 2")]
        {
            let (_directory, path) = configuration(text);
            let Err(CallError::Configuration(said)) = Running::find(&path) else {
                panic!("{text}")
            };
            assert!(said.error.contains(told), "{}", said.error);
        }
    }

    #[test]
    fn a_call_bears_the_token_and_says_what_it_wants() {
        let (address, served) = answering("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood");
        let (directory, path) = configuration("");
        let running = Running { address, token_file: Some(directory.path().join("admin.token")) };
        let change = Call { method: Method::DELETE, ..status() };
        assert_eq!(running.call(&path, change).unwrap(), "good");
        let sent = served.join().unwrap();
        assert!(
            sent.starts_with("DELETE /api/v1/status?target=a%2Fb%26c+d HTTP/1.1\r\n"),
            "{sent}"
        );
        assert!(sent.contains("authorization: Bearer secret\r\n"), "{sent}");
        assert!(sent.contains("accept: text/plain\r\n"), "{sent}");
    }

    #[test]
    fn who_only_looks_needs_not_be_able_to_read_the_token() {
        let (address, _served) = answering("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood");
        let running = Running { address, token_file: Some("none".into()) };
        assert_eq!(running.call(Path::new("x"), status()).unwrap(), "good");
        let change = Call { method: Method::POST, ..status() };
        let Err(CallError::Configuration(said)) = running.call(Path::new("x"), change) else {
            panic!("a call without the token")
        };
        assert!(said.error.contains("admin.token_file"), "{}", said.error);
    }

    #[test]
    fn what_the_server_says_is_passed_on() {
        let (address, _served) = answering(
            "HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n{\"error\":\"no\",\"help\":\"do so\"}",
        );
        let running = Running { address, token_file: None };
        let said = Said { error: "no".into(), help: Some("do so".into()) };
        let answer = running.call(Path::new("x"), status());
        assert_eq!(answer, Err(CallError::Refused(said)));
    }

    #[test]
    fn a_server_that_does_not_run_is_told_with_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let running = Running { address, token_file: None };
        let answer = running.call(Path::new("portolan.toml"), status());
        let Err(CallError::Unreachable(said)) = answer else { panic!("{answer:?}") };
        assert!(said.error.contains(&address.to_string()), "{}", said.error);
        assert!(said.error.contains("refused"), "{}", said.error);
    }
}
