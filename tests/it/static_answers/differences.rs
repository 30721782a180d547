//! In what we differ from the others on purpose, with the sentence of the RFC for it.

use super::name::Name;
use super::normal::{AA, AD, CD, Normal, RD, Record, TC};
use super::zones::Zone;
use super::{Other, Pair};

/// A way in which we differ from another server.
pub struct Difference {
    pub what: &'static str,
    pub why: &'static str,
    pub is: fn(&Pair<'_>) -> bool,
}

/// A bit that another server has in its headers and we do not, whatever else differs.
pub struct Bit {
    pub what: &'static str,
    pub why: &'static str,
    pub of: Other,
    /// In its place in the header.
    pub bit: u16,
    pub is: fn(&Normal) -> bool,
}

pub const BITS: &[Bit] = &[
    Bit {
        what: "CD is copied",
        why: "RFC 4035 §3.1.6: an authoritative server should clear it; NSD and Knot do",
        of: Other::Bind,
        bit: CD,
        is: |_| true,
    },
    Bit {
        what: "AD in a truncated answer",
        why: "RFC 4035 §3.1.6: AD is for data that the server considers authentic. BIND copies it \
              from the query into truncated answers",
        of: Other::Bind,
        bit: AD,
        is: Normal::is_truncated,
    },
];

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "a minimal answer to ANY",
        why: "RFC 8482 §4.2: one HINFO record instead of all that stands there; the others give one \
              or all of the RRsets, BIND none where there is only DS",
        is: |pair| {
            let Pair { question, ours, theirs, .. } = pair;
            let others = || ours.answer.iter().filter(|record| record.rtype != HINFO);
            question.is_any()
                && ours.rcode == theirs.rcode
                && others().count() + 1 == ours.answer.len()
                && others().all(|record| is_alias(record) && theirs.answer.contains(record))
                && (!theirs.answer.is_empty() || theirs.is_truncated() || pair.other == Other::Bind)
        },
    },
    Difference {
        what: "types that no record has",
        why: "Transfers are refused to who may not have them (RFC 5936 §5), and what is no zone of \
              ours has NOTAUTH, as with BIND; MAILA and MAILB are obsolete (RFC 1035 §3.2.3); TSIG, \
              TKEY, OPT and 0 have no place in a question (RFC 6895 §3.1). The others look for records \
              of some of these types, or refuse with another code",
        is: |pair| {
            let Pair { question, ours, .. } = pair;
            question.is_about_no_record()
                && matches!(ours.rcode, FORMERR | NOTIMP | REFUSED | NOTAUTH)
                && ours.is_empty()
        },
    },
    Difference {
        what: "unknown types in the range of questions",
        why: "RFC 8906 §3.1.2: unknown types are answered like others. BIND gives FORMERR for all \
              from 128 to 255 that it does not know, for which RFC 6895 §3.1 has meta-types",
        is: |pair| {
            pair.other == Other::Bind
                && (128..=248).contains(&pair.question.qtype)
                && pair.theirs.rcode == FORMERR
        },
    },
    Difference {
        what: "other classes",
        why: "RFC 1035 §3.2.5 has class ANY for questions, but an authoritative answer in one class \
              cannot be complete. We have only the Internet class and refuse the others (RFC 1035 §4.1.1 \
              on REFUSED, for reasons of policy); other servers give NOTIMP, NOTAUTH or \
              FORMERR for some and answer ANY in IN",
        is: |pair| pair.question.qclass != IN && pair.ours.rcode == REFUSED && pair.ours.is_empty(),
    },
    Difference {
        what: "other opcodes",
        why: "RFC 1035 §4.1.1 has NOTIMP for them. All say so or FORMERR; NSD and BIND without the \
              question, NSD also without OPT (RFC 6891 §6.1.1 wants it), BIND without RD (RFC 1035 \
              §4.1.1: it is copied); Knot looks at the class and the version of EDNS first",
        is: |pair| {
            let Pair { question, ours, theirs, .. } = pair;
            question.opcode != 0
                && ours.rcode == NOTIMP
                && ours.is_empty()
                && theirs.is_empty()
                && matches!(theirs.rcode, NOTIMP | FORMERR | REFUSED | NOTAUTH | BADVERS)
        },
    },
    Difference {
        what: "the header of BADVERS",
        why: "RFC 3225 §3: the DO bit of the query MUST be copied in the response, and RFC 1035 §4.1.1 \
              has only opcode and RD copied of the header. NSD's BADVERS has no DO, and all bits of \
              the query",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            const RESPONSE: u16 = 0x8000;
            pair.other == Other::Nsd
                && (ours.rcode, theirs.rcode) == (BADVERS, BADVERS)
                && ours.flags & !RD == RESPONSE
                && ours.is_empty()
                && theirs.is_empty()
        },
    },
    Difference {
        what: "the code of a truncated answer",
        why: "RFC 2181 §9: who gets a truncated answer should ignore it. Where an alias does not fit, \
              we and Knot do not look for what it leads to",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            ours.is_truncated()
                && theirs.is_truncated()
                && matches!(ours.rcode, NOERROR | NXDOMAIN | YXDOMAIN)
                && matches!(theirs.rcode, NOERROR | NXDOMAIN | YXDOMAIN)
                && (ours.flags, ours.edns) == (theirs.flags, theirs.edns)
        },
    },
    Difference {
        what: "a negative answer without its SOA",
        why: "RFC 2308 §3: the SOA record MUST be there; so it has TC if that does not fit. Knot leaves \
              it out",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            const SOA_BYTES: usize = 100;
            pair.other == Other::Knot
                && ours.rcode == theirs.rcode
                && (ours.flags & !TC, ours.edns) == (theirs.flags, theirs.edns)
                && (ours.answer == theirs.answer || ours.is_truncated())
                && theirs.authority.is_empty()
                && (ours.is_truncated() || ours.authority.iter().all(|soa| soa.rtype == SOA))
                && theirs.length + SOA_BYTES > pair.question.limit()
        },
    },
    Difference {
        what: "truncated earlier",
        why: "we compress names less (RFC 1035 §4.1.4 leaves it to the server), so that what must be \
              in the answer may not fit, and glue that a referral needs must be (RFC 9471 §3.1: TC is \
              due if it does not fit, where NSD and BIND just leave it out). What they answer over \
              TCP is compared, too",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            let limit = pair.question.limit();
            ours.is_truncated()
                && !theirs.is_truncated()
                && (ours.flags & !TC, ours.edns) == (theirs.flags, theirs.edns)
                && (theirs.length * 2 > limit)
        },
    },
    Difference {
        what: "truncated later",
        why: "RFC 2181 §9: TC should not be set merely because more could have been added. BIND sets \
              it for referrals whose addresses of name servers elsewhere do not fit, and needs more \
              room",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            theirs.is_truncated()
                && !ours.is_truncated()
                && (ours.flags, ours.edns) == (theirs.flags & !TC, theirs.edns)
                && is_part(&theirs.answer, &ours.answer)
                && is_part(&theirs.authority, &ours.authority)
                && ours.length * 2 > pair.question.limit()
        },
    },
    Difference {
        what: "aliases end at the edge of the zone",
        why: "RFC 1034 §4.3.2 step 3a would go on in any zone at hand, and NSD does; a resolver may \
              not believe what is from another zone (RFC 2181 §5.4.1), so we stop, as Knot and BIND",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            (pair.other != Other::Bind || pair.question.qtype == DS)
                && ours.rcode == NOERROR
                && ours.flags == theirs.flags
                && ours.authority.is_empty()
                && is_part(&ours.answer, &theirs.answer)
                && ours.answer.iter().any(|record| leaves_zone(pair, record))
        },
    },
    Difference {
        what: "aliases are followed for all types",
        why: "RFC 1034 §4.3.2 step 3a excepts CNAME alone. Knot and BIND except RRSIG and NSEC, NSD \
              NSEC3, BIND their predecessors: in a signed zone they stand beside the alias (RFC 4035 \
              §2.5, RFC 2181 §10.1); ours are not signed",
        is: |pair| {
            let Pair { question, ours, theirs, .. } = pair;
            matches!(question.qtype, SIG | KEY | NXT | RRSIG | NSEC | NSEC3)
                && theirs.rcode == NOERROR
                && theirs.flags & AA != 0
                && is_part(&theirs.answer, &ours.answer)
                && ours.answer.len() > theirs.answer.len()
                && aliases(ours) > 0
        },
    },
    Difference {
        what: "long chains of aliases",
        why: "RFC 1034 §3.6.2: chains should be followed, and the resolver goes on from where a server \
              ends: Knot after five aliases, we after sixteen, BIND after twelve or sixteen with \
              SERVFAIL, NSD at a DNAME that leads below itself",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            let (shorter, longer, is_at_end) = match pair.other {
                Other::Knot => (theirs, ours, aliases(theirs) >= 5),
                Other::Nsd if leads_below_itself(theirs) => (theirs, ours, true),
                Other::Nsd => (ours, theirs, aliases(ours) >= 16),
                Other::Bind if aliases(ours) < aliases(theirs) => {
                    (ours, theirs, aliases(ours) >= 16)
                }
                Other::Bind => (theirs, ours, theirs.rcode == SERVFAIL && aliases(theirs) >= 12),
            };
            let is_chain = |normal: &Normal| normal.answer.iter().all(is_alias);
            let flags = |normal: &Normal| normal.flags & !TC;
            is_at_end
                && is_chain(shorter)
                && shorter.authority.is_empty()
                && is_part(&shorter.answer, &longer.answer)
                && flags(ours) == flags(theirs)
        },
    },
    Difference {
        what: "loops of aliases",
        why: "RFC 1034 §3.6.2: software should not fail when presented with loops; the resolver sees \
              it in the answer and signals the error. BIND gives the same records with SERVFAIL, on \
              which resolvers would ask the other servers of the zone; Knot gives some twice",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            let is_same = match pair.other {
                Other::Nsd => false,
                Other::Knot => theirs.rcode == NOERROR && is_part(&ours.answer, &theirs.answer),
                Other::Bind => theirs.rcode == SERVFAIL,
            };
            is_same
                && ours.rcode == NOERROR
                && (is_part(&theirs.answer, &ours.answer) || theirs.is_truncated())
                && ours.flags & !TC == theirs.flags & !TC
                && ours.authority.is_empty()
                && (is_loop(&ours.answer) || ours.is_truncated())
        },
    },
    Difference {
        what: "more with YXDOMAIN",
        why: "RFC 6672 §3.2: a server whose substitution gets too long sets YXDOMAIN and exits; Knot \
              goes on with the target of the DNAME, and adds what is for that, sometimes NXDOMAIN",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            ours.rcode == YXDOMAIN
                && matches!(theirs.rcode, YXDOMAIN | NXDOMAIN)
                && pair.other == Other::Knot
                && is_part(&ours.answer, &theirs.answer)
                && ours.authority.is_empty()
        },
    },
    Difference {
        what: "ANY below a DNAME",
        why: "RFC 6672 §3.2: after the synthesis the server goes back to step 1, as we, NSD and Knot \
              do; to BIND the CNAME is an answer to ANY",
        is: |pair| {
            let Pair { question, ours, theirs, .. } = pair;
            let is_redirected = theirs.answer.iter().any(|record| record.rtype == DNAME);
            question.is_any()
                && pair.other == Other::Bind
                && theirs.rcode == NOERROR
                && is_redirected
                && theirs.authority.is_empty()
                && theirs.answer.iter().all(is_alias)
                && is_part(&theirs.answer, &ours.answer)
        },
    },
    Difference {
        what: "what a zone holds below a cut",
        why: "RFC 1034 §4.3.2 steps 2 and 3: the nearest zone answers, and what the zone above holds \
              below the cut is no part of it. For NSD a name that exists only there exists, and hides \
              the wildcards of the zone below",
        is: |pair| {
            let Pair { question, ours, theirs, .. } = pair;
            let name = question.name.lower();
            let is_near = |held: Name| held.holds(&name) || name.holds(&held);
            let has_held = |zone: &Zone| {
                let hides = |cut: &Name, held: &Name| cut != held && cut.holds(held);
                let is_held = |held: &Name| zone.cuts.iter().any(|cut| hides(&cut.lower(), held));
                zone.names().filter(is_held).any(is_near)
            };
            pair.other == Other::Nsd
                && matches!(ours.rcode, NOERROR | NXDOMAIN)
                && matches!(theirs.rcode, NOERROR | NXDOMAIN)
                && theirs.answer.is_empty()
                && matches!(&theirs.authority[..], [soa] if soa.rtype == SOA)
                && pair.zones.iter().any(has_held)
        },
    },
    Difference {
        what: "a wildcard's DNAME",
        why: "RFC 6672 §3.3 says that what it means is not determined. At the wildcard itself we take \
              it for any other DNAME, as NSD and BIND; Knot gives it the name of the question",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            let is_wild = |record: &&Record| record.rtype == DNAME && record.owner.is_wildcard();
            let not_wild = |record: &&Record| record.rtype != DNAME;
            let others = |normal: &Normal| normal.answer.iter().filter(not_wild).cloned().collect();
            let (our, their): (Vec<Record>, Vec<Record>) = (others(ours), others(theirs));
            pair.other == Other::Knot
                && ours.answer.iter().any(|record| is_wild(&record))
                && (is_part(&our, &their) && is_part(&their, &our) || ours.is_truncated())
        },
    },
    Difference {
        what: "other additional records",
        why: "RFC 1034 §4.3.2 step 6 leaves to the server what may be useful besides. Ours are \
              addresses of names in the answer, and what a referral needs is all there (RFC 9471 §3.1; \
              glue of siblings is optional, §3.2)",
        is: |pair| {
            let Pair { ours, theirs, .. } = pair;
            ours.agrees_with(theirs)
                && ours.additional.iter().all(|record| is_named(ours, record))
                && theirs
                    .additional
                    .iter()
                    .all(|record| ours.additional.contains(record) || !is_needed(ours, record))
        },
    },
];

// Types, classes and response codes.
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const HINFO: u16 = 13;
const DNAME: u16 = 39;
const SIG: u16 = 24;
const KEY: u16 = 25;
const NXT: u16 = 30;
const DS: u16 = 43;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const NSEC3: u16 = 50;
const IN: u16 = 1;
const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const YXDOMAIN: u16 = 6;
const NOTAUTH: u16 = 9;
const BADVERS: u16 = 16;

/// True when all of `these` are among `those`.
fn is_part(these: &[Record], those: &[Record]) -> bool {
    these.iter().all(|record| those.contains(record))
}

/// True for CNAME and DNAME.
fn is_alias(record: &Record) -> bool {
    matches!(record.rtype, CNAME | DNAME)
}

/// How many CNAME records an answer has.
fn aliases(normal: &Normal) -> usize {
    normal.answer.iter().filter(|record| record.rtype == CNAME).count()
}

/// True for an answer with a DNAME that leads to a name below its own.
fn leads_below_itself(normal: &Normal) -> bool {
    let is_below = |record: &Record| {
        let mut targets = record.targets().into_iter();
        record.rtype == DNAME && targets.any(|target| record.owner.holds(&target))
    };
    normal.answer.iter().any(is_below)
}

/// True for aliases of which each leads to another.
fn is_loop(records: &[Record]) -> bool {
    let is_owner = |name: &Name| records.iter().any(|record| record.owner == *name);
    let leads_on = |record: &Record| record.rtype == DNAME || record.targets().iter().all(is_owner);
    !records.is_empty() && records.iter().all(|record| is_alias(record) && leads_on(record))
}

/// True for an alias out of the zone in which it stands, into another one at hand.
fn leaves_zone(pair: &Pair<'_>, record: &Record) -> bool {
    let zone_of = |name: &Name, may_be_origin: bool| {
        let origins = pair.zones.iter().map(|zone| &zone.origin);
        let holds = |origin: &&Name| origin.holds(name) && (may_be_origin || *origin != name);
        origins.filter(holds).max_by_key(|origin| origin.0.len())
    };
    let Some(target) = record.targets().pop() else { return false };
    let from = zone_of(&record.owner, true);
    let to = zone_of(&target, pair.question.qtype != DS);
    record.rtype == CNAME && to.is_some() && from != to
}

/// True when the record's owner is named in the data of another record.
fn is_named(normal: &Normal, record: &Record) -> bool {
    let all = [&normal.answer, &normal.authority, &normal.additional];
    all.into_iter().flatten().flat_map(Record::targets).any(|target| target == record.owner)
}

/// True for the address of a name server in a referral that is below the cut itself.
fn is_needed(normal: &Normal, record: &Record) -> bool {
    let is_server = |ns: &Record| {
        ns.rtype == NS && ns.owner.holds(&record.owner) && ns.targets().contains(&record.owner)
    };
    normal.flags & AA == 0 && normal.authority.iter().any(is_server)
}
