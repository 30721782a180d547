//! The first message of TLS (RFC 8446 §4.1.2), and the server name in it (RFC 6066 §3), which is
//! read and not answered.

/// The longest name without its final dot (RFC 1035 §2.3.4).
const MOST_NAME_BYTES: usize = 253;
/// The longest fragment of a record (RFC 8446 §5.1).
const MOST_FRAGMENT_BYTES: usize = 1 << 14;
/// A message that is longer is not read to its end: post-quantum keys and tickets take a few
/// thousand bytes.
const MOST_MESSAGE_BYTES: usize = 16 * 1024;
/// A message in more records than this is not read to its end either.
const MOST_RECORDS: usize = 64;
/// Type, version and length.
const RECORD_HEADER_BYTES: usize = 5;
/// Type and length.
const MESSAGE_HEADER_BYTES: usize = 4;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What is known of a client from its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Nothing before there are so many bytes of it; more than there were.
    Needs(usize),
    /// It asks for this server, in lower case and without a final dot. With an encrypted hello
    /// (RFC 9849) this is the name on the outside.
    Name(String),
    /// It asks for none, or does not speak TLS.
    Nothing,
}

/// Looks for a server name in the bytes that a client has sent so far. To be called again when
/// there are as many as it needs.
pub fn look(bytes: &[u8]) -> Sight {
    let mut message = Vec::new();
    let mut at = 0;
    for _ in 0..MOST_RECORDS {
        let record = &bytes[at..];
        match record.first_chunk::<RECORD_HEADER_BYTES>() {
            Some(&[HANDSHAKE, 3, _, high, low]) => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                if !(1..=MOST_FRAGMENT_BYTES).contains(&length) {
                    return Sight::Nothing;
                }
                let end = at + RECORD_HEADER_BYTES + length;
                let Some(fragment) = bytes.get(at + RECORD_HEADER_BYTES..end) else {
                    return Sight::Needs(end);
                };
                message.extend_from_slice(fragment);
                at = end;
            }
            Some(_) => return Sight::Nothing,
            None if [HANDSHAKE, 3].iter().zip(record).any(|(wanted, is)| wanted != is) => {
                return Sight::Nothing;
            }
            None => return Sight::Needs(bytes.len() + 1),
        }
        if message[0] != CLIENT_HELLO {
            return Sight::Nothing;
        }
        let Some(&[_, high, middle, low]) = message.first_chunk::<MESSAGE_HEADER_BYTES>() else {
            continue;
        };
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > MOST_MESSAGE_BYTES {
            return Sight::Nothing;
        }
        if let Some(body) = message.get(MESSAGE_HEADER_BYTES..MESSAGE_HEADER_BYTES + length) {
            return server_name(body).map_or(Sight::Nothing, Sight::Name);
        }
    }
    Sight::Nothing
}

fn server_name(body: &[u8]) -> Option<String> {
    let mut hello = Bytes(body);
    // Version and random.
    hello.take(2 + 32)?;
    let _session_id = hello.vector(1)?;
    let _cipher_suites = hello.vector(2)?;
    let _compression_methods = hello.vector(1)?;
    let mut extensions = hello.vector(2)?;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let mut value = extensions.vector(2)?;
        if kind == usize::from(SERVER_NAME) {
            let mut names = value.vector(2)?;
            while !names.0.is_empty() {
                let kind = names.number(1)?;
                let name = names.vector(2)?;
                if kind == usize::from(HOST_NAME) {
                    return host_name(name.0);
                }
            }
            return None;
        }
    }
    None
}

fn host_name(name: &[u8]) -> Option<String> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    if name.is_empty() || name.len() > MOST_NAME_BYTES || !name.iter().all(is_good) {
        return None;
    }
    String::from_utf8(name.to_ascii_lowercase()).ok()
}

/// What has not been read yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes.
    fn number(&mut self, width: usize) -> Option<usize> {
        let bytes = self.take(width)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// What follows its own length, which has so many bytes.
    fn vector(&mut self, width: usize) -> Option<Bytes<'a>> {
        let length = self.number(width)?;
        self.take(length).map(Bytes)
    }
}

#[cfg(test)]
mod tests;
