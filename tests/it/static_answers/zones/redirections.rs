//! DNAME records (RFC 6672): to everything there is, in chains, in loops, and to names that get
//! too long.

use fastrand::Rng;

use super::{Draft, Zone, choose, v4};
use crate::static_answers::name::{MAX_LABEL_BYTES, Name};

/// A zone that is redirected as a whole.
pub(super) fn whole_zone(rng: &mut Rng, origin: &str, to: &str) -> Zone {
    let mut draft = Draft::new(origin);
    let origin = draft.origin.clone();
    let serial = rng.u32(1..);
    draft.add(&origin, "SOA", &format!("ns.elsewhere.example. h.example. {serial} 9 9 9 300"));
    draft.add(&origin, "NS", "ns.elsewhere.example.");
    draft.add(&origin, "A", &v4(rng));
    draft.add(&origin, "MX", &format!("10 {}", origin.with("mail").text()));
    draft.redirect(&origin, to);
    draft.finish()
}

/// A zone with redirections above other names, and at a wildcard.
pub(super) fn occluding(rng: &mut Rng, origin: &str, elsewhere: &str) -> Zone {
    let mut draft = Draft::new(origin);
    let origin = draft.origin.clone();
    draft.apex(rng);
    draft.hosts(rng, 10);
    let hidden = origin.with("d-hiding");
    draft.redirect(&hidden, &origin.with("tree").text());
    draft.add(&origin.with("a.tree"), "A", &v4(rng));
    for labels in ["a", "x.y", "*", "*.wild"] {
        draft.add(&hidden.with(labels), "A", &v4(rng));
    }
    draft.add(&hidden.with("inner"), "DNAME", elsewhere);
    draft.add(&hidden.with("alias"), "CNAME", &origin.with("mail").text());
    draft.add(&hidden.with("cut"), "NS", &hidden.with("ns.cut").text());
    draft.add(&hidden.with("ns.cut"), "A", &v4(rng));
    draft.more.extend([hidden.with("www.cut"), hidden.with("q.inner"), hidden.with("x.x.y")]);
    let mut zone = draft.finish();
    zone.has_occluded = true;
    zone
}

impl Draft {
    fn redirect(&mut self, owner: &Name, to: &str) {
        self.add(owner, "DNAME", to);
        for labels in ["a", "b", "nothing", "x.wild", "back", "x.y", "*", "deep.a.b.c", "mail"] {
            self.more.push(owner.with(labels));
        }
        self.more.extend([owner.longest(b'd'), owner.deepest(b'd')]);
        self.more.extend(owner.child(&[b'D'; MAX_LABEL_BYTES]));
    }

    pub(super) fn redirections(&mut self, elsewhere: &str) {
        let origin = self.origin.clone();
        let own = |labels: &str| origin.with(labels).text();
        // Where most lead, with ways back.
        self.add(&origin.with("a.tree"), "A", "198.51.100.70");
        self.add(&origin.with("b.tree"), "CNAME", &own("mail"));
        self.add(&origin.with("*.wild.tree"), "TXT", "\"wild\"");
        self.add(&origin.with("c.b.a.tree"), "AAAA", "2001:db8::70");
        self.add(&origin.with("back.tree"), "CNAME", &own("back.d-own"));
        self.add(&origin.with("on.tree"), "CNAME", &own("a.d-chain1"));
        let long = origin.with("goal").longest(b'g');
        let longish = Name(long.0[1..].to_vec());
        let fixed = [
            ("d-own", own("tree")),
            ("deep.er.d-deep", own("tree")),
            ("d-wild", own("wild")),
            ("d-none", own("does-not-exist")),
            ("d-apex", origin.text()),
            ("d-root", ".".to_string()),
            ("d-out", "elsewhere.example.".to_string()),
            ("d-other", elsewhere.to_string()),
            ("d-cut", own("glued")),
            ("d-far", own("far.off")),
            ("d-host", own("mail")),
            ("d-alias", own("c-wild")),
            ("d-upper", own("TREE")),
            ("d-chain1", own("d-chain2")),
            ("d-chain2", own("d-chain3")),
            ("d-chain3", own("tree")),
            ("d-loop1", own("d-loop2")),
            ("d-loop2", own("d-loop1")),
            ("d-self", own("d-self")),
            ("d-grows", own("on.d-grows")),
            ("d-long", long.text()),
            ("d-longish", longish.text()),
            ("d-cousin", own("x.d-own")),
        ];
        for (labels, target) in fixed {
            self.redirect(&origin.with(labels), &target);
        }
        // Beside other records.
        self.add(&origin.with("d-own"), "A", "198.51.100.71");
        self.add(&origin.with("d-own"), "TXT", "\"above what is redirected\"");
        self.add(&origin.with("mx-redirected"), "MX", &format!("10 {}", own("a.d-own")));
        self.add(&origin.with("ns-redirected"), "NS", &own("a.d-own"));
        self.cuts.insert(origin.with("ns-redirected"));
    }

    /// At names that have none below them, to any name.
    pub(super) fn random_redirections(&mut self, rng: &mut Rng) {
        for _ in 0..8 {
            let owners: Vec<Name> = self.types.keys().cloned().collect();
            let owner = choose(rng, &owners);
            let target = self.any_owner(rng);
            if self.try_add(owner, "DNAME", &target) {
                self.more.extend(owner.child(b"a"));
                self.more.extend(owner.child(b"x").and_then(|name| name.child(b"y")));
            }
        }
    }
}
