//! TSIG (RFC 8945): messages and streams of messages, signed with a key that both sides have.
//!
//! Of a library's implementation only the cryptography is used (HMAC by `ring`), since what
//! `domain` 0.12 answers to a wrong MAC (FORMERR, not BADSIG), to a late one (a MAC that no client
//! can verify) and to one cut short is not what the RFC says. The tests hold this one to it where
//! the two agree.

mod client;
mod key;
mod record;
mod server;

pub use client::{ClientSequence, Invalid};
pub use key::{Algorithm, Key, Keys};
pub use record::find;
pub use server::{Refused, ServerSequence, Verified, verify};

/// By how many seconds the clocks of the two sides may differ (RFC 8945 §10: recommended).
pub const FUDGE: u16 = 300;

#[cfg(test)]
mod tests;
