//! Answers in a form in which those of different servers can be compared.

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use super::questions::Question;

/// An answer, read by an independent reader; records sorted, names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normal {
    /// With the upper bits from OPT.
    pub rcode: u16,
    /// AA, TC, RD, RA and AD, in their places in the header; QR and the opcode too.
    pub flags: u16,
    /// CD: the others do not copy it from the question, as RFC 4035 §3.1.6 demands.
    pub checking_disabled: bool,
    /// Whether the question came back byte for byte; none if there is none.
    pub question_is_same: Option<bool>,
    /// The OPT record's version and DO.
    pub edns: Option<(u8, bool)>,
    pub answer: Vec<String>,
    pub authority: Vec<String>,
    pub additional: Vec<String>,
    /// The bytes of the whole message.
    pub length: usize,
}

pub const TC: u16 = 0x0200;
pub const CD: u16 = 0x0010;

/// What `bytes` say.
pub fn read(question: &Question, bytes: &[u8]) -> Result<Normal, String> {
    let message = Message::from_vec(bytes).map_err(|error| format!("{error}: {bytes:02x?}"))?;
    let flags = u16::from_be_bytes([bytes[2], bytes[3]]) & 0xfff0;
    let checking_disabled = flags & CD != 0;
    let asked = question.asked();
    let count = u16::from_be_bytes([bytes[4], bytes[5]]);
    Ok(Normal {
        rcode: message.metadata.response_code.into(),
        flags: flags & !CD,
        checking_disabled,
        question_is_same: (count > 0).then(|| bytes[12..].starts_with(&asked)),
        edns: message.edns.as_ref().map(|edns| (edns.version(), edns.flags().dnssec_ok)),
        answer: section(&message.answers),
        authority: section(&message.authorities),
        additional: section(&message.additionals),
        length: bytes.len(),
    })
}

fn section(records: &[Record]) -> Vec<String> {
    let mut lines: Vec<String> = records.iter().map(line).collect();
    lines.sort();
    lines
}

fn line(record: &Record) -> String {
    let owner = record.name.to_lowercase();
    let (class, ttl, rtype) = (record.dns_class, record.ttl, record.record_type());
    format!("{owner} {ttl} {class} {rtype} {}", data(&record.data))
}

/// In the canonical form of RFC 4034 §6.2, so that the case of embedded names does not count.
fn data(data: &RData) -> String {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_canonical_form(true);
    data.emit(&mut encoder).expect("what was read can be written");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex} ; {}", data.to_string().to_lowercase())
}

impl Normal {
    /// True when all but the additional section is the same.
    pub fn agrees_with(&self, other: &Normal) -> bool {
        let all = |n: &Normal| (n.rcode, n.flags, n.edns, n.answer.clone(), n.authority.clone());
        all(self) == all(other)
    }

    /// True when the answer section is aliases, all of them in that of `other` too.
    pub fn begins_with_alias_of(&self, other: &Normal) -> bool {
        let is_shared = |line: &String| line.contains(" IN CNAME ") && other.answer.contains(line);
        !self.answer.is_empty() && self.answer.iter().all(is_shared)
    }

    /// True when the question came back as it was asked, and CD with it.
    pub fn echoes(&self, question: &Question) -> bool {
        let checking_disabled = question.flags & CD != 0;
        self.question_is_same == Some(true) && self.checking_disabled == checking_disabled
    }

    /// True when there is no record in it.
    pub fn is_empty(&self) -> bool {
        self.answer.is_empty() && self.authority.is_empty() && self.additional.is_empty()
    }

    pub fn is_truncated(&self) -> bool {
        self.flags & TC != 0
    }
}
