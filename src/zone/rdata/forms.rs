//! How the data of the rarer types is written: a row of fields for each.

use super::RdataError;
use super::fields::{ALGORITHMS, CERTIFICATES, DIGESTS, Field};
use super::words::Words;
use super::{addresses, hosts, location, obsolete};
use crate::dns::Rtype;

/// How the data of a type is written, and what it is on the wire.
pub(super) struct Form {
    rtype: Rtype,
    fields: &'static [Field],
    /// For people.
    pub(super) written: &'static str,
}

/// The form of a type, if it stands here.
pub(super) fn of(rtype: Rtype) -> Option<&'static Form> {
    FORMS.iter().find(|form| form.rtype == rtype)
}

impl Form {
    /// Appends the RDATA that the words stand for.
    pub(super) fn read(&self, mut words: Words<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
        for field in self.fields {
            field.read(&mut words, out)?;
        }
        words.finish()
    }

    /// True when the bytes are RDATA of this form.
    pub(super) fn is_met(&self, rdata: &[u8]) -> bool {
        let mut rest = rdata;
        self.fields.iter().all(|field| field.skip(&mut rest).is_some()) && rest.is_empty()
    }
}

use Field::{
    Base64, Base64OrNone, Digits, Hex, Ipv4, Mnemonic8, Mnemonic16, Name, NodeId, Optional, Text,
    Types, U8, U16, U32, Uri, Whole,
};

const FORMS: &[Form] = &[
    Form {
        rtype: Rtype::WKS,
        fields: &[Ipv4, Whole(obsolete::WELL_KNOWN_SERVICES)],
        written: "`WKS ADDRESS PROTOCOL PORT …`, such as `WKS 198.51.100.1 tcp smtp 80`",
    },
    Form { rtype: Rtype::X25, fields: &[Digits], written: "`X25 \"DIGITS\"`" },
    Form {
        rtype: Rtype::ISDN,
        fields: &[Text, Optional(&Text)],
        written: "`ISDN \"ADDRESS\"` or `ISDN \"ADDRESS\" \"SUBADDRESS\"`",
    },
    Form { rtype: Rtype::NSAP, fields: &[Whole(obsolete::NSAP)], written: "`NSAP 0xHEX`" },
    Form {
        rtype: Rtype::KEY,
        fields: &[U16, U8, Mnemonic8(ALGORITHMS), Optional(&Base64)],
        written: "`KEY FLAGS PROTOCOL ALGORITHM BASE64`",
    },
    Form {
        rtype: Rtype::PX,
        fields: &[U16, Name, Name],
        written: "`PX PREFERENCE RFC822-NAME X400-NAME`",
    },
    Form {
        rtype: Rtype::GPOS,
        fields: &[Text, Text, Text],
        written: "`GPOS \"LONGITUDE\" \"LATITUDE\" \"ALTITUDE\"`",
    },
    Form {
        rtype: Rtype::LOC,
        fields: &[Whole(location::LOC)],
        written: "`LOC DEGREES MINUTES SECONDS N|S DEGREES MINUTES SECONDS E|W ALTITUDEm SIZEm HORIZONTALm VERTICALm`, such as `LOC 52 22 23.000 N 4 53 32.000 E -2.00m`",
    },
    Form {
        rtype: Rtype::NXT,
        fields: &[Name, Whole(obsolete::OLD_TYPES)],
        written: "`NXT NAME TYPE …`",
    },
    Form { rtype: Rtype::EID, fields: &[Hex], written: "`EID HEX`" },
    Form { rtype: Rtype::NIMLOC, fields: &[Hex], written: "`NIMLOC HEX`" },
    Form {
        rtype: Rtype::ATMA,
        fields: &[Whole(obsolete::ATMA)],
        written: "`ATMA +DIGITS` or `ATMA HEX`",
    },
    Form {
        rtype: Rtype::CERT,
        fields: &[Mnemonic16(CERTIFICATES), U16, Mnemonic8(ALGORITHMS), Base64],
        written: "`CERT TYPE KEY-TAG ALGORITHM BASE64`, such as `CERT PKIX 0 0 AQID`",
    },
    Form {
        rtype: Rtype::A6,
        fields: &[Whole(obsolete::A6)],
        written: "`A6 PREFIX-LENGTH ADDRESS NAME`, without the address for 128 and the name for 0",
    },
    Form {
        rtype: Rtype::SINK,
        fields: &[U8, U8, U8, Optional(&Base64)],
        written: "`SINK MEANING CODING SUBCODING BASE64`",
    },
    Form {
        rtype: Rtype::APL,
        fields: &[Whole(addresses::PREFIXES)],
        written: "`APL FAMILY:ADDRESS/LENGTH …`, such as `APL 1:198.51.100.0/24 !2:2001:db8::/32`",
    },
    Form {
        rtype: Rtype::DS,
        fields: &[U16, Mnemonic8(ALGORITHMS), Mnemonic8(DIGESTS), Hex],
        written: "`DS KEY-TAG ALGORITHM DIGEST-TYPE HEX`",
    },
    Form {
        rtype: Rtype::DNSKEY,
        fields: &[U16, U8, Mnemonic8(ALGORITHMS), Base64],
        written: "`DNSKEY FLAGS PROTOCOL ALGORITHM BASE64`",
    },
    Form { rtype: Rtype::DHCID, fields: &[Base64], written: "`DHCID BASE64`" },
    Form {
        rtype: Rtype::HIP,
        fields: &[Whole(hosts::HIP)],
        written: "`HIP ALGORITHM HEX BASE64 SERVER …`",
    },
    Form { rtype: Rtype::TALINK, fields: &[Name, Name], written: "`TALINK PREVIOUS NEXT`" },
    Form {
        rtype: Rtype::CSYNC,
        fields: &[U32, U16, Types],
        written: "`CSYNC SERIAL FLAGS TYPE …`, such as `CSYNC 66 3 A NS AAAA`",
    },
    Form {
        rtype: Rtype::NID,
        fields: &[U16, NodeId],
        written: "`NID PREFERENCE NODE`, such as `NID 10 0014:4fff:ff20:ee64`",
    },
    Form { rtype: Rtype::L32, fields: &[U16, Ipv4], written: "`L32 PREFERENCE 198.51.100.1`" },
    Form {
        rtype: Rtype::L64,
        fields: &[U16, NodeId],
        written: "`L64 PREFERENCE LOCATOR`, such as `L64 10 2001:0db8:1140:1000`",
    },
    Form {
        rtype: Rtype::EUI48,
        fields: &[Field::Eui(6)],
        written: "`EUI48 ADDRESS`, such as `EUI48 00-00-5e-00-53-2a`",
    },
    Form {
        rtype: Rtype::EUI64,
        fields: &[Field::Eui(8)],
        written: "`EUI64 ADDRESS`, such as `EUI64 00-00-5e-ef-10-00-00-2a`",
    },
    Form {
        rtype: Rtype::URI,
        fields: &[U16, U16, Uri],
        written: "`URI PRIORITY WEIGHT \"URI\"`, such as `URI 10 1 \"https://www.example.com/\"`",
    },
    Form {
        rtype: Rtype::DOA,
        fields: &[U32, U32, U8, Text, Base64OrNone],
        written: "`DOA ENTERPRISE TYPE LOCATION \"MEDIA-TYPE\" BASE64`, with `-` for no data",
    },
    Form {
        rtype: Rtype::AMTRELAY,
        fields: &[U8, Whole(hosts::RELAY)],
        written: "`AMTRELAY PRECEDENCE 0|1 TYPE RELAY`, such as `AMTRELAY 10 0 1 198.51.100.1`",
    },
];
