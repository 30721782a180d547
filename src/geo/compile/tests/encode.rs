//! A small writer of MaxMind-format databases, to test the reading of them.

use ipnet::IpNet;
use serde_json::Value;

/// A search tree under construction.
#[derive(Clone)]
enum Tree {
    Empty,
    Record(usize),
    Node(Box<[Tree; 2]>),
}

impl Tree {
    /// Gives the addresses that begin with the `len` uppermost of `bits` a record. To be called for
    /// wide networks before narrow ones.
    fn insert(&mut self, bits: u128, len: u8, record: usize) {
        if len == 0 {
            *self = Tree::Record(record);
            return;
        }
        if !matches!(self, Tree::Node(_)) {
            *self = Tree::Node(Box::new([self.clone(), self.clone()]));
        }
        if let Tree::Node(children) = self {
            children[(bits >> 127) as usize].insert(bits << 1, len - 1, record);
        }
    }

    /// Appends the nodes, as pairs of numbers; a record is a number above `u64::MAX / 2`.
    fn number(&self, nodes: &mut Vec<[u64; 2]>) -> u64 {
        match self {
            Tree::Empty => u64::MAX / 2,
            Tree::Record(record) => u64::MAX / 2 + 1 + *record as u64,
            Tree::Node(children) => {
                let number = nodes.len();
                nodes.push([0, 0]);
                nodes[number] = [children[0].number(nodes), children[1].number(nodes)];
                number as u64
            }
        }
    }
}

/// A database of these networks, of which the longest around an address counts. IPv4 networks
/// stand under ::/96 when the version is 6; IPv6 networks need version 6.
pub(super) fn database(version: u8, record_bits: u32, networks: &[(IpNet, Value)]) -> Vec<u8> {
    let mut ordered: Vec<_> = networks.iter().collect();
    ordered.sort_by_key(|(prefix, _)| prefix.prefix_len() + if is_v4(prefix) { 96 } else { 0 });
    let mut tree = Tree::Node(Box::new([Tree::Empty, Tree::Empty]));
    let (mut data, mut offsets) = (Vec::new(), Vec::new());
    for (prefix, value) in ordered {
        let (bits, len) = match prefix {
            IpNet::V4(v4) if version == 4 => {
                (u128::from(u32::from(v4.network())) << 96, v4.prefix_len())
            }
            IpNet::V4(v4) => (u128::from(u32::from(v4.network())), 96 + v4.prefix_len()),
            IpNet::V6(v6) => (u128::from(v6.network()), v6.prefix_len()),
        };
        tree.insert(bits, len, offsets.len());
        offsets.push(data.len());
        encode(value, &mut data);
    }
    if !matches!(tree, Tree::Node(_)) {
        // A network of length 0: the format's tree has at least one node.
        tree = Tree::Node(Box::new([tree.clone(), tree]));
    }
    let mut nodes = Vec::new();
    tree.number(&mut nodes);
    let empty = nodes.len() as u64;
    let mut bytes = Vec::new();
    for node in &nodes {
        let [left, right] = node.map(|to| match to.checked_sub(u64::MAX / 2) {
            None => to,
            Some(0) => empty,
            Some(record) => empty + 16 + offsets[record as usize - 1] as u64,
        });
        let pair = match record_bits {
            28 => {
                (left & 0xff_ffff) << 32
                    | (left >> 24) << 28
                    | (right >> 24) << 24
                    | right & 0xff_ffff
            }
            bits => left << bits | right,
        };
        bytes.extend_from_slice(&pair.to_be_bytes()[8 - record_bits as usize / 4..]);
    }
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&data);
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = serde_json::json!({
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "database_type": "Test-City",
        "description": {"en": "a test"},
        "ip_version": version,
        "languages": ["en"],
        "node_count": nodes.len(),
        "record_size": record_bits,
    });
    encode(&metadata, &mut bytes);
    bytes
}

fn is_v4(prefix: &IpNet) -> bool {
    matches!(prefix, IpNet::V4(_))
}

/// Appends a value in the data section's form. Whole numbers take the type that the format demands
/// of the metadata's field of that name.
fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(fields) => {
            head(7, fields.len(), out);
            for (key, value) in fields {
                head(2, key.len(), out);
                out.extend_from_slice(key.as_bytes());
                match value {
                    Value::Number(number) if number.is_u64() => {
                        let (kind, len) = match key.as_str() {
                            "build_epoch" => (9, 8),
                            "node_count" | "asn" | "autonomous_system_number" => (6, 4),
                            _ => (5, 2),
                        };
                        head(kind, len, out);
                        let number = number.as_u64().unwrap();
                        out.extend_from_slice(&number.to_be_bytes()[8 - len..]);
                    }
                    _ => encode(value, out),
                }
            }
        }
        Value::Array(items) => {
            head(11, items.len(), out);
            items.iter().for_each(|item| encode(item, out));
        }
        Value::String(text) => {
            head(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Number(number) => {
            head(3, 8, out);
            out.extend_from_slice(&number.as_f64().unwrap().to_be_bytes());
        }
        Value::Bool(value) => head(14, usize::from(*value), out),
        Value::Null => unreachable!("the format has no null"),
    }
}

fn head(kind: u8, size: usize, out: &mut Vec<u8>) {
    assert!(size < 285, "a short value");
    let (inline, more) = if size < 29 { (size as u8, None) } else { (29, Some((size - 29) as u8)) };
    match kind {
        ..8 => out.push(kind << 5 | inline),
        _ => out.extend([inline, kind - 7]),
    }
    out.extend(more);
}
