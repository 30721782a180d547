//! A watch over real targets on loopback.

use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::health::{AgentCheck, Check, HttpCheck, TlsCheck};

/// No condition takes this long, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// An interval that does not pass during a test.
const NEVER: Duration = Duration::from_secs(3600);
const QUICK: Duration = Duration::from_millis(20);

fn check(kind: Kind, interval: Duration) -> Arc<Check> {
    Arc::new(Check { interval, timeout: DEADLINE, ..Check::new(kind) })
}

fn http() -> HttpCheck {
    HttpCheck::default()
}

fn probe_of(name: &str, target: SocketAddr, check: &Arc<Check>) -> Probe {
    let (address, port) = (target.ip(), target.port());
    Probe { name: name.into(), check: Arc::clone(check), address, port }
}

/// A target that counts its connections.
async fn target() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, accepted)
}

async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, holds).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}

async fn until_verdicts(watch: &Watch, wanted: &[Verdict]) {
    let mut verdicts = watch.verdicts();
    let agree = verdicts.wait_for(|verdicts| *verdicts.verdicts == *wanted);
    timeout(DEADLINE, agree).await.unwrap_or_else(|_| panic!("never {wanted:?}")).unwrap();
}

#[tokio::test]
async fn after_the_first_round_every_verdict_is_known() {
    let tcp = check(Kind::Tcp, NEVER);
    let (up, _) = target().await;
    let down = closed_port().await;
    let watch = Watch::start(vec![probe_of("up", up, &tcp), probe_of("down", down, &tcp)]);
    assert!(watch.first_round(DEADLINE).await);
    let verdicts = watch.verdicts().borrow().clone();
    assert_eq!(verdicts.generation, 1);
    assert_eq!(*verdicts.verdicts, [Verdict::Up, Verdict::Down]);
    let statuses = watch.statuses();
    assert_eq!((statuses[0].name.as_str(), statuses[1].name.as_str()), ("up", "down"));
    assert_eq!(statuses[0].last_result.as_deref(), Some("ok"));
    assert!(statuses[0].last_duration_ms.is_some() && statuses[0].since.is_some());
    assert!(statuses[1].last_result.as_deref().unwrap().contains("refused"), "{statuses:?}");
    assert_eq!((statuses[1].checks_total, statuses[1].failures_total), (1, 1));
}

#[test]
fn a_round_may_take_as_many_timeouts_as_there_are_turns() {
    let of = |count, seconds| {
        let timeouts = std::iter::repeat_n(Duration::from_secs(seconds), count);
        round_limit(timeouts, MAX_IN_FLIGHT).as_secs()
    };
    assert_eq!(of(0, 2), 1);
    assert_eq!((of(1, 2), of(MAX_IN_FLIGHT, 2), of(MAX_IN_FLIGHT + 1, 2)), (3, 3, 5));
    assert_eq!((of(1, 3600), of(100_000, 5), of(usize::MAX >> 40, 3600)), (10, 30, 30));
}

#[tokio::test]
async fn a_round_of_nothing_is_over_and_one_of_a_silent_target_ends_with_the_deadline() {
    let watch = Watch::start(vec![]);
    assert!(watch.first_round(DEADLINE).await);
    let (silent, _) = target().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_too = listener.local_addr().unwrap();
    let web = check(Kind::Http(http()), NEVER);
    // One hangs up at once, the other accepts in the kernel's queue and says nothing.
    watch.replace(vec![probe_of("a", silent, &web), probe_of("b", silent_too, &web)]);
    assert!(!watch.first_round(Duration::from_millis(300)).await);
    assert_eq!(watch.verdicts().borrow().verdicts[1], Verdict::Unknown);
}

#[tokio::test]
async fn a_target_that_accepts_and_says_nothing_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = (*check(Kind::Http(http()), NEVER)).clone();
    silent.timeout = Duration::from_millis(100);
    let probe = probe_of("silent", listener.local_addr().unwrap(), &Arc::new(silent));
    let watch = Watch::start(vec![probe]);
    until_verdicts(&watch, &[Verdict::Down]).await;
    let reason = watch.statuses()[0].last_result.clone();
    assert_eq!(reason.as_deref(), Some("no answer within 100ms"));
}

#[tokio::test]
async fn a_target_that_goes_and_comes_back_is_followed() {
    let tcp = check(Kind::Tcp, QUICK);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let watch = Watch::start(vec![probe_of("one", address, &tcp)]);
    until_verdicts(&watch, &[Verdict::Up]).await;
    drop(listener);
    until_verdicts(&watch, &[Verdict::Down]).await;
    assert!(watch.statuses()[0].failures_total >= 3);
    let _listener = TcpListener::bind(address).await.unwrap();
    until_verdicts(&watch, &[Verdict::Up]).await;
}

#[tokio::test]
async fn a_replaced_list_keeps_equal_probes_and_starts_and_stops_the_others() {
    let tcp = check(Kind::Tcp, NEVER);
    let (kept, kept_count) = target().await;
    let (gone, _) = target().await;
    let (new, _) = target().await;
    let watch = Watch::start(vec![probe_of("gone", gone, &tcp), probe_of("old name", kept, &tcp)]);
    assert!(watch.first_round(DEADLINE).await);
    let stopped = Arc::downgrade(&watch.shared.list().entries[0].1.target);
    let since = watch.statuses()[1].since;

    // An equal check in another allocation is the same check.
    let equal = check(Kind::Tcp, NEVER);
    let generation =
        watch.replace(vec![probe_of("new name", kept, &equal), probe_of("new", new, &equal)]);
    assert_eq!(generation, 2);
    let at_once = watch.verdicts().borrow().clone();
    assert_eq!((at_once.generation, at_once.verdicts[0]), (2, Verdict::Up));
    assert!(watch.first_round(DEADLINE).await);
    until_verdicts(&watch, &[Verdict::Up, Verdict::Up]).await;
    let statuses = watch.statuses();
    assert_eq!((statuses[0].name.as_str(), statuses[0].since), ("new name", since));
    assert_eq!(statuses[0].checks_total, 1, "it was not probed again");
    until("its connection is seen", || kept_count.load(Ordering::SeqCst) == 1).await;
    until("the task of what is gone ends", || stopped.strong_count() == 0).await;

    let other = check(Kind::Tcp, QUICK);
    watch.replace(vec![probe_of("another check", kept, &other)]);
    assert_eq!(watch.statuses()[0].checks_total, 0, "another check is another probe");
    until_verdicts(&watch, &[Verdict::Up]).await;
}

#[tokio::test]
async fn equal_probes_of_one_list_are_sent_once() {
    let tcp = check(Kind::Tcp, NEVER);
    let (shared, count) = target().await;
    let watch = Watch::start(vec![probe_of("a", shared, &tcp), probe_of("b", shared, &tcp)]);
    assert!(watch.first_round(DEADLINE).await);
    until_verdicts(&watch, &[Verdict::Up, Verdict::Up]).await;
    until("the connection is seen", || count.load(Ordering::SeqCst) > 0).await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let names: Vec<_> = watch.statuses().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[tokio::test]
async fn a_dropped_watch_stops_all_its_tasks() {
    let tcp = check(Kind::Tcp, QUICK);
    let (one, _) = target().await;
    let watch = Watch::start(vec![probe_of("one", one, &tcp)]);
    let mut verdicts = watch.verdicts();
    until_verdicts(&watch, &[Verdict::Up]).await;
    let shared = Arc::downgrade(&watch.shared);
    drop(watch);
    until("all tasks have ended", || shared.strong_count() == 0).await;
    verdicts.borrow_and_update();
    assert!(verdicts.changed().await.is_err(), "the readers are told");
}

#[tokio::test]
async fn what_cannot_be_probed_has_no_verdict_and_holds_up_no_round() {
    let (target, _) = target().await;
    let tls = TlsCheck {
        server_name: None,
        ca_file: Some("/nonexistent/authorities.pem".into()),
        verify: true,
        min_days: None,
    };
    let web = check(Kind::Http(HttpCheck { tls: Some(tls), ..http() }), NEVER);
    let watch = Watch::start(vec![probe_of("web", target, &web)]);
    assert!(watch.first_round(DEADLINE).await);
    assert_eq!(*watch.verdicts().borrow().verdicts, [Verdict::Unknown]);
    let status = &watch.statuses()[0];
    assert_eq!((status.state, status.failures_total, status.since), (Verdict::Unknown, 0, None));
    let text = status.last_result.as_deref().unwrap();
    assert!(text.starts_with("could not be probed: ca_file /nonexistent"), "{text}");
}

#[test]
fn a_verdict_stands_while_the_probe_cannot_be_made() {
    let address = "127.0.0.1:9".parse().unwrap();
    let target = Target::new(probe_of("one", address, &check(Kind::Tcp, NEVER)));
    assert!(
        target.take(&ProbeResult::Good(Duration::ZERO), Advice::default()),
        "the first verdict is news"
    );
    for _ in 0..10 {
        assert!(!target.take(&ProbeResult::unable("no descriptors left"), Advice::default()));
    }
    assert_eq!(target.verdict(), Verdict::Up);
    for news in [false, false, true, false] {
        assert_eq!(target.take(&ProbeResult::failed("refused"), Advice::default()), news);
    }
    assert_eq!(target.verdict(), Verdict::Down);
}

#[test]
fn what_an_agent_says_of_itself_counts_at_once_and_stands_while_it_is_silent() {
    let address = "127.0.0.1:9".parse().unwrap();
    let agent = Kind::Agent(AgentCheck::default());
    let target = Target::new(probe_of("one", address, &check(agent, NEVER)));
    let good = ProbeResult::Good(Duration::ZERO);
    let advice = |weight_percent, down| Advice { weight_percent, down, ..Advice::default() };
    assert!(target.take(&good, advice(Some(75), None)));
    assert!(!target.take(&good, advice(Some(75), None)), "nothing new");
    assert!(target.take(&good, advice(Some(50), None)), "another weight is news");
    assert_eq!(target.verdict(), Verdict::Up);
    assert!(target.take(&ProbeResult::failed("down"), advice(None, Some(true))));
    assert_eq!(target.verdict(), Verdict::Down, "the first of three failures");
    assert_eq!(target.status("one").state, Verdict::Down);
    assert!(!target.take(&ProbeResult::failed("refused"), Advice::default()));
    assert_eq!(target.advice(), advice(Some(50), Some(true)));
    assert!(target.take(&good, advice(None, Some(false))));
    assert_eq!(target.verdict(), Verdict::Up);
}

#[tokio::test]
async fn failed_traffic_makes_a_verdict_fall_and_a_probe_come_at_once() {
    let tcp = check(Kind::Tcp, NEVER);
    let (one, count) = target().await;
    let watch = Watch::start(vec![probe_of("one", one, &tcp)]);
    assert!(watch.first_round(DEADLINE).await);
    until("the first probe is seen", || count.load(Ordering::SeqCst) == 1).await;
    watch.note_traffic_failure(1, 0, "refused");
    until("a probe comes at once", || count.load(Ordering::SeqCst) == 2).await;
    until("its result is in", || watch.statuses()[0].last_result.as_deref() == Some("ok")).await;
    assert_eq!(*watch.verdicts().borrow().verdicts, [Verdict::Up], "one failure is not enough");
    // No await in between, so that no probe may be.
    let _ = [(); 3].map(|()| watch.note_traffic_failure(1, 0, "refused"));
    let status = &watch.statuses()[0];
    assert_eq!((status.state, status.traffic_failures_total), (Verdict::Down, 4));
    assert_eq!(status.last_result.as_deref(), Some("traffic failed: refused"));
    assert_eq!(*watch.verdicts().borrow().verdicts, [Verdict::Down]);
}

#[tokio::test]
async fn the_verdicts_of_a_long_list_are_published_some_at_a_time() {
    let tcp = check(Kind::Tcp, NEVER);
    let (one, _) = target().await;
    // Equal probes are one, so that this is a long list with little to do.
    let watch = Watch::start(vec![probe_of("one", one, &tcp); PUBLISHED_AT_ONCE + 1]);
    assert!(watch.first_round(DEADLINE).await);
    let published = || Arc::clone(&watch.verdicts().borrow().verdicts);
    let before = published();
    let _ = [(); 3].map(|()| watch.note_traffic_failure(1, 0, "refused"));
    assert_eq!(watch.statuses()[0].state, Verdict::Down);
    assert!(Arc::ptr_eq(&before, &published()), "not at once");
    until("all have heard of it", || published().iter().all(|one| *one == Verdict::Down)).await;
}

#[tokio::test]
async fn a_long_list_has_more_slots_for_as_long_as_it_is_long() {
    let watch = Watch::start(Vec::new());
    let slots = || (watch.shared.list().slots, watch.shared.slots.available_permits());
    assert_eq!(slots(), (MAX_IN_FLIGHT, MAX_IN_FLIGHT));
    let more = watch.shared.give_slots(MAX_IN_FLIGHT, MAX_IN_FLIGHT + 100);
    assert_eq!((more, slots().1), (MAX_IN_FLIGHT + 100, MAX_IN_FLIGHT + 100));
    let taken = watch.shared.slots.acquire_many(more as u32 - 30).await.unwrap();
    assert_eq!(watch.shared.give_slots(more, MAX_IN_FLIGHT), more - 30, "those are taken");
    drop(taken);
    assert_eq!(watch.shared.give_slots(more - 30, MAX_IN_FLIGHT), MAX_IN_FLIGHT);
    assert_eq!(slots(), (MAX_IN_FLIGHT, MAX_IN_FLIGHT));
    let (few, many) = (most_in_flight(10), most_in_flight(10_000));
    assert!(few == MAX_IN_FLIGHT && (few..=1_250).contains(&many), "{many}");
}

#[tokio::test]
async fn failed_traffic_of_an_older_list_is_not_laid_at_another_targets_door() {
    let tcp = check(Kind::Tcp, NEVER);
    let (one, _) = target().await;
    let watch = Watch::start(vec![probe_of("one", one, &tcp)]);
    assert!(watch.first_round(DEADLINE).await);
    let generation = watch.replace(vec![probe_of("one", one, &tcp)]);
    watch.note_traffic_failure(generation - 1, 0, "refused");
    watch.note_traffic_failure(generation, 1, "refused");
    assert_eq!(watch.statuses()[0].traffic_failures_total, 0);
}

#[tokio::test]
async fn no_more_probes_than_the_limit_are_under_way() {
    const EXTRA: usize = 40;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (open, gate) = watch::channel(false);
    let under_way = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (counted, peak) = (Arc::clone(&under_way), Arc::clone(&most));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut gate, counted) = (gate.clone(), Arc::clone(&counted));
            peak.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::spawn(async move {
                let _ = gate.wait_for(|open| *open).await;
                let _ = stream.read(&mut [0; 1024]).await;
                // Before the probe hears, so that no slot is taken twice here.
                counted.fetch_sub(1, Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await;
            });
        }
    });
    // One target, but checks that differ.
    let probes = (0..MAX_IN_FLIGHT + EXTRA).map(|n| {
        let web = check(Kind::Http(HttpCheck { path: format!("/{n}"), ..http() }), NEVER);
        probe_of("one of many", SocketAddr::new("127.0.0.1".parse().unwrap(), port), &web)
    });
    let watch = Watch::start(probes.collect());
    until("all slots are taken", || under_way.load(Ordering::SeqCst) == MAX_IN_FLIGHT).await;
    assert_eq!(watch.verdicts().borrow().pending, MAX_IN_FLIGHT + EXTRA);
    open.send_replace(true);
    assert!(watch.first_round(DEADLINE).await, "the others had their turn");
    assert!(watch.verdicts().borrow().verdicts.iter().all(|verdict| *verdict == Verdict::Up));
    assert_eq!(most.load(Ordering::SeqCst), MAX_IN_FLIGHT);
}
