//! Damaged databases are errors, or give a world; they never panic, hang or grow.

use super::*;

fn sample(version: u8, record_bits: u32) -> Vec<u8> {
    let networks: Vec<(IpNet, Value)> = [
        ("203.0.113.0/24", json!({"country": {"iso_code": "DE", "names": {"en": "Germany"}}})),
        ("198.51.100.0/25", json!({"country": "CL", "loc": "-33.4,-70.6", "asn": "AS64500"})),
        ("198.51.100.192/26", json!({"asn": 64501, "subdivisions": [{"iso_code": "HE"}]})),
    ]
    .map(|(prefix, value)| (prefix.parse().unwrap(), value))
    .into();
    encode::database(version, record_bits, &networks)
}

#[test]
fn a_cut_database_is_refused_wherever_it_is_cut() {
    for (version, bits) in [(4, 24), (4, 28), (6, 32)] {
        let whole = sample(version, bits);
        assert!(compile(&[("whole".to_owned(), whole.clone())], &[]).is_ok());
        for len in 0..whole.len() {
            let cut = ("cut.mmdb".to_owned(), whole[..len].to_vec());
            assert!(
                matches!(compile(&[cut], &[]), Err(CompileError::Unreadable { .. })),
                "cut to {len} of {}",
                whole.len()
            );
        }
        for from in 1..whole.len() {
            // The tail alone: what a copy into the middle of an old file may leave.
            let _world = compile(&[("tail.mmdb".to_owned(), whole[from..].to_vec())], &[]);
        }
    }
}

#[test]
fn a_database_with_any_bit_flipped_does_no_harm() {
    for (version, bits) in [(4, 24), (4, 28), (6, 32)] {
        let whole = sample(version, bits);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let _world = compile(&[("flipped.mmdb".to_owned(), flipped)], &[]);
            }
        }
    }
}

#[test]
fn a_tree_whose_nodes_are_shared_without_end_is_refused() {
    // Each node's children are the next node, twice: 2^32 networks in 32 nodes.
    let mut bytes = Vec::new();
    for node in 1..=32_u32 {
        let child = if node < 32 { node } else { 32 + 16 };
        bytes.extend([child, child].map(u32::to_be_bytes).concat());
    }
    bytes.extend([0; 16]);
    let whole = sample(4, 32);
    let data = whole.windows(16).position(|window| window == [0; 16]).unwrap() + 16;
    bytes.extend(&whole[data..]);
    let name = b"node_count";
    let count = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    bytes[count + 1..count + 5].copy_from_slice(&32_u32.to_be_bytes());
    let message = compile(&[("web.mmdb".to_owned(), bytes)], &[]).unwrap_err().to_string();
    assert!(message.contains("tree"), "{message}");
}

proptest::proptest! {
    #[test]
    fn a_database_with_many_bytes_changed_does_no_harm(
        changes in proptest::collection::vec((proptest::prelude::any::<u16>(), proptest::prelude::any::<u8>()), 1..20),
    ) {
        let mut bytes = sample(4, 24);
        for (at, byte) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        let _world = compile(&[("changed.mmdb".to_owned(), bytes)], &[]);
    }
}
