//! Measures the answer engine alone, without sockets.
//!
//! `cargo bench --bench engine` prints nanoseconds an answer for every kind of query;
//! `cargo bench --bench engine -- --once N CASE` answers N queries of one kind and nothing else,
//! for counting instructions (`valgrind --tool=callgrind --toggle-collect='*answer*respond*' …`).

mod corpus;

use std::hint::black_box;
use std::time::Instant;

use corpus::{Case, cases, request, snapshot};
use portolan::answer::{Request, respond};
use portolan::dns::Query;
use portolan::dns::query::NameRoom;
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
            for packet in case.packets.iter().cycle().take(count) {
                let mut out = [0; 1232];
                black_box(respond(&snapshot, &request, packet, &mut out));
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
    let parsing = fastest(case, |packet| {
        let mut room = NameRoom::new();
        let _ = black_box(Query::parse(black_box(packet), &mut room));
    });
    let answering = fastest(case, |packet| {
        black_box(respond(snapshot, request, black_box(packet), &mut out));
    });
    println!("{:16} parse {parsing:6.1} ns   respond {answering:6.1} ns", case.name);
}

/// Nanoseconds a query, in the fastest round over all queries of a case.
fn fastest(case: &Case, mut run: impl FnMut(&[u8])) -> f64 {
    let round = || {
        let begin = Instant::now();
        case.packets.iter().for_each(|packet| run(packet));
        begin.elapsed().as_nanos() as f64 / case.packets.len() as f64
    };
    std::iter::repeat_with(round).take(ROUNDS).fold(f64::INFINITY, f64::min)
}
