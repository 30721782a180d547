//! Hosts, wildcards, long names and large RRsets.

use fastrand::Rng;

use super::{Draft, choose};
use crate::static_answers::name::Name;

const LABELS: &[&str] = &["a", "b", "c", "www", "mail", "x1", "_tcp", "ns", "deep", "eu-west"];
/// What no plain name holds: a dot, a blank, a NUL, octets above 127, upper-case letters; what looks
/// like a wildcard and is none; the longest label.
const ODD_LABELS: &[&[u8]] = &[
    b"a.b",
    b"sp ace",
    b"nul\0",
    b"\0",
    b"\xe9t\xe9",
    b"\xff\xff",
    b"UPPER",
    b"semi;\"(",
    b"\\",
    b"**",
    b"*a",
    b"a*",
    b"[]@^_`{}~",
    b"the-longest-label-there-is-the-longest-label-there-is-the-long-",
];

impl Draft {
    /// Names of up to five labels and one to three records.
    pub(super) fn hosts(&mut self, rng: &mut Rng, count: usize) {
        for _ in 0..count {
            let mut name = self.origin.clone();
            for _ in 0..rng.usize(1..=4) {
                let label = match rng.u8(..20) {
                    0..3 => ODD_LABELS[rng.usize(..ODD_LABELS.len())],
                    3 => b"*",
                    _ => choose(rng, LABELS).as_bytes(),
                };
                name = name.child(label).unwrap_or(name);
            }
            for _ in 0..rng.usize(1..=3) {
                self.add_any(rng, &name);
            }
        }
    }

    /// At an existing name or an empty non-terminal, below one another, above other names, and with
    /// aliases.
    pub(super) fn wildcards(&mut self, rng: &mut Rng) {
        let fixed = [
            "*.wild",
            "*.*.wild",
            "*.a.wild",
            "b.*.wild",
            "*.ent",
            "sub.*.under",
            "x.*.y.*.under",
            "*.below.ent2.under",
        ]
        .map(|labels| self.origin.with(labels));
        let owners: Vec<Name> = self.types.keys().cloned().collect();
        let random: Vec<Name> = (0..8).filter_map(|_| choose(rng, &owners).child(b"*")).collect();
        for name in fixed.into_iter().chain(random) {
            if self.is_occluded(&name) {
                continue;
            }
            let parent = name.parent();
            let near = [parent.child(b"q"), name.child(b"q"), parent.child(b"q")];
            self.more.extend(near.into_iter().flatten());
            self.more.extend(parent.child(b"q").and_then(|name| name.child(b"r")));
            for _ in 0..rng.usize(1..=2) {
                self.add_any(rng, &name);
            }
        }
    }

    /// What does not fit in 512 or 1232 bytes, or hardly in anything.
    pub(super) fn large(&mut self, rng: &mut Rng) {
        let origin = self.origin.clone();
        for (label, count) in [("big500", 2), ("big1200", 6), ("big4000", 20), ("big20000", 95)] {
            for number in 0..count {
                let text = format!("\"{number} {}\"", "x".repeat(190));
                self.add(&origin.with(label), "TXT", &text);
            }
        }
        for number in 1..=60 {
            self.add(&origin.with("crowd"), "A", &format!("203.0.113.{number}"));
        }
        // The answer fits in 512 bytes, its additional addresses do not.
        let crowd = origin.with("crowd").text();
        self.add(&origin.with("mx-crowd"), "MX", &format!("5 {crowd}"));
        self.add(&origin.with("srv-crowd"), "SRV", &format!("5 6 7 {crowd}"));
        self.add(&origin.with("https-crowd"), "HTTPS", &format!("1 {crowd}"));
        for number in 0..4 {
            let text = format!("\"{number} {}\"", rng.lowercase().to_string().repeat(200));
            self.add(&origin.with("*.big-wild"), "TXT", &text);
        }
    }

    /// Names as long as names may be, of few labels and of 127.
    pub(super) fn long_names(&mut self) {
        let origin = self.origin.clone();
        let longest = origin.with("long").longest(b'l');
        self.add(&longest, "A", "198.51.100.200");
        self.add(&origin.with("to-long"), "CNAME", &longest.text());
        let deepest = origin.with("steps").deepest(b's');
        self.add(&deepest, "A", "198.51.100.202");
        self.add(&origin.with("to-steps"), "CNAME", &deepest.text());
        self.add(&origin.with("*.long-wild"), "A", "198.51.100.201");
        let wild = origin.with("long-wild");
        self.more.extend([wild.longest(b'w'), wild.deepest(b'w'), origin.longest(b'n')]);
        self.more.extend([deepest.parent(), longest.parent(), deepest.parent().parent()]);
    }
}
