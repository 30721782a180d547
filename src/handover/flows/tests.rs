//! What is told arrives, whatever it was before.

use proptest::collection::{btree_map, hash_map};
use proptest::prelude::*;

use super::*;

fn backend(number: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], number))
}

fn flows() -> impl Strategy<Value = Flows> {
    let backends = hash_map((1u16..1_000).prop_map(backend), 1u64..9, 0..600);
    let of_a_service = (backends, 0u64..5).prop_map(|(backends, gone)| {
        let all = backends.values().sum::<u64>() + gone;
        ServiceFlows { all, backends }
    });
    btree_map("[a-c]", of_a_service, 0..3).prop_map(|mut services| {
        services.retain(|_, flows| flows.all > 0);
        Flows { services }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changes_make_the_old_the_new_and_each_fits_in_a_message(old in flows(), new in flows()) {
        let mut known = old.clone();
        for change in new.changes_since(&old) {
            prop_assert!(serde_json::to_vec(&change).unwrap().len() < MOST_BYTES / 2);
            known.apply(change);
        }
        prop_assert_eq!(&known, &new);
        prop_assert!(new.changes_since(&new).is_empty());
    }
}

#[test]
fn flows_of_several_processes_are_added_up() {
    let of = |service: &str, all, backends: &[(u16, u64)]| {
        let backends = backends.iter().map(|(number, count)| (backend(*number), *count)).collect();
        Flows { services: [(service.into(), ServiceFlows { all, backends })].into() }
    };
    let mut sum = of("web", 5, &[(1, 3), (2, 1)]);
    sum.add(&of("web", 2, &[(1, 2)]));
    sum.add(&of("api", 1, &[(1, 1)]));
    assert_eq!(sum.services["web"], of("web", 7, &[(1, 5), (2, 1)]).services["web"]);
    assert_eq!(sum.services["api"].all, 1);
}

#[tokio::test]
async fn what_a_process_tells_is_known_and_its_end_is_noticed() {
    let one = ServiceFlows { all: 2, backends: [(backend(1), 2)].into() };
    let begun = Flows { services: [("web".to_owned(), one)].into() };
    let (mut teller, elder) = Teller::pair(begun.clone()).unwrap();
    assert_eq!(elder.flows(), begun);
    // More than one message has room for.
    let many = (1..700).map(|number| (backend(number), u64::from(number))).collect();
    let many = ServiceFlows { all: 1_000_000, backends: many };
    let later = Flows { services: [("web".to_owned(), many)].into() };
    teller.tell(&later).await.unwrap();
    while elder.flows() != later {
        elder.hear().await.unwrap();
    }
    elder.ask(Request::ReopenLogs);
    assert_eq!(teller.asked().await.unwrap(), Request::ReopenLogs);
    drop(teller);
    assert!(matches!(elder.hear().await, Err(Broken::Gone)));
    elder.ask(Request::ReopenLogs);
}

#[tokio::test]
async fn a_process_to_which_nobody_listens_any_more_notices_it() {
    let (mut teller, elder) = Teller::pair(Flows::default()).unwrap();
    drop(elder);
    let some = ServiceFlows { all: 1, ..ServiceFlows::default() };
    let some = Flows { services: [("web".to_owned(), some)].into() };
    assert!(matches!(teller.tell(&some).await, Err(Broken::Gone)));
    assert!(matches!(teller.asked().await, Err(Broken::Gone)));
}
