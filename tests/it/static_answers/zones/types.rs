//! Records of every type that all the servers read.

use fastrand::Rng;

use super::{Draft, ds, hex, v4, v6};
use crate::static_answers::name::Name;

/// A type, its number, and its data; `{name}` stands for a name, `{hex}` for 32 bytes.
type Form = (&'static str, u16, &'static str);

/// Beside A and AAAA. `TYPE…` where not all the servers read another form.
const FORMS: &[Form] = &[
    ("TYPE7", 7, "\\# 16 026d62076578616d706c65036e657400"),
    ("TYPE8", 8, "\\# 16 026d67076578616d706c65036e657400"),
    ("TYPE9", 9, "\\# 16 026d72076578616d706c65036e657400"),
    ("PTR", 12, "{name}"),
    ("HINFO", 13, "\"Amiga\" \"None\""),
    ("MINFO", 14, "{name} {name}"),
    ("MX", 15, "10 {name}"),
    ("TXT", 16, "\"Mixed Case\" \"\" \"\\200\\000\\\"\""),
    ("RP", 17, "{name} {name}"),
    ("AFSDB", 18, "1 {name}"),
    ("TYPE19", 19, "\\# 13 0c333131303631373030393536"),
    ("TYPE20", 20, "\\# 20 0f31353038363230323830303332313703303034"),
    ("RT", 21, "20 {name}"),
    ("TYPE26", 26, "\\# 8 000a0161000162 00"),
    ("KEY", 25, "256 3 13 AQIDBA=="),
    ("LOC", 29, "52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m"),
    ("LOC", 29, "60 9 S 24 39 12.345 W 10m 20m"),
    ("SRV", 33, "1 2 443 {name}"),
    ("NAPTR", 35, "100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:info@example!\" {name}"),
    ("KX", 36, "10 {name}"),
    ("CERT", 37, "PKIX 1 8 TWlsbGVy"),
    ("CERT", 37, "254 65535 0 TWlsbGVy"),
    ("APL", 42, "1:192.168.32.0/21 !1:192.168.38.0/28 2:2001:db8::/32"),
    ("SSHFP", 44, "4 2 {hex}"),
    ("IPSECKEY", 45, "10 1 2 198.51.100.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="),
    ("IPSECKEY", 45, "10 3 2 gw.example.net. AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="),
    ("DHCID", 49, "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="),
    ("TLSA", 52, "3 1 1 {hex}"),
    ("SMIMEA", 53, "3 1 1 {hex}"),
    ("CDS", 59, "0 0 0 00"),
    ("CDNSKEY", 60, "0 3 0 AA=="),
    ("OPENPGPKEY", 61, "AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="),
    ("CSYNC", 62, "66 3 A NS AAAA TYPE65400"),
    ("SVCB", 64, "1 {name} alpn=h2,h3 port=8443"),
    ("SVCB", 64, "2 {name} mandatory=alpn alpn=h2 key65333=ex"),
    ("SVCB", 64, "0 {name}"),
    ("HTTPS", 65, "1 . alpn=h3 ipv4hint=198.51.100.1 ipv6hint=2001:db8::1"),
    ("HTTPS", 65, "3 {name} no-default-alpn alpn=h3 port=443"),
    ("HTTPS", 65, "0 {name}"),
    ("SPF", 99, "\"v=spf1 -all\""),
    ("NID", 104, "10 0014:4fff:ff20:ee64"),
    ("L32", 105, "10 198.51.100.1"),
    ("L64", 106, "10 2001:0db8:1140:1000"),
    ("LP", 107, "10 {name}"),
    ("EUI48", 108, "00-00-5e-00-53-2a"),
    ("EUI64", 109, "00-00-5e-ef-10-00-00-2a"),
    ("URI", 256, "10 1 \"ftp://ftp1.example.com/public\""),
    ("CAA", 257, "0 issue \"ca.example; policy=ev\""),
    ("CAA", 257, "128 iodef \"mailto:security@example\""),
    ("TYPE258", 258, "\\# 4 03616263"),
    ("TYPE261", 261, "\\# 4 03616263"),
    ("TYPE32770", 32_770, "\\# 0"),
    ("TYPE65400", 65_400, "\\# 32 {hex}"),
    ("TYPE65534", 65_534, "\\# 5 0102030405"),
];

/// The number of a type of the generator.
pub fn number(rtype: &str) -> u16 {
    const OTHERS: &[(&str, u16)] =
        &[("A", 1), ("NS", 2), ("CNAME", 5), ("SOA", 6), ("AAAA", 28), ("DNAME", 39), ("DS", 43)];
    let forms = FORMS.iter().map(|(name, number, _)| (*name, *number));
    let mut all = forms.chain(OTHERS.iter().copied());
    all.find(|(name, _)| *name == rtype).expect("a type of the generator").1
}

impl Draft {
    /// Adds a record of a random type, where it may stand.
    pub(super) fn add_any(&mut self, rng: &mut Rng, owner: &Name) {
        let (rtype, data) = match rng.u8(..20) {
            0..4 => ("A", v4(rng)),
            4..7 => ("AAAA", v6(rng)),
            7 if *owner != self.origin && !owner.is_wildcard() => ("DS", ds(rng)),
            _ => {
                let (rtype, _, form) = FORMS[rng.usize(..FORMS.len())];
                let mut data = form.replace("{hex}", &hex(rng, 32));
                while data.contains("{name}") {
                    data = data.replacen("{name}", &self.any_owner(rng), 1);
                }
                (rtype, data)
            }
        };
        self.try_add(owner, rtype, &data);
    }
}
