//! SOA and NS at the apex.

use crate::dns::rrset::names_in;
use crate::dns::{Name, Rtype};
use crate::zone::Place;
use crate::zone::findings::Findings;
use crate::zone::tree::{APEX, Record, Tree};

/// Above this, mistakes stay in caches for long: RFC 2308 §5 speaks of one to three hours and of
/// problems with more than a day.
const LONG_NEGATIVE_TTL: u32 = 86_400;
/// Below this, a primary that is away over some holidays takes the zone with it.
const SHORT_EXPIRE: u32 = 604_800;

pub(super) fn check(tree: &Tree, is_complete: bool, findings: &mut Findings) {
    let origin = &tree.origin;
    match tree.rrset(APEX, Rtype::SOA).map(|group| tree.records_of(group)) {
        None if is_complete => findings.error(
            Place::Zone,
            format!("{origin} has no SOA record"),
            "add one to its records, such as `@ SOA ns1 hostmaster 1 2h 15m 2w 5m`".to_string(),
        ),
        None => {}
        Some(records) => {
            check_timers(tree, &records[0], findings);
            check_mailbox(tree, &records[0], findings);
            if let Some(second) = records.get(1) {
                findings.error(
                    Tree::owner_place(second),
                    format!("{origin} has a second SOA record"),
                    "a zone has exactly one: remove one of them".to_string(),
                );
            }
        }
    }
    for group in tree.rrsets.iter().filter(|group| group.rtype == Rtype::SOA && group.node != APEX)
    {
        findings.error(
            Tree::owner_place(&tree.records_of(group)[0]),
            format!("a SOA record at {}, inside the zone {origin}", tree.name(group.node)),
            "a SOA record stands only at a zone's own origin: remove it, or make this a zone of its own".to_string(),
        );
    }
    if tree.rrset(APEX, Rtype::NS).is_none() && is_complete {
        findings.lack(
            Place::Zone,
            format!("{origin} has no NS record"),
            "add one for each of its name servers, such as `@ NS ns1`".to_string(),
        );
    }
    if let Some(group) = tree.rrset(APEX, Rtype::DS) {
        findings.warning(
            Tree::owner_place(&tree.records_of(group)[0]),
            format!("a DS record at {origin} itself"),
            "DS records stand in the zone above, next to its NS records for this zone".to_string(),
        );
    }
}

fn check_timers(tree: &Tree, soa: &Record, findings: &mut Findings) {
    let Some((_, timers)) = tree.rdata(soa).split_last_chunk::<16>() else { return };
    let timer = |index: usize| {
        let bytes = timers.as_chunks::<4>().0[index];
        u32::from_be_bytes(bytes)
    };
    let (refresh, retry, expire, minimum) = (timer(0), timer(1), timer(2), timer(3));
    let mut doubt = |message: String, help: &str| {
        findings.warning(Tree::rdata_place(soa), message, help.to_string());
    };
    if minimum > LONG_NEGATIVE_TTL {
        doubt(
            format!("the SOA MINIMUM, {minimum} s, is longer than a day"),
            "for so long a resolver remembers that a name does not exist; 5m to 3h is usual",
        );
    }
    if retry >= refresh {
        doubt(
            format!("the SOA RETRY, {retry} s, is not shorter than its REFRESH, {refresh} s"),
            "a secondary that failed to refresh tries again sooner, not later",
        );
    }
    if u64::from(expire) < u64::from(refresh) + u64::from(retry) {
        doubt(
            format!(
                "the SOA EXPIRE, {expire} s, is shorter than REFRESH and RETRY together, {} s",
                u64::from(refresh) + u64::from(retry)
            ),
            "a secondary gives the zone up before it has looked twice for a newer one; 2w to 4w is usual",
        );
    } else if expire < SHORT_EXPIRE {
        doubt(
            format!("the SOA EXPIRE, {expire} s, is shorter than a week"),
            "secondaries give the zone up when the primary is away for so long; 2w to 4w is usual (RFC 1912 §2.2)",
        );
    }
}

/// The first dot of a mailbox stands for the `@`.
fn check_mailbox(tree: &Tree, soa: &Record, findings: &mut Findings) {
    let rdata = tree.rdata(soa);
    let Some(range) = names_in(Rtype::SOA, rdata).nth(1) else { return };
    let Ok(mailbox) = Name::from_wire(&rdata[range]) else { return };
    if mailbox.labels().any(|label| label.contains(&b'@')) {
        findings.warning(
            Tree::rdata_place(soa),
            "the mailbox of the SOA record has an @".to_string(),
            "write a dot instead, such as `hostmaster.example.com.` for hostmaster@example.com (RFC 1035 §8)".to_string(),
        );
    }
}
