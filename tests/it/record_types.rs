//! Every record type in its text form: the same text is read to the same bytes by Portolan and by
//! BIND, and where they know the type by NSD and Knot.

use crate::support::peers::{Peer, PeerZone};
use crate::support::{Addresses, Server, dig_all, needs};

/// A type, data in its text form, and who else reads it: `n`SD and `k`not. BIND reads all.
const RECORDS: &[(&str, &str, &str)] = &[
    ("A", "198.51.100.1", "nk"),
    ("NS", "ns.example.net.", "nk"),
    ("MB", "host", "n"),
    ("MG", "host", "n"),
    ("MR", "host", "n"),
    ("MINFO", "a b", "nk"),
    ("WKS", "198.51.100.1 tcp smtp 80 domain", "n"),
    ("WKS", "198.51.100.1 17 53", "n"),
    ("WKS", "198.51.100.1 6", ""),
    ("PTR", "host.example.net.", "nk"),
    ("HINFO", "\"PDP-11/70\" UNIX", "nk"),
    ("MX", "10 mail", "nk"),
    ("TXT", "one \"two three\" fo\\117r \"\" \"\\\"\"", "nk"),
    ("RP", "me.example.com. txt", "nk"),
    ("AFSDB", "1 host", "nk"),
    ("X25", "\"311061700956\"", "n"),
    ("X25", "3110", "n"),
    ("ISDN", "\"150862028003217\" \"004\"", "n"),
    ("ISDN", "150862028003217", "n"),
    ("RT", "10 relay.example.net.", "nk"),
    ("NSAP", "0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00", "n"),
    ("NSAP-PTR", "host.example.net.", ""),
    ("KEY", "256 3 8 AwEAAQ==", "nk"),
    ("KEY", "512 3 RSASHA256 AwEA AQ==", ""),
    ("PX", "10 net2.it. prmd-net2.admd-p400.c-it.", "n"),
    ("GPOS", "-32.6882 116.8652 10.0", ""),
    ("AAAA", "2001:db8::1", "nk"),
    ("LOC", "52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", "nk"),
    ("LOC", "42 21 54 N 71 06 18 W -24m 30m", "nk"),
    ("LOC", "42 21 43.952 N 71 5 6.344 W -24m 1m 200m", "nk"),
    ("LOC", "52 14 05 N 00 08 50 E 10m", "nk"),
    ("LOC", "32 7 19 S 116 2 25 E 10m", "nk"),
    ("LOC", "90 S 180 W -100000.00", "nk"),
    ("LOC", "0 N 0 E 42849672.95 90000000m 12345.67m .05m", ""),
    ("NXT", "next A NS TXT NXT", "n"),
    ("EID", "e3 2c6f 78163a9348", ""),
    ("NIMLOC", "32251a030067", ""),
    ("SRV", "1 2 443 host", "nk"),
    ("ATMA", "+61200000000", ""),
    ("ATMA", "39.246f.000e7c9c031200010001000012345678.00", ""),
    ("NAPTR", "100 50 \"u\" \"E2U+sip\" \"!^.*$!sip:info@example.com!\" .", "nk"),
    ("KX", "10 kdc", "nk"),
    ("CERT", "PKIX 0 0 AQIDBA==", "nk"),
    ("CERT", "6 12345 RSASHA256 AQID BA==", "nk"),
    ("CERT", "OID 65535 PRIVATEOID AQIDBA==", "nk"),
    ("A6", "0 2001:db8::1", ""),
    ("A6", "64 ::1:2:3:4 subnet", ""),
    ("A6", "61 ::ffff:1:2:3:4 subnet.example.net.", ""),
    ("A6", "128 subnet", ""),
    ("DNAME", "host.example.net.", "nk"),
    ("SINK", "1 2 3 AQIDBA==", ""),
    ("APL", "1:198.51.100.0/24 !1:198.51.100.64/28 2:2001:db8::/32 2:::/0", "nk"),
    ("APL", "1:0.0.0.0/0", "nk"),
    ("APL", "", "nk"),
    ("DS", "60485 5 1 2BB183AF5F22588179A53B0A 98631FAD1A292118", "nk"),
    (
        "DS",
        "60485 RSASHA256 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A",
        "nk",
    ),
    ("SSHFP", "2 1 123456789abcdef67890123456789abcdef67890", "nk"),
    ("IPSECKEY", "10 1 2 198.51.100.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==", "nk"),
    ("IPSECKEY", "10 0 2 . AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==", "nk"),
    ("IPSECKEY", "10 3 2 gateway AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==", "nk"),
    ("IPSECKEY", "10 2 2 2001:db8::2 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==", "nk"),
    ("DNSKEY", "257 3 RSASHA256 AwEAAQ== ", "nk"),
    ("DHCID", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", "nk"),
    ("TLSA", "3 1 1 0123456789abcdef0123456789abcdef 0123456789abcdef0123456789abcdef", "nk"),
    ("SMIMEA", "3 0 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "nk"),
    (
        "HIP",
        "2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p9+LrV4e19WzK00+CI6zBCQTdtWsuxKbWIy87UOoJTwkUs7lBu+Upr1gsNrut79ryra+bSRGQb1slImA8YVJyuIDsj7kwzG7jnERNqnWxZ48AWkskmdHaVDP4BcelrTI3rMXdXF5D",
        "",
    ),
    ("HIP", "2 200100107B1A74DF365639CC39F1D578 AwEAAQ== rvs rvs2.example.net.", ""),
    ("NINFO", "\"one\" two", ""),
    ("RKEY", "0 255 1 AQIDBA==", ""),
    ("TALINK", "before after.example.net.", ""),
    ("CDS", "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", "nk"),
    ("CDS", "0 0 0 00", "nk"),
    ("CDNSKEY", "257 3 8 AwEAAQ==", "nk"),
    ("OPENPGPKEY", "AQID BA==", "nk"),
    ("CSYNC", "66 3 A NS AAAA", "nk"),
    ("CSYNC", "4294967295 0", "nk"),
    ("CSYNC", "1 1 TYPE65400 A CAA", "nk"),
    (
        "ZONEMD",
        "2018031500 1 1 fef1b34ab07e0d4c9a81e7e14d3a1ac0bd9a0f0f4a4a2f1a0d8c3c7b4f9a2e6d0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "nk",
    ),
    ("SVCB", "1 svc.example.net. port=8443 alpn=\"h2,h3\"", "nk"),
    ("HTTPS", "0 svc.example.net.", "nk"),
    ("SPF", "\"v=spf1 -all\"", "nk"),
    ("NID", "10 0014:4fff:ff20:ee64", "nk"),
    ("L32", "10 198.51.100.1", "nk"),
    ("L64", "10 2001:0db8:1140:1000", "nk"),
    ("L64", "10 2001:db8:0:1", "n"),
    ("LP", "10 l64-subnet", "nk"),
    ("EUI48", "00-00-5e-00-53-2a", "nk"),
    ("EUI64", "00-00-5e-ef-10-00-00-2a", "nk"),
    ("URI", "10 1 \"ftp://ftp1.example.com/public;x=\\\"y\\\"\"", "nk"),
    ("CAA", "0 issue \"ca.example.net; policy=ev\"", "nk"),
    ("AVC", "\"app-name:WOLFGANG|app-class:OAM\" \"business=yes\"", "n"),
    ("DOA", "1234567890 1 2 \"image/gif\" R0lGODlhKAAZAOMCAGZmZgBmmf///zOZzMz//5nM/zNmmWbM", ""),
    ("DOA", "0 4294967295 3 \"\" -", ""),
    ("AMTRELAY", "10 0 1 198.51.100.15", ""),
    ("AMTRELAY", "128 1 2 2001:db8::15", ""),
    ("AMTRELAY", "128 1 3 amtrelays.example.com.", ""),
    ("AMTRELAY", "0 0 0 .", ""),
    ("TA", "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", ""),
    ("DLV", "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", "n"),
    ("TYPE65400", "\\# 3 0a0b0c", "nk"),
];

const HEAD: &str =
    "@ 300 SOA ns.example.net. hostmaster 1 7200 900 1209600 300\n@ 300 NS ns.example.net.\n";

/// The records that a peer reads, each at a name of its own.
fn zone(reads: impl Fn(&str) -> bool) -> String {
    let mut text = format!("$TTL 300\n{HEAD}");
    for (index, (rtype, data, readers)) in RECORDS.iter().enumerate() {
        if reads(readers) {
            text += &format!("r{index} {rtype} {data}\n");
        }
    }
    text
}

fn questions() -> Vec<String> {
    let question = |(index, (rtype, ..)): (usize, &(&str, &str, &str))| {
        let rtype = if *rtype == "NSAP-PTR" { "TYPE23" } else { rtype };
        // Below a delegation NS is answered in AUTHORITY, so all sections are compared.
        format!("r{index}.example.com {rtype} +unknownformat")
    };
    RECORDS.iter().enumerate().map(question).collect()
}

#[test]
fn every_type_is_read_to_the_bytes_that_others_read_it_to() {
    if !needs("record_types", &["named", "nsd", "knotd", "dig"]) {
        return;
    }
    let server = Server::files("")
        .zone(
            "example.com.toml",
            &format!("origin = \"example.com.\"\nrecords = '''\n{}'''\n", zone(|_| true)),
        )
        .start();
    let ours = dig_all(server.dns(), &questions());
    for (name, letter) in [("bind", ""), ("nsd", "n"), ("knot", "k")] {
        let text = zone(|readers| readers.contains(letter));
        let zones = [PeerZone { origin: "example.com.", text: &text }];
        let peer = match name {
            "bind" => Peer::bind(&zones, "", ""),
            "nsd" => Peer::nsd(Addresses::new().host(1), &zones),
            _ => Peer::knot(Addresses::new().host(1), &zones),
        };
        let theirs = dig_all(peer.dns(), &questions());
        let mut wrong = Vec::new();
        for ((record, ours), theirs) in RECORDS.iter().zip(&ours).zip(&theirs) {
            if record.2.contains(letter)
                && (ours.answer != theirs.answer
                    || ours.authority != theirs.authority
                    || ours.answer.len() + ours.authority.len() != 1)
            {
                wrong.push(format!(
                    "{record:?}\n ours: {:?}\n theirs: {:?}",
                    ours.answer, theirs.answer
                ));
            }
        }
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    }
}
