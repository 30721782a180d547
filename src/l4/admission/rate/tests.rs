//! The buckets let in what their rate and burst say, of each source and of all.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn rate(per_source: Option<f64>, total: Option<f64>, burst_seconds: f64) -> Rate {
    Rate::new(RateLimit { per_source, total, burst_seconds })
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from(0xc633_6400 + number).into()
}

/// How many of `count` that come at once are let in.
fn let_in(rate: &Rate, source: IpAddr, now: Instant, count: usize) -> usize {
    (0..count).filter(|_| rate.take(source, now).is_ok()).count()
}

#[test]
fn a_source_gets_its_burst_at_once_and_then_its_rate() {
    let rate = rate(Some(50.0), None, 2.0);
    let start = rate.began;
    assert_eq!(let_in(&rate, v4(7), start, 1000), 100);
    assert_eq!(let_in(&rate, v4(8), start, 1000), 100, "another source has its own");
    assert_eq!(let_in(&rate, v4(7), start + Duration::from_millis(100), 1000), 5);
    assert_eq!(let_in(&rate, v4(7), start + Duration::from_secs(60), 1000), 100);
}

#[test]
fn a_rate_of_less_than_one_in_the_burst_lets_one_in_each_time() {
    let rate = rate(Some(0.1), None, 1.0);
    let at = |second| rate.began + Duration::from_secs(second);
    assert_eq!(let_in(&rate, v4(7), at(0), 10), 1);
    assert_eq!(let_in(&rate, v4(7), at(9), 10), 0);
    assert_eq!(let_in(&rate, v4(7), at(10), 10), 1);
}

#[test]
fn all_together_get_no_more_than_the_total_and_a_source_that_is_over_takes_none_of_it() {
    let rate = rate(Some(10.0), Some(25.0), 1.0);
    let start = rate.began;
    assert_eq!(let_in(&rate, v4(1), start, 1000), 10);
    assert_eq!(rate.take(v4(1), start), Err(Refusal::TooManyOfSource));
    assert_eq!(let_in(&rate, v4(2), start, 1000), 10);
    assert_eq!(let_in(&rate, v4(3), start, 5), 5);
    assert_eq!(rate.take(v4(4), start), Err(Refusal::TooMany));
    assert_eq!(rate.look(v4(4), start), Err(Refusal::TooMany));
}

#[test]
fn the_addresses_of_an_ipv6_network_are_one_source() {
    let rate = rate(Some(10.0), None, 1.0);
    let v6 = |bits: u128| IpAddr::from(Ipv6Addr::from(0x2001_0db8 << 96 | bits));
    let taken = (0..100).filter(|host| rate.take(v6(*host), rate.began).is_ok()).count();
    assert_eq!(taken, 10);
    assert_eq!(let_in(&rate, v6(1 << 64), rate.began, 100), 10, "of the next /64");
}

#[test]
fn a_flood_of_sources_takes_no_more_room_and_those_that_come_often_stay_limited() {
    let rate = rate(Some(10.0), None, 1.0);
    assert_eq!(let_in(&rate, v4(0), rate.began, 10), 10);
    let mut busy = 0;
    for number in 1..20_000 {
        let _ = rate.take(v4(number), rate.began + Duration::from_millis(10));
        busy += usize::from(rate.take(v4(0), rate.began + Duration::from_millis(20)).is_ok());
    }
    assert_eq!(busy, 0, "sources that are seen once give way first");
}

#[test]
fn extreme_rates_do_no_harm() {
    let second = Duration::from_secs(1);
    let never = rate(Some(f64::MIN_POSITIVE), Some(f64::MIN_POSITIVE), 3600.0);
    assert_eq!(let_in(&never, v4(1), never.began, 9), 1);
    assert_eq!(let_in(&never, v4(1), never.began + 1000 * second, 9), 0);
    let always = rate(Some(1e9), Some(1e9), 3600.0);
    assert_eq!(let_in(&always, v4(1), always.began, 9999), 9999);
}

proptest! {
    #[test]
    fn over_any_time_no_more_than_the_burst_and_the_rate_are_let_in(
        per_second in 0.5..200.0f64,
        burst in 0.1..5.0f64,
        steps in prop::collection::vec((0..3000u64, 0..50usize), 1..60),
    ) {
        let rate = rate(None, Some(per_second), burst);
        let (mut now, mut taken) = (Duration::ZERO, 0);
        for (millis, count) in steps {
            now += Duration::from_millis(millis);
            taken += let_in(&rate, v4(1), rate.began + now, count);
            let most = (per_second * burst).max(1.0) + per_second * now.as_secs_f64();
            prop_assert!(taken as f64 <= most + 1e-3, "{} of {}", taken, most);
        }
    }
}
