//! Static answers against two other servers: Portolan, NSD and Knot DNS serve the same generated
//! zones and are asked the same generated questions. Where the two agree, we agree with them; where
//! they differ, we agree with one. What remains different stands in [`DIFFERENCES`] with its reason.
//!
//! `PORTOLAN_QUESTIONS` asks more than the usual sample, `PORTOLAN_SEED` other zones and questions.

mod name;
mod normal;
mod questions;
mod zones;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use fastrand::Rng;

use crate::support::asking::{ask_tcp, ask_udp};
use crate::support::peers::{Peer, PeerZone};
use crate::support::{Server, needs};
use normal::{Normal, TC};
use questions::Question;
use zones::Zone;

const QUESTIONS: u64 = 3000;
const SEED: u64 = 4592;

/// A question and its answers; none where a server gives none.
struct Case {
    question: Question,
    ours: Option<Normal>,
    nsd: Option<Normal>,
    knot: Option<Normal>,
    bind: Option<Normal>,
}

/// A way in which we differ from both others, on purpose.
struct Difference {
    what: &'static str,
    why: &'static str,
    is: fn(&Case) -> bool,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "a minimal answer to ANY",
        why: "RFC 8482 §4.2: one HINFO record instead of all that stands there",
        is: |case| {
            let Some(ours) = &case.ours else { return false };
            let same = |peer: &Option<Normal>| {
                let is_some = |peer: &Normal| !peer.answer.is_empty() || peer.is_truncated();
                peer.as_ref().is_some_and(|peer| peer.rcode == ours.rcode && is_some(peer))
            };
            case.question.is_any()
                && matches!(&ours.answer[..], [only] if only.contains(" IN HINFO "))
                && (same(&case.nsd) || same(&case.knot))
        },
    },
    Difference {
        what: "types that no record has",
        why: "RFC 5936 §2.2.1 lets a server refuse transfers; MAILA and MAILB are obsolete (RFC 1035 \
              §3.2.3); TSIG, TKEY and OPT have no place in a question (RFC 6895 §3.1). The others look \
              for records of these types",
        is: |case| {
            let is_refusal =
                |ours: &Normal| matches!(ours.rcode, FORMERR | NOTIMP | REFUSED) && ours.is_empty();
            case.question.is_about_no_record() && case.ours.as_ref().is_some_and(is_refusal)
        },
    },
    Difference {
        what: "truncated earlier",
        why: "we compress names less (RFC 1035 §4.1.4 leaves it to the server), so glue that a \
              referral needs may not fit, and then TC is due (RFC 9471 §3.1). Asked over TCP, we agree",
        is: |case| {
            let Some(ours) = &case.ours else { return false };
            let same = |peer: &Option<Normal>| {
                let all = |normal: &Normal| (normal.rcode, normal.flags | TC, normal.edns);
                peer.as_ref().is_some_and(|peer| all(peer) == all(ours))
            };
            ours.is_truncated() && (same(&case.nsd) || same(&case.knot))
        },
    },
    Difference {
        what: "class ANY",
        why: "RFC 1035 §3.2.5 has it for questions, but an authoritative answer in one class cannot be \
              complete: we refuse; the others answer in IN",
        is: |case| {
            let is_refusal = |ours: &Normal| ours.rcode == REFUSED && ours.is_empty();
            case.question.qclass == ANY_CLASS && case.ours.as_ref().is_some_and(is_refusal)
        },
    },
    Difference {
        what: "other opcodes",
        why: "RFC 1035 §4.1.1 has NOTIMP for them. NSD says so too, without the question and OPT \
              (RFC 6891 §6.1.1 wants OPT); Knot looks at the class and the version of EDNS first",
        is: |case| {
            let rcode = |normal: &Option<Normal>| normal.as_ref().map(|normal| normal.rcode);
            case.question.opcode != 0
                && rcode(&case.ours) == Some(NOTIMP)
                && rcode(&case.nsd) == Some(NOTIMP)
        },
    },
    Difference {
        what: "aliases end at the edge of the zone",
        why: "RFC 1034 §4.3.2 step 3a would go on in any zone at hand, and NSD does; a resolver may not \
              believe what is from another zone (RFC 2181 §5.4.1), so we stop, as Knot does",
        is: |case| {
            let (Some(ours), Some(nsd)) = (&case.ours, &case.nsd) else { return false };
            ours.rcode == 0 && ours.authority.is_empty() && ours.begins_with_alias_of(nsd)
        },
    },
    Difference {
        what: "aliases are followed for all types",
        why: "RFC 1034 §3.6.2 excepts CNAME alone. Knot excepts RRSIG and NSEC, NSD also NSEC3: in a \
              signed zone they stand beside the alias (RFC 4035 §2.5). Of longer chains Knot gives five",
        is: |case| {
            let Some(ours) = &case.ours else { return false };
            let mut peers = [&case.nsd, &case.knot].into_iter().flatten();
            matches!(case.question.qtype, RRSIG | NSEC | NSEC3)
                && peers.any(|peer| peer.begins_with_alias_of(ours))
        },
    },
    Difference {
        what: "addresses with SVCB and HTTPS",
        why: "RFC 9460 §4.1: they should go with the records. NSD 4.6 has none, Knot 3.2 finds only \
              targets that are written in lower case",
        is: |case| {
            let Some(ours) = &case.ours else { return false };
            let is_service =
                |line: &String| line.contains(" IN SVCB ") || line.contains(" IN HTTPS ");
            ours.answer.iter().any(is_service)
                && [&case.nsd, &case.knot].into_iter().flatten().any(|peer| {
                    ours.agrees_with(peer)
                        && peer.additional.iter().all(|line| ours.additional.contains(line))
                })
        },
    },
];

// Types, classes and response codes.
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const NSEC3: u16 = 50;
const ANY_CLASS: u16 = 255;
const FORMERR: u16 = 1;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;

#[test]
fn static_answers_are_those_of_nsd_and_knot() {
    if !needs("static_answers", &["nsd", "knotd", "named", "dig"]) {
        return;
    }
    let mut rng = Rng::with_seed(variable("PORTOLAN_SEED").unwrap_or(SEED));
    let zones = zones(&mut rng);
    let count = variable("PORTOLAN_QUESTIONS").unwrap_or(QUESTIONS);
    let questions: Vec<Question> =
        (0..count).map(|_| questions::question(&mut rng, &zones)).collect();
    let texts: Vec<(String, &str)> =
        zones.iter().map(|zone| (zone.origin.text(), zone.text.as_str())).collect();
    let texts: Vec<PeerZone<'_>> =
        texts.iter().map(|(origin, text)| PeerZone { origin, text }).collect();

    let ours = serve(&zones);
    let nsd = Peer::nsd(ours.addresses().host(2), &texts);
    let knot = Peer::knot(ours.addresses().host(3), &texts);
    let bind = Peer::bind(&texts, "", "");
    let cases = ask([ours.dns(), nsd.dns(), knot.dns(), bind.dns()], questions);
    let report = compare(&cases);
    assert!(report.wrong.is_empty(), "{}", report.wrong);
    eprintln!("{}", report.summary);
    for difference in DIFFERENCES {
        eprintln!("{}: {}", difference.what, difference.why);
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn zones(rng: &mut Rng) -> Vec<Zone> {
    vec![
        zones::generate(rng, "alpha.example.", Some("child.alpha.example."), "beta.example."),
        zones::generate(rng, "beta.example.", None, "alpha.example."),
        zones::generate(rng, "child.alpha.example.", None, "alpha.example."),
        zones::generate(rng, "x.y.deep.example.", None, "wild.example."),
        zones::rfc_4592("wild.example."),
    ]
}

fn serve(zones: &[Zone]) -> Server {
    let mut files = Server::files("");
    for (index, zone) in zones.iter().enumerate() {
        let origin = zone.origin.text();
        files.write(&format!("zones/{index}.zone"), &zone.text);
        let file = format!("origin = \"{origin}\"\nrecords_file = \"{index}.zone\"\n");
        files = files.zone(&format!("{index}.toml"), &file);
    }
    files.start()
}

/// Asks ours, NSD and Knot over UDP; what one of them truncates, all over TCP too.
fn ask(servers: [SocketAddr; 4], questions: Vec<Question>) -> Vec<Case> {
    let mut cases = Vec::new();
    for questions in questions.chunks(10_000) {
        let messages: Vec<Vec<u8>> = questions.iter().map(Question::message).collect();
        let [ours, nsd, knot, bind] = servers.map(|server| ask_udp(server, &messages));
        let answers = ours.into_iter().zip(nsd).zip(knot).zip(bind);
        for (question, (((ours, nsd), knot), bind)) in questions.iter().zip(answers) {
            let case = case(question, [ours, nsd, knot, bind]);
            let answers = [&case.ours, &case.nsd, &case.knot, &case.bind];
            let is_truncated = answers.into_iter().flatten().any(Normal::is_truncated);
            cases.push(case);
            if is_truncated {
                let answers = servers.map(|server| ask_tcp(server, &question.message()));
                cases.push(self::case(question, answers));
            }
        }
    }
    cases
}

fn case(question: &Question, answers: [Option<Vec<u8>>; 4]) -> Case {
    let [ours, nsd, knot, bind] = answers.map(|bytes| {
        let read = |bytes: Vec<u8>| {
            normal::read(question, &bytes).unwrap_or_else(|error| panic!("{question:?}: {error}"))
        };
        bytes.map(read)
    });
    Case { question: question.clone(), ours, nsd, knot, bind }
}

#[derive(Default)]
struct Report {
    /// How many cases ended how.
    summary: String,
    /// What is different and not explained.
    wrong: String,
}

fn compare(cases: &[Case]) -> Report {
    const SHOWN: usize = 20;
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    let mut report = Report::default();
    let mut wrong = 0;
    for case in cases {
        let echoes = case.ours.as_ref().is_none_or(|ours| ours.echoes(&case.question));
        let agrees = |peer| echoes && agree(&case.ours, peer, [&case.nsd, &case.knot]);
        let explained = || DIFFERENCES.iter().find(|difference| echoes && (difference.is)(case));
        let end = match (agrees(&case.nsd), agrees(&case.knot)) {
            (true, true) => "as both",
            (true, false) => "as NSD",
            (false, true) => "as Knot",
            (false, false) => match explained() {
                Some(difference) => difference.what,
                None => {
                    wrong += 1;
                    if wrong <= SHOWN {
                        report.wrong += &show(case);
                    }
                    "WRONG"
                }
            },
        };
        *ends.entry(end).or_default() += 1;
    }
    for (end, count) in ends {
        writeln!(report.summary, "{count:>6} {end}").expect("to a string");
    }
    if wrong > 0 {
        write!(report.wrong, "{wrong} of {}:\n{}", cases.len(), report.summary)
            .expect("to a string");
    }
    report
}

/// True when our answer is that of `peer`; its additional section may be that of the other one.
/// What a truncated answer still holds does not count (RFC 2181 §9).
fn agree(ours: &Option<Normal>, peer: &Option<Normal>, both: [&Option<Normal>; 2]) -> bool {
    let (Some(ours), Some(peer)) = (ours, peer) else { return ours.is_none() && peer.is_none() };
    if ours.is_truncated() && peer.is_truncated() {
        let header = |normal: &Normal| (normal.rcode, normal.flags, normal.edns);
        return header(ours) == header(peer);
    }
    let additional = |peer: &Option<Normal>| {
        peer.as_ref().is_some_and(|peer| peer.additional == ours.additional)
    };
    ours.agrees_with(peer) && both.into_iter().any(additional)
}

fn show(case: &Case) -> String {
    let Question { name, qtype, qclass, opcode, flags, edns } = &case.question;
    let mut text = format!(
        "--- {} TYPE{qtype} CLASS{qclass} opcode {opcode} flags {flags:#06x} {edns:?}\n",
        name.text()
    );
    for (server, answer) in [("ours", &case.ours), ("nsd", &case.nsd), ("knot", &case.knot)] {
        match answer {
            None => writeln!(text, "  {server}: no answer"),
            Some(n) => writeln!(
                text,
                "  {server}: rcode {} flags {:#06x} question {:?} edns {:?} {} bytes\n{}",
                n.rcode,
                n.flags,
                n.question_is_same,
                n.edns,
                n.length,
                sections(n)
            ),
        }
        .expect("to a string");
    }
    text
}

fn sections(normal: &Normal) -> String {
    let mut text = String::new();
    let sections = [("an", &normal.answer), ("au", &normal.authority), ("ad", &normal.additional)];
    for (name, lines) in sections {
        for line in lines.iter().take(8) {
            let (head, data) = line.split_once(" ; ").unwrap_or((line, ""));
            let head = head.rsplit_once(' ').map_or(head, |(head, _)| head);
            let line: String = format!("{head} {data}").chars().take(110).collect();
            text += &format!("      {name} {line}\n");
        }
    }
    text
}
