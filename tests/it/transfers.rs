//! Zones that other servers take: by dig and kdig, signed or not; NSD and Knot as secondaries.

mod secondaries;

use std::net::SocketAddr;
use std::process::Command;

use super::asking::{ask_tcp, ask_udp};
use super::support::{Server, dig, needs};

pub(super) const SECRET: &str = "kp4/24gyYsEzbuTVJRUMoqGFmN3LYgVDzJ/3oRSP7ys=";
const OTHER: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// `portolan.toml` besides `[dns]` and `[admin]`.
pub(super) fn rest() -> String {
    format!(
        "[keys.\"xfr.example.com\"]\nsecret = \"{SECRET}\"\n\
         [keys.\"sha512.example.com\"]\nalgorithm = \"hmac-sha512\"\nsecret = \"{SECRET}\"\n\
         [datacenters.fra]\n[datacenters.iad]\n"
    )
}

/// A zone file with this serial number, these records, and what `[transfer]` says.
pub(super) fn zone(serial: u32, records: &str, pool: &str, transfer: &str) -> String {
    format!(
        "origin = \"example.com.\"\nrecords = \"\"\"\n\
         @ 300 SOA ns1 hostmaster {serial} 2h 15m 2w 60\n@ 300 NS ns1\n@ 300 NS ns.example.net.\n\
         ns1 300 A 198.51.100.53\n{records}\n\"\"\"\n\
         [pools.web]\nsteer = \"failover\"\nttl = \"20s\"\nmembers = [{pool}]\n\
         [names.www]\npool = \"web\"\n[transfer]\n{transfer}\n"
    )
}

const POOL: &str = "{ datacenter = \"fra\", addresses = [\"203.0.113.10\", \"2001:db8::10\"] }, \
                    { datacenter = \"iad\", addresses = [\"203.0.113.20\"] }";

/// The records of a transfer by dig, but for signatures; none when it fails.
pub(super) fn taken(server: SocketAddr, what: &str, more: &[&str]) -> Option<Vec<String>> {
    let mut arguments = vec![format!("@{}", server.ip()), "-p".into(), server.port().to_string()];
    arguments.extend(["+noall", "+answer", "+onesoa", "example.com"].map(String::from));
    arguments.extend(more.iter().map(|argument| argument.to_string()));
    arguments.push(what.to_string());
    let output = Command::new("dig").args(arguments).output().expect("dig runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_failed = text.contains("Transfer failed") || text.contains("could not be validated");
    let records = text.lines().filter(|line| !line.starts_with(';') && !line.contains("\tTSIG\t"));
    let mut records: Vec<String> = records
        .filter(|line| !line.is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    if what == "axfr" {
        records.sort();
    }
    (!is_failed && output.status.success() && !records.is_empty()).then_some(records)
}

const RIGHT: [&str; 2] =
    ["-y", "hmac-sha256:xfr.example.com:kp4/24gyYsEzbuTVJRUMoqGFmN3LYgVDzJ/3oRSP7ys="];

fn start(zone: &str) -> Server {
    let files = Server::files(&rest());
    files.write("zones/example.com.toml", zone);
    files.start()
}

#[test]
fn a_zone_is_taken_whole_with_what_cuts_hide_and_steered_names_by_their_default_answer() {
    if !needs("zone transfers", &["dig"]) {
        return;
    }
    let records = "sub 300 NS ns.sub\nns.sub 300 A 198.51.100.1\nhidden.sub 300 TXT x\n\
                   Mixed.Case 300 TXT y\n*.wild 300 TXT z\n";
    let server = start(&zone(7, records, POOL, "allow = [\"127.0.0.0/8\"]"));
    let mut expected = vec![
        "example.com. 300 IN SOA ns1.example.com. hostmaster.example.com. 7 7200 900 1209600 60",
        "example.com. 300 IN NS ns1.example.com.",
        "example.com. 300 IN NS ns.example.net.",
        "ns1.example.com. 300 IN A 198.51.100.53",
        "sub.example.com. 300 IN NS ns.sub.example.com.",
        "ns.sub.example.com. 300 IN A 198.51.100.1",
        "hidden.sub.example.com. 300 IN TXT \"x\"",
        "Mixed.Case.example.com. 300 IN TXT \"y\"",
        "*.wild.example.com. 300 IN TXT \"z\"",
        "www.example.com. 20 IN A 203.0.113.10",
        "www.example.com. 20 IN AAAA 2001:db8::10",
    ];
    expected.sort_unstable();
    assert_eq!(taken(server.dns(), "axfr", &[]).unwrap(), expected);
    // What the operator says of a datacenter now does not change it.
    server.verb(&["drain", "datacenter/fra"]);
    assert_eq!(taken(server.dns(), "axfr", &[]).unwrap(), expected);
}

#[test]
fn who_may_take_a_zone_is_who_has_address_and_key() {
    if !needs("zone transfers", &["dig"]) {
        return;
    }
    let key = "key = \"xfr.example.com\"";
    let far = "allow = [\"198.51.100.0/24\"]";
    let near = "allow = [\"127.0.0.1\", \"2001:db8::/32\"]";
    let wrong_secret = format!("hmac-sha256:xfr.example.com:{OTHER}");
    let wrong_name = format!("hmac-sha256:none.example.com:{SECRET}");
    let wrong_algorithm = format!("hmac-sha512:xfr.example.com:{SECRET}");
    let other_key = format!("hmac-sha512:sha512.example.com:{SECRET}");
    let wrong = [&wrong_secret, &wrong_name, &wrong_algorithm].map(|key| ["-y", key.as_str()]);
    for (transfer, unsigned, signed) in [
        (key.to_string(), false, true),
        (near.to_string(), true, true),
        (far.to_string(), false, false),
        (format!("{near}\n{key}"), false, true),
        (format!("{far}\n{key}"), false, false),
    ] {
        let server = start(&zone(1, "", POOL, &transfer));
        let is_taken = |more: &[&str]| taken(server.dns(), "axfr", more).is_some();
        assert_eq!(is_taken(&[]), unsigned, "{transfer}");
        assert_eq!(is_taken(&RIGHT), signed, "{transfer}");
        assert_eq!(is_taken(&["-y", &other_key]), unsigned, "{transfer}");
        for wrong in &wrong {
            assert!(!is_taken(wrong), "{transfer}: {wrong:?}");
        }
    }
}

#[test]
fn a_refusal_says_why_and_each_message_ends_in_one_outcome() {
    if !needs("zone transfers", &["dig"]) {
        return;
    }
    let server = start(&zone(1, "", POOL, "key = \"xfr.example.com\""));
    let other = format!("hmac-sha256:xfr.example.com:{OTHER}");
    for (question, status, why) in [
        (format!("example.com. SOA -y {other}"), "NOTAUTH", "BADSIG"),
        (format!("example.com. SOA -y hmac-sha256:a.:{SECRET}"), "NOTAUTH", "BADKEY"),
        (format!("example.com. SOA -y {}", RIGHT[1]), "NOERROR", "NOERROR"),
        (format!("www.example.com. A -y {} +tcp", RIGHT[1]), "NOERROR", "NOERROR"),
    ] {
        let answer = dig(server.dns(), &question);
        assert_eq!(answer.status, status, "{question}: {}", answer.text);
        assert!(answer.text.contains(why), "{question}: {}", answer.text);
        let is_verified = !answer.text.contains("could not be validated");
        assert_eq!(is_verified, status != "NOTAUTH", "{}", answer.text);
    }
    let question = |name: &[u8], qtype: u8| {
        let head = [9, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        let rest = [0, qtype, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
        [&head[..], name, &rest[..]].concat()
    };
    let questions = [
        question(b"\x07example\x03com\0", 252),
        question(b"\x07example\x03com\0", 251),
        question(b"\x03www\x07example\x03com\0", 252),
    ];
    let over_tcp = questions.iter().map(|question| ask_tcp(server.dns(), question)).collect();
    for answers in [ask_udp(server.dns(), &questions), over_tcp] {
        for (answer, (rcode, why)) in answers.iter().zip([(5, 18), (5, 18), (9, 20)]) {
            let answer = answer.as_ref().expect("an answer");
            assert_eq!(answer[3] & 0xf, rcode);
            assert!(answer.ends_with(&[0, 15, 0, 2, 0, why]), "{answer:?}");
        }
    }
    taken(server.dns(), "axfr", &RIGHT).unwrap();
    let dns = &server.api("/api/v1/status")["dns"];
    let outcomes = dns["outcomes"].as_object().unwrap();
    let sum: u64 = outcomes.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(dns["received"], sum);
    assert_eq!((&outcomes["transferred"], &outcomes["notauth"]), (&1.into(), &4.into()));
}

#[test]
fn a_zone_of_many_messages_comes_whole_and_signed_and_other_queries_are_not_kept_waiting() {
    if !needs("a transfer of many messages", &["dig", "kdig"]) {
        return;
    }
    let records: String =
        (0..30_000).map(|n| format!("host-{n} 300 A 198.51.100.{}\n", n % 250)).collect();
    let server = start(&zone(1, &records, POOL, "allow = [\"127.0.0.0/8\"]"));
    let all = taken(server.dns(), "axfr", &RIGHT).unwrap();
    assert_eq!(all.len(), 30_000 + 6);
    let mut hosts: Vec<&str> =
        all.iter().filter_map(|line| line.split_once(' ')).map(|p| p.0).collect();
    hosts.dedup();
    assert!(hosts.len() > 30_000, "each name once: {}", hosts.len());
    let out = Command::new("kdig")
        .arg(format!("@{}", server.dns().ip()))
        .args(["-p", &server.dns().port().to_string(), "-y", RIGHT[1], "example.com", "AXFR"])
        .output()
        .expect("kdig runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        text.contains("host-29999.example.com."),
        "{}",
        &text[text.len().saturating_sub(500)..]
    );
    assert_eq!(text.lines().filter(|line| line.contains("\tA\t198.51.100.")).count(), 30_001);
    let transfers = &server.api("/api/v1/status")["transfers"]["out"];
    assert_eq!((&transfers["completed"], &transfers["running"]), (&2.into(), &0.into()));
    assert!(transfers["messages"].as_u64().unwrap() > 60, "{transfers}");
}

#[test]
fn changes_are_taken_by_themselves_until_the_serial_number_does_not_rise() {
    if !needs("zone transfers", &["dig"]) {
        return;
    }
    let allow = "allow = [\"127.0.0.0/8\"]";
    let many: String = (0..50).map(|n| format!("host-{n} 300 A 198.51.100.{n}\n")).collect();
    let server = start(&zone(1, &format!("{many}old 300 TXT old"), POOL, allow));
    let publish = |serial: u32, records: &str, pool: &str| {
        server.write("zones/example.com.toml", &zone(serial, records, pool, allow));
        server.signal("HUP");
        super::support::until("the change", || {
            let soa = dig(server.dns(), "example.com. SOA").data("SOA");
            soa.first().is_some_and(|soa| soa.contains(&format!(" {serial} 7200")))
        });
    };
    publish(2, &format!("{many}new 300 TXT new"), POOL);
    let pool = "{ datacenter = \"fra\", addresses = [\"203.0.113.99\"] }";
    publish(5, &format!("{many}new 300 TXT new"), pool);
    let soa = |serial: u32| {
        format!(
            "example.com. 300 IN SOA ns1.example.com. hostmaster.example.com. {serial} 7200 900 1209600 60"
        )
    };
    let expected = [
        soa(5),
        soa(1),
        "old.example.com. 300 IN TXT \"old\"".into(),
        soa(2),
        "new.example.com. 300 IN TXT \"new\"".into(),
        soa(2),
        "www.example.com. 20 IN A 203.0.113.10".into(),
        "www.example.com. 20 IN AAAA 2001:db8::10".into(),
        soa(5),
        "www.example.com. 20 IN A 203.0.113.99".into(),
        soa(5),
    ];
    let all = ["+noonesoa"];
    assert_eq!(taken(server.dns(), "ixfr=1", &all).unwrap(), expected);
    assert_eq!(taken(server.dns(), "ixfr=1", &["+noonesoa", "+notcp"]).unwrap(), expected);
    assert_eq!(taken(server.dns(), "ixfr=2", &all).unwrap().len(), 7);
    assert_eq!(taken(server.dns(), "ixfr=5", &all).unwrap(), [soa(5)]);
    assert_eq!(taken(server.dns(), "ixfr=3", &all).unwrap().len(), 57, "an unknown version");
    // Other contents under the same number: who asks for changes gets everything.
    server.write("zones/example.com.toml", &zone(5, &format!("{many}x 300 TXT x"), pool, allow));
    server.signal("HUP");
    super::support::until("the change", || {
        !dig(server.dns(), "x.example.com. TXT").answer.is_empty()
    });
    assert_eq!(taken(server.dns(), "ixfr=2", &all).unwrap().len(), 57);
}

#[test]
fn what_is_taken_from_a_primary_is_handed_on_with_what_is_laid_over_it() {
    if !needs("a secondary that is a primary", &["dig"]) {
        return;
    }
    let second = Server::files(&rest());
    let told = second.addresses().host(1);
    let key = "key = \"xfr.example.com\"";
    let transfer = |notify: &str| format!("{key}\nnotify = [{{ address = \"{notify}\", {key} }}]");
    let many: String = (0..50).map(|n| format!("host-{n} 300 A 198.51.100.{n}\n")).collect();
    let text = |serial: u32, more: &str| {
        zone(serial, &format!("{many}{more}"), POOL, &transfer(&format!("{told}:5353")))
    };
    let first = start(&text(1, "old 300 TXT old"));
    let overlay = format!(
        "origin = \"example.com.\"\nprimary = {{ address = \"{}\", {key} }}\n\
         [pools.web]\nsteer = \"failover\"\n\
         members = [{{ datacenter = \"fra\", addresses = [\"203.0.113.99\"] }}]\n\
         [names.mine]\npool = \"web\"\n[transfer]\n{key}\n",
        first.dns()
    );
    second.write("zones/example.com.toml", &overlay);
    let second = second.start();
    let mine = "mine.example.com. 30 IN A 203.0.113.99".to_string();
    let expected = |first: &Server| {
        let mut records = taken(first.dns(), "axfr", &RIGHT).unwrap();
        records.push(mine.clone());
        records.sort();
        records
    };
    super::support::until("the second has it", || {
        taken(second.dns(), "axfr", &RIGHT) == Some(expected(&first))
    });
    first.write("zones/example.com.toml", &text(2, "new 300 TXT new"));
    first.signal("HUP");
    super::support::until("the change is there", || {
        let records = taken(second.dns(), "axfr", &RIGHT).unwrap();
        records.iter().any(|record| record.starts_with("new.example.com."))
    });
    assert_eq!(taken(second.dns(), "axfr", &RIGHT), Some(expected(&first)));
    let changes = taken(second.dns(), "ixfr=1", &[RIGHT[0], RIGHT[1], "+noonesoa"]).unwrap();
    assert_eq!(changes.len(), 6, "{changes:#?}");
}
