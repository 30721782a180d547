//! The client's side: a request is signed, and the response or the stream of responses verified.

use std::sync::Arc;

use ring::hmac;
use thiserror::Error;

use super::record::{
    self, Record, Variables, count_additional, error, id_of, is_beginning, sign_mac, sign_received,
};
use super::{FUDGE, Key};
use crate::dns::Rcode;
use crate::dns::query::HEADER_BYTES;

/// How many messages of a stream in a row may be unsigned (RFC 8945 §5.3.1).
const MOST_UNSIGNED: u32 = 99;

/// A request that was signed, and how far its responses were verified.
#[derive(Clone)]
pub struct ClientSequence {
    key: Arc<Key>,
    /// Of the message that comes next; what goes before it is in it.
    context: hmac::Context,
    is_first: bool,
    /// Messages since the last one that was signed.
    unsigned: u32,
}

/// Why a response is not believed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Invalid {
    /// It is no DNS message, or its TSIG record is malformed or not the last record.
    #[error("the response is malformed")]
    Malformed,
    /// It must be signed, and is not.
    #[error("the response is not signed")]
    Unsigned,
    /// More than 99 messages in a row are not signed, or the last one is not.
    #[error("too many messages of the response are not signed")]
    TooManyUnsigned,
    /// It is signed with another key or algorithm.
    #[error("the response is signed with another key")]
    OtherKey,
    /// Its MAC is wrong, or cut short.
    #[error("the signature of the response is wrong")]
    BadMac,
    /// The clocks differ by more than the fudge.
    #[error("the clock of the other server and ours differ by {0} s")]
    BadTime(u64),
    /// The other side says that it has no such key.
    #[error("the other server does not know the key, or knows it with another algorithm")]
    TheyKnowNoKey,
    /// The other side says that our MAC is wrong.
    #[error("the other server says that our signature is wrong: the secrets differ")]
    TheySayBadMac,
    /// The other side says that the clocks differ.
    #[error("the other server says that our clock is wrong")]
    TheySayBadTime,
    /// The other side says that our MAC is too short.
    #[error("the other server says that our signature is too short")]
    TheySayBadTruncation,
}

impl ClientSequence {
    /// Signs a request, which is a whole message without a TSIG record. `now` is in seconds of
    /// Unix time.
    pub fn request(key: &Arc<Key>, message: &mut Vec<u8>, now: u64) -> ClientSequence {
        let variables = Variables { time: now, fudge: FUDGE, error: error::NONE, other: &[] };
        let mut context = key.context();
        context.update(message);
        variables.sign(key, &mut context);
        let mac = context.sign();
        let (name, algorithm) = (key.name().as_wire(), key.algorithm().wire());
        let record = record::write(name, algorithm, &variables, mac.as_ref(), id_of(message));
        message.extend_from_slice(&record);
        count_additional(message, 1);
        let context = begin(key, mac.as_ref());
        ClientSequence { key: Arc::clone(key), context, is_first: true, unsigned: 0 }
    }

    /// Verifies the next message of the response, and takes its TSIG record away. The first must
    /// be signed, and of those that follow each hundredth.
    ///
    /// After an error nothing of the stream may be used.
    pub fn response(&mut self, message: &mut Vec<u8>, now: u64) -> Result<(), Invalid> {
        let found = record::find(message).map_err(|_| Invalid::Malformed)?;
        let Some(start) = found else {
            if self.is_first {
                return Err(Invalid::Unsigned);
            }
            self.unsigned += 1;
            if self.unsigned > MOST_UNSIGNED {
                return Err(Invalid::TooManyUnsigned);
            }
            self.context.update(message);
            return Ok(());
        };
        let record = Record::read(message, start).ok_or(Invalid::Malformed)?;
        let is_refused = Rcode(u16::from(message[3] & 0xf)) == Rcode::NOTAUTH;
        match record.variables.error {
            // These are not signed: they tell why nothing is had, and nothing else.
            error::BADKEY if is_refused => return Err(Invalid::TheyKnowNoKey),
            error::BADSIG if is_refused => return Err(Invalid::TheySayBadMac),
            _ => (),
        }
        if record.name != *self.key.name() || !record.is_of(&self.key) {
            return Err(Invalid::OtherKey);
        }
        let mut context = self.context.clone();
        sign_received(message, &record, &mut context);
        if self.is_first {
            record.variables.sign(&self.key, &mut context);
        } else {
            record.variables.sign_timers(&mut context);
        }
        let mac = context.sign();
        let is_whole = record.mac.len() == mac.as_ref().len();
        if !is_whole || !is_beginning(mac.as_ref(), record.mac) {
            return Err(Invalid::BadMac);
        }
        match record.variables.error {
            error::BADTIME if is_refused => return Err(Invalid::TheySayBadTime),
            error::BADTRUNC if is_refused => return Err(Invalid::TheySayBadTruncation),
            _ => (),
        }
        if !record.variables.is_timely(now) {
            return Err(Invalid::BadTime(record.variables.time.abs_diff(now)));
        }
        self.context = begin(&self.key, mac.as_ref());
        (self.is_first, self.unsigned) = (false, 0);
        message.truncate(start.max(HEADER_BYTES));
        count_additional(message, -1);
        Ok(())
    }

    /// To be asked after the last message, which must have been signed.
    pub fn finish(&self) -> Result<(), Invalid> {
        match (self.is_first, self.unsigned) {
            (false, 0) => Ok(()),
            (true, _) => Err(Invalid::Unsigned),
            _ => Err(Invalid::TooManyUnsigned),
        }
    }

    /// The key.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }
}

impl std::fmt::Debug for ClientSequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSequence").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The MAC of a message that follows one with the MAC `before`.
fn begin(key: &Key, before: &[u8]) -> hmac::Context {
    let mut context = key.context();
    sign_mac(before, &mut context);
    context
}
