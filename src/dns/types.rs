//! The numbers of the DNS: record types, classes, opcodes and response codes.

use std::fmt;

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident($int:ty), $prefix:literal: $($variant:ident = $value:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $int);

        #[allow(missing_docs, non_upper_case_globals)]
        impl $name {
            $(pub const $variant: $name = $name($value);)*

            /// The mnemonic, where this number has one here.
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($variant)),)*
                    _ => None,
                }
            }

            /// The number behind a mnemonic (any case) or its generic form (RFC 3597 §5).
            pub fn from_mnemonic(text: &str) -> Option<$name> {
                $(if text.eq_ignore_ascii_case(stringify!($variant)) { return Some($name($value)); })*
                let digits = text.get($prefix.len()..)?;
                let generic = text.get(..$prefix.len())?.eq_ignore_ascii_case($prefix);
                (generic && digits.bytes().all(|byte| byte.is_ascii_digit()))
                    .then(|| digits.parse().ok().map($name))?
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.mnemonic() {
                    Some(mnemonic) => f.write_str(mnemonic),
                    None => write!(f, concat!($prefix, "{}"), self.0),
                }
            }
        }
    };
}

numbers! {
    /// A record type or query type.
    Rtype(u16), "TYPE":
    A = 1, NS = 2, MD = 3, MF = 4, CNAME = 5, SOA = 6, MB = 7, MG = 8, MR = 9, NULL = 10, WKS = 11,
    PTR = 12, HINFO = 13, MINFO = 14, MX = 15, TXT = 16, RP = 17, AFSDB = 18, X25 = 19, ISDN = 20,
    RT = 21, NSAP = 22, SIG = 24, KEY = 25, PX = 26, GPOS = 27, AAAA = 28, LOC = 29, NXT = 30,
    EID = 31, NIMLOC = 32, SRV = 33, ATMA = 34, NAPTR = 35, KX = 36, CERT = 37, A6 = 38, DNAME = 39,
    SINK = 40, OPT = 41, APL = 42, DS = 43, SSHFP = 44, IPSECKEY = 45, RRSIG = 46, NSEC = 47,
    DNSKEY = 48, DHCID = 49, NSEC3 = 50, NSEC3PARAM = 51, TLSA = 52, SMIMEA = 53, HIP = 55,
    NINFO = 56, RKEY = 57, TALINK = 58, CDS = 59, CDNSKEY = 60, OPENPGPKEY = 61, CSYNC = 62,
    ZONEMD = 63, SVCB = 64, HTTPS = 65, SPF = 99, NID = 104, L32 = 105, L64 = 106, LP = 107,
    EUI48 = 108, EUI64 = 109, TKEY = 249, TSIG = 250, IXFR = 251, AXFR = 252, ANY = 255, URI = 256,
    CAA = 257, AVC = 258, DOA = 259, AMTRELAY = 260, RESINFO = 261, WALLET = 262, TA = 32768,
    DLV = 32769,
}

numbers! {
    /// A class.
    Class(u16), "CLASS":
    IN = 1, CH = 3, HS = 4, NONE = 254, ANY = 255,
}

numbers! {
    /// An operation code (RFC 1035 §4.1.1).
    Opcode(u8), "OPCODE":
    QUERY = 0, IQUERY = 1, STATUS = 2, NOTIFY = 4, UPDATE = 5,
}

numbers! {
    /// A response code; those above 15 need EDNS (RFC 6891 §6.1.3).
    Rcode(u16), "RCODE":
    NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5, YXDOMAIN = 6,
    NOTAUTH = 9, BADVERS = 16,
}
