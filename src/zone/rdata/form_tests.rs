//! The forms of the rarer types: what they read, what they blame, and what they withstand. That
//! they read what other servers read is tested against those.

use proptest::prelude::*;

use super::tests::{blamed, rdata};
use super::*;

#[test]
fn a_place_is_read_as_in_the_examples_of_its_rfc() {
    assert_eq!(
        rdata(Rtype::LOC, "42 21 54 N 71 06 18 W -24m 30m").unwrap(),
        b"\0\x33\x16\x13\x89\x17\x2d\xd0\x70\xbe\x15\xf0\0\x98\x8d\x20"
    );
    assert_eq!(rdata(Rtype::LOC, "0 n 0 e .5m").unwrap()[12..], 10_000_050_u32.to_be_bytes());
    assert_eq!(rdata(Rtype::LOC, "90 0 0 S 180 W 0 9.99").unwrap()[1], 0x92);
}

#[test]
fn prefixes_are_read_without_the_zeros_at_their_end() {
    assert_eq!(
        rdata(Rtype::APL, "!1:198.51.100.0/24 2:::/0").unwrap(),
        b"\0\x01\x18\x83\xc6\x33\x64\0\x02\0\0"
    );
}

#[test]
fn the_offending_word_of_a_rare_type_is_found() {
    assert_eq!(blamed(Rtype::LOC, "91 N 0 E 0"), "91");
    assert_eq!(blamed(Rtype::LOC, "90 1 N 0 E 0"), "1");
    assert_eq!(blamed(Rtype::LOC, "1 60 N 0 E 0"), "60");
    assert_eq!(blamed(Rtype::LOC, "1 2 3.0001 N 0 E 0"), "3.0001");
    assert_eq!(blamed(Rtype::LOC, "1 2 3 4 0 E 0"), "4");
    assert_eq!(blamed(Rtype::LOC, "1 N 2 E"), "E");
    assert_eq!(blamed(Rtype::LOC, "1 N 2 E -100001"), "-100001");
    assert_eq!(blamed(Rtype::LOC, "1 N 2 E 0 1 1 1 1"), "1");
    assert_eq!(blamed(Rtype::APL, "1:198.51.100.0/24 1:198.51.100.0/33"), "1:198.51.100.0/33");
    assert_eq!(blamed(Rtype::APL, "2:198.51.100.0/24"), "2:198.51.100.0/24");
    assert_eq!(blamed(Rtype::HIP, "2 20 AQID a..b"), "a..b");
    assert_eq!(blamed(Rtype::HIP, "2 2 AQID"), "2");
    assert_eq!(blamed(Rtype::NID, "10 1:2:3"), "1:2:3");
    assert_eq!(blamed(Rtype::NID, "10 1:2:3:00004"), "1:2:3:00004");
    assert_eq!(blamed(Rtype::EUI48, "00-00-5e-00-53"), "00-00-5e-00-53");
    assert_eq!(blamed(Rtype::AMTRELAY, "10 2 1 198.51.100.1"), "2");
    assert_eq!(blamed(Rtype::AMTRELAY, "10 0 1 2001:db8::"), "2001:db8::");
    assert_eq!(blamed(Rtype::CERT, "PKIX 0 NONE AQID"), "NONE");
    assert_eq!(blamed(Rtype::CERT, "PKIX +1 0 AQID"), "+1");
    assert_eq!(blamed(Rtype::CSYNC, "1 2 A NONE"), "NONE");
    assert_eq!(blamed(Rtype::DS, "1 RSASHA256 2 abc"), "abc");
    assert_eq!(blamed(Rtype::URI, "1 2 \"\""), "\"\"");
    assert_eq!(blamed(Rtype::URI, "1 2 \"a\" b"), "b");
}

#[test]
fn how_a_rare_type_is_written_is_shown() {
    let help = rdata(Rtype::EUI48, "1").unwrap_err().help;
    assert_eq!(help, "EUI48 is written `EUI48 ADDRESS`, such as `EUI48 00-00-5e-00-53-2a`");
    assert!(rdata(Rtype::CDS, "1").unwrap_err().help.contains("DS KEY-TAG"));
}

#[test]
fn the_generic_form_of_a_rare_type_is_checked() {
    assert!(rdata(Rtype::EUI48, r"\# 6 00005e00532a").is_ok());
    assert!(rdata(Rtype::EUI48, r"\# 5 00005e0053").is_err());
    assert!(rdata(Rtype::APL, r"\# 0").unwrap().is_empty());
    assert!(rdata(Rtype::APL, r"\# 7 00011803c63364").is_ok());
    assert!(rdata(Rtype::APL, r"\# 7 00012103c63364").is_err());
    assert!(rdata(Rtype::LOC, r"\# 2 0a1b").is_err());
    assert!(rdata(Rtype::CSYNC, r"\# 9 000000010000000160").is_ok());
    assert!(rdata(Rtype::CSYNC, r"\# 9 000000010000000100").is_err());
    assert!(rdata(Rtype::AMTRELAY, r"\# 4 0a03c000").is_err());
}

/// The types with a form of their own.
fn rtype() -> impl Strategy<Value = Rtype> {
    let all: Vec<Rtype> = (0..=u16::MAX)
        .map(Rtype)
        .filter(|&rtype| forms::of(written_like(rtype)).is_some())
        .collect();
    proptest::sample::select(all)
}

proptest! {
    #[test]
    fn what_is_read_is_well_formed_and_nothing_panics(
        rtype in rtype(),
        words in proptest::collection::vec(
            "[0-9]{1,5}|[nsewNSEW]|-?[0-9]{1,9}\\.[0-9]{0,3}m?|[0-9a-f]{0,40}|!?[12]:[0-9a-f.:]{0,20}/[0-9]{1,3}\
             |[0-9a-f]{2}(-[0-9a-f]{2}){5,7}|([0-9a-f]{0,5}:){0,4}[0-9a-f]{0,4}|tcp|smtp|A|TYPE[0-9]{1,5}|PKIX|DSA|AQID|\\.|@|a\\.b\
             |198\\.51\\.100\\.1|\"[a-z0-9]{0,10}\"|\\+[0-9.]{0,9}|0x[0-9a-f.]{0,9}|-|[!-~]{0,8}",
            1..9,
        ),
    ) {
        // Whether the data is well-formed is asked in `read`, where it would be this error.
        let text = words.join(" ");
        let mut entries = crate::zone::entry::Entries::new(&text);
        let Some(Ok(entry)) = entries.next_entry() else { return Ok(()) };
        let origin = "example.com.".parse().unwrap();
        if let Err(error) = read(rtype, &text, entry.tokens, &origin, &mut Vec::new()) {
            prop_assert!(!error.message.starts_with("these bytes"), "{rtype} {text}: {error:?}");
            prop_assert!(text.get(error.span).is_some_and(|blamed| !blamed.is_empty()));
        }
    }

    #[test]
    fn bytes_in_the_generic_form_are_taken_as_they_are_or_refused(
        rtype in rtype(),
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if let Ok(read) = rdata(rtype, &format!(r"\# {} {hex}", bytes.len())) {
            prop_assert_eq!(read, bytes);
        }
    }
}
