//! Questions made from a seed: about names that exist and that do not, of all types, in odd shapes.

use fastrand::Rng;

use super::name::{MAX_LABEL_BYTES, Name};
use super::zones::{Zone, choose};

/// A question, as it is sent.
#[derive(Clone, Debug)]
pub struct Question {
    pub name: Name,
    pub qtype: u16,
    pub qclass: u16,
    pub opcode: u8,
    /// RD, AD and CD, and others that have no place in a query, in their places in the header.
    pub flags: u16,
    pub edns: Option<Edns>,
}

/// The OPT record of a question.
#[derive(Clone, Debug)]
pub struct Edns {
    pub version: u8,
    pub payload: u16,
    pub dnssec_ok: bool,
    /// In wire form.
    pub options: Vec<u8>,
}

const COMMON: &[u16] = &[1, 28, 15, 16, 5, 2, 33, 65, 43, 6, 39, 64];
const ODD: &[u16] = &[
    3, 4, 7, 12, 13, 14, 17, 18, 21, 24, 25, 26, 29, 30, 35, 36, 37, 38, 42, 44, 45, 46, 47, 48,
    49, 50, 51, 52, 53, 55, 59, 60, 61, 62, 63, 99, 104, 105, 107, 109, 256, 257, 258, 10, 32769,
    32770, 65400, 65535,
];
const ANY: u16 = 255;
const DS: u16 = 43;
/// Types that are no types of records.
const META: &[u16] = &[ANY, ANY, ANY, 252, 251, 253, 254, 249, 250, 41, 0, 128, 200];

/// One about `zones`.
pub fn question(rng: &mut Rng, zones: &[Zone]) -> Question {
    let zone = choose(rng, zones);
    let (mut name, types) = name(rng, zone);
    if rng.bool() {
        scramble(rng, &mut name);
    }
    let mut qtype = match rng.u8(..100) {
        0..30 if !types.is_empty() => *choose(rng, types),
        0..72 => *choose(rng, COMMON),
        72..95 => *choose(rng, ODD),
        _ => *choose(rng, META),
    };
    if !zone.cuts.is_empty() && rng.u8(..40) == 0 {
        name = choose(rng, &zone.cuts).clone();
        qtype = DS;
    }
    // Not CHAOS, which BIND answers only three times a second.
    let qclass = if rng.u8(..100) == 0 { *choose(rng, &[4, 254, 255, 2]) } else { 1 };
    let opcode = if rng.u8(..150) == 0 { *choose(rng, &[1, 2, 3, 6, 15]) } else { 0 };
    let mut flags = [0x0100, 0x0020, 0x0010].into_iter().filter(|_| rng.u8(..4) == 0).sum();
    // What has no place in a query: AA, TC, RA, and the one bit that is reserved.
    if rng.u8(..50) == 0 {
        flags |= choose(rng, &[0x0400, 0x0200, 0x0080, 0x0040, 0x0480]);
    }
    let edns = rng.bool().then(|| edns(rng));
    Question { name, qtype, qclass, opcode, flags, edns }
}

/// And the types that stand there, if any are known to.
fn name<'z>(rng: &mut Rng, zone: &'z Zone) -> (Name, &'z [u16]) {
    let (owner, types) = choose(rng, &zone.owners);
    let with = |label: &[u8]| owner.child(label).unwrap_or_else(|| owner.clone());
    let name = match rng.u8(..100) {
        0..45 => return (owner.clone(), types),
        // What a wildcard stands for.
        45..52 if owner.0.iter().any(|label| label == b"*") => {
            let mut name = owner.clone();
            for label in name.0.iter_mut().filter(|label| *label == b"*") {
                *label = b"anything".to_vec();
            }
            return (name, types);
        }
        45..60 => {
            let labels: &[&[u8]] = &[b"www", b"*", b"a", b"q", b"ns", b"\0", b"_tcp"];
            with(labels[rng.usize(..labels.len())])
        }
        60..68 => {
            let labels: &[&[u8]] = &[b"*", b"a", b"nope", b"**"];
            let below = with(labels[rng.usize(..labels.len())]);
            let again = below.child(labels[rng.usize(..labels.len())]);
            again.unwrap_or(below)
        }
        68..76 => owner.parent(),
        76..84 => owner.parent().child(b"nope").unwrap_or_else(|| owner.clone()),
        // The name that comes right after it, or before.
        84..86 => with(b"\0"),
        86..88 => owner.parent().child(b"\xff").unwrap_or_else(|| owner.clone()),
        88..90 => owner.longest(b'z'),
        90..92 => owner.deepest(b'z'),
        92..93 => with(&[b'm'; MAX_LABEL_BYTES]),
        // A label more, or less, that only looks like the zone's.
        93..95 => Name::plain("not-ours.example"),
        95 => Name::default(),
        96 => zone.origin.parent(),
        _ => zone.origin.clone(),
    };
    (name, &[])
}

/// Random case (0x20).
fn scramble(rng: &mut Rng, name: &mut Name) {
    for byte in name.0.iter_mut().flatten() {
        if byte.is_ascii_alphabetic() && rng.bool() {
            *byte ^= 0x20;
        }
    }
}

fn edns(rng: &mut Rng) -> Edns {
    let version = if rng.u8(..60) == 0 { 1 } else { 0 };
    let payload = *choose(rng, &[0, 512, 513, 800, 1232, 1232, 1400, 4096, 65535]);
    // None, an unknown one, padding, a cookie, the server's identity, a client subnet, keepalive.
    let options: &[&[u8]] = &[
        &[],
        &[],
        &[],
        &[0xfd, 0xe9, 0, 3, 1, 2, 3],
        &[0, 12, 0, 4, 0, 0, 0, 0],
        &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 3, 0, 0],
        &[0, 8, 0, 7, 0, 1, 24, 0, 203, 0, 113],
        &[0, 11, 0, 0],
        &[0, 3, 0, 0, 0xfd, 0xe9, 0, 0],
    ];
    Edns { version, payload, dnssec_ok: rng.u8(..3) == 0, options: choose(rng, options).to_vec() }
}

impl Question {
    /// True when all types are asked for at once.
    pub fn is_any(&self) -> bool {
        self.qtype == ANY
    }

    /// True when the type is none that a record can have: OPT, TKEY and TSIG, transfers, and the
    /// obsolete MAILB and MAILA.
    pub fn is_about_no_record(&self) -> bool {
        matches!(self.qtype, 0 | 41 | 249..=254)
    }

    /// The most bytes of an answer over UDP that the asker takes, as far as it is known here.
    pub fn limit(&self) -> usize {
        const MIN: u16 = 512;
        const MAX: u16 = 1232;
        self.edns.as_ref().map_or(MIN, |edns| edns.payload.clamp(MIN, MAX)).into()
    }

    /// The message, with an ID of 0.
    pub fn message(&self) -> Vec<u8> {
        let flags = u16::from(self.opcode) << 11 | self.flags;
        let extra = u16::from(self.edns.is_some());
        let mut message: Vec<u8> =
            [0, flags, 1, 0, 0, extra].into_iter().flat_map(u16::to_be_bytes).collect();
        message.extend(self.asked());
        if let Some(edns) = &self.edns {
            message.push(0);
            message.extend([0, 41]);
            message.extend(edns.payload.to_be_bytes());
            message.extend([0, edns.version, u8::from(edns.dnssec_ok) << 7, 0]);
            message.extend((edns.options.len() as u16).to_be_bytes());
            message.extend(&edns.options);
        }
        message
    }

    /// The question section.
    pub fn asked(&self) -> Vec<u8> {
        let mut section = self.name.wire();
        section.extend(self.qtype.to_be_bytes());
        section.extend(self.qclass.to_be_bytes());
        section
    }
}
