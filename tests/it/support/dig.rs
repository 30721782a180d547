//! Asking with `dig`, as the README tells a user to.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

/// What `dig` printed of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `NOERROR`, `NXDOMAIN`, …
    pub status: String,
    /// `qr aa rd`…
    pub flags: Vec<String>,
    /// A line a record: owner, TTL, class, type, data, with single spaces.
    pub answer: Vec<String>,
    /// As above.
    pub authority: Vec<String>,
    /// As above.
    pub additional: Vec<String>,
    /// The ECS option of the answer: `203.0.113.0/24/20`.
    pub subnet: Option<String>,
    /// All of it.
    pub text: String,
}

/// Asks `server`; `question` is as on the command line: `www.example.com A +subnet=203.0.113.0/24`.
#[track_caller]
pub fn dig(server: SocketAddr, question: &str) -> Answer {
    let output = Command::new("dig")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(["+norecurse", "+tries=3", "+time=3", "+nocookie"])
        .args(question.split_whitespace())
        .output()
        .expect("dig runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    parse(text)
}

/// Asks `server` all the questions in one run of `dig`, and returns the answers in their order.
#[track_caller]
pub fn dig_all(server: SocketAddr, questions: &[String]) -> Vec<Answer> {
    let mut batch = tempfile::NamedTempFile::new().expect("a temporary file");
    batch.write_all(questions.join("\n").as_bytes()).expect("the questions can be written");
    let output = Command::new("dig")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(["+norecurse", "+tries=3", "+time=3", "+nocookie", "-f"])
        .arg(batch.path())
        .output()
        .expect("dig runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut answers: Vec<String> = Vec::new();
    for line in text.lines() {
        // With it every answer begins.
        if line.starts_with("; <<>> DiG") {
            answers.push(String::new());
        }
        if let Some(answer) = answers.last_mut() {
            answer.push_str(line);
            answer.push('\n');
        }
    }
    assert_eq!(answers.len(), questions.len(), "an answer for each question: {text}");
    answers.into_iter().map(parse).collect()
}

impl Answer {
    /// The data of the records of one type in ANSWER.
    pub fn data(&self, rtype: &str) -> Vec<String> {
        let fields = |line: &String| {
            let mut fields = line.splitn(5, ' ').skip(3);
            Some((fields.next()?.to_string(), fields.next()?.to_string()))
        };
        let records = self.answer.iter().filter_map(fields);
        records.filter(|(t, _)| t == rtype).map(|(_, data)| data).collect()
    }

    /// The one A record in ANSWER.
    #[track_caller]
    pub fn address(&self) -> String {
        let [address] = &self.data("A")[..] else { panic!("not one address: {}", self.text) };
        address.clone()
    }

    /// The scope of the ECS option.
    #[track_caller]
    pub fn scope(&self) -> u8 {
        let subnet = self.subnet.as_ref().unwrap_or_else(|| panic!("no subnet: {}", self.text));
        subnet.rsplit('/').next().and_then(|scope| scope.parse().ok()).expect("a prefix length")
    }
}

fn parse(text: String) -> Answer {
    let mut answer = Answer::default();
    let mut section = "";
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("status: ") {
            answer.status = rest.split(',').next().unwrap_or_default().to_string();
        } else if let Some(rest) = line.strip_prefix(";; flags: ") {
            let flags = rest.split(';').next().unwrap_or_default();
            answer.flags = flags.split_whitespace().map(String::from).collect();
        } else if let Some(rest) = line.strip_prefix("; CLIENT-SUBNET: ") {
            answer.subnet = Some(rest.to_string());
        } else if line.starts_with(";; ") {
            section = line.trim_start_matches(";; ").split(' ').next().unwrap_or_default();
        } else if !line.is_empty() && !line.starts_with(';') {
            let record = line.split_whitespace().collect::<Vec<_>>().join(" ");
            match section {
                "ANSWER" => answer.answer.push(record),
                "AUTHORITY" => answer.authority.push(record),
                "ADDITIONAL" => answer.additional.push(record),
                _ => {}
            }
        }
    }
    answer.text = text;
    answer
}
