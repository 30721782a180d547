//! Each rule of what lies over what, on a tiny zone.

use crate::dns::Rtype;
use crate::zone::compile::tests::{example, settings, steered};
use crate::zone::{Base, Condition, Lookup, Settings, Source, compile};

/// A zone whose own records are `own`, over what a primary has sent.
fn laid(own: &str, sent: &str, names: &[(&str, bool)]) -> Settings {
    let mut zone = settings("example.com.", own);
    let sent = example(sent).sources.remove(0);
    zone.sources.push(Source { file: "sent.zone".into(), ..sent });
    zone.base = Base::Transferred;
    zone.steered = names.iter().map(|(owner, cname)| steered(owner, *cname)).collect();
    zone
}

/// What is answered for each question: the number of records, or what else there is; and the
/// warnings.
fn looked_up(zone: Settings, questions: &[(&str, Rtype)]) -> (Vec<String>, Vec<String>) {
    let (zones, problems) = compile(&[zone]);
    let zones = zones.unwrap_or_else(|| panic!("{problems:#?}"));
    let zone = zones.iter().next().unwrap();
    let found = questions.iter().map(|(name, rtype)| {
        let name = crate::dns::Name::parse_relative(name, zone.origin()).unwrap();
        match zone.lookup(&name.to_key(), *rtype) {
            Lookup::Answer { rrset, .. } | Lookup::Hinted { rrset, .. } => {
                format!("{}", rrset.count())
            }
            Lookup::Cname { .. } => "alias".to_string(),
            Lookup::Steered { .. } => "steered".to_string(),
            Lookup::NoData => "no data".to_string(),
            Lookup::NxDomain => "no name".to_string(),
            Lookup::Referral(_) => "referral".to_string(),
            Lookup::Redirected(_) => "redirected".to_string(),
            Lookup::Any => "any".to_string(),
        }
    });
    (found.collect(), problems.into_iter().map(|problem| problem.message).collect())
}

#[test]
fn a_pool_hides_the_addresses_and_the_alias_of_its_name_and_nothing_else() {
    let sent = "www A 198.51.100.1\nwww AAAA 2001:db8::1\nwww TXT \"x\"\nshop CNAME www\n\
                mail A 198.51.100.2";
    let (found, warnings) = looked_up(
        laid("", sent, &[("www", false), ("shop", false), ("new", false)]),
        &[
            ("www", Rtype::A),
            ("www", Rtype::TXT),
            ("shop", Rtype::AAAA),
            ("shop", Rtype::TXT),
            ("new", Rtype::A),
            ("mail", Rtype::A),
        ],
    );
    assert_eq!(found, ["steered", "1", "steered", "no data", "steered", "1"]);
    assert_eq!(
        warnings,
        ["pools and records here hide what the primary has: www.example.com. A, \
          www.example.com. AAAA, shop.example.com. CNAME"]
    );
}

#[test]
fn a_pool_that_may_answer_with_an_alias_hides_everything_of_its_name() {
    let (found, warnings) = looked_up(
        laid("", "www A 198.51.100.1\nwww TXT \"x\"\nx.www A 198.51.100.1", &[("www", true)]),
        &[("www", Rtype::TXT), ("x.www", Rtype::A)],
    );
    assert_eq!(found, ["steered", "1"]);
    assert_eq!(
        warnings[1],
        "www.example.com. is steered and may be answered by a CNAME, so the primary's TXT records \
         there are hidden"
    );
}

#[test]
fn an_own_rrset_takes_the_place_of_the_primarys() {
    let (found, warnings) = looked_up(
        laid(
            "@ NS a.\n@ NS b.\nmail MX 1 a.\nalias CNAME a.\nreal A 198.51.100.1\n",
            "mail MX 1 b.\nmail MX 2 c.\nmail TXT \"x\"\nalias A 198.51.100.2\n\
             real CNAME mail",
            &[],
        ),
        &[
            ("@", Rtype::NS),
            ("mail", Rtype::MX),
            ("mail", Rtype::TXT),
            ("alias", Rtype::A),
            ("real", Rtype::A),
            ("@", Rtype::SOA),
        ],
    );
    assert_eq!(found, ["2", "1", "1", "alias", "1", "1"]);
    assert_eq!(warnings.len(), 1);
}

#[test]
fn of_many_that_are_hidden_a_few_are_named() {
    let sent: String = (0..9).map(|n| format!("h{n} A 198.51.100.{n}\n")).collect();
    let names: Vec<String> = (0..9).map(|n| format!("h{n}")).collect();
    let names: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), false)).collect();
    let (_, warnings) = looked_up(laid("", &sent, &names), &[]);
    assert!(warnings[0].ends_with("h4.example.com. A, and 4 more"), "{warnings:?}");
}

#[test]
fn an_own_soa_is_an_error() {
    let (zones, problems) = compile(&[laid("@ SOA a. b. 1 2 3 4 5", "", &[])]);
    assert!(zones.is_none());
    assert!(problems.iter().any(|problem| problem.message.contains("taken from a primary")));
}

#[test]
fn what_a_primary_sends_never_keeps_the_zone_from_being_served() {
    let sent = "other.example.net. A 198.51.100.1\nbroken A 1\nquery ANY x\n\
                cd CNAME a.\ncd TXT \"x\"\ntwo CNAME a.\ntwo CNAME b.\n@ CNAME a.\n\
                sub SOA a. b. 1 2 3 4 5\nd DNAME a.\nd DNAME b.\nnd DNAME a.\nnd NS a.\n\
                *.w NS a.\ncut NS ns.cut\n@ NS none\nfine A 198.51.100.1";
    let (found, warnings) = looked_up(
        laid("", sent, &[("www.cut", false), ("www.d", false)]),
        &[
            ("fine", Rtype::A),
            ("cd", Rtype::TXT),
            ("cd", Rtype::A),
            ("two", Rtype::CNAME),
            ("@", Rtype::A),
            ("sub", Rtype::SOA),
            ("d", Rtype::DNAME),
            ("nd", Rtype::A),
            ("www.cut", Rtype::A),
            ("www.d", Rtype::A),
        ],
    );
    let none = "no data";
    assert_eq!(
        found,
        ["1", "1", none, "1", none, "no name", "1", "referral", "referral", "redirected"]
    );
    assert!(warnings.len() > 10, "{warnings:#?}");
}

#[test]
fn what_a_primary_takes_away_never_keeps_the_zone_from_being_served() {
    let own = "@ NS gone\n@ NS ns.example.net.\nsub NS ns.sub\ndown DNAME a.";
    let (found, warnings) = looked_up(
        laid(own, "down NS a.", &[]),
        &[("@", Rtype::NS), ("x.sub", Rtype::A), ("down", Rtype::DNAME)],
    );
    assert_eq!(found, ["2", "referral", "1"]);
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
}

#[test]
fn addresses_below_a_delegation_stay_glue() {
    let sent = "sub NS ns.sub\nns.sub A 198.51.100.1";
    let (zones, _) = compile(&[laid("", sent, &[("ns.sub", false)])]);
    let zones = zones.unwrap();
    let name: crate::dns::Name = "x.sub.example.com.".parse().unwrap();
    match zones.iter().next().unwrap().lookup(&name.to_key(), Rtype::A) {
        Lookup::Referral(delegation) => assert_eq!(delegation.glue.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signed_zone_is_answered_unsigned_and_that_is_told_once() {
    let rrsig = "RRSIG A 8 3 300 20260101000000 20250101000000 1 example.com. AQID";
    let sent = format!(
        "a A 198.51.100.1\na {rrsig}\nb A 198.51.100.1\nb {rrsig}\n@ DNSKEY 257 3 8 AQID\n\
         abcd NSEC3 1 0 0 - 1234 A\nsub NS x.\nsub DS 1 8 2 ab"
    );
    let (found, warnings) = looked_up(
        laid("", &sent, &[]),
        &[("a", Rtype::A), ("a", Rtype::RRSIG), ("abcd", Rtype::A), ("sub", Rtype::DS)],
    );
    assert_eq!(found, ["1", "no data", "no name", "1"]);
    let told = warnings.iter().filter(|warning| warning.contains("signs")).count();
    assert_eq!(told, 1);
}

#[test]
fn a_zone_without_data_keeps_its_pools_checked() {
    let mut zone = settings("example.com.", "mail MX 1 a.");
    zone.steered = vec![steered("www", false)];
    zone.base = Base::Awaited;
    let (zones, problems) = compile(&[zone.clone()]);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(zones.unwrap().iter().next().unwrap().condition(), Condition::Awaited);
    zone.base = Base::Expired;
    zone.steered.push(steered("www", false));
    let (zones, problems) = compile(&[zone]);
    assert!(zones.is_none());
    assert_eq!(problems[0].message, "www.example.com. is steered twice");
}

#[test]
fn one_zone_takes_the_place_of_another_of_its_origin() {
    let (zones, _) = compile(&[example(""), settings("a.", "@ SOA b. c. 7 9 2 20 4\n@ NS b.")]);
    let (other, _) = compile(&[settings("A.", "@ SOA b. c. 8 9 2 20 4\n@ NS b.")]);
    let replaced = zones.unwrap().replaced(&other.unwrap());
    let serials: Vec<u32> = replaced.iter().map(crate::zone::Zone::serial).collect();
    assert_eq!(serials, [1, 8]);
    assert_eq!(replaced.find(b"\x01x\x01a\0", Rtype::A).unwrap().serial(), 8);
}
