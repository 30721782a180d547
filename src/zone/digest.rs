//! A digest of what a zone holds, by which changes are noticed.

use xxhash_rust::xxh3::xxh3_64;

use super::contents::Contents;
use super::tree::Tree;
use crate::dns::Rtype;

/// Where the serial number begins in the data of a SOA record, from its end.
const SERIAL_FROM_END: usize = 20;

/// A digest of all records, their TTLs included, but not of the serial number and of the order. It
/// is the same in every process. What is transferred goes by `contents`, which have the default
/// answers of steered names too.
pub(super) fn digest(tree: &Tree, contents: Option<&Contents>) -> u64 {
    let mut digest = 0_u64;
    let mut bytes = Vec::new();
    let mut add = |prefix: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8]| {
        bytes.clear();
        bytes.push(prefix.len() as u8);
        bytes.extend(prefix.iter().map(u8::to_ascii_lowercase));
        bytes.extend(rtype.0.to_be_bytes());
        bytes.extend(ttl.to_be_bytes());
        bytes.extend_from_slice(rdata);
        let serial = bytes.len().saturating_sub(SERIAL_FROM_END);
        if rtype == Rtype::SOA && rdata.len() >= SERIAL_FROM_END {
            bytes[serial..serial + 4].fill(0);
        }
        // Records have no order, and each stands once.
        digest = digest.wrapping_add(xxh3_64(&bytes));
    };
    match contents {
        Some(contents) => {
            for record in contents.soa().iter().chain(contents.records().iter()) {
                add(record.owner_prefix, record.rtype, record.ttl, record.rdata);
            }
        }
        None => {
            for group in &tree.rrsets {
                let records = tree.records_of(group);
                let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
                for record in records {
                    add(tree.prefix(group.node), group.rtype, ttl, tree.rdata(record));
                }
            }
        }
    }
    digest
}

#[cfg(test)]
mod tests {
    use crate::zone::compile::tests::{compiled, settings};

    fn digest(serial: u32, is_transferred: bool, text: &str) -> u64 {
        let head = format!("@ SOA a. b. {serial} 2h 15m 2w 5m\n@ NS a.\n@ NS b.\n");
        let mut settings = settings("example.com.", &(head + text));
        settings.is_transferred = is_transferred;
        compiled(settings).iter().next().unwrap().digest().unwrap()
    }

    #[test]
    fn a_digest_is_of_the_records_and_not_of_their_order_or_the_serial_number() {
        let one = digest(1, false, "a A 198.51.100.1\na A 198.51.100.2\nb TXT x");
        assert_eq!(one, digest(2, false, "B TXT x\na A 198.51.100.2\na A 198.51.100.1"));
        assert_eq!(one, digest(1, true, "B TXT x\na A 198.51.100.2\na A 198.51.100.1"));
        for other in [
            "a A 198.51.100.1\na A 198.51.100.3\nb TXT x",
            "a A 198.51.100.1\nb TXT x",
            "a 1 A 198.51.100.1\na 1 A 198.51.100.2\nb TXT x",
            "a A 198.51.100.1\na A 198.51.100.2\nc TXT x",
            "a A 198.51.100.1\na A 198.51.100.2\nb SPF x",
        ] {
            assert_ne!(one, digest(1, false, other), "{other}");
        }
    }

    #[test]
    fn a_digest_is_the_same_in_every_process() {
        assert_eq!(digest(1, false, ""), 5_427_312_680_637_428_270);
    }
}
