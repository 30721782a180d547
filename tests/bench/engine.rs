//! Measures the answer engine alone, without sockets.
//!
//! `cargo bench --bench engine` prints nanoseconds an answer for every kind of query;
//! `cargo bench --bench engine -- --once N CASE` answers N queries of one kind and nothing else,
//! for counting instructions (`valgrind --tool=callgrind --toggle-collect='*answer*respond*' …`).

mod corpus;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use corpus::{Case, cases, request, snapshot};
use portolan::answer::{Request, respond};
use portolan::dns::Query;
use portolan::dns::query::NameRoom;
use portolan::ledger::{Ledger, Ledgers};
use portolan::snapshot::Snapshot;

/// The fastest of so many rounds counts: what slows a round down is not the engine.
const ROUNDS: usize = 20;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (snapshot, request) = (snapshot(), request());
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            for case in cases() {
                measure(&snapshot, &request, &case);
            }
        }
        ["--once", count, wanted] => {
            let count = count.parse().expect("a number of queries");
            let case = cases().into_iter().find(|case| case.name == wanted).expect("a known case");
            let ledger = Ledger::default();
            for packet in case.packets.iter().cycle().take(count) {
                let mut out = [0; 1232];
                let outcome = black_box(respond(&snapshot, &request, packet, &mut out));
                if let Some(answered) = outcome.answered {
                    ledger.write(answered);
                }
            }
        }
        _ => {
            eprintln!("usage: engine [--once N CASE]");
            std::process::exit(2);
        }
    }
}

fn measure(snapshot: &Snapshot, request: &Request, case: &Case) {
    let mut out = [0; 1232];
    let parsing = fastest(
        case,
        |packet| {
            let mut room = NameRoom::new();
            let _ = black_box(Query::parse(black_box(packet), &mut room));
        },
        || (),
    );
    // As a worker does, and what reads the ledger does beside it.
    let ledger = Arc::new(Ledger::default());
    let mut reader = Ledgers::new([Arc::clone(&ledger)]);
    let answering = fastest(
        case,
        |packet| {
            let outcome = black_box(respond(snapshot, request, black_box(packet), &mut out));
            if let Some(answered) = outcome.answered {
                ledger.write(answered);
            }
        },
        || {
            reader.drain(usize::MAX, |_| ());
        },
    );
    println!("{:16} parse {parsing:6.1} ns   respond {answering:6.1} ns", case.name);
}

/// Nanoseconds a query, in the fastest round over all queries of a case, with something else to do
/// between the rounds.
fn fastest(case: &Case, mut run: impl FnMut(&[u8]), mut before: impl FnMut()) -> f64 {
    let round = || {
        before();
        let begin = Instant::now();
        case.packets.iter().for_each(|packet| run(packet));
        begin.elapsed().as_nanos() as f64 / case.packets.len() as f64
    };
    std::iter::repeat_with(round).take(ROUNDS).fold(f64::INFINITY, f64::min)
}
