//! Delegations of every kind.

use fastrand::Rng;

use super::{Draft, ds, v4, v6};
use crate::static_answers::name::Name;

impl Draft {
    /// A delegation to a zone that is served here, too; with data that only the parent has.
    pub(super) fn child(&mut self, rng: &mut Rng, child: &Name) {
        self.add(child, "NS", &child.with("ns1").text());
        let digest = ds(rng);
        self.add(child, "DS", &digest);
        self.add(&child.with("ns1"), "A", "198.51.100.77");
        self.add(&child.with("www"), "TXT", "\"of the parent\"");
        self.cut(child);
    }

    fn cut(&mut self, cut: &Name) {
        self.cuts.insert(cut.clone());
        self.more.extend([cut.with("www"), cut.with("a.b"), cut.with("*")]);
    }

    pub(super) fn cuts(&mut self, rng: &mut Rng) {
        let origin = self.origin.clone();
        let at = |label: &str| origin.with(label);
        // Name servers below the cut: their addresses must be in the referral.
        let glued = at("glued");
        for host in ["ns1", "ns2.deep"] {
            self.add(&glued, "NS", &glued.with(host).text());
            self.add(&glued.with(host), "A", &v4(rng));
        }
        self.add(&glued.with("ns1"), "AAAA", &v6(rng));
        // The name server is the cut itself.
        self.add(&at("itself"), "NS", &at("itself").text());
        self.add(&at("itself"), "A", &v4(rng));
        // Elsewhere: no glue.
        self.add(&at("far.off"), "NS", "ns1.elsewhere.example.");
        self.add(&at("far.off"), "NS", "NS2.Elsewhere.example.");
        // With DS.
        let signed = at("signed");
        self.add(&signed, "NS", &signed.with("ns").text());
        self.add(&signed.with("ns"), "A", &v4(rng));
        for _ in 0..2 {
            let digest = ds(rng);
            self.add(&signed, "DS", &digest);
        }
        // The name server has authoritative addresses here, or an alias, or those of a wildcard.
        self.add(&at("inside"), "NS", &at("mail").text());
        self.add(&at("alias-server"), "NS", &at("c-apex").text());
        self.add(&at("wild-server"), "NS", &at("q.wild").text());
        self.add(&at("*.wild"), "A", &v4(rng));
        // The name server is below a sister cut, here and further down.
        self.add(&at("sister"), "NS", &glued.with("ns1").text());
        let (one, other) = (at("one.sisters"), at("a.other.sisters"));
        self.add(&one, "NS", &other.with("ns.x").text());
        self.add(&other, "NS", &other.with("ns.x").text());
        self.add(&other, "NS", &one.with("ns").text());
        self.add(&other.with("ns.x"), "A", &v4(rng));
        self.add(&one.with("ns"), "AAAA", &v6(rng));
        // Data below the cut that no answer may have, a further cut among it.
        let hiding = at("hiding");
        self.add(&hiding, "NS", &hiding.with("ns").text());
        self.add(&hiding.with("ns"), "A", &v4(rng));
        self.add(&hiding.with("ns"), "TXT", "\"never seen\"");
        self.add(&hiding.with("www"), "A", &v4(rng));
        self.add(&hiding.with("*"), "A", &v4(rng));
        self.add(&hiding, "TXT", "\"nor this\"");
        self.add(&hiding.with("inner"), "NS", &hiding.with("ns.inner").text());
        self.add(&hiding.with("ns.inner"), "A", &v4(rng));
        // A cut below an empty non-terminal, and one beside a wildcard.
        for label in ["deep.cut.ent", "cut.wild"] {
            self.add(&at(label), "NS", &at(label).with("ns").text());
            self.add(&at(label).with("ns"), "A", &v4(rng));
        }
        // A name of any octets.
        let odd = origin.child(b"c\xffut.\0").expect("short");
        self.add(&odd, "NS", &odd.with("ns").text());
        self.add(&odd.with("ns"), "A", &v4(rng));
        self.cut(&odd);
        // More glue than 512 bytes hold, and more than 1232.
        for (label, servers) in [("many", 9), ("more", 13)] {
            for number in 0..servers {
                let server = at(label).with(&format!("some-name-server-{number}"));
                self.add(&at(label), "NS", &server.text());
                for _ in 0..servers / 4 {
                    self.add(&server, "A", &v4(rng));
                    self.add(&server, "AAAA", &v6(rng));
                }
            }
        }
        let labels = [
            "glued",
            "itself",
            "far.off",
            "signed",
            "inside",
            "alias-server",
            "wild-server",
            "sister",
            "one.sisters",
            "a.other.sisters",
            "hiding",
            "deep.cut.ent",
            "cut.wild",
            "many",
            "more",
        ];
        for label in labels {
            self.cut(&at(label));
        }
        // DS where there is no cut.
        let digest = ds(rng);
        self.add(&at("ds-only"), "DS", &digest);
    }
}
