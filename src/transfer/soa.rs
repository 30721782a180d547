//! What a SOA record tells secondaries (RFC 1035 §3.3.13), and which of two serial numbers is newer.

/// The numbers of a SOA record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    /// The version of the zone.
    pub serial: u32,
    /// From one look for a newer version to the next, in seconds.
    pub refresh: u32,
    /// The same after a look that failed, in seconds.
    pub retry: u32,
    /// For how long the zone may be served without the primary, in seconds.
    pub expire: u32,
}

impl Soa {
    /// Reads uncompressed RDATA; none when it is none of a SOA record.
    pub fn read(rdata: &[u8]) -> Option<Soa> {
        let mut at = 0;
        for _ in 0..2 {
            loop {
                let length = usize::from(*rdata.get(at)?);
                at += 1 + length;
                if length == 0 {
                    break;
                }
            }
        }
        let numbers: &[u8; 20] = rdata.get(at..)?.try_into().ok()?;
        let number = |index: usize| {
            let bytes = [0, 1, 2, 3].map(|byte| numbers[4 * index + byte]);
            u32::from_be_bytes(bytes)
        };
        Some(Soa { serial: number(0), refresh: number(1), retry: number(2), expire: number(3) })
    }
}

/// True when the serial number `a` is newer than `b` (RFC 1982 §3.2). Two that are 2^31 apart are
/// neither newer nor older than each other.
pub fn is_newer(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_stand_behind_two_names() {
        let numbers: Vec<u8> = (1..=5_u32).flat_map(u32::to_be_bytes).collect();
        let rdata = [b"\x02ns\x01a\0\0".as_slice(), &numbers].concat();
        let soa = Soa { serial: 1, refresh: 2, retry: 3, expire: 4 };
        assert_eq!(Soa::read(&rdata), Some(soa));
        for cut in 0..rdata.len() {
            assert_eq!(Soa::read(&rdata[..cut]), None);
        }
        assert_eq!(Soa::read(&[&rdata[..], &[0]].concat()), None);
    }

    #[test]
    fn newer_goes_around() {
        assert!(is_newer(1, 0) && is_newer(0, u32::MAX) && is_newer(1 << 31, 1));
        assert!(!is_newer(0, 0) && !is_newer(0, 1) && !is_newer(u32::MAX, 0));
        assert!(!is_newer(1 << 31, 0) && !is_newer(0, 1 << 31));
    }
}
