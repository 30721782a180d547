//! The machine against tables and against a tiny model.

use proptest::prelude::*;

use super::*;
use crate::health::Kind;

fn check(rise: u32, fall: u32) -> Check {
    Check { rise, fall, ..Check::new(Kind::Tcp) }
}

/// `+` is a success, `-` a failure; the verdicts after each: `U`p, `D`own.
fn verdicts(rise: u32, fall: u32, results: &str) -> String {
    let mut machine = Machine::new(&check(rise, fall));
    let letter = |result| {
        machine.result(result == '+');
        match machine.verdict() {
            Verdict::Unknown => '?',
            Verdict::Up => 'U',
            Verdict::Down => 'D',
        }
    };
    results.chars().map(letter).collect()
}

#[test]
fn the_first_result_decides_and_then_rise_and_fall_count() {
    for (rise, fall, results, wanted) in [
        (1, 1, "+-+--++", "UDUDDUU"),
        (2, 3, "+--+---", "UUUUUUD"),
        (2, 3, "-+-++--", "DDDDUUU"),
        (2, 3, "-+-++---+++", "DDDDUUUDDUU"),
        (3, 1, "-++-+++-", "DDDDDDUD"),
        (3, 2, "+-+-+--", "UUUUUUD"),
        (5, 5, "-", "D"),
        (5, 5, "+", "U"),
        // The first failure is the first of the three.
        (2, 3, "--+++", "DDDUU"),
    ] {
        assert_eq!(verdicts(rise, fall, results), wanted, "{rise}/{fall} {results}");
    }
}

#[test]
fn every_transition_of_two_and_two_is_as_written() {
    // (verdict, latest result, run) × result → verdict, for rise = fall = 2.
    for (before, result, wanted) in [
        ("", '+', 'U'),
        ("", '-', 'D'),
        ("+", '+', 'U'),
        ("+", '-', 'U'),
        ("+-", '+', 'U'),
        ("+-", '-', 'D'),
        ("+--", '+', 'D'),
        ("+--", '-', 'D'),
        ("-", '+', 'D'),
        ("-", '-', 'D'),
        ("-+", '+', 'U'),
        ("-+", '-', 'D'),
        ("-++", '+', 'U'),
        ("-++", '-', 'U'),
    ] {
        let all = verdicts(2, 2, &format!("{before}{result}"));
        assert_eq!(all.chars().last(), Some(wanted), "{before} then {result}");
    }
}

#[test]
fn a_verdict_is_returned_only_when_it_changes() {
    let mut machine = Machine::new(&check(2, 2));
    let changes: Vec<_> = [true, true, false, false, false].map(|good| machine.result(good)).into();
    assert_eq!(changes, [Some(Verdict::Up), None, None, Some(Verdict::Down), None]);
    assert_eq!(machine.consecutive(), 3);
}

#[test]
fn the_first_probe_is_due_at_once() {
    let now = Instant::now();
    assert_eq!(Machine::new(&check(2, 3)).next_probe_at(now, 0.7), now);
}

#[test]
fn the_second_probe_comes_in_the_second_half_of_the_interval_and_the_others_with_jitter() {
    let now = Instant::now();
    let mut machine = Machine::new(&check(2, 3));
    machine.start(now);
    machine.result(true);
    for (random, wanted) in [(0.0, 2500), (0.5, 3750), (1.0, 5000)] {
        assert_eq!(machine.next_probe_at(now, random), now + Duration::from_millis(wanted));
    }
    machine.start(now);
    machine.result(true);
    for (random, wanted) in [(0.0, 4500), (0.5, 5000), (1.0, 5500)] {
        assert_eq!(machine.next_probe_at(now, random), now + Duration::from_millis(wanted));
    }
}

#[test]
fn probes_that_were_missed_are_not_made_up_for() {
    let start = Instant::now();
    let mut machine = Machine::new(&check(2, 3));
    machine.start(start);
    machine.result(true);
    machine.result(true);
    let an_hour_later = start + Duration::from_secs(3600);
    assert_eq!(machine.next_probe_at(an_hour_later, 0.5), an_hour_later);
    machine.start(an_hour_later);
    let next = machine.next_probe_at(an_hour_later, 0.5);
    assert_eq!(next, an_hour_later + Duration::from_secs(5));
}

#[test]
fn probes_come_fast_while_a_verdict_is_in_doubt_and_until_it_is_confirmed() {
    let (slow, fast) = (Duration::from_secs(5), Duration::from_secs(1));
    let fast_check = Check { fast_interval: Some(fast), jitter: 0.0, ..check(2, 3) };
    let mut machine = Machine::new(&fast_check);
    let now = Instant::now();
    // What came, and when the next one is due.
    for (results, wanted) in [("+", fast), ("+", fast), ("++", slow), ("-", fast), ("+", fast)]
        .into_iter()
        .chain([("++", slow), ("---", fast), ("-", slow), ("+", fast), ("+", fast), ("+", slow)])
    {
        for result in results.chars() {
            machine.start(now);
            machine.result(result == '+');
        }
        assert_eq!(machine.next_probe_at(now, 1.0), now + wanted, "{results} {machine:?}");
    }
}

#[test]
fn failed_traffic_counts_as_a_failed_probe_and_makes_the_next_one_due_but_not_without_end() {
    let now = Instant::now();
    let mut machine = Machine::new(&check(2, 3));
    machine.start(now);
    assert_eq!(machine.traffic_failed(), None, "it is no first result");
    assert_eq!(machine.verdict(), Verdict::Unknown);
    machine.result(true);
    let changes = [false; 3].map(|_| machine.traffic_failed());
    assert_eq!(changes, [None, None, Some(Verdict::Down)]);
    let (soon, later) = (now + Duration::from_millis(30), now + Duration::from_secs(2));
    assert_eq!(machine.next_probe_at(soon, 0.5), now + HURRY);
    assert_eq!(machine.next_probe_at(later, 0.5), later, "at once");
    machine.start(later);
    assert!(machine.next_probe_at(later, 0.5) > later + Duration::from_secs(4), "once only");
}

/// The rule in one line each: what a person would compute from the whole history.
fn model(rise: u32, fall: u32, history: &[bool]) -> Verdict {
    let mut verdict = Verdict::Unknown;
    for (index, &good) in history.iter().enumerate() {
        let run = history[..=index].iter().rev().take_while(|&&other| other == good).count();
        let needed = if good { rise } else { fall };
        if index == 0 || run >= needed as usize {
            verdict = if good { Verdict::Up } else { Verdict::Down };
        }
    }
    verdict
}

proptest! {
    #[test]
    fn the_machine_agrees_with_the_model(
        rise in 1u32..6,
        fall in 1u32..6,
        history in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        let mut machine = Machine::new(&check(rise, fall));
        for end in 0..history.len() {
            let before = machine.verdict();
            let change = machine.result(history[end]);
            let wanted = model(rise, fall, &history[..=end]);
            prop_assert_eq!(machine.verdict(), wanted);
            prop_assert_eq!(change, (wanted != before).then_some(wanted));
        }
    }

    #[test]
    fn the_next_probe_is_never_before_now_nor_too_far_away(
        started_ms in 0u64..100_000_000,
        now_ms in 0u64..100_000_000,
        results in 0usize..4,
        jitter in prop_oneof![Just(f64::NAN), -1.0..2.0],
        random in prop_oneof![Just(f64::NAN), -1.0..2.0],
        interval_ms in 0u64..100_000,
    ) {
        let origin = Instant::now();
        let interval = Duration::from_millis(interval_ms);
        let mut machine = Machine::new(&Check { jitter, interval, ..check(2, 3) });
        machine.start(origin + Duration::from_millis(started_ms));
        for _ in 0..results {
            machine.result(true);
        }
        let now = origin + Duration::from_millis(now_ms);
        let next = machine.next_probe_at(now, random);
        prop_assert!(next >= now);
        prop_assert!(next <= now + interval.max(Duration::from_millis(20)).mul_f64(1.5));
    }
}
