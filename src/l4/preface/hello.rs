//! The stage of a connection in which it is not known yet whom it is from or which service carries
//! it: bytes are gathered until it is.

use super::client_hello::{self, Sight};
use super::proxy_header::{self, Header, Malformed};

/// What is awaited of a client before a backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// A PROXY header, which must come.
    pub proxy_header: bool,
    /// A ClientHello, which may come.
    pub server_name: bool,
}

impl Awaited {
    /// True when a backend can be chosen at once.
    pub fn is_nothing(self) -> bool {
        !self.proxy_header && !self.server_name
    }
}

/// What has come so far.
#[derive(Debug)]
pub struct Preface {
    awaited: Awaited,
    header: Header,
    /// What has been read and is not understood yet, or is for the backend.
    bytes: Vec<u8>,
    /// It takes so many bytes until there is something new to find.
    needs: usize,
}

/// What a client has said first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Whom the connection stands for.
    pub header: Header,
    /// The server that it asks for.
    pub server_name: Option<String>,
    /// What has been read beyond the PROXY header, for the backend.
    pub bytes: Vec<u8>,
}

/// How far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More must come first.
    Waits,
    /// All that is awaited has come, or never will.
    Done(Hello),
}

impl Preface {
    /// Of a client of which this is awaited; nothing has come yet.
    pub fn new(awaited: Awaited) -> Preface {
        Preface { awaited, header: Header::default(), bytes: Vec::new(), needs: 0 }
    }

    /// Takes what has been read. What is held is bounded by the longest PROXY header, the longest
    /// ClientHello, and the longest of these pieces.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Progress, Malformed> {
        self.bytes.extend_from_slice(bytes);
        if self.awaited.proxy_header {
            let Some((header, length)) = proxy_header::read(&self.bytes)? else {
                return Ok(Progress::Waits);
            };
            self.header = header;
            self.bytes.drain(..length);
            self.awaited.proxy_header = false;
        }
        if !self.awaited.server_name {
            return Ok(Progress::Done(self.finish(None)));
        }
        if self.bytes.len() < self.needs {
            return Ok(Progress::Waits);
        }
        Ok(match client_hello::look(&self.bytes) {
            Sight::Needs(needs) => {
                self.needs = needs;
                Progress::Waits
            }
            Sight::Name(name) => Progress::Done(self.finish(Some(name))),
            Sight::Nothing => Progress::Done(self.finish(None)),
        })
    }

    /// What is known when nothing more comes, or not in time: a client need not say hello, but a
    /// PROXY header is not done without.
    pub fn give_up(&mut self) -> Result<Hello, Malformed> {
        match self.awaited.proxy_header {
            true => Err(Malformed::Absent),
            false => Ok(self.finish(None)),
        }
    }

    fn finish(&mut self, server_name: Option<String>) -> Hello {
        let header = std::mem::take(&mut self.header);
        Hello { header, server_name, bytes: std::mem::take(&mut self.bytes) }
    }
}

#[cfg(test)]
mod tests;
