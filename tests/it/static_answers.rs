//! Static answers against three other servers: Portolan, NSD, Knot DNS and BIND serve the same
//! generated zones and are asked the same generated questions. Each difference to each of them is
//! explained in [`differences::DIFFERENCES`], or is wrong.
//!
//! `PORTOLAN_QUESTIONS` asks more of each zone than the usual sample, `PORTOLAN_ROUNDS` of that many
//! sets of nine zones, `PORTOLAN_SEED` of others.

mod differences;
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
use differences::{BITS, DIFFERENCES};
use normal::{Normal, Record};
use questions::Question;
use zones::Zone;

/// For each zone.
const QUESTIONS: u64 = 600;
const SEED: u64 = 4592;
/// Asked at once.
const BATCH: usize = 10_000;

/// The servers that are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Other {
    Nsd,
    Knot,
    Bind,
}

const OTHERS: [Other; 3] = [Other::Nsd, Other::Knot, Other::Bind];

/// What we and another server answer to a question.
struct Pair<'a> {
    question: &'a Question,
    /// All that the servers have.
    zones: &'a [Zone],
    other: Other,
    ours: &'a Normal,
    theirs: &'a Normal,
}

#[test]
fn static_answers_are_those_of_nsd_knot_and_bind() {
    if !needs("static_answers", &["nsd", "knotd", "named", "dig"]) {
        return;
    }
    let seed = variable("PORTOLAN_SEED").unwrap_or(SEED);
    let mut tally = Tally::default();
    for round in 0..variable("PORTOLAN_ROUNDS").unwrap_or(1) {
        let mut rng = Rng::with_seed(seed + round);
        let zones = zones::related(&mut rng);
        let count = variable("PORTOLAN_QUESTIONS").unwrap_or(QUESTIONS) * zones.len() as u64;
        compare(&mut rng, &zones, count as usize, &mut tally);
        eprintln!("round {round}: {} answers, {} as all", tally.answers, tally.as_all);
    }
    eprintln!("{}", tally.summary());
    assert!(tally.wrong.is_empty(), "{}", tally.wrong_ones());
    let bits = BITS.iter().map(|bit| (bit.what, bit.why));
    for (what, why) in DIFFERENCES.iter().map(|known| (known.what, known.why)).chain(bits) {
        eprintln!("{what}: {why}");
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Has the four servers serve `zones`, and asks them all.
fn compare(rng: &mut Rng, zones: &[Zone], count: usize, tally: &mut Tally) {
    let texts: Vec<(String, &str)> =
        zones.iter().map(|zone| (zone.origin.text(), zone.text.as_str())).collect();
    let texts: Vec<PeerZone<'_>> =
        texts.iter().map(|(origin, text)| PeerZone { origin, text }).collect();
    let ours = serve(zones);
    let taken = |zone: &&PeerZone<'_>| zones.iter().any(|z| z.text == zone.text && !z.has_occluded);
    let allowed: Vec<PeerZone<'_>> = texts.iter().filter(taken).cloned().collect();
    let nsd = Peer::nsd(ours.addresses().host(2), &allowed);
    let knot = Peer::knot(ours.addresses().host(3), &allowed);
    let bind = Peer::bind(&texts, "", "");
    let servers = [ours.dns(), nsd.dns(), knot.dns(), bind.dns()];
    for begin in (0..count).step_by(BATCH) {
        let questions: Vec<Question> =
            (begin..count.min(begin + BATCH)).map(|_| questions::question(rng, zones)).collect();
        ask(servers, &questions, |question, mut answers| {
            // What NSD and Knot do not serve they cannot be asked.
            let is_in = |zone: &Zone| zone.origin.holds(&question.name.lower());
            if zones.iter().any(|zone| zone.has_occluded && is_in(zone)) {
                (answers[1], answers[2]) = (None, None);
            }
            tally.count(question, zones, answers);
        });
    }
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

/// Asks us and the others over UDP; what one of them truncates, all over TCP too.
fn ask(
    servers: [SocketAddr; 4],
    questions: &[Question],
    mut answered: impl FnMut(&Question, [Option<Normal>; 4]),
) {
    let messages: Vec<Vec<u8>> = questions.iter().map(Question::message).collect();
    let mut answers = servers.map(|server| ask_udp(server, &messages).into_iter());
    for question in questions {
        let answers = answers.each_mut().map(|answers| answers.next().expect("one each"));
        let answers = answers.map(|answer| read(question, answer));
        let is_truncated = answers.iter().flatten().any(Normal::is_truncated);
        answered(question, answers);
        if is_truncated {
            answered(question, servers.map(|to| read(question, ask_tcp(to, &question.message()))));
        }
    }
}

fn read(question: &Question, answer: Option<Vec<u8>>) -> Option<Normal> {
    let read = |bytes: Vec<u8>| {
        normal::read(question, &bytes)
            .unwrap_or_else(|error| panic!("{question:?}: {error}: {}", bytes.escape_ascii()))
    };
    answer.map(read)
}

/// How many answers ended how.
#[derive(Default)]
struct Tally {
    answers: usize,
    /// Answers that one of the others did not give: not all have all zones.
    missing: usize,
    /// How many are the same everywhere.
    as_all: usize,
    /// By what and by whom.
    explained: BTreeMap<(&'static str, Other), usize>,
    /// How many, and the first few, by what differs with whom.
    wrong: BTreeMap<(String, Option<Other>), (usize, String)>,
}

impl Tally {
    fn count(&mut self, question: &Question, zones: &[Zone], answers: [Option<Normal>; 4]) {
        let [ours, others @ ..] = &answers;
        self.answers += 1;
        let Some(ours) = ours.as_ref().filter(|ours| ours.question_is_same == Some(true)) else {
            return self.wrong("our echo".to_string(), None, || show(question, &answers));
        };
        let mut is_as_all = true;
        for (other, theirs) in OTHERS.into_iter().zip(others) {
            let Some(theirs) = theirs else {
                self.missing += 1;
                continue;
            };
            let theirs = &self.without_bits(other, theirs);
            if is_same(ours, theirs) {
                continue;
            }
            is_as_all = false;
            let pair = Pair { question, zones, other, ours, theirs };
            match DIFFERENCES.iter().find(|difference| (difference.is)(&pair)) {
                Some(known) => *self.explained.entry((known.what, other)).or_default() += 1,
                None => self.wrong(kind(&pair), Some(other), || show(question, &answers)),
            }
        }
        self.as_all += usize::from(is_as_all);
    }

    /// An answer without the bits that are explained by themselves.
    fn without_bits(&mut self, other: Other, theirs: &Normal) -> Normal {
        let mut normal = theirs.clone();
        for known in BITS.iter().filter(|known| known.of == other) {
            if theirs.flags & known.bit != 0 && (known.is)(theirs) {
                normal.flags &= !known.bit;
                *self.explained.entry((known.what, other)).or_default() += 1;
            }
        }
        normal
    }

    fn wrong(&mut self, what: String, other: Option<Other>, case: impl Fn() -> String) {
        const SHOWN: usize = 3;
        let (count, shown) = self.wrong.entry((what, other)).or_default();
        *count += 1;
        if *count <= SHOWN {
            *shown += &case();
        }
    }

    fn summary(&self) -> String {
        let mut text = format!("{:>8} answers\n{:>8} as all\n", self.answers, self.as_all);
        writeln!(text, "{:>8} not from one of the others", self.missing).expect("to a string");
        for ((what, other), count) in &self.explained {
            writeln!(text, "{count:>8} {what} ({other:?})").expect("to a string");
        }
        for ((what, other), (count, _)) in &self.wrong {
            writeln!(text, "{count:>8} WRONG: {what} ({other:?})").expect("to a string");
        }
        text
    }

    fn wrong_ones(&self) -> String {
        let mut text = String::new();
        for ((what, other), (count, cases)) in &self.wrong {
            writeln!(text, "=== {count}: {what} ({other:?})\n{cases}").expect("to a string");
        }
        text + &self.summary()
    }
}

/// What a truncated answer still holds does not count (RFC 2181 §9).
fn is_same(ours: &Normal, theirs: &Normal) -> bool {
    if ours.is_truncated() && theirs.is_truncated() {
        return ours.has_header_of(theirs);
    }
    ours.agrees_with(theirs) && ours.additional == theirs.additional
}

/// What differs, in a few words.
fn kind(pair: &Pair<'_>) -> String {
    let Pair { ours, theirs, .. } = pair;
    let mut kinds = Vec::new();
    let mut add = |name: &str, differs: bool| {
        if differs {
            kinds.push(name.to_string());
        }
    };
    add(&format!("rcode {} not {}", ours.rcode, theirs.rcode), ours.rcode != theirs.rcode);
    let flags = ours.flags ^ theirs.flags;
    add(&format!("flags {flags:#x}"), flags != 0);
    add("EDNS", ours.edns != theirs.edns);
    let sections = [
        ("answer", &ours.answer, &theirs.answer),
        ("authority", &ours.authority, &theirs.authority),
        ("additional", &ours.additional, &theirs.additional),
    ];
    for (name, ours, theirs) in sections {
        let (more, less) = (has_more(ours, theirs), has_more(theirs, ours));
        add(&format!("more {name}"), more && !less);
        add(&format!("less {name}"), less && !more);
        add(&format!("other {name}"), more && less);
    }
    kinds.join(", ")
}

fn has_more(these: &[Record], those: &[Record]) -> bool {
    these.iter().any(|record| !those.contains(record)) || these.len() > those.len()
}

fn show(question: &Question, answers: &[Option<Normal>; 4]) -> String {
    let Question { name, qtype, qclass, opcode, flags, edns } = question;
    let mut text = format!(
        "--- {} TYPE{qtype} CLASS{qclass} opcode {opcode} flags {flags:#06x} {edns:?}\n",
        name.text()
    );
    for (server, answer) in ["ours", "nsd", "knot", "bind"].into_iter().zip(answers) {
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
    for (name, records) in sections {
        for record in records.iter().take(8) {
            let line: String = format!("{record:?}").chars().take(150).collect();
            text += &format!("      {name} {line}\n");
        }
        if records.len() > 8 {
            text += &format!("      {name} … {} in all\n", records.len());
        }
    }
    text
}
