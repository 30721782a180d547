//! The two messages of `grpc.health.v1.Health/Check`, as Protocol Buffers in gRPC's frame.

use std::fmt;

/// What a server says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does not know.
    Unknown,
    /// It serves.
    Serving,
    /// It does not.
    NotServing,
    /// There is no such service.
    ServiceUnknown,
    /// A number that means nothing yet.
    Other(u64),
}

/// Before each message: not compressed (0) or compressed (1), and its length in four bytes.
const FRAME_BYTES: usize = 5;

// The tags of Protocol Buffers: a field's number, shifted, and the form of its value.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const COUNTED: u64 = 2;
const FIXED_32: u64 = 5;

/// `HealthCheckRequest { service }`.
pub fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push((1 << 3 | COUNTED) as u8);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// Reads `HealthCheckResponse { status }`; the error says why it cannot be read.
pub fn status(frame: &[u8]) -> Result<Status, &'static str> {
    let Some((head, message)) = frame.split_first_chunk::<FRAME_BYTES>() else {
        return Err("the response has no message");
    };
    let [compressed, length @ ..] = *head;
    if compressed != 0 {
        return Err("the response is compressed, which was not asked for");
    }
    if u32::from_be_bytes(length) as usize != message.len() {
        return Err("the response is not one whole message");
    }
    read(message).ok_or("the response is no health status")
}

fn read(mut message: &[u8]) -> Option<Status> {
    // What is not sent is 0.
    let mut status = Status::Unknown;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, VARINT) => {
                status = match varint(&mut message)? {
                    0 => Status::Unknown,
                    1 => Status::Serving,
                    2 => Status::NotServing,
                    3 => Status::ServiceUnknown,
                    other => Status::Other(other),
                }
            }
            // Fields that come with a later version are passed over.
            (_, VARINT) => drop(varint(&mut message)?),
            (_, FIXED_64) => message = message.get(8..)?,
            (_, FIXED_32) => message = message.get(4..)?,
            (_, COUNTED) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

/// Takes a number off: seven bits a byte, the lowest first, the last without the high bit.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Unknown => f.write_str("the server says that it does not know (UNKNOWN)"),
            Status::Serving => f.write_str("the server says SERVING"),
            Status::NotServing => f.write_str("the server says NOT_SERVING"),
            Status::ServiceUnknown => f.write_str("the server says SERVICE_UNKNOWN"),
            Status::Other(number) => write!(f, "the server says {number}, wanted 1 (SERVING)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_names_its_service_or_nothing() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("web"), *b"\x00\x00\x00\x00\x05\x0a\x03web");
        let long = "s".repeat(300);
        assert_eq!(request(&long)[..8], [0, 0, 0, 1, 47, 0x0A, 0xAC, 2]);
    }

    #[test]
    fn a_status_is_read_and_other_fields_are_passed_over() {
        assert_eq!(status(&[0, 0, 0, 0, 0]), Ok(Status::Unknown));
        assert_eq!(status(&[0, 0, 0, 0, 2, 8, 1]), Ok(Status::Serving));
        assert_eq!(status(&[0, 0, 0, 0, 2, 8, 2]), Ok(Status::NotServing));
        assert_eq!(status(&[0, 0, 0, 0, 3, 8, 0xAC, 2]), Ok(Status::Other(300)));
        let around = b"\x12\x02ab\x08\x03\x18\x80\x01\x25....\x29........";
        let mut frame = vec![0, 0, 0, 0, around.len() as u8];
        frame.extend(around);
        assert_eq!(status(&frame), Ok(Status::ServiceUnknown));
    }

    #[test]
    fn what_is_no_whole_message_is_refused() {
        for bad in [
            &[][..],
            &[0, 0, 0, 0],
            &[1, 0, 0, 0, 0],
            &[0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 8],
            &[0, 0, 0, 0, 1, 8],
            &[0, 0, 0, 0, 2, 0x12, 9],
            &[0, 0, 0, 0, 2, 0x0B, 0],
        ] {
            assert!(status(bad).is_err(), "{bad:?}");
        }
        let mut endless = vec![0, 0, 0, 0, 12, 8];
        endless.extend([0xFF; 11]);
        assert!(status(&endless).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(message: Vec<u8>) {
            let mut frame = vec![0];
            frame.extend((message.len() as u32).to_be_bytes());
            frame.extend(&message);
            let _ = status(&frame);
            let _ = status(&message);
        }
    }
}
