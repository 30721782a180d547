//! The answer engine: query bytes in, answer bytes out; no I/O, no clock, no allocation.

mod alias;
mod any;
mod chaos;
pub mod counters;
mod decided;
mod edns;
mod negative;
mod notify;
mod sections;
mod signed;
pub mod transfers;

pub use counters::{Counters, Event, Totals, Verdict};
pub use notify::announced_zone;
pub use transfers::{Reply, respond_to_stream};

use std::net::IpAddr;

use crate::decide::{Client, PolicyId};
use crate::dns::query::{HEADER_BYTES, NameRoom};
use crate::dns::response::{MIN_RESPONSE_BYTES, QNAME_POINTER};
use crate::dns::{Class, ExtendedError, Preamble, Query, Rcode, Rejection, Response, Rtype};
use crate::ledger::Answered;
use crate::snapshot::Snapshot;
use crate::transfer::ServerSequence;
use crate::zone::{Condition, NameSearch, Zone};

/// The longest message, in bytes: what the two-byte length of TCP can say.
pub const MAX_MESSAGE_BYTES: usize = 65535;

/// How a message came, as far as the answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram: the sender may be forged, and the size of the response is limited.
    Udp,
    /// In a stream.
    Tcp,
}

/// What is known of a message besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Who sent it.
    pub source: IpAddr,
    /// How it came.
    pub transport: Transport,
    /// A random number, for what is drawn by lot.
    pub draw: u64,
    /// The time, in seconds since 1970, for what is signed.
    pub unix_seconds: u64,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In what.
    pub verdict: Verdict,
    /// The length of the response in bytes; 0 when there is none.
    pub length: usize,
    /// The query had an OPT record.
    pub has_edns: bool,
    /// The query had a client subnet.
    pub has_subnet: bool,
    /// The response lacks something for which the client must come back over TCP.
    pub is_truncated: bool,
    /// The response carries records that were decided for its client.
    pub is_steered: bool,
    /// For the ledger: whom a pool that steers by capacity sent where. None when the response is
    /// truncated, as the client comes back.
    pub answered: Option<Answered>,
}

impl Outcome {
    /// No response.
    pub fn dropped(verdict: Verdict) -> Outcome {
        Outcome {
            verdict,
            length: 0,
            has_edns: false,
            has_subnet: false,
            is_truncated: false,
            is_steered: false,
            answered: None,
        }
    }
}

/// Answers one message.
///
/// # Panics
/// If `out` is shorter than 512 bytes. A longer one is used as far as the client and the
/// transport allow.
pub fn respond(snapshot: &Snapshot, request: &Request, packet: &[u8], out: &mut [u8]) -> Outcome {
    let mut room = NameRoom::new();
    Asked::read(snapshot, request, packet, &mut room).answer(packet, out)
}

/// A message that was read and is not yet answered.
///
/// Most of the time that an answer takes is spent waiting for memory: who has several messages
/// reads them all, has what they need fetched, step by step for all of them, and then answers.
#[derive(Debug)]
pub struct Asked<'s, 'r> {
    snapshot: &'s Snapshot,
    transport: Transport,
    unix_seconds: u64,
    client: Client,
    query: Result<Query<'r>, Rejection>,
    /// Where the name is searched for.
    place: Option<(&'s Zone, NameSearch)>,
    /// Who will sign the response.
    signer: Option<&'r ServerSequence>,
}

impl<'s, 'r> Asked<'s, 'r> {
    /// Reads a message; `room` takes its name.
    #[inline]
    pub fn read(
        snapshot: &'s Snapshot,
        request: &Request,
        packet: &[u8],
        room: &'r mut NameRoom,
    ) -> Asked<'s, 'r> {
        let query = Query::parse(packet, room);
        let asked = query.as_ref().ok();
        let place = asked.and_then(|query| {
            let zone = snapshot.zones.find(query.qname, query.qtype)?;
            Some((zone, zone.search(query.qname)))
        });
        let client = edns::client(request, asked.and_then(|query| query.preamble.edns.as_ref()));
        let Request { transport, unix_seconds, .. } = *request;
        Asked { snapshot, transport, unix_seconds, client, query, place, signer: None }
    }

    /// How many steps of fetching there are.
    pub const FETCHES: usize = 3;

    /// Has the processor fetch what the answer will read, in so many steps, each of which needs
    /// what the one before it fetched.
    #[inline]
    pub fn fetch(&mut self, step: usize) {
        let Some((zone, search)) = &mut self.place else { return };
        let policy = match step {
            0 => return zone.fetch_node(search),
            1 => zone.fetch_rrset(search),
            _ => zone.fetch_records(search),
        };
        let Some(PolicyId(policy)) = policy else { return };
        let Some(chart) = self.snapshot.charts.get(policy as usize) else { return };
        match step {
            1 => chart.fetch_index(&self.client),
            _ => chart.fetch_range(&self.client),
        }
    }

    /// Answers the message, which is `packet`; as [`respond`].
    pub fn answer(self, packet: &[u8], out: &mut [u8]) -> Outcome {
        let query = match &self.query {
            Ok(query) if transfers::is_transfer(query) => {
                return transfers::answer_datagram(&self, query, packet, out);
            }
            Ok(query) => query,
            Err(Rejection::Runt) => return Outcome::dropped(Verdict::DroppedRunt),
            Err(Rejection::Response) => return Outcome::dropped(Verdict::DroppedResponse),
            Err(Rejection::Error(rcode, preamble)) => {
                let error = (*rcode == Rcode::NOTIMP).then_some(ExtendedError::NOT_SUPPORTED);
                return refuse(self.snapshot, *rcode, error, preamble, packet, out);
            }
            Err(Rejection::Notify(preamble)) => {
                let source = self.client.resolver;
                return notify::answer(self.snapshot, source, None, preamble, packet, out);
            }
            Err(Rejection::Signed { tsig, preamble }) => {
                let (transport, unix_seconds) = (self.transport, self.unix_seconds);
                let Client { resolver: source, draw, .. } = self.client;
                let request = Request { source, transport, draw, unix_seconds };
                return signed::answer(self.snapshot, &request, *tsig, preamble, packet, out);
            }
        };
        let preamble = &query.preamble;
        if query.qclass != Class::IN {
            return chaos::answer(self.snapshot, query, packet, out);
        }
        if let Some((rcode, error)) = refusal(query.qtype) {
            return refuse(self.snapshot, rcode, error, preamble, packet, out);
        }
        let Some((zone, search)) = self.place else {
            let error = Some(ExtendedError::NOT_AUTHORITATIVE);
            return refuse(self.snapshot, Rcode::REFUSED, error, preamble, packet, out);
        };
        if zone.condition() != Condition::Served {
            return no_data(self.snapshot, zone.condition(), preamble, packet, out);
        }
        let limit = edns::response_limit(self.transport, preamble.edns.as_ref());
        let mut response = Response::new(out, limit, packet, preamble);
        if let Some(signer) = self.signer {
            response.reserve(signer.record_bytes());
        }
        if preamble.edns.is_some_and(|edns| edns.wants_nsid) {
            chaos::identify(&mut response, &self.snapshot.identity, preamble);
        }
        response.set_origin(HEADER_BYTES + query.qname.len() - zone.origin_len());
        let mut answer = Answer {
            snapshot: self.snapshot,
            zone,
            qtype: query.qtype,
            client: self.client,
            response,
            scope: 0,
            is_steered: false,
            answered: None,
            is_alias: false,
        };
        let verdict = answer.write(query.qname, search);
        let rcode = match verdict {
            Verdict::NxDomain => Rcode::NXDOMAIN,
            Verdict::YxDomain => Rcode::YXDOMAIN,
            Verdict::ServFail => Rcode::SERVFAIL,
            _ => Rcode::NOERROR,
        };
        let is_ours = !matches!(verdict, Verdict::Referral | Verdict::ServFail);
        let is_authoritative = is_ours || answer.is_alias;
        let scope = edns::response_scope(preamble.edns.as_ref(), answer.scope);
        Outcome {
            verdict,
            has_edns: preamble.edns.is_some(),
            has_subnet: preamble.edns.is_some_and(|edns| edns.subnet.is_some()),
            is_truncated: answer.response.is_truncated(),
            is_steered: answer.is_steered,
            answered: answer.answered.filter(|_| !answer.response.is_truncated()),
            length: answer.response.finish(preamble, is_authoritative, rcode, scope),
        }
    }
}

/// An answer that is being made.
struct Answer<'a, 'o> {
    snapshot: &'a Snapshot,
    zone: &'a Zone,
    qtype: Rtype,
    client: Client,
    response: Response<'o>,
    /// The most specific scope of what was decided so far.
    scope: u8,
    is_steered: bool,
    answered: Option<Answered>,
    is_alias: bool,
}

impl<'a> Answer<'a, '_> {
    /// Writes the sections for a name in the zone.
    fn write(&mut self, qname: &[u8], search: NameSearch) -> Verdict {
        let found = self.zone.lookup_searched(search, qname, self.qtype);
        match self.write_found(QNAME_POINTER, found) {
            sections::Written::All(verdict) => verdict,
            written => {
                self.is_alias = true;
                self.follow(qname, written)
            }
        }
    }
}

/// Why a well-formed question gets no look-up. Of the types that are no record types, MAILB and MAILA
/// are obsolete (RFC 1035 §3.2.3), and the others have no meaning in a question.
fn refusal(qtype: Rtype) -> Option<(Rcode, Option<ExtendedError>)> {
    const MAILB: Rtype = Rtype(253);
    const MAILA: Rtype = Rtype(254);
    match qtype {
        MAILA | MAILB => Some((Rcode::NOTIMP, Some(ExtendedError::NOT_SUPPORTED))),
        Rtype(0) | Rtype::OPT | Rtype::TSIG | Rtype::TKEY => Some((Rcode::FORMERR, None)),
        _ => None,
    }
}

/// The response of a zone that a primary has not sent yet, or too long ago (RFC 1035 §4.3.5).
#[cold]
fn no_data(
    snapshot: &Snapshot,
    condition: Condition,
    preamble: &Preamble,
    packet: &[u8],
    out: &mut [u8],
) -> Outcome {
    let error = match condition {
        Condition::Expired => ExtendedError::INVALID_DATA,
        Condition::Awaited | Condition::Served => ExtendedError::NOT_READY,
    };
    refuse(snapshot, Rcode::SERVFAIL, Some(error), preamble, packet, out)
}

/// A response with a code and no records.
#[cold]
fn refuse(
    snapshot: &Snapshot,
    rcode: Rcode,
    error: Option<ExtendedError>,
    preamble: &Preamble,
    packet: &[u8],
    out: &mut [u8],
) -> Outcome {
    let verdict = match rcode {
        Rcode::FORMERR => Verdict::FormErr,
        Rcode::NOTIMP => Verdict::NotImp,
        Rcode::REFUSED => Verdict::Refused,
        Rcode::BADVERS => Verdict::BadVers,
        Rcode::SERVFAIL => Verdict::ServFail,
        _ => Verdict::NotAuth,
    };
    let mut response = Response::new(out, MIN_RESPONSE_BYTES, packet, preamble);
    chaos::identify(&mut response, &snapshot.identity, preamble);
    if let Some(error) = error {
        response.set_extended_error(error);
    }
    Outcome {
        verdict,
        length: response.finish(preamble, false, rcode, 0),
        has_edns: preamble.edns.is_some(),
        has_subnet: preamble.edns.is_some_and(|edns| edns.subnet.is_some()),
        is_truncated: false,
        is_steered: false,
        answered: None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
