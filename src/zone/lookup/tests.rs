//! The look-up, from RFC 4592 to the longest names.

mod reference;

use super::*;
use crate::dns::rrset::RECORD_HEAD_BYTES;
use crate::zone::compile::tests::{compiled, example, settings, steered};
use crate::zone::{Settings, What, compile};

fn key(name: &str) -> Box<[u8]> {
    name.parse::<Name>().unwrap().to_key()
}

fn name(wire: &[u8]) -> String {
    Name::from_wire(wire).unwrap().to_string()
}

/// What the only zone says, in one line.
fn ask(zones: &Zones, qname: &str, rtype: Rtype) -> String {
    let qname = key(qname);
    let zone = zones.find(&qname, rtype).expect("the name is in the zone");
    match zone.lookup(&qname, rtype) {
        Lookup::Answer { rrset, additional } => {
            assert_eq!(rrset.rtype, rtype);
            format!("answer {}{}", rrset.count(), extras(additional))
        }
        Lookup::Hinted { rrset, hints, additional } => {
            assert_eq!((rrset.rtype, rrset.count()), (rtype, hints.len()));
            let policies = hints.iter().map(|hints| match hints {
                Some(hints) => format!(" {}", hints.policy.0),
                None => " -".into(),
            });
            format!("hinted{}{}", policies.collect::<String>(), extras(additional))
        }
        Lookup::Cname { rrset, target } => {
            assert_eq!(rrset.rtype, Rtype::CNAME);
            format!("cname {}", name(target))
        }
        Lookup::Steered { policy, negative_soa } => {
            format!("steered {} {}", policy.0, negative_soa.rrset.ttl)
        }
        Lookup::Redirected(redirection) => {
            assert_eq!(redirection.rrset.rtype, Rtype::DNAME);
            let target = redirection.target_of(&qname).map(|target| name(&target));
            format!("redirected {}", target.as_deref().unwrap_or("too far"))
        }
        Lookup::Any => "any".into(),
        Lookup::NoData => "nodata".into(),
        Lookup::NxDomain => "nxdomain".into(),
        Lookup::Referral(delegation) => {
            let Delegation { ns, glue, needed_glue } = delegation;
            let needed = owners(&glue[..*needed_glue], " !");
            let useful = owners(&glue[*needed_glue..], " +");
            format!("referral{}{needed}{useful}", owners(std::slice::from_ref(ns), " "))
        }
    }
}

/// Owner and type of each, relative to the origin.
fn owners(rrsets: &[OwnedRrset], before: &str) -> String {
    let one = |owned: &OwnedRrset| {
        let owner = name(&[&owned.owner_prefix[..], &[0]].concat());
        format!("{before}{owner}{}", owned.rrset.rtype)
    };
    rrsets.iter().map(one).collect()
}

/// The same for what goes into ADDITIONAL; `?` are addresses that are decided, `@` is the owner of
/// the answer.
fn extras(extras: &[Extra]) -> String {
    let one = |extra: &Extra| {
        let owner = match &extra.owner {
            Some(labels) => name(&[&labels[..], &[0]].concat()),
            None => "@.".into(),
        };
        match &extra.what {
            What::Records(rrset) => format!(" +{owner}{}", rrset.rtype),
            What::Decided(policy) => format!(" +{owner}?{}", policy.0),
            What::Service(service) => format!(" +{owner}{}?", service.rrset.rtype),
        }
    };
    extras.iter().map(one).collect()
}

#[test]
fn records_at_a_name_are_answered_by_type() {
    let zones = compiled(example("www 60 A 198.51.100.1\nwww A 198.51.100.2\nwww TXT \"a\""));
    assert_eq!(ask(&zones, "WWW.example.com.", Rtype::A), "answer 2");
    assert_eq!(ask(&zones, "www.example.com.", Rtype::TXT), "answer 1");
    assert_eq!(ask(&zones, "www.example.com.", Rtype::MX), "nodata");
    assert_eq!(ask(&zones, "ww.example.com.", Rtype::A), "nxdomain");
    assert_eq!(ask(&zones, "a.www.example.com.", Rtype::A), "nxdomain");
    assert_eq!(ask(&zones, "example.com.", Rtype::SOA), "answer 1");
    assert_eq!(ask(&zones, "example.com.", Rtype::NS), "answer 2");
    assert_eq!(ask(&zones, "example.com.", Rtype::A), "nodata");
}

#[test]
fn the_lowest_ttl_of_an_rrset_counts() {
    let zones = compiled(example("www 60 A 198.51.100.1\nwww A 198.51.100.2"));
    let Lookup::Answer { rrset, .. } =
        zones.iter().next().unwrap().lookup(&key("www.example.com."), Rtype::A)
    else {
        panic!()
    };
    assert_eq!(rrset.ttl, 60);
    let addresses: Vec<_> =
        rrset.records().map(|record| &rrset.bytes()[record][RECORD_HEAD_BYTES..]).collect();
    assert_eq!(addresses, [[198, 51, 100, 1], [198, 51, 100, 2]]);
}

#[test]
fn the_negative_soa_has_the_lesser_of_ttl_and_minimum() {
    let zones = compiled(example(""));
    let zone = zones.iter().next().unwrap();
    assert_eq!(zone.negative_soa().rrset.ttl, 600);
    assert!(zone.negative_soa().owner_prefix.is_empty());
    let Lookup::Answer { rrset, .. } = zone.lookup(&key("example.com."), Rtype::SOA) else {
        panic!()
    };
    assert_eq!(rrset.ttl, 3600);
    let low = settings("a.", "@ 5 SOA ns.b. h.b. 77 2h 15m 2w 600\n@ NS ns.b.");
    let zones = compiled(low);
    let zone = zones.iter().next().unwrap();
    assert_eq!((zone.negative_soa().rrset.ttl, zone.serial()), (5, 77));
}

#[test]
fn a_cname_answers_for_other_types_and_is_answered_itself() {
    let zones = compiled(example("a CNAME B.example.net."));
    assert_eq!(ask(&zones, "a.example.com.", Rtype::A), "cname b.example.net.");
    assert_eq!(ask(&zones, "a.example.com.", Rtype::CNAME), "answer 1");
    assert_eq!(ask(&zones, "a.example.com.", Rtype::ANY), "any");
}

#[test]
fn an_empty_non_terminal_exists_and_has_nothing() {
    let zones = compiled(example("a.b.c A 198.51.100.1"));
    assert_eq!(ask(&zones, "b.c.example.com.", Rtype::A), "nodata");
    assert_eq!(ask(&zones, "c.example.com.", Rtype::ANY), "nodata");
    assert_eq!(ask(&zones, "x.c.example.com.", Rtype::A), "nxdomain");
}

/// The zone and the table of RFC 4592 §2.2.1.
#[test]
fn wildcards_are_expanded_as_in_rfc_4592() {
    let zones = compiled(settings(
        "example.",
        r#"@             3600 SOA  ns.example.com. hostmaster 1 2h 15m 2w 5m
           @             3600 NS   ns.example.com.
           @             3600 NS   ns.example.net.
           *             3600 TXT  "this is a wildcard"
           *             3600 MX   10 host1
           sub.*         3600 TXT  "this is not a wildcard"
           host1         3600 A    198.51.100.1
           _ssh._tcp.host1 3600 SRV 0 0 22 host1
           _ssh._tcp.host2 3600 SRV 0 0 22 host1
           subdel        3600 NS   ns.example.com.
           subdel        3600 NS   ns.example.net.
        "#
        .replace("\n           ", "\n")
        .as_str(),
    ));
    let ask = |qname, rtype| ask(&zones, qname, rtype);
    // Synthesised from the wildcard.
    assert_eq!(ask("host3.example.", Rtype::MX), "answer 1 +host1.A");
    assert_eq!(ask("host3.example.", Rtype::A), "nodata");
    assert_eq!(ask("foo.bar.example.", Rtype::TXT), "answer 1");
    assert_eq!(ask("foo.bar.example.", Rtype::ANY), "any");
    // Not synthesised.
    assert_eq!(ask("host1.example.", Rtype::MX), "nodata");
    assert_eq!(ask("sub.*.example.", Rtype::MX), "nodata");
    assert_eq!(ask("_telnet._tcp.host1.example.", Rtype::SRV), "nxdomain");
    assert_eq!(ask("host.subdel.example.", Rtype::A), "referral subdel.NS");
    assert_eq!(ask("ghost.*.example.", Rtype::MX), "nxdomain");
    // The wildcard itself, and an empty non-terminal.
    assert_eq!(ask("*.example.", Rtype::TXT), "answer 1");
    assert_eq!(ask("*.example.", Rtype::A), "nodata");
    assert_eq!(ask("host2.example.", Rtype::MX), "nodata");
    assert_eq!(ask("_tcp.host2.example.", Rtype::TXT), "nodata");
}

#[test]
fn a_wildcard_may_be_a_cname() {
    let zones = compiled(example("*.a CNAME b\nb A 198.51.100.1"));
    assert_eq!(ask(&zones, "x.y.a.example.com.", Rtype::A), "cname b.example.com.");
    assert_eq!(ask(&zones, "a.example.com.", Rtype::A), "nodata");
}

#[test]
fn names_at_and_below_a_cut_are_referred() {
    let zones = compiled(example(
        "sub NS ns.sub\nsub NS ns.other\nsub NS ns.example.net.\nsub NS ns\nsub DS 1 8 2 ab\n\
         ns.sub A 198.51.100.1\nns.sub AAAA 2001:db8::1\nother NS ns.other\n\
         ns.other A 198.51.100.2\nns A 198.51.100.3",
    ));
    let referral = "referral sub.NS !ns.sub.A !ns.sub.AAAA +ns.other.A +ns.A";
    for qname in ["sub.example.com.", "ns.sub.example.com.", "a.b.sub.example.com."] {
        for rtype in [Rtype::A, Rtype::NS, Rtype::SOA, Rtype::ANY, Rtype::CNAME] {
            assert_eq!(ask(&zones, qname, rtype), referral, "{qname} {rtype}");
        }
    }
    assert_eq!(ask(&zones, "sub.example.com.", Rtype::DS), "answer 1");
    assert_eq!(ask(&zones, "a.sub.example.com.", Rtype::DS), referral);
    assert_eq!(ask(&zones, "other.example.com.", Rtype::DS), "nodata");
    assert_eq!(ask(&zones, "ns.example.com.", Rtype::DS), "nodata");
}

#[test]
fn the_topmost_cut_hides_those_below() {
    let zones = compiled(example("a NS ns.example.net.\nb.a NS ns.b.a\nns.b.a A 198.51.100.1"));
    assert_eq!(ask(&zones, "x.b.a.example.com.", Rtype::A), "referral a.NS");
    assert_eq!(ask(&zones, "b.a.example.com.", Rtype::DS), "referral a.NS");
}

#[test]
fn addresses_of_targets_are_additional() {
    let zones = compiled(example(
        "@ NS ns.sub\n@ MX 10 m\n@ MX 20 m\n@ MX 30 ns.sub\n_a SRV 0 0 1 m\n_b SVCB 1 m\n\
         _c HTTPS 1 .\n_d MX 1 x.w\nm A 198.51.100.1\nm AAAA 2001:db8::1\nsub NS ns.sub\n\
         ns.sub A 198.51.100.2\n*.w A 198.51.100.3",
    ));
    assert_eq!(ask(&zones, "example.com.", Rtype::NS), "answer 3 +ns.sub.A");
    // What is below a cut is glue, and only NS records need that.
    assert_eq!(ask(&zones, "example.com.", Rtype::MX), "answer 3 +m.A +m.AAAA");
    assert_eq!(ask(&zones, "_a.example.com.", Rtype::SRV), "answer 1 +m.A +m.AAAA");
    assert_eq!(ask(&zones, "_b.example.com.", Rtype::SVCB), "answer 1 +m.A +m.AAAA");
    assert_eq!(ask(&zones, "_c.example.com.", Rtype::HTTPS), "answer 1");
    assert_eq!(ask(&zones, "_d.example.com.", Rtype::MX), "answer 1 +x.w.A");
}

#[test]
fn a_steered_name_is_decided_for_addresses_only() {
    let mut zone = example("@ MX 10 www\nwww TXT \"a\"");
    zone.steered = vec![steered("@", false), steered("www", false), steered("*.eu", false)];
    let zones = compiled(zone);
    assert_eq!(ask(&zones, "example.com.", Rtype::A), "steered 7 30");
    assert_eq!(ask(&zones, "example.com.", Rtype::MX), "answer 1 +www.?7");
    assert_eq!(ask(&zones, "www.example.com.", Rtype::AAAA), "steered 7 30");
    assert_eq!(ask(&zones, "www.example.com.", Rtype::TXT), "answer 1");
    assert_eq!(ask(&zones, "www.example.com.", Rtype::CNAME), "nodata");
    assert_eq!(ask(&zones, "www.example.com.", Rtype::ANY), "any");
    assert_eq!(ask(&zones, "x.y.eu.example.com.", Rtype::A), "steered 7 30");
    assert_eq!(ask(&zones, "eu.example.com.", Rtype::A), "nodata");
    let listed: Vec<_> =
        zones.iter().next().unwrap().steered().map(|(name, _)| name.to_string()).collect();
    assert_eq!(listed, ["example.com.", "www.example.com.", "*.eu.example.com."]);
}

#[test]
fn a_steered_name_that_may_be_a_cname_is_decided_for_every_type() {
    let mut zone = example("");
    zone.steered = vec![steered("www", true)];
    let zones = compiled(zone);
    for rtype in [Rtype::A, Rtype::CNAME, Rtype::MX, Rtype::HTTPS] {
        assert_eq!(ask(&zones, "www.example.com.", rtype), "steered 7 30");
    }
    assert_eq!(ask(&zones, "www.example.com.", Rtype::ANY), "any");
}

#[test]
fn the_negative_ttl_of_a_steered_name_is_never_longer_than_that_of_the_zone() {
    let mut zone = example("");
    zone.steered = vec![steered("a", false), steered("b", false)];
    zone.steered[0].ttl = 86_400;
    let zones = compiled(zone);
    assert_eq!(ask(&zones, "a.example.com.", Rtype::A), "steered 7 600");
    assert_eq!(ask(&zones, "b.example.com.", Rtype::A), "steered 7 30");
}

#[test]
fn the_longest_origin_is_found() {
    let soa = "@ SOA ns.example.net. h 1 2h 15m 2w 5m\n@ NS ns.example.net.\n";
    let zone = |origin, text: &str| -> Settings { settings(origin, &format!("{soa}{text}")) };
    let (zones, _) = compile(&[
        zone("example.com.", "a.b NS ns.example.net."),
        zone("A.b.example.com.", ""),
        zone("example.org.", ""),
    ]);
    let zones = zones.unwrap();
    let find = |qname: &str, rtype| {
        zones.find(&key(qname), rtype).map_or("none".into(), |zone| zone.origin().to_string())
    };
    assert_eq!(find("b.example.com.", Rtype::A), "example.com.");
    assert_eq!(find("a.b.example.com.", Rtype::A), "A.b.example.com.");
    assert_eq!(find("x.a.b.example.com.", Rtype::A), "A.b.example.com.");
    assert_eq!(find("x.a.b.example.com.", Rtype::DS), "A.b.example.com.");
    // DS belongs to the parent, where that is here too.
    assert_eq!(find("a.b.example.com.", Rtype::DS), "example.com.");
    assert_eq!(find("example.com.", Rtype::DS), "example.com.");
    assert_eq!(find("org.", Rtype::A), "none");
    assert_eq!(find(".", Rtype::A), "none");
    assert_eq!(zones.iter().count(), 3);
}

#[test]
fn the_root_may_be_a_zone() {
    let zones = compiled(settings(
        ".",
        "@ SOA a. b. 1 2h 15m 2w 5m\n@ NS a.\na. A 198.51.100.1\ncom. NS a.",
    ));
    assert_eq!(ask(&zones, ".", Rtype::NS), "answer 1 +a.A");
    assert_eq!(ask(&zones, "x.com.", Rtype::A), "referral com.NS +a.A");
    assert_eq!(ask(&zones, "net.", Rtype::A), "nxdomain");
}

#[test]
fn the_longest_names_are_looked_up() {
    let deep = format!("{}example.com.", "a.".repeat(121));
    let zones = compiled(example(&format!("{deep} A 198.51.100.1")));
    assert_eq!(ask(&zones, &deep, Rtype::A), "answer 1");
    assert_eq!(ask(&zones, &deep[2..], Rtype::A), "nodata");
    assert_eq!(ask(&zones, &format!("b.{}", &deep[2..]), Rtype::A), "nxdomain");
    assert_eq!(ask(&compiled(example("")), &deep, Rtype::A), "nxdomain");
}

#[test]
fn a_zone_counts_what_it_has() {
    let mut zone = example("a.b A 198.51.100.1\na.b A 198.51.100.2");
    zone.steered = vec![steered("www", false)];
    let zones = compiled(zone);
    let zone = zones.iter().next().unwrap();
    assert_eq!((zone.names(), zone.serial(), zone.origin_len()), (3, 1, 13));
}

#[test]
fn names_below_a_dname_lead_elsewhere_and_the_name_itself_does_not() {
    let zones = compiled(example(
        "a DNAME T.example.net.\na TXT \"own\"\nx.a A 198.51.100.1\nsub.a NS ns.sub.a\n\
         *.y.a TXT \"w\"\n*.w DNAME t.",
    ));
    for (name, rtype, expected) in [
        ("a.example.com.", Rtype::DNAME, "answer 1"),
        ("a.example.com.", Rtype::TXT, "answer 1"),
        ("a.example.com.", Rtype::A, "nodata"),
        ("a.example.com.", Rtype::ANY, "any"),
        ("b.A.example.com.", Rtype::A, "redirected b.t.example.net."),
        ("b.a.example.com.", Rtype::DNAME, "redirected b.t.example.net."),
        ("b.a.example.com.", Rtype::ANY, "redirected b.t.example.net."),
        ("c.b.a.example.com.", Rtype::DS, "redirected c.b.t.example.net."),
        // What stands below is hidden: records, cuts, wildcards, empty non-terminals.
        ("x.a.example.com.", Rtype::A, "redirected x.t.example.net."),
        ("x.sub.a.example.com.", Rtype::A, "redirected x.sub.t.example.net."),
        ("x.y.a.example.com.", Rtype::TXT, "redirected x.y.t.example.net."),
        ("y.a.example.com.", Rtype::A, "redirected y.t.example.net."),
        // At a wildcard it is a record like others, except for names below the `*` itself.
        ("x.w.example.com.", Rtype::A, "nodata"),
        ("x.w.example.com.", Rtype::DNAME, "answer 1"),
        ("x.*.w.example.com.", Rtype::A, "redirected x.t."),
    ] {
        assert_eq!(ask(&zones, name, rtype), expected, "{name} {rtype}");
    }
}

#[test]
fn a_redirection_ends_where_names_get_too_long() {
    let zones = compiled(example("a DNAME b.example.com."));
    let zones_longer = compiled(example("a DNAME bb.example.com."));
    // With `b.example.com.` in 15 bytes, 255.
    let kept = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "y".repeat(47));
    let (asked, led) = (format!("{kept}.a.example.com."), format!("{kept}.b.example.com."));
    assert_eq!(ask(&zones, &asked, Rtype::A), format!("redirected {led}"));
    assert_eq!(ask(&zones_longer, &asked, Rtype::A), "redirected too far");
}

#[test]
fn a_dname_at_the_apex_redirects_the_whole_zone() {
    let zones = compiled(example("@ DNAME example.net.\n@ TXT \"own\""));
    assert_eq!(ask(&zones, "example.com.", Rtype::SOA), "answer 1");
    assert_eq!(ask(&zones, "example.com.", Rtype::MX), "nodata");
    assert_eq!(ask(&zones, "a.b.example.com.", Rtype::MX), "redirected a.b.example.net.");
}

#[test]
fn below_a_cut_a_dname_means_nothing() {
    let zones = compiled(example("sub NS b.\na.sub DNAME c."));
    assert!(ask(&zones, "x.a.sub.example.com.", Rtype::A).starts_with("referral"));
}
