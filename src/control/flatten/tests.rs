//! What is answered for a name, from one answer of a resolver to the next, and without any.

use std::net::IpAddr;

use super::known::{LEAST_TTL, MOST_STALE, MOST_TTL, STALE_TTL};
use super::*;
use crate::decide::{Resolved, ResolvedId, Validity};
use crate::health::Kind;

const CDN: &str = "cdn.example.net.";

fn at(seconds: u64) -> Now {
    Now { elapsed: Duration::from_secs(seconds), unix_seconds: 1_000_000 + seconds }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn check() -> AddressCheck {
    let check = Check {
        jitter: 0.0,
        timeout: Duration::from_secs(1),
        rise: 1,
        fall: 1,
        ..Check::new(Kind::Tcp)
    };
    AddressCheck { title: "example.com/web/fra".into(), check: Arc::new(check), port: 80 }
}

fn flattening(watch: Option<AddressCheck>) -> Flattening {
    let mut flattening = Flattening::default();
    flattening.replace([FlattenedName { name: name(CDN), watch }].into(), at(0));
    flattening
}

fn found(addresses: &[&str], ttl: u32) -> Result<Answer, String> {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Ok(Answer { addresses, ttl, exists: true })
}

fn no_such_name(ttl: u32) -> Result<Answer, String> {
    Ok(Answer { addresses: Vec::new(), ttl, exists: false })
}

fn failed() -> Result<Answer, String> {
    Err("no answer".into())
}

fn told(v4: Result<Answer, String>, v6: Result<Answer, String>, now: Now) -> Resolution {
    Resolution { name: name(CDN), v4, v6, at: now, random: 0.0 }
}

impl Flattening {
    /// Asks for everything that is due, and is told this.
    fn hears(&mut self, v4: Result<Answer, String>, v6: Result<Answer, String>, now: Now) {
        assert_eq!(self.due(10, now), [name(CDN)], "it is time to ask");
        self.take(told(v4, v6, now));
    }

    fn served(&mut self, verdicts: &[Verdict], now: Now) -> Option<Resolved> {
        self.refresh(verdicts, now);
        self.table(verdicts, now).of(ResolvedId(0)).cloned()
    }

    /// The IPv4 addresses that are up, and how long they may be kept.
    fn v4(&mut self, verdicts: &[Verdict], now: Now) -> Option<(Vec<String>, Validity)> {
        let found = self.served(verdicts, now)?.v4;
        let up = found.addresses.iter().filter(|(_, is_up)| *is_up);
        Some((up.map(|(address, _)| address.to_string()).collect(), found.validity))
    }
}

fn kept(addresses: &[&str], ttl: u32, is_stale: bool) -> Option<(Vec<String>, Validity)> {
    let addresses = addresses.iter().map(ToString::to_string).collect();
    Some((addresses, Validity { ttl, is_stale }))
}

#[test]
fn what_remains_of_a_ttl_is_what_is_answered_in_steps() {
    let mut names = flattening(None);
    assert_eq!(names.v4(&[], at(0)), None, "nothing is known");
    names.hears(found(&["203.0.113.1"], 60), found(&[], 60), at(0));
    let cases =
        [(0, 60), (1, 30), (30, 30), (31, 15), (45, 15), (46, 5), (55, 5), (56, 1), (60, 1)];
    for (second, ttl) in cases {
        assert_eq!(names.v4(&[], at(second)), kept(&["203.0.113.1"], ttl, false), "{second}");
    }
    assert_eq!(names.next_due(), Some(Duration::from_secs(60)));
    assert!(names.due(10, at(59)).is_empty());
    assert_eq!(names.due(10, at(60)), [name(CDN)]);
    assert!(names.due(10, at(61)).is_empty(), "it is being asked for");
    assert_eq!(names.next_due(), None);
    names.take(told(found(&["203.0.113.2"], 60), found(&[], 60), at(61)));
    assert_eq!(names.v4(&[], at(61)), kept(&["203.0.113.2"], 60, false));
}

#[test]
fn a_ttl_is_neither_too_short_nor_too_long_to_follow() {
    for (ttl, due) in [(0, LEAST_TTL), (1, LEAST_TTL), (604_800, MOST_TTL)] {
        let mut names = flattening(None);
        names.hears(found(&["203.0.113.1"], ttl), found(&[], 604_800), at(0));
        assert_eq!(names.next_due(), Some(due));
    }
}

#[test]
fn of_two_families_the_shorter_ttl_is_followed_and_each_has_its_own() {
    let mut names = flattening(None);
    names.hears(found(&["203.0.113.1"], 300), found(&["2001:db8::1"], 60), at(0));
    assert_eq!(names.next_due(), Some(Duration::from_secs(60)));
    let served = names.served(&[], at(0)).unwrap();
    assert_eq!((served.v4.validity.ttl, served.v6.validity.ttl), (300, 60));
}

#[test]
fn without_a_new_answer_the_old_one_is_stale_and_then_gone() {
    let mut names = flattening(None);
    names.hears(found(&["203.0.113.1"], 60), found(&[], 60), at(0));
    names.hears(failed(), failed(), at(60));
    assert_eq!(names.v4(&[], at(61)), kept(&["203.0.113.1"], 1, false), "it is being asked for");
    assert_eq!(names.v4(&[], at(62)), kept(&["203.0.113.1"], STALE_TTL, true));
    assert_eq!(names.statuses(at(62))[0].state, NameState::Stale);
    let end = 60 + MOST_STALE.as_secs();
    assert_eq!(names.v4(&[], at(end - 1)), kept(&["203.0.113.1"], STALE_TTL, true));
    assert_eq!(names.v4(&[], at(end)), None, "RFC 8767 §5");
    assert_eq!(names.statuses(at(end))[0].state, NameState::Unknown);
    names.hears(found(&["203.0.113.2"], 60), found(&[], 60), at(end + 1));
    assert_eq!(names.v4(&[], at(end + 1)), kept(&["203.0.113.2"], 60, false));
}

#[test]
fn one_family_can_be_stale_while_the_other_is_fresh() {
    let mut names = flattening(None);
    names.hears(found(&["203.0.113.1"], 60), found(&["2001:db8::1"], 60), at(0));
    names.hears(found(&["203.0.113.1"], 60), failed(), at(60));
    let served = names.served(&[], at(62)).unwrap();
    assert!(served.v6.validity.is_stale && !served.v4.validity.is_stale);
    // Of the one that answers, no TTL passes because the other does not.
    assert_eq!(names.next_due(), Some(Duration::from_secs(65)));
}

#[test]
fn after_a_failure_it_is_asked_again_soon_and_then_less_often() {
    let mut names = flattening(None);
    let (mut now, mut pauses) = (0, Vec::new());
    for _ in 0..5 {
        names.hears(failed(), failed(), at(now));
        let next = names.next_due().unwrap().as_secs();
        pauses.push(next - now);
        now = next;
    }
    assert_eq!(pauses, [5, 10, 20, 30, 30]);
    names.hears(found(&["203.0.113.1"], 60), found(&[], 60), at(now));
    names.hears(failed(), failed(), at(now + 60));
    assert_eq!(names.next_due(), Some(Duration::from_secs(now + 65)), "the count begins anew");
}

#[test]
fn that_a_name_is_gone_or_empty_is_an_answer() {
    for (v4, v6) in [
        (no_such_name(60), no_such_name(60)),
        (found(&[], 60), found(&[], 60)),
        (no_such_name(60), failed()),
        (failed(), no_such_name(60)),
    ] {
        let mut names = flattening(None);
        names.hears(found(&["203.0.113.1"], 60), found(&["2001:db8::1"], 60), at(0));
        names.hears(v4, v6, at(60));
        assert!(names.served(&[], at(60)).unwrap().is_empty());
        assert_eq!(names.statuses(at(60))[0].state, NameState::Empty);
    }
}

#[test]
fn addresses_that_nobody_can_be_sent_to_are_not_answered() {
    let mut names = flattening(None);
    let odd = ["0.0.0.0", "203.0.113.1", "224.0.0.1", "255.255.255.255"];
    let odd6 = ["::", "::ffff:203.0.113.1", "ff02::1"];
    names.hears(found(&odd, 60), found(&odd6, 60), at(0));
    let served = names.served(&[], at(0)).unwrap();
    assert_eq!(served.v4.addresses.len(), 1);
    assert!(served.v6.addresses.is_empty());
}

#[test]
fn an_address_is_answered_once_a_probe_has_found_it_up() {
    let mut names = flattening(Some(check()));
    names.hears(found(&["203.0.113.1", "203.0.113.2"], 60), found(&[], 60), at(0));
    assert!(names.renew_probes());
    let probed: Vec<IpAddr> = names.probes().iter().map(|probe| probe.address).collect();
    assert_eq!(probed, ["203.0.113.1", "203.0.113.2"].map(|a| a.parse::<IpAddr>().unwrap()));
    assert_eq!(names.probes()[0].name, "example.com/web/fra 203.0.113.1 (cdn.example.net.)");
    use Verdict::{Down, Unknown, Up};
    assert_eq!(names.v4(&[Unknown, Unknown], at(0)), None);
    assert_eq!(names.v4(&[Up, Unknown], at(0)), None, "half of it");
    assert_eq!(names.v4(&[Up, Down], at(0)), kept(&["203.0.113.1"], 60, false));
    assert_eq!(names.v4(&[Down, Up], at(0)), kept(&["203.0.113.2"], 60, false));
    assert!(!names.renew_probes(), "nothing is new");
}

#[test]
fn the_old_addresses_are_answered_until_the_new_ones_are_judged() {
    use Verdict::{Down, Unknown, Up};
    let mut names = flattening(Some(check()));
    names.hears(found(&["203.0.113.1"], 60), found(&[], 60), at(0));
    names.renew_probes();
    assert_eq!(names.v4(&[Up], at(0)), kept(&["203.0.113.1"], 60, false));
    names.hears(found(&["203.0.113.2"], 60), found(&[], 60), at(60));
    assert!(names.renew_probes());
    assert_eq!(names.probes().len(), 2, "both are watched");
    assert_eq!(names.v4(&[Up, Unknown], at(60)), kept(&["203.0.113.1"], 60, false));
    assert_eq!(names.clone().v4(&[Up, Down], at(61)), kept(&[], 30, false));
    assert_eq!(names.v4(&[Up, Up], at(61)), kept(&["203.0.113.2"], 30, false));
    assert!(names.renew_probes());
    assert_eq!(names.probes().len(), 1, "the old one is not watched any more");
    assert_eq!(names.v4(&[Up], at(61)), kept(&["203.0.113.2"], 30, false), "by its new number");
}

#[test]
fn nobody_waits_for_a_verdict_for_ever() {
    let mut names = flattening(Some(check()));
    names.hears(found(&["203.0.113.1"], 60), found(&[], 60), at(0));
    names.renew_probes();
    names.v4(&[Verdict::Up], at(0));
    names.hears(found(&["203.0.113.2"], 60), found(&[], 60), at(60));
    names.renew_probes();
    let unknown = [Verdict::Up, Verdict::Unknown];
    assert_eq!(names.v4(&unknown, at(60)).unwrap().0, ["203.0.113.1"]);
    assert_eq!(names.v4(&unknown, at(69)).unwrap().0, ["203.0.113.1"]);
    assert!(names.v4(&unknown, at(70)).unwrap().0.is_empty(), "what is not judged counts as down");
}

#[test]
fn other_names_keep_what_is_known_of_those_that_stay() {
    let mut names = flattening(None);
    names.hears(found(&["203.0.113.1"], 60), found(&[], 60), at(0));
    names.v4(&[], at(0));
    let watch = Some(check());
    let list = [
        FlattenedName { name: name("other.example.net."), watch: None },
        FlattenedName { name: name("CDN.example.net."), watch: None },
        FlattenedName { name: name(CDN), watch },
    ];
    names.replace(list.into(), at(1));
    names.refresh(&[], at(1));
    let table = names.table(&[], at(1));
    assert!(table.of(ResolvedId(0)).is_none());
    assert_eq!(table.of(ResolvedId(1)).unwrap().v4.addresses.len(), 1);
    assert!(table.of(ResolvedId(2)).is_none(), "it is watched otherwise, and not judged yet");
    assert_eq!(names.due(10, at(1)), [name("other.example.net.")], "the other one is known");
}

#[test]
fn a_reload_asks_again_for_what_has_failed() {
    let mut names = flattening(None);
    names.hears(failed(), failed(), at(0));
    assert!(names.due(10, at(1)).is_empty());
    names.replace([FlattenedName { name: name(CDN), watch: None }].into(), at(1));
    assert_eq!(names.due(10, at(1)), [name(CDN)]);
}

#[test]
fn many_names_are_asked_for_in_turn() {
    let list: Vec<FlattenedName> = (0..10_000)
        .map(|n| FlattenedName { name: name(&format!("n{n}.example.net.")), watch: None })
        .collect();
    let mut names = Flattening::default();
    names.replace(list.into(), at(0));
    let mut asked = std::collections::HashSet::new();
    for turn in 0..157 {
        let due = names.due(64, at(turn));
        assert!(due.len() <= 64);
        for name in due {
            assert!(asked.insert(name.to_key()), "each once");
            let (v4, v6) = (found(&["203.0.113.1"], 300), found(&[], 300));
            names.take(Resolution { name, v4, v6, at: at(turn), random: 0.5 });
        }
    }
    assert_eq!(asked.len(), 10_000);
}

#[test]
fn what_half_of_the_answers_say_is_watched_and_served_whatever_failed_before() {
    for failures in 0..3 {
        let mut names = flattening(Some(check()));
        let mut now = 0;
        for _ in 0..failures {
            names.hears(failed(), failed(), at(now));
            assert!(!names.renew_probes());
            now = names.next_due().unwrap().as_secs();
        }
        assert_eq!(names.due(10, at(now)), [name(CDN)]);
        let (_, news) = names.take(told(found(&["203.0.113.1"], 60), failed(), at(now))).unwrap();
        assert_eq!(news, "resolved: 203.0.113.1; but no answer");
        assert!(names.renew_probes());
        assert_eq!(names.v4(&[Verdict::Up], at(now)), kept(&["203.0.113.1"], 60, false));
    }
}

#[test]
fn what_happens_is_told_in_words() {
    let mut names = flattening(None);
    let mut tell = |v4, v6, now| names.take(told(v4, v6, now)).map(|(_, news)| news);
    let one = || found(&["203.0.113.1"], 60);
    assert_eq!(tell(one(), found(&[], 60), at(0)).unwrap(), "resolved: 203.0.113.1");
    assert_eq!(tell(one(), found(&[], 60), at(1)), None);
    let two = found(&["203.0.113.2"], 60);
    assert_eq!(tell(two, found(&[], 60), at(2)).unwrap(), "203.0.113.1 → 203.0.113.2");
    let news = tell(failed(), failed(), at(3)).unwrap();
    assert_eq!(news, "cannot be resolved, what is known is served on: no answer");
    assert_eq!(tell(failed(), failed(), at(4)), None);
    let again = found(&["203.0.113.2"], 60);
    assert_eq!(tell(again, found(&[], 60), at(5)).unwrap(), "resolved again: 203.0.113.2");
    assert_eq!(
        tell(no_such_name(60), no_such_name(60), at(6)).unwrap(),
        "203.0.113.2 → no addresses"
    );
}
