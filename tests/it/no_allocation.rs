//! The hot path allocates nothing: every answer of the benchmark's corpus, under an allocator that
//! counts.

#![expect(unsafe_code, reason = "an allocator that counts can be written in no other way")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use portolan::answer::{Verdict, respond};
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
