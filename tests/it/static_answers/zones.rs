//! Zones made from a seed, with what servers get wrong: wildcards at every depth, empty
//! non-terminals, aliases of all kinds, delegations with and without glue, names of any octets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use fastrand::Rng;

use super::name::Name;

/// A zone and what is worth asking in it.
pub struct Zone {
    pub origin: Name,
    /// In master-file form.
    pub text: String,
    /// Every owner in the text, and some names that have none.
    pub owners: Vec<Name>,
}

const LABELS: &[&str] = &["a", "b", "c", "www", "mail", "x1", "_tcp", "ns", "deep", "eu-west"];
/// What no plain name holds: a dot, a blank, a NUL, an octet above 127, an upper-case letter.
const ODD_LABELS: &[&[u8]] =
    &[b"a.b", b"sp ace", b"nul\0", b"\xe9t\xe9", b"UPPER", b"semi;\"(", b"\\"];

/// Five zones, one of them below another.
pub fn related(rng: &mut Rng) -> Vec<Zone> {
    vec![
        generate(rng, "alpha.example.", Some("child.alpha.example."), "beta.example."),
        generate(rng, "beta.example.", None, "alpha.example."),
        generate(rng, "child.alpha.example.", None, "alpha.example."),
        generate(rng, "x.y.deep.example.", None, "wild.example."),
        rfc_4592("wild.example."),
    ]
}

/// The zone of RFC 4592 §2.2.1, whose answers §2.2.1 and §4 discuss.
fn rfc_4592(origin: &str) -> Zone {
    let mut draft = Draft::new(origin);
    let origin = draft.origin.clone();
    draft.plain(&origin, "SOA", "ns.example.com. hostmaster.example.com. 1 7200 900 1209600 300");
    for target in ["ns.example.com.", "ns.example.net."] {
        draft.plain(&origin, "NS", target);
        draft.plain(&origin.with("subdel"), "NS", target);
    }
    draft.plain(&origin.with("*"), "TXT", "\"this is a wildcard\"");
    draft.plain(&origin.with("*"), "MX", &format!("10 {}", origin.with("host1").text()));
    draft.plain(&origin.with("sub.*"), "TXT", "\"this is not a wildcard\"");
    draft.plain(&origin.with("host1"), "A", "198.51.100.1");
    for host in ["host1", "host2"] {
        let target = format!("0 0 22 {}", origin.with(host).text());
        draft.plain(&origin.with("_tcp").with("_ssh").with(host), "SRV", &target);
        draft.plain(&origin.with(&format!("_ssh._tcp.{host}")), "SRV", &target);
    }
    draft.finish()
}

/// A zone of its own, or with `child` delegated, which is served too.
fn generate(rng: &mut Rng, origin: &str, child: Option<&str>, elsewhere: &str) -> Zone {
    let mut draft = Draft::new(origin);
    draft.apex(rng);
    if let Some(child) = child {
        let child = Name::plain(child);
        draft.plain(&child, "NS", &child.with("ns1").text());
        draft.plain(&child, "DS", &ds(rng));
        draft.plain(&child.with("ns1"), "A", "198.51.100.77");
        draft.cuts.insert(child);
    }
    draft.cuts(rng);
    draft.hosts(rng);
    draft.wildcards(rng);
    draft.large(rng);
    draft.long_names();
    draft.aliases(rng, elsewhere);
    draft.finish()
}

struct Draft {
    origin: Name,
    text: String,
    types: BTreeMap<Name, BTreeSet<String>>,
    cuts: BTreeSet<Name>,
    /// Worth asking though nothing stands there.
    more: Vec<Name>,
}

impl Draft {
    fn new(origin: &str) -> Draft {
        let text = String::new();
        let (types, cuts, more) = Default::default();
        Draft { origin: Name::plain(origin), text, types, cuts, more }
    }

    /// Adds a record. All of a name have one TTL, as those of an RRset must.
    fn plain(&mut self, owner: &Name, rtype: &str, data: &str) {
        let ttl = 60 + 60 * (owner.wire().iter().map(|byte| u32::from(*byte)).sum::<u32>() % 50);
        writeln!(self.text, "{} {ttl} IN {rtype} {data}", owner.text()).expect("to a string");
        self.types.entry(owner.clone()).or_default().insert(rtype.to_string());
    }

    fn apex(&mut self, rng: &mut Rng) {
        let origin = self.origin.clone();
        let (ns1, ns2) = (origin.with("ns1"), origin.with("Ns2.Infra"));
        let serial = rng.u32(1..);
        let soa =
            format!("{} HostMaster.{} {serial} 7200 900 1209600 {}", ns1.text(), origin.text(), 60);
        self.plain(&origin, "SOA", &soa);
        for target in [ns1.text(), ns2.text(), "ns.elsewhere.example.".to_string()] {
            self.plain(&origin, "NS", &target);
        }
        self.plain(&ns1, "A", "198.51.100.53");
        self.plain(&ns1, "AAAA", "2001:db8::53");
        self.plain(&ns2, "A", "203.0.113.53");
        self.plain(&origin, "MX", &format!("10 {}", origin.with("mail").text()));
        self.plain(&origin, "TXT", "\"v=spf1 -all\" \"Two Strings; and a semicolon\"");
        self.plain(&origin.with("mail"), "A", "198.51.100.25");
        self.plain(&origin.with("mail"), "AAAA", "2001:db8::25");
    }

    /// Delegations of every kind.
    fn cuts(&mut self, rng: &mut Rng) {
        let cut = |draft: &mut Draft, label: &str| {
            let cut = draft.origin.with(label);
            draft.cuts.insert(cut.clone());
            draft.more.push(cut.with("www"));
            draft.more.push(cut.with("a.b"));
            cut
        };
        // Name servers below the cut: their addresses must be in the referral.
        let glued = cut(self, "glued");
        for host in ["ns1", "ns2.deep"] {
            self.plain(&glued, "NS", &glued.with(host).text());
            self.plain(&glued.with(host), "A", &v4(rng));
        }
        self.plain(&glued.with("ns1"), "AAAA", &v6(rng));
        // The name server is the cut itself.
        let itself = cut(self, "itself");
        self.plain(&itself, "NS", &itself.text());
        self.plain(&itself, "A", &v4(rng));
        // Elsewhere: no glue.
        let plain = cut(self, "far.off");
        self.plain(&plain, "NS", "ns1.elsewhere.example.");
        self.plain(&plain, "NS", "NS2.Elsewhere.example.");
        // With DS.
        let signed = cut(self, "signed");
        self.plain(&signed, "NS", &signed.with("ns").text());
        self.plain(&signed.with("ns"), "A", &v4(rng));
        let digest = ds(rng);
        self.plain(&signed, "DS", &digest);
        // The name server has authoritative addresses here.
        let inside = cut(self, "inside");
        let mail = self.origin.with("mail").text();
        self.plain(&inside, "NS", &mail);
        // The name server is below a sister cut.
        let sister = cut(self, "sister");
        self.plain(&sister, "NS", &glued.with("ns1").text());
        // Data below the cut that no answer may have.
        let hiding = cut(self, "hiding");
        self.plain(&hiding, "NS", &hiding.with("ns").text());
        self.plain(&hiding.with("ns"), "A", &v4(rng));
        self.plain(&hiding.with("ns"), "TXT", "\"never seen\"");
        self.plain(&hiding.with("www"), "A", &v4(rng));
        self.plain(&hiding.with("*"), "A", &v4(rng));
        self.plain(&hiding, "TXT", "\"nor this\"");
        // A cut below an empty non-terminal and beside a wildcard.
        let deep = cut(self, "deep.cut.ent");
        self.plain(&deep, "NS", &deep.with("ns").text());
        self.plain(&deep.with("ns"), "A", &v4(rng));
        // More glue than 512 bytes hold, and more than 1232.
        for (label, servers) in [("many", 9), ("more", 13)] {
            let wide = cut(self, label);
            for number in 0..servers {
                let server = wide.with(&format!("some-name-server-{number}"));
                self.plain(&wide, "NS", &server.text());
                for _ in 0..servers / 4 {
                    self.plain(&server, "A", &v4(rng));
                    self.plain(&server, "AAAA", &v6(rng));
                }
            }
        }
    }

    fn hosts(&mut self, rng: &mut Rng) {
        for _ in 0..60 {
            let mut name = self.origin.clone();
            for _ in 0..rng.usize(1..=4) {
                let odd = rng.u8(..8) == 0;
                let label = if odd {
                    ODD_LABELS[rng.usize(..ODD_LABELS.len())]
                } else {
                    choose(rng, LABELS).as_bytes()
                };
                name = name.child(label).expect("five short labels fit");
            }
            for _ in 0..rng.usize(1..=3) {
                self.add_any(rng, &name);
            }
        }
    }

    /// At an existing name or an empty non-terminal, and below one another.
    fn wildcards(&mut self, rng: &mut Rng) {
        let fixed =
            ["*.wild", "*.*.wild", "*.a.wild", "*.ent", "sub.*.under"].map(|l| self.origin.with(l));
        let owners: Vec<Name> = self.types.keys().cloned().collect();
        let random = (0..8).map(|_| choose(rng, &owners).with("*")).collect::<Vec<_>>();
        for name in fixed.into_iter().chain(random) {
            if self.is_occluded(&name) {
                continue;
            }
            self.more.extend([name.parent().with("q"), name.parent().with("q.r"), name.with("q")]);
            for _ in 0..rng.usize(1..=2) {
                self.add_any(rng, &name);
            }
        }
    }

    /// What does not fit in 512 or 1232 bytes.
    fn large(&mut self, rng: &mut Rng) {
        for (label, count) in [("big500", 2), ("big1200", 6), ("big4000", 20)] {
            let name = self.origin.with(label);
            for number in 0..count {
                self.plain(&name, "TXT", &format!("\"{number} {}\"", "x".repeat(190)));
            }
        }
        let name = self.origin.with("crowd");
        for number in 1..=60 {
            self.plain(&name, "A", &format!("203.0.113.{number}"));
        }
        // The answer fits in 512 bytes, its additional addresses do not.
        let name = self.origin.with("mx-crowd");
        self.plain(&name, "MX", &format!("5 {}", self.origin.with("crowd").text()));
        let name = self.origin.with("*.big-wild");
        for number in 0..4 {
            self.plain(
                &name,
                "TXT",
                &format!("\"{number} {}\"", rng.lowercase().to_string().repeat(200)),
            );
        }
    }

    fn long_names(&mut self) {
        let longest = self.origin.with("long").longest(b'l');
        self.plain(&longest, "A", "198.51.100.200");
        self.plain(&self.origin.with("to-long"), "CNAME", &longest.text());
        self.plain(&self.origin.with("*.long-wild"), "A", "198.51.100.201");
        self.more.push(self.origin.with("long-wild").longest(b'w'));
        self.more.push(self.origin.longest(b'n'));
    }

    fn aliases(&mut self, rng: &mut Rng, elsewhere: &str) {
        let origin = self.origin.clone();
        let own = |label: &str| origin.with(label).text();
        let target = |draft: &Draft, rng: &mut Rng| {
            let owners: Vec<&Name> = draft.types.keys().collect();
            choose(rng, &owners).text()
        };
        let fixed = [
            ("c-wild", own("q.wild")),
            ("c-wild-cname", own("q.cname-wild")),
            ("c-none", own("does-not-exist")),
            ("c-ent", own("cut.ent")),
            ("c-ent2", own("ent")),
            ("c-below", own("www.glued")),
            ("c-cut", own("signed")),
            ("c-glue", own("ns1.glued")),
            ("c-apex", origin.text()),
            ("c-out", "www.elsewhere.example.".to_string()),
            ("c-other", format!("mail.{elsewhere}")),
            ("c-other-none", format!("no-such.{elsewhere}")),
            ("c-root", ".".to_string()),
            ("c-big", own("big1200")),
            ("c-crowd", own("crowd")),
            ("c-upper", own("MAIL")),
            ("self", own("self")),
            ("loop1", own("loop2")),
            ("loop2", own("loop3")),
            ("loop3", own("loop1")),
            ("into-loop", own("loop1")),
            ("*.cname-wild", own("mail")),
            ("*.loop-wild", own("x.loop-wild")),
            ("*.far-wild", "www.elsewhere.example.".to_string()),
            ("*.none-wild", own("does-not-exist.either")),
        ];
        for (label, target) in fixed {
            self.alias(label, &target);
            self.more.extend(label.strip_prefix('*').map(|rest| origin.with(&format!("q{rest}"))));
        }
        for number in 0..20 {
            let target = target(self, rng);
            self.alias(&format!("r{number}"), &target);
        }
        // Chains: to an address, out of the zone, and into a cut.
        for (chain, end) in
            [("d", own("mail")), ("e", "a.elsewhere.example.".into()), ("f", own("x.hiding"))]
        {
            for number in 0..6 {
                let next =
                    if number == 5 { end.clone() } else { own(&format!("{chain}{}", number + 1)) };
                self.alias(&format!("{chain}{number}"), &next);
            }
        }
    }

    fn alias(&mut self, label: &str, target: &str) {
        let owner = self.origin.with(label);
        if !self.types.contains_key(&owner) {
            self.plain(&owner, "CNAME", target);
        }
    }

    /// A record of a random type, if the name may have one.
    fn add_any(&mut self, rng: &mut Rng, name: &Name) {
        let own = |rng: &mut Rng, draft: &Draft| {
            let owners: Vec<&Name> =
                draft.types.keys().filter(|name| !name.text().contains('\\')).collect();
            choose(rng, &owners).text()
        };
        if self.is_occluded(name) {
            return;
        }
        let (rtype, data) = match rng.u8(..20) {
            0..3 => ("A", v4(rng)),
            3..5 => ("AAAA", v6(rng)),
            5 => ("MX", format!("{} {}", rng.u16(..), own(rng, self))),
            6 => ("SRV", format!("1 2 {} {}", rng.u16(..), own(rng, self))),
            7 => ("TXT", "\"Mixed Case\" \"\" \"\\200\\000\\\"\"".to_string()),
            8 => ("CAA", "0 issue \"ca.example; policy=ev\"".to_string()),
            9 => ("TLSA", format!("3 1 1 {}", hex(rng, 32))),
            10 => ("SVCB", format!("1 {} alpn=h2,h3 port=8443", own(rng, self))),
            11 => ("HTTPS", "1 . alpn=h3 ipv4hint=198.51.100.1 ipv6hint=2001:db8::1".to_string()),
            12 => ("HTTPS", format!("0 {}", own(rng, self))),
            13 => (
                "NAPTR",
                format!("100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:info@example!\" {}", own(rng, self)),
            ),
            14 => ("SSHFP", format!("4 2 {}", hex(rng, 32))),
            15 => ("LOC", "\\# 16 0012161389ae1d2070be15f000986c78".to_string()),
            16 => ("TYPE65400", format!("\\# 5 {}", hex(rng, 5))),
            17 => ("PTR", own(rng, self)),
            18 => ("HINFO", "\"Amiga\" \"None\"".to_string()),
            // The reader does not know RP, so it cannot look past the case of its names.
            _ => ("RP", format!("{} {}", own(rng, self), own(rng, self)).to_lowercase()),
        };
        let has = self.types.get(name).is_some_and(|types| types.contains("CNAME"));
        // A record only once: servers differ in what they do with a second.
        if !has && !self.text.contains(&format!("{rtype} {data}\n")) {
            self.plain(name, rtype, &data);
        }
    }

    fn is_occluded(&self, name: &Name) -> bool {
        self.cuts.iter().any(|cut| name.is_below(cut))
    }

    fn finish(self) -> Zone {
        let owners = self.types.into_keys().chain(self.more).collect();
        Zone { origin: self.origin, text: self.text, owners }
    }
}

/// One of them.
pub fn choose<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}

fn v4(rng: &mut Rng) -> String {
    let net = if rng.bool() { "198.51.100" } else { "203.0.113" };
    format!("{net}.{}", rng.u8(..))
}

fn v6(rng: &mut Rng) -> String {
    format!("2001:db8:{:x}::{:x}", rng.u16(..), rng.u16(1..))
}

fn ds(rng: &mut Rng) -> String {
    format!("{} 13 2 {}", rng.u16(..), hex(rng, 32))
}

fn hex(rng: &mut Rng, bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", rng.u8(..))).collect()
}
