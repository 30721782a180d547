//! CNAME records: to everything there is, in chains, and in loops.

use fastrand::Rng;

use super::Draft;

impl Draft {
    pub(super) fn aliases(&mut self, rng: &mut Rng, elsewhere: &str) {
        let origin = self.origin.clone();
        let own = |label: &str| origin.with(label).text();
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
            ("*.out-and-in", own("q.cname-wild")),
            // Into redirections, by which some come back.
            ("c-redirected", own("a.d-own")),
            ("c-redirected-none", own("nothing.d-own")),
            ("c-redirected-twice", own("b.d-chain1")),
            ("c-redirected-out", own("b.d-out")),
            ("c-redirection", own("d-own")),
            ("*.redirected-wild", own("a.d-own")),
        ];
        for (label, target) in fixed {
            self.try_add(&origin.with(label), "CNAME", &target);
            self.more.extend(label.strip_prefix('*').map(|rest| origin.with(&format!("q{rest}"))));
        }
        for number in 0..20 {
            let target = self.any_owner(rng);
            self.try_add(&origin.with(&format!("r{number}")), "CNAME", &target);
        }
        // Chains: to an address, out of the zone, into a cut, into a redirection, and a long one.
        let chains = [
            ("d", 6, own("mail")),
            ("e", 6, "a.elsewhere.example.".to_string()),
            ("f", 6, own("x.hiding")),
            ("g", 4, own("a.d-own")),
            ("h", 20, own("mail")),
        ];
        for (chain, length, end) in chains {
            for number in 0..length {
                let is_last = number + 1 == length;
                let next =
                    if is_last { end.clone() } else { own(&format!("{chain}{}", number + 1)) };
                self.try_add(&origin.with(&format!("{chain}{number}")), "CNAME", &next);
            }
        }
    }
}
