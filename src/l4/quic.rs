//! Which server a QUIC packet is for, by the connection id in it. Pure.
//!
//! Only what is the same in all versions of QUIC is read (RFC 8999), and of a connection id the
//! plaintext form of draft-ietf-quic-load-balancers: a byte, the server id, and what the server
//! likes.

/// The first bit of a packet with a long header.
const LONG_HEADER: u8 = 0x80;
/// Where the destination's connection id has its length in a long header: after the first byte and
/// the version.
const LONG_HEADER_LENGTH_AT: usize = 5;
/// In a short header it stands after the first byte, and its length is known to the server alone.
const SHORT_HEADER_ID_AT: usize = 1;
/// The first three bits of a connection id that says that it names no server.
const UNROUTABLE: u8 = 0b111 << 5;

/// The server id of so many bytes in the connection id that a packet is sent to. It may be none
/// that anyone has: a client makes up the connection id of its first packets.
pub fn server_id(packet: &[u8], server_id_bytes: usize) -> Option<&[u8]> {
    let connection_id = match packet.first()? & LONG_HEADER {
        0 => packet.get(SHORT_HEADER_ID_AT..)?,
        _ => {
            let (length, rest) = packet.get(LONG_HEADER_LENGTH_AT..)?.split_first()?;
            rest.get(..usize::from(*length))?
        }
    };
    let (first, rest) = connection_id.split_first()?;
    if first & UNROUTABLE == UNROUTABLE { None } else { rest.get(..server_id_bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_server_id_stands_after_the_first_byte_of_the_connection_id() {
        let short = [0x40, 0x07, 0x0a, 0x1b, 0x99, 0x98, 0x97];
        assert_eq!(server_id(&short, 2), Some(&[0x0a, 0x1b][..]));
        let long = [0xc3, 0, 0, 0, 1, 5, 0x07, 0x0a, 0x1b, 0x99, 0x98, 0, 0];
        assert_eq!(server_id(&long, 2), Some(&[0x0a, 0x1b][..]));
        assert_eq!(server_id(&long, 4), Some(&[0x0a, 0x1b, 0x99, 0x98][..]));
        assert_eq!(server_id(&long, 5), None, "longer than the connection id");
    }

    #[test]
    fn what_names_no_server_has_none() {
        for packet in [
            &[][..],
            &[0x40],
            &[0x40, 0x07],
            &[0x40, 0xe7, 1, 2, 3, 4],
            &[0xc3, 0, 0, 0, 1],
            &[0xc3, 0, 0, 0, 1, 0, 1, 2, 3, 4],
            &[0xc3, 0, 0, 0, 1, 9, 1, 2, 3, 4],
        ] {
            assert_eq!(server_id(packet, 2), None, "{packet:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_the_id_is_a_part_of_them(
            packet in proptest::collection::vec(any::<u8>(), 0..40),
            bytes in 0usize..21,
        ) {
            if let Some(id) = server_id(&packet, bytes) {
                prop_assert_eq!(id.len(), bytes);
                prop_assert!(packet.windows(bytes.max(1)).any(|window| &window[..bytes] == id));
            }
        }
    }
}
