//! Each rule of the checks, on a tiny zone.

use crate::zone::compile::tests::{example, settings, steered};
use crate::zone::{Place, Problem, Settings, compile};

/// Each problem as `error` or `warning`, what is underlined, and the message.
fn told(zones: &[Settings]) -> Vec<String> {
    let (compiled, problems) = compile(zones);
    assert_eq!(compiled.is_none(), problems.iter().any(|problem| !problem.is_warning));
    problems.iter().map(|problem| one(zones, problem)).collect()
}

fn one(zones: &[Settings], problem: &Problem) -> String {
    let zone = &zones[problem.zone];
    let place = match &problem.place {
        Place::Zone => "zone",
        Place::Source { source, span } => &zone.sources[*source].text[span.clone()],
        Place::Steered(_) => "steered",
    };
    assert!(problem.help.is_some(), "{problem:?} shows a way out");
    format!(
        "{} [{place}] {}",
        if problem.is_warning { "warning" } else { "error" },
        problem.message
    )
}

/// The problems of `example.com.` with these records besides SOA and NS.
fn told_of(text: &str) -> Vec<String> {
    told(&[example(text)])
}

/// The same with steered names: owner, and whether it may be a CNAME.
fn told_of_steered(text: &str, names: &[(&str, bool)]) -> Vec<String> {
    let mut zone = example(text);
    zone.steered = names.iter().map(|(owner, cname)| steered(owner, *cname)).collect();
    told(&[zone])
}

#[test]
fn an_ordinary_zone_has_no_problems() {
    let text = "@ MX 10 mail\n@ TXT \"v=spf1 mx -all\"\nmail A 198.51.100.1\nwww CNAME web\n\
                web A 198.51.100.2\nweb AAAA 2001:db8::2\n_sip._tcp SRV 0 0 5060 web\n\
                sub NS ns.sub\nsub DS 1 8 2 ab\nns.sub A 198.51.100.3\n*.dev A 198.51.100.4\n\
                null MX 0 .\nmail2 MX 10 x.dev";
    assert_eq!(told_of_steered(text, &[("@", false), ("cdn", true), ("*.eu", true)]), [""; 0]);
}

#[test]
fn a_zone_has_exactly_one_soa_at_its_apex() {
    assert_eq!(
        told(&[settings("a.", "@ NS ns.b.\n@ NS ns.c.")]),
        ["error [zone] a. has no SOA record"]
    );
    assert_eq!(
        told_of("@ SOA ns.example.net. h 2 2h 15m 2w 5m"),
        [
            "error [@] example.com. has a second SOA record",
            "warning [@] the SOA records of example.com. have different TTLs",
        ]
    );
    assert_eq!(
        told_of("a SOA ns.example.net. h 2 2h 15m 2w 5m"),
        ["error [a] a SOA record at a.example.com., inside the zone example.com."]
    );
}

#[test]
fn doubtful_timers_of_the_soa_are_told() {
    let told_of = |soa: &str| told(&[settings("a.", &format!("@ SOA {soa}\n@ NS b.\n@ NS c."))]);
    assert_eq!(
        told_of("b. c. 1 100 101 200 86401"),
        [
            "warning [b. c. 1 100 101 200 86401] the SOA MINIMUM, 86401 s, is longer than a day",
            "warning [b. c. 1 100 101 200 86401] the SOA RETRY, 101 s, is not shorter than its REFRESH, 100 s",
            "warning [b. c. 1 100 101 200 86401] the SOA EXPIRE, 200 s, is shorter than REFRESH and RETRY together, 201 s",
        ]
    );
    assert_eq!(
        told_of("b. c. 1 2h 15m 6d 5m"),
        ["warning [b. c. 1 2h 15m 6d 5m] the SOA EXPIRE, 518400 s, is shorter than a week"]
    );
    assert_eq!(told_of("b. c. 1 2h 15m 1w 1d"), [""; 0]);
    assert_eq!(told_of("b. c. 1 4294967295 4294967294 4294967295 0").len(), 1);
}

#[test]
fn the_mailbox_of_the_soa_has_no_at_sign() {
    assert_eq!(
        told(&[settings("a.", "@ SOA b. h@c. 1 2h 15m 2w 5m\n@ NS b.\n@ NS c.")]),
        ["warning [b. h@c. 1 2h 15m 2w 5m] the mailbox of the SOA record has an @"]
    );
    assert_eq!(
        told(&[settings("a.", "@ SOA b. h\\.i.c. 1 2h 15m 2w 5m\n@ NS b.\n@ NS c.")]),
        [""; 0]
    );
}

#[test]
fn the_primary_that_the_soa_names_has_an_address() {
    let told_of = |records: &str| {
        told(&[settings("a.", &format!("@ SOA p h 1 2h 15m 2w 5m\n@ NS b.\n@ NS c.\n{records}"))])
    };
    let soa = "p h 1 2h 15m 2w 5m";
    assert_eq!(
        told_of(""),
        [format!(
            "warning [{soa}] p.a. does not exist, but the SOA record names it as the primary"
        )]
    );
    assert_eq!(
        told_of("p CNAME b."),
        [format!("warning [{soa}] p.a. is an alias, but the SOA record names it as the primary")]
    );
    assert_eq!(told_of("p A 198.51.100.1"), [""; 0]);
    // Where it is a name server too, that is told once.
    assert_eq!(told_of("@ NS p"), ["error [p] p.a. does not exist, but NS records point at it"]);
}

#[test]
fn a_zone_has_more_than_one_name_server() {
    assert_eq!(
        told(&[settings("a.", "@ SOA b. c. 1 2h 15m 2w 5m\n@ NS b.")]),
        ["warning [b.] a. has a single name server"]
    );
}

#[test]
fn name_servers_do_not_share_an_address() {
    assert_eq!(
        told_of("@ NS a\n@ NS b\na A 198.51.100.1\nb A 198.51.100.1\nb A 198.51.100.2"),
        ["warning [b] a.example.com. and b.example.com. have the same address 198.51.100.1"]
    );
    assert_eq!(
        told_of("@ NS a.s\n@ NS b\na.s AAAA 2001:db8::1\nb AAAA 2001:db8:0::1\ns NS a.s"),
        ["warning [b] a.s.example.com. and b.example.com. have the same address 2001:db8::1"]
    );
}

#[test]
fn a_family_of_addresses_is_on_more_than_one_name_server() {
    let told_of = |servers: &str| {
        told(&[settings("a.", &format!("@ SOA b. c. 1 2h 15m 2w 5m\n@ NS x\n@ NS y\n{servers}"))])
    };
    let (x, y) = ("x A 198.51.100.1\n", "y A 198.51.100.2\n");
    assert_eq!(
        told_of(&format!("{x}{y}y AAAA 2001:db8::1")),
        ["warning [y] only one name server of a. has an IPv6 address"]
    );
    assert_eq!(
        told_of(&format!("{x}x AAAA 2001:db8::2\ny AAAA 2001:db8::1")),
        ["warning [x] only one name server of a. has an IPv4 address"]
    );
    assert_eq!(told_of(&format!("{x}{y}")), [""; 0]);
    // Others may have one that is not to be seen here.
    assert_eq!(told_of(&format!("{x}{y}y AAAA 2001:db8::1\n@ NS z.b.")), [""; 0]);
}

#[test]
fn name_servers_and_mail_hosts_have_host_names() {
    assert_eq!(
        told_of("@ NS n_s.b.\n@ MX 1 -m.b.\n_s SRV 0 0 1 t_t.b."),
        [
            "warning [n_s.b.] n_s.b. is no host name, but NS records point at it",
            "warning [1 -m.b.] -m.b. is no host name, but MX records point at it",
        ]
    );
}

#[test]
fn who_has_no_mail_has_no_mail_host() {
    assert_eq!(
        told_of("a MX 0 .\na MX 1 m.b.\nb MX 0 ."),
        ["warning [0 .] a.example.com. has an MX record that says there is no mail, and others"]
    );
}

#[test]
fn a_zone_has_name_servers() {
    assert_eq!(
        told(&[settings("a.", "@ SOA b. c. 1 2h 15m 2w 5m")]),
        ["error [zone] a. has no NS record"]
    );
}

#[test]
fn nothing_is_said_to_be_missing_when_a_line_cannot_be_read() {
    assert_eq!(
        told(&[settings("a.", "@ SOA b. c. 1 2h 15m\n@ NS ns\n@ MX 10 mail\nsub NS ns.sub")]).len(),
        1
    );
}

#[test]
fn a_cname_stands_alone() {
    assert_eq!(
        told_of("a CNAME b.\nA TXT \"x\""),
        ["error [a] a.example.com. has a CNAME record and also TXT"]
    );
    assert_eq!(
        told_of("a CNAME b.\na CNAME c."),
        ["error [a] a.example.com. has a second CNAME record"]
    );
    assert_eq!(told_of("@ CNAME b."), ["error [@] example.com. has a CNAME record and also NS"]);
}

#[test]
fn what_is_below_a_dname_is_hidden() {
    assert_eq!(
        told_of("a DNAME b.\nx.a A 198.51.100.1\nb DNAME c.\nb A 198.51.100.1"),
        [
            "warning [x.a] x.a.example.com. is below the DNAME record at a.example.com., so it is never answered",
        ]
    );
    assert!(
        told_of("a DNAME b.\na DNAME c.")
            .contains(&"error [a] a.example.com. has a second DNAME record".to_string())
    );
    assert!(
        told_of("a DNAME b.\na NS c.")
            .contains(&"error [a] a.example.com. has a DNAME record and also NS".to_string())
    );
}

#[test]
fn a_wildcard_is_not_delegated() {
    assert_eq!(told_of("*.a NS b."), ["error [*.a] an NS record at the wildcard *.a.example.com."]);
}

#[test]
fn records_out_of_the_zone_are_refused() {
    assert_eq!(
        told_of("a.example.net. A 198.51.100.1\n TXT \"too\"\nb A 198.51.100.1"),
        ["error [a.example.net.] a.example.net. is not in the zone example.com."]
    );
}

#[test]
fn a_name_server_below_its_own_cut_needs_an_address() {
    let message = "error [ns.sub] the name server ns.sub.example.com. of sub.example.com. has no address here";
    assert_eq!(told_of("sub NS ns.sub"), [message]);
    assert_eq!(
        told_of("sub NS ns.sub\nns.sub TXT \"x\""),
        [
            message,
            "warning [ns.sub] ns.sub.example.com. is below sub.example.com., which is delegated, so its TXT record is never answered",
        ]
    );
    assert_eq!(
        told_of("sub NS sub"),
        ["error [sub] the name server sub.example.com. of sub.example.com. has no address here"]
    );
    assert_eq!(told_of("sub NS sub\nsub A 198.51.100.1"), [""; 0]);
}

#[test]
fn a_name_server_below_another_cut_had_better_have_an_address() {
    assert_eq!(
        told_of("a NS ns.b\nb NS ns.b\nns.b A 198.51.100.1\nc NS n.b"),
        [
            "warning [n.b] the name server n.b.example.com. of c.example.com. has no address here, and b.example.com. may not have one without c.example.com."
        ]
    );
}

#[test]
fn a_name_server_in_the_zone_has_an_address() {
    assert_eq!(
        told_of("@ NS ns"),
        ["error [ns] ns.example.com. does not exist, but NS records point at it"]
    );
    assert_eq!(
        told_of("sub NS ns\nns TXT \"x\""),
        ["error [ns] ns.example.com. has no address, but NS records point at it"]
    );
    assert_eq!(told_of_steered("@ NS ns", &[("ns", false)]), [""; 0]);
}

#[test]
fn what_a_delegation_hides_is_told() {
    assert_eq!(
        told_of(
            "sub NS ns.example.net.\nsub TXT \"x\"\nsub A 198.51.100.1\nw.sub A 198.51.100.1\nd.sub NS ns.example.net."
        ),
        [
            "warning [sub] sub.example.com. is delegated, so its TXT record is never answered",
            "warning [sub] sub.example.com. is delegated, so its A record is never answered",
            "warning [w.sub] w.sub.example.com. is below sub.example.com., which is delegated, so its A record is never answered",
            "warning [d.sub] d.sub.example.com. is below sub.example.com., which is delegated, so its NS record is never answered",
        ]
    );
}

#[test]
fn a_ds_record_belongs_to_a_delegation() {
    assert_eq!(
        told_of("a DS 1 8 2 ab\n@ DS 1 8 2 ab"),
        [
            "warning [a] a.example.com. has a DS record, but no NS record",
            "warning [@] a DS record at example.com. itself",
        ]
    );
}

#[test]
fn targets_of_mx_and_srv_exist_and_are_no_aliases() {
    assert_eq!(
        told_of(
            "@ MX 1 m\na CNAME b\nb A 198.51.100.1\n_s SRV 0 0 1 a\nc MX 1 x\nx TXT \"x\"\nd NS a"
        ),
        [
            "warning [1 m] m.example.com. does not exist, but MX records point at it",
            "warning [0 0 1 a] a.example.com. is an alias, but SRV records point at it",
            "warning [1 x] x.example.com. has no address, but MX records point at it",
            "warning [a] a.example.com. is an alias, but NS records point at it",
        ]
    );
    assert_eq!(
        told_of_steered("@ MX 1 m", &[("m", true)]),
        ["warning [1 m] m.example.com. is an alias, but MX records point at it"]
    );
}

#[test]
fn ttls_of_an_rrset_are_equal() {
    assert_eq!(
        told_of("a 60 A 198.51.100.1\na 61 A 198.51.100.2"),
        ["warning [a] the A records of a.example.com. have different TTLs"]
    );
}

#[test]
fn a_repeated_record_is_told_and_counts_once() {
    assert_eq!(
        told_of("a MX 1 m.b.\nA MX 1 M.b.\na MX 2 m.b."),
        ["warning [A] the same record stands here already"]
    );
}

#[test]
fn a_missing_final_dot_is_suspected() {
    assert_eq!(
        told_of("a CNAME b.Example.com\nc.example.com CNAME b.\nexample.com TXT \"x\""),
        [
            "warning [b.Example.com] the name is b.example.com.example.com., as it has no final dot",
            "warning [c.example.com] the owner is c.example.com.example.com., as it has no final dot",
            "warning [example.com] the owner is example.com.example.com., as it has no final dot",
        ]
    );
    let (_, problems) = compile(&[example("a CNAME b.example.com")]);
    assert_eq!(
        problems[0].help.as_deref(),
        Some("did you mean `b.example.com.`, with a final dot?")
    );
}

#[test]
fn an_rrset_fits_into_a_message() {
    let text: String = (0..300).map(|n| format!("a TXT \"{n:0250}\"\n")).collect();
    assert_eq!(
        told_of(&text),
        ["error [a] the TXT records of a.example.com. have 78900 bytes together"]
    );
}

#[test]
fn a_signed_zone_is_warned_about_once() {
    let rrsig = "RRSIG A 8 3 300 20260101000000 20250101000000 1 example.com. AQID";
    assert_eq!(
        told_of(&format!("a A 198.51.100.1\na 5 {rrsig}\nb A 198.51.100.1\nb {rrsig}")),
        ["warning [a] the zone is signed, but answers are given without their signatures"]
    );
}

#[test]
fn a_steered_name_does_not_clash_with_records() {
    assert_eq!(
        told_of_steered(
            "a A 198.51.100.1\na AAAA 2001:db8::1\nb CNAME x.",
            &[("a", false), ("b", false)]
        ),
        [
            "error [a] a.example.com. is steered, and has A records too",
            "error [a] a.example.com. is steered, and has AAAA records too",
            "error [b] b.example.com. is steered, and has CNAME records too",
        ]
    );
    assert_eq!(told_of_steered("a TXT \"x\"", &[("a", false)]), [""; 0]);
    assert_eq!(
        told_of_steered("a TXT \"x\"", &[("a", true)]),
        ["error [a] a.example.com. is steered and may be answered by a CNAME, but has TXT records"]
    );
}

#[test]
fn the_apex_is_steered_to_addresses_only() {
    assert_eq!(
        told_of_steered("", &[("@", true)]),
        ["error [steered] example.com. is the zone's origin, and its pools have CNAME members"]
    );
}

#[test]
fn a_steered_name_is_in_the_zone_once_and_not_delegated() {
    assert_eq!(
        told_of_steered(
            "sub NS ns.example.net.",
            &[
                ("a.example.net.", false),
                ("a", false),
                ("A", false),
                ("sub", false),
                ("b.sub", false)
            ]
        ),
        [
            "error [steered] a.example.net. is not in the zone example.com.",
            "error [steered] A.example.com. is steered twice",
            "error [steered] sub.example.com. is steered, but sub.example.com. is delegated",
            "error [steered] b.sub.example.com. is steered, but sub.example.com. is delegated",
        ]
    );
}

#[test]
fn a_steered_name_below_a_dname_is_refused() {
    assert_eq!(
        told_of_steered("a DNAME b.", &[("x.a", false)])[0],
        "error [steered] x.a.example.com. is steered below the DNAME record at a.example.com."
    );
}

#[test]
fn an_origin_is_given_once() {
    let mut other = example("");
    other.origin = "EXAMPLE.com.".parse().unwrap();
    assert_eq!(told(&[example(""), other]), ["error [zone] the zone EXAMPLE.com. is given twice"]);
}

#[test]
fn a_child_that_is_here_too_is_delegated_by_its_parent() {
    let child = |origin| settings(origin, "@ SOA b. c. 1 2h 15m 2w 5m\n@ NS b.\n@ NS c.");
    assert_eq!(
        told(&[child("a.b.example.com."), example("")]),
        [
            "warning [zone] a.b.example.com. is a zone here too, but example.com. does not delegate it"
        ]
    );
    assert_eq!(told(&[example("b NS b."), child("a.b.example.com.")]), [""; 0]);
}

#[test]
fn services_of_a_steered_name_are_told_where_they_leave_it() {
    let names = &[("www", false), ("far", true), ("*.w", false)];
    assert_eq!(
        told_of_steered(
            "www HTTPS 1 . alpn=h2\nwww HTTPS 2 x.w port=1\n_8443._https.www HTTPS 1 WWW\n\
             _x SVCB 1 far\n@ HTTPS 0 www\n*.w HTTPS 1 .\nnone HTTPS 0 .",
            names
        ),
        [""; 0]
    );
    assert_eq!(
        told_of_steered(
            "www HTTPS 1 . ipv4hint=198.51.100.1\nwww HTTPS 2 cdn.example.net.\nwww HTTPS 3 ns\n\
             ns A 198.51.100.1\n_x SVCB 1 www mandatory=ipv6hint ipv6hint=2001:db8::1\n\
             a HTTPS 1 ns ipv4hint=198.51.100.1",
            names
        ),
        [
            "warning [1 . ipv4hint=198.51.100.1] www.example.com. is steered, so the address hints that are written here are not answered",
            "warning [2 cdn.example.net.] www.example.com. is steered, but its HTTPS record sends clients to cdn.example.net., which is not",
            "warning [3 ns] www.example.com. is steered, but its HTTPS record sends clients to ns.example.com., which is not",
            "warning [1 www mandatory=ipv6hint ipv6hint=2001:db8::1] www.example.com. is steered, so the address hints that are written here are not answered",
        ]
    );
    assert_eq!(
        told_of_steered("www HTTPS 0 cdn.example.net.", names),
        [
            "warning [0 cdn.example.net.] www.example.com. is steered, but its HTTPS record sends clients to cdn.example.net., which is not"
        ]
    );
    assert_eq!(
        told_of_steered("far HTTPS 1 .", names),
        [
            "error [far] far.example.com. is steered and may be answered by a CNAME, but has HTTPS records"
        ]
    );
    assert_eq!(
        told_of("a CNAME b.\na HTTPS 1 ."),
        ["error [a] a.example.com. has a CNAME record and also HTTPS",]
    );
}

#[test]
fn the_modes_of_services_are_kept_apart() {
    let text = "a A 198.51.100.1\na HTTPS 0 b.\na HTTPS 1 .\nc HTTPS 0 b.\nc HTTPS 0 d.\n\
                e SVCB 0 b. port=1\nf SVCB 0 f";
    assert_eq!(
        told_of(text),
        [
            "warning [1 .] a.example.com. has a HTTPS record with the priority 0, so that the others are not followed",
            "warning [0 d.] c.example.com. has 2 HTTPS records with the priority 0",
            "warning [0 b. port=1] a SVCB record with the priority 0 and parameters",
            "warning [0 f] the SVCB record of f.example.com. is an alias of itself",
        ]
    );
}

#[test]
fn targets_of_services_exist() {
    let text = "a HTTPS 1 .\nb HTTPS 1 none\nc HTTPS 0 a\nd SVCB 0 a\ne CNAME f.\ng HTTPS 1 e\n\
                h HTTPS 1 x.sub\nsub NS ns.example.net.\ni HTTPS 1 x.h";
    assert_eq!(
        told_of(text),
        [
            "warning [1 .] a.example.com. has no address, but HTTPS records point at it",
            "warning [1 none] none.example.com. does not exist, but HTTPS records point at it",
            "warning [0 a] a.example.com. has no address, but SVCB records point at it",
            "warning [1 x.h] x.h.example.com. does not exist, but HTTPS records point at it",
        ]
    );
}
