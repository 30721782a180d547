//! Answers in a form in which those of different servers can be compared, read by a reader that
//! shares nothing with the one under test.

use std::fmt;

use super::name::Name;
use super::questions::Question;

/// An answer; the records of a section sorted, names in lower case, as it does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normal {
    /// With the upper bits from OPT.
    pub rcode: u16,
    /// QR, the opcode, AA, TC, RD, RA, Z, AD and CD, in their places in the header.
    pub flags: u16,
    /// Whether the question came back byte for byte; none if there is none.
    pub question_is_same: Option<bool>,
    /// The OPT record's version and DO.
    pub edns: Option<(u8, bool)>,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
    /// Without OPT.
    pub additional: Vec<Record>,
    /// The bytes of the whole message.
    pub length: usize,
}

/// A record without its compression.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// In lower case.
    pub owner: Name,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    /// In wire form, names in lower case where they may be compressed.
    pub data: Vec<u8>,
}

pub const AA: u16 = 0x0400;
pub const TC: u16 = 0x0200;
pub const RD: u16 = 0x0100;
pub const AD: u16 = 0x0020;
pub const CD: u16 = 0x0010;
const OPT: u16 = 41;
const SVCB: u16 = 64;
const HTTPS: u16 = 65;
/// In data of other types names are not compressed (RFC 3597 §4).
const MAY_BE_COMPRESSED: [u16; 11] = [2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 15];

/// What `bytes` say.
pub fn read(question: &Question, bytes: &[u8]) -> Result<Normal, String> {
    let mut message = Reader { bytes, at: 2 };
    let flags = message.number()?;
    let counts = [message.number()?, message.number()?, message.number()?, message.number()?];
    let asked = question.asked();
    let question_is_same = match counts[0] {
        0 => None,
        1 => {
            message.name()?;
            message.take(4)?;
            Some(bytes[12..message.at] == asked)
        }
        count => return Err(format!("{count} questions")),
    };
    let mut normal = Normal {
        rcode: flags & 0xf,
        flags: flags & 0xfff0,
        question_is_same,
        length: bytes.len(),
        ..Normal::default()
    };
    let Normal { answer, authority, additional, .. } = &mut normal;
    for (section, count) in [answer, authority, additional].into_iter().zip(&counts[1..]) {
        for _ in 0..*count {
            section.push(message.record()?);
        }
        section.sort();
    }
    if message.at != bytes.len() {
        return Err(format!("{} bytes follow the message", bytes.len() - message.at));
    }
    let (opt, additional) = normal.additional.into_iter().partition(|r| r.rtype == OPT);
    normal.additional = additional;
    match &opt as &Vec<Record> {
        opt if opt.is_empty() => (),
        opt if opt.len() == 1 && opt[0].owner.0.is_empty() => {
            normal.rcode |= (opt[0].ttl >> 20) as u16 & 0xff0;
            normal.edns = Some(((opt[0].ttl >> 16) as u8, opt[0].ttl & 0x8000 != 0));
        }
        _ => return Err("OPT records that are none".to_string()),
    }
    Ok(normal)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], String> {
        let taken = self.bytes.get(self.at..self.at + count).ok_or("the message is cut")?;
        self.at += count;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, String> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into().expect("two bytes")))
    }

    fn name(&mut self) -> Result<Name, String> {
        let mut name = Name::default();
        let mut after = None;
        loop {
            let start = self.at;
            match self.take(1)?[0] {
                0 => break,
                length @ 1..=63 => name.0.push(self.take(length.into())?.to_ascii_lowercase()),
                high @ 0xc0.. => {
                    let to = usize::from(high & 0x3f) << 8 | usize::from(self.take(1)?[0]);
                    after.get_or_insert(self.at);
                    if to >= start {
                        return Err("a pointer that does not point back".to_string());
                    }
                    self.at = to;
                }
                other => return Err(format!("a label of type {other:#x}")),
            }
        }
        self.at = after.unwrap_or(self.at);
        match name.wire().len() {
            0..=255 => Ok(name),
            length => Err(format!("a name of {length} bytes")),
        }
    }

    fn record(&mut self) -> Result<Record, String> {
        let owner = self.name()?;
        let (rtype, class) = (self.number()?, self.number()?);
        let ttl = u32::from(self.number()?) << 16 | u32::from(self.number()?);
        let length = usize::from(self.number()?);
        let end = self.at + length;
        let mut data = Vec::new();
        let (before, names) = self.names_of(rtype)?;
        data.extend(self.take(before)?);
        for _ in 0..names {
            let start = self.at;
            let name = self.name()?.wire();
            if self.at - start < name.len() && !MAY_BE_COMPRESSED.contains(&rtype) {
                return Err(format!("a compressed name in data of type {rtype}"));
            }
            data.extend(name);
        }
        let rest = end.checked_sub(self.at).ok_or("data longer than it says")?;
        data.extend(self.take(rest)?);
        Ok(Record { owner, rtype, class, ttl, data })
    }

    /// For the data that comes next, by its type: how many bytes stand before the names in it, and
    /// how many names there are (RFC 3597 §4 and RFC 4034 §6.2).
    fn names_of(&self, rtype: u16) -> Result<(usize, usize), String> {
        Ok(match rtype {
            2..=5 | 7..=9 | 12 | 39 => (0, 1),
            6 | 14 | 17 => (0, 2),
            15 | 18 | 21 | 36 | 107 => (2, 1),
            26 => (2, 2),
            33 => (6, 1),
            35 => (self.before_replacement()?, 1),
            SVCB | HTTPS => (2, 1),
            _ => (0, 0),
        })
    }

    /// The bytes of NAPTR data before its name: two numbers, three strings.
    fn before_replacement(&self) -> Result<usize, String> {
        let mut ahead = Reader { bytes: self.bytes, at: self.at };
        ahead.take(4)?;
        for _ in 0..3 {
            let length = ahead.take(1)?[0];
            ahead.take(length.into())?;
        }
        Ok(ahead.at - self.at)
    }
}

impl Record {
    /// The names in its data that may need addresses.
    pub fn targets(&self) -> Vec<Name> {
        let mut data = Reader { bytes: &self.data, at: 0 };
        let (before, names) = data.names_of(self.rtype).unwrap_or_default();
        data.at = before;
        let mut targets: Vec<Name> = (0..names).map_while(|_| data.name().ok()).collect();
        if matches!(self.rtype, SVCB | HTTPS) && targets == [Name::default()] {
            targets = vec![self.owner.clone()];
        }
        targets
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { owner, rtype, class, ttl, data } = self;
        write!(f, "{} {ttl} CLASS{class} TYPE{rtype} ", owner.text())?;
        write!(f, "{}", data.escape_ascii())
    }
}

impl Normal {
    /// True when there is no record in it.
    pub fn is_empty(&self) -> bool {
        self.answer.is_empty() && self.authority.is_empty() && self.additional.is_empty()
    }

    pub fn is_truncated(&self) -> bool {
        self.flags & TC != 0
    }

    /// True when code, flags and EDNS are the same.
    pub fn has_header_of(&self, other: &Normal) -> bool {
        (self.rcode, self.flags, self.edns) == (other.rcode, other.flags, other.edns)
    }

    /// True when all but the additional section is the same.
    pub fn agrees_with(&self, other: &Normal) -> bool {
        self.has_header_of(other)
            && self.answer == other.answer
            && self.authority == other.authority
    }
}
