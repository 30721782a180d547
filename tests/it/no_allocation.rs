//! The hot path allocates nothing: every answer of the benchmark's corpus, and the choice of a
//! backend, under an allocator that counts.

#![expect(unsafe_code, reason = "an allocator that counts can be written in no other way")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan::answer::{Verdict, respond};
use portolan::l4::service::Service;
use portolan::l4::settings::{HashOf, Protocol};
use portolan::l4::{BackendSettings, Balance, Flow, ServiceSettings};
use portolan::ledger::Ledger;

use corpus::{cases, request, snapshot};

#[path = "../bench/corpus.rs"]
mod corpus;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// How often this thread asked for memory.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(memory, layout, new_size) }
    }
}

#[test]
fn the_choice_of_a_backend_allocates_nothing() {
    // So many that not all are looked at for every flow.
    let backends = (0..=255).map(|n| BackendSettings::new(([10, 1, 0, n], 8443).into(), 1));
    let mut settings = ServiceSettings::new("web", Vec::new(), backends.collect());
    let of = HashOf::FiveTuple;
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::TwoChoices,
        Balance::Hash { of },
        Balance::Maglev { of, table_size: 65_537 },
        Balance::BoundedHash { of, factor: 1.25 },
    ] {
        settings.balance = balance;
        let service = Service::new("web".into(), Arc::default(), Arc::default());
        let backends = service.backends_for(&settings);
        backends.iter().for_each(|backend| backend.learn(portolan::health::Verdict::Up));
        service.replace(Arc::new(settings.clone()), backends, Arc::default());
        service.refresh(true, Instant::now());
        let flow = |port| Flow {
            client: ([198, 51, 100, 1], port).into(),
            vip: ([203, 0, 113, 10], 443).into(),
            protocol: Protocol::Tcp,
        };
        // What a thread keeps for all its reads is made with the first.
        let first = service.choose(&flow(0), &[]).unwrap();
        let tried = [first.backend().address];
        let before = ALLOCATIONS.get();
        for port in 1..500 {
            let place = service.choose(&flow(port), &tried).unwrap();
            assert_ne!(place.backend().address, tried[0]);
            place.connected(Duration::from_millis(1));
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{balance:?}");
    }
}

#[test]
fn an_answer_allocates_nothing() {
    let (snapshot, request) = (snapshot(), request());
    let mut out = vec![0; 65535];
    let ledger = Ledger::default();
    for case in cases() {
        let before = ALLOCATIONS.get();
        let (mut positive, mut written) = (0, 0);
        for packet in &case.packets {
            let outcome = respond(&snapshot, &request, packet, &mut out);
            if let Some(answered) = outcome.answered {
                ledger.write(answered);
            }
            written += u64::from(outcome.answered.is_some());
            positive += u64::from(outcome.verdict == Verdict::Positive);
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{}", case.name);
        assert_eq!(written > 0, case.name == "by-load-ecs", "{}", case.name);
        assert_eq!(
            positive > 0,
            !["nodata", "nxdomain", "referral", "refused", "garbage"].contains(&case.name)
        );
    }
    let before = ALLOCATIONS.get();
    drop(Box::new(1));
    assert_eq!(ALLOCATIONS.get() - before, 1, "the allocator counts");
}
