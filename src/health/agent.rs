//! The agent probe: the machine is asked how it is, in HAProxy's agent-check protocol.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Administrative, Advice, AgentCheck, ProbeResult};

/// The longest line that is read.
const MAX_LINE_BYTES: usize = 1024;
/// More than this is taken as this: a slip of the agent's must not send everything to one machine.
const MAX_PERCENT: u16 = 1_000;

/// Connects, sends what is to be sent, and reads one line. The caller bounds the time.
pub async fn probe(target: SocketAddr, check: &AgentCheck) -> (ProbeResult, Advice) {
    let start = Instant::now();
    let said = match ask(target, check).await {
        Ok(Some(line)) => Said::read(&line),
        Ok(None) => {
            return (ProbeResult::failed("the agent sent no whole line"), Advice::default());
        }
        Err(error) => return (ProbeResult::from_io(&error), Advice::default()),
    };
    let result = match said.advice {
        advice if advice == Advice::default() => ProbeResult::failed(&said),
        advice if advice.is_out() => ProbeResult::failed(&said),
        _ => ProbeResult::Good(start.elapsed()),
    };
    (result, said.advice)
}

/// The first line; none if it does not end, or not soon enough.
async fn ask(target: SocketAddr, check: &AgentCheck) -> io::Result<Option<String>> {
    let mut stream = TcpStream::connect(target).await?;
    if let Some(text) = &check.send {
        stream.write_all(text.as_bytes()).await?;
    }
    let mut line = Vec::with_capacity(128);
    while line.len() < MAX_LINE_BYTES {
        let mut piece = [0; 128];
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            break;
        }
        line.extend_from_slice(&piece[..count]);
        if let Some(end) = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
        }
    }
    Ok(None)
}

/// What one line says; displayed, why it is no good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What its words advise.
    pub advice: Advice,
    /// The first word that means nothing to us.
    unknown: Option<String>,
    /// What follows a `#`.
    reason: String,
}

impl Said {
    /// Reads a line without its end: words between spaces, tabs or commas, in any order and case;
    /// of two of a sort the last counts; a `#` where a word would begin, or in one, begins a reason.
    pub fn read(line: &str) -> Said {
        let (words, reason) = line.split_once('#').unwrap_or((line, ""));
        let mut said = Said {
            advice: Advice::default(),
            unknown: None,
            reason: reason.chars().filter(|char| !char.is_control()).collect::<String>(),
        };
        for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            match Advice::of_word(word) {
                Some(advice) => said.advice = said.advice.then(advice),
                None => {
                    said.unknown.get_or_insert_with(|| word.to_owned());
                }
            }
        }
        said
    }
}

impl Advice {
    /// What one word says; none if it is none of the protocol's.
    fn of_word(word: &str) -> Option<Advice> {
        let nothing = Advice::default();
        let administrative =
            |administrative| Advice { administrative: Some(administrative), ..nothing };
        let lower = word.to_ascii_lowercase();
        Some(match lower.as_str() {
            "up" => Advice { down: Some(false), ..nothing },
            "down" | "fail" | "stopped" => Advice { down: Some(true), ..nothing },
            "ready" => administrative(Administrative::Ready),
            "drain" => administrative(Administrative::Drain),
            "maint" => administrative(Administrative::Maint),
            word => {
                if let Some(limit) = word.strip_prefix("maxconn:") {
                    let limit = number(limit)?.try_into().unwrap_or(u32::MAX);
                    Advice { max_connections: Some(limit), ..nothing }
                } else {
                    let percent = number(word.strip_suffix('%')?)?;
                    let percent = u16::try_from(percent).unwrap_or(MAX_PERCENT).min(MAX_PERCENT);
                    Advice { weight_percent: Some(percent), ..nothing }
                }
            }
        })
    }
}

/// Digits alone; too large a number is the largest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.advice == Advice::default() {
            return match &self.unknown {
                Some(word) => {
                    write!(f, "the agent said `{}`, which has no meaning", word.escape_debug())
                }
                None => f.write_str("the agent said nothing"),
            };
        }
        let word = if self.advice.down == Some(true) { "down" } else { "under maintenance" };
        write!(f, "the agent says: {word}")?;
        match self.reason.trim() {
            "" => Ok(()),
            reason => write!(f, " ({reason})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::net::TcpListener;

    use super::*;

    fn said(line: &str) -> Advice {
        Said::read(line).advice
    }

    #[test]
    fn each_word_of_the_protocol_says_what_haproxy_takes_it_for() {
        let nothing = Advice::default();
        let cases = [
            ("75%", Advice { weight_percent: Some(75), ..nothing }),
            ("0%", Advice { weight_percent: Some(0), ..nothing }),
            ("250%", Advice { weight_percent: Some(250), ..nothing }),
            ("maxconn:30", Advice { max_connections: Some(30), ..nothing }),
            ("MAXCONN:0", Advice { max_connections: Some(0), ..nothing }),
            ("up", Advice { down: Some(false), ..nothing }),
            ("Down", Advice { down: Some(true), ..nothing }),
            ("fail", Advice { down: Some(true), ..nothing }),
            ("stopped", Advice { down: Some(true), ..nothing }),
            ("drain", Advice { administrative: Some(Administrative::Drain), ..nothing }),
            ("maint", Advice { administrative: Some(Administrative::Maint), ..nothing }),
            ("ready", Advice { administrative: Some(Administrative::Ready), ..nothing }),
        ];
        for (line, advice) in cases {
            assert_eq!(said(line), advice, "{line}");
        }
        for line in ["", "#up", "%", "x%", "-5%", "+5%", "maxconn:", "maxconn:x", "upp", "7 5 %"] {
            assert_eq!(said(line), nothing, "{line}");
        }
    }

    #[test]
    fn words_come_in_any_order_and_the_last_of_a_sort_counts() {
        let advice = said("up\tready, 10%  maxconn:30 , nonsense 60%");
        assert_eq!(advice.weight_percent, Some(60));
        assert_eq!(advice.max_connections, Some(30));
        assert_eq!(advice.administrative, Some(Administrative::Ready));
        assert_eq!(advice.down, Some(false));
        assert_eq!(said("up down").down, Some(true));
    }

    #[test]
    fn the_reason_is_told_and_its_words_say_nothing() {
        for line in ["down#disk full, up 50%", "down # disk full, up 50%"] {
            let read = Said::read(line);
            assert_eq!(read.advice, Advice { down: Some(true), ..Advice::default() });
            assert_eq!(read.to_string(), "the agent says: down (disk full, up 50%)");
        }
        assert_eq!(Said::read("hello").to_string(), "the agent said `hello`, which has no meaning");
    }

    #[test]
    fn numbers_that_are_too_large_are_the_largest() {
        let advice = said("99999999999999999999999% maxconn:99999999999999999999999");
        assert_eq!(advice.weight_percent, Some(MAX_PERCENT));
        assert_eq!(advice.max_connections, Some(u32::MAX));
        assert_eq!(said("70000%").weight_percent, Some(MAX_PERCENT));
    }

    /// What an agent is heard to say that sends these pieces and hangs up.
    async fn heard(pieces: &'static [&'static [u8]], send: Option<&str>) -> (ProbeResult, Advice) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let wanted = send.map(str::len).unwrap_or_default();
        let agent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; wanted];
            stream.read_exact(&mut asked).await.unwrap();
            for piece in pieces {
                // The probe may have heard enough.
                let _ = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            String::from_utf8(asked).unwrap()
        });
        let check = AgentCheck { send: send.map(str::to_owned) };
        let heard = tokio::time::timeout(Duration::from_secs(20), probe(target, &check)).await;
        assert_eq!(agent.await.unwrap(), send.unwrap_or_default());
        heard.expect("the probe waits for nothing more")
    }

    #[tokio::test]
    async fn a_line_in_pieces_is_read_to_its_end_and_no_further() {
        let (result, advice) = heard(&[b"up 7", b"5%\r", b"\ndown\n"], Some("web\n")).await;
        assert!(matches!(result, ProbeResult::Good(_)), "{result:?}");
        assert_eq!((advice.weight_percent, advice.down), (Some(75), Some(false)));
    }

    #[tokio::test]
    async fn a_line_that_does_not_end_or_says_nothing_is_a_failure_and_no_advice() {
        let cases: [(&[&[u8]], &str); 4] = [
            (&[b"75%"], "no whole line"),
            (&[], "no whole line"),
            (&[b"\xFF\xFE\n"], "no meaning"),
            (&[b"\n"], "said nothing"),
        ];
        for (pieces, reason) in cases {
            let (result, advice) = heard(pieces, None).await;
            assert!(
                matches!(&result, ProbeResult::Failed(why) if why.contains(reason)),
                "{result}"
            );
            assert_eq!(advice, Advice::default());
        }
    }

    #[tokio::test]
    async fn an_agent_that_talks_for_ever_is_not_listened_to() {
        let (result, advice) = heard(&[&[b'%'; 5000]], None).await;
        assert!(matches!(result, ProbeResult::Failed(_)), "{result:?}");
        assert_eq!(advice, Advice::default());
    }

    #[tokio::test]
    async fn drain_is_a_good_answer_and_maint_is_not() {
        let (result, advice) = heard(&[b"drain\n"], None).await;
        assert!(matches!(result, ProbeResult::Good(_)) && advice.is_drained());
        let (result, advice) = heard(&[b"maint # new disk\n"], None).await;
        assert!(advice.is_out());
        assert_eq!(result.to_string(), "the agent says: under maintenance (new disk)");
    }

    proptest! {
        #[test]
        fn no_line_panics(line: String) {
            let _ = Said::read(&line).to_string();
        }

        #[test]
        fn what_is_said_does_not_depend_on_the_order_of_the_words(
            words in (0..1000u16, "up|down", "ready|drain|maint", any::<u32>())
                .prop_map(|(weight, health, word, limit)| {
                    vec![format!("{weight}%"), health, word, format!("maxconn:{limit}")]
                })
                .prop_shuffle(),
        ) {
            let mut sorted = words.clone();
            sorted.sort();
            prop_assert_eq!(said(&words.join(" ")), said(&sorted.join(",")));
        }
    }
}
