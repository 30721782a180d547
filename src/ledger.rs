//! What was answered to whom: records that the workers write and `control` reads, without a lock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ipnet::IpNet;

use crate::decide::{Assignment, DatacenterId, GroupId, PoolId};
use crate::snapshot::EPOCHS;

/// The records that a ledger holds: with a reader every tenth of a second, enough for 300,000
/// answers a second of one worker.
const ROOM: usize = 1 << 15;

/// The prefixes that records are about: what resolvers send in ECS (RFC 7871 §11.1).
const V4_PREFIX_LEN: u8 = 24;
const V6_PREFIX_LEN: u8 = 56;

/// One answer of a pool that steers by capacity, in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// From the top: the family (1 bit), the epoch (7), the prefix (56; of IPv4 the last 24).
    whom: u64,
    /// From the top: the pool (20 bits), the group (16), the datacenter (16), the TTL (12).
    what: u64,
}

const V6_BIT: u64 = 1 << 63;
const EPOCH_SHIFT: u32 = 56;
const PREFIX_MASK: u64 = (1 << EPOCH_SHIFT) - 1;
const POOL_SHIFT: u32 = 44;
const GROUP_SHIFT: u32 = 28;
const DATACENTER_SHIFT: u32 = 12;
const LONGEST_TTL: u32 = (1 << DATACENTER_SHIFT) - 1;

impl Answered {
    /// That a client, who stands for its /24 or /56, was answered so from a snapshot of this epoch.
    /// A TTL of more than 4,095 s counts as that. None where there are more than a million pools or
    /// 65,536 groups, which is not written down.
    #[inline]
    pub fn new(client: IpAddr, given: Assignment, ttl: u32, epoch: u8) -> Option<Answered> {
        let Assignment { pool: PoolId(pool), group: GroupId(group), datacenter } = given;
        if pool >> (64 - POOL_SHIFT) != 0 || group >> (POOL_SHIFT - GROUP_SHIFT) != 0 {
            return None;
        }
        let (family, prefix) = match client.to_canonical() {
            IpAddr::V4(v4) => (0, u64::from(u32::from(v4) >> (32 - V4_PREFIX_LEN))),
            IpAddr::V6(v6) => (V6_BIT, (u128::from(v6) >> (128 - V6_PREFIX_LEN)) as u64),
        };
        Some(Answered {
            whom: family | u64::from(epoch % EPOCHS) << EPOCH_SHIFT | prefix,
            what: u64::from(pool) << POOL_SHIFT
                | u64::from(group) << GROUP_SHIFT
                | u64::from(datacenter.0) << DATACENTER_SHIFT
                | u64::from(ttl.min(LONGEST_TTL)),
        })
    }

    /// The client's prefix as a number: another one for every prefix of either family.
    pub fn key(self) -> u64 {
        self.whom & (V6_BIT | PREFIX_MASK)
    }

    /// The client's prefix.
    pub fn prefix(self) -> IpNet {
        prefix_of(self.key())
    }

    /// The epoch of the snapshot that the answer is from: its numbers are to be read under no other.
    pub fn epoch(self) -> u8 {
        (self.whom >> EPOCH_SHIFT) as u8 % EPOCHS
    }

    /// The pool that answered.
    pub fn pool(self) -> PoolId {
        PoolId((self.what >> POOL_SHIFT) as u32)
    }

    /// The group that the client is in.
    pub fn group(self) -> GroupId {
        GroupId((self.what >> GROUP_SHIFT) as u32 & 0xffff)
    }

    /// The datacenter that the client was sent to; of several, the first.
    pub fn datacenter(self) -> DatacenterId {
        DatacenterId((self.what >> DATACENTER_SHIFT) as u16)
    }

    /// The TTL of the answer, in seconds.
    pub fn ttl(self) -> u32 {
        self.what as u32 & LONGEST_TTL
    }
}

/// The prefix that [`Answered::key`] made a number of.
pub fn prefix_of(key: u64) -> IpNet {
    let (address, len) = if key & V6_BIT == 0 {
        let bits = (key as u32) << (32 - V4_PREFIX_LEN);
        (IpAddr::V4(Ipv4Addr::from(bits)), V4_PREFIX_LEN)
    } else {
        let bits = u128::from(key & PREFIX_MASK) << (128 - V6_PREFIX_LEN);
        (IpAddr::V6(Ipv6Addr::from(bits)), V6_PREFIX_LEN)
    };
    // The length is one of its family.
    IpNet::new(address, len).unwrap_or_else(|_| IpNet::from(address))
}

/// The records of one writer, oldest first. What finds no room is counted and lost.
#[derive(Debug)]
pub struct Ledger {
    records: Box<[[AtomicU64; 2]]>,
    written: Line,
    read: Line,
    dropped: Line,
    /// Held while one of several writers writes.
    busy: AtomicBool,
}

/// A number that has its cache lines for itself.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger::with_room(ROOM)
    }
}

impl Ledger {
    /// With room for so many records, rounded up to a power of two.
    fn with_room(records: usize) -> Ledger {
        Ledger {
            records: (0..records.next_power_of_two()).map(|_| Default::default()).collect(),
            written: Line::default(),
            read: Line::default(),
            dropped: Line::default(),
            busy: AtomicBool::default(),
        }
    }

    /// Writes a record. Only one thread may ever call this on the same ledger: records of several
    /// could be lost or mixed.
    #[inline]
    pub fn write(&self, record: Answered) {
        let at = self.written.0.load(Ordering::Relaxed);
        // Acquire: what was read is read before it is written over.
        let read = self.read.0.load(Ordering::Acquire);
        if at.wrapping_sub(read) >= self.records.len() as u64 {
            self.dropped.0.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let [whom, what] = self.slot(at);
        whom.store(record.whom, Ordering::Relaxed);
        what.store(record.what, Ordering::Relaxed);
        // Release: whoever sees the number sees the record.
        self.written.0.store(at.wrapping_add(1), Ordering::Release);
    }

    /// Writes a record of one of several writers, all of whom must use this. While another writes,
    /// the record is lost, so that nobody waits.
    pub fn write_shared(&self, record: Answered) {
        if self.busy.swap(true, Ordering::Acquire) {
            self.dropped.0.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.write(record);
        self.busy.store(false, Ordering::Release);
    }

    /// Hands over the oldest records, at most so many, and forgets them; says how many. Only one
    /// thread at a time may read.
    fn drain(&self, most: usize, mut take: impl FnMut(Answered)) -> usize {
        let written = self.written.0.load(Ordering::Acquire);
        let read = self.read.0.load(Ordering::Relaxed);
        let count = written.wrapping_sub(read).min(most as u64);
        for at in (0..count).map(|index| read.wrapping_add(index)) {
            let [whom, what] = self.slot(at);
            take(Answered {
                whom: whom.load(Ordering::Relaxed),
                what: what.load(Ordering::Relaxed),
            });
        }
        self.read.0.store(read.wrapping_add(count), Ordering::Release);
        count as usize
    }

    fn slot(&self, at: u64) -> &[AtomicU64; 2] {
        &self.records[at as usize & (self.records.len() - 1)]
    }
}

/// The ledgers of all workers, and who reads them.
#[derive(Debug)]
pub struct Ledgers {
    ledgers: Box<[Arc<Ledger>]>,
}

impl Ledgers {
    /// Those of these writers.
    pub fn new(ledgers: impl IntoIterator<Item = Arc<Ledger>>) -> Ledgers {
        Ledgers { ledgers: ledgers.into_iter().collect() }
    }

    /// Hands over the records of all, at most so many of each, and forgets them; says how many.
    pub fn drain(&mut self, most_each: usize, mut take: impl FnMut(Answered)) -> usize {
        self.ledgers.iter().map(|ledger| ledger.drain(most_each, &mut take)).sum()
    }

    /// How many records found no room so far.
    pub fn dropped(&self) -> u64 {
        self.ledgers.iter().map(|ledger| ledger.dropped.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn given(pool: u32, group: u32, datacenter: u16) -> Assignment {
        Assignment {
            pool: PoolId(pool),
            group: GroupId(group),
            datacenter: DatacenterId(datacenter),
        }
    }

    fn record(number: u32) -> Answered {
        let client = Ipv4Addr::from(number << 8);
        Answered::new(client.into(), given(number % 1000, number % 4000, 7), number % 300, 1)
            .unwrap()
    }

    fn drained(ledger: &Ledger, most: usize) -> Vec<Answered> {
        let mut records = Vec::new();
        assert_eq!(ledger.drain(most, |record| records.push(record)), records.len());
        records
    }

    proptest! {
        #[test]
        fn a_record_says_what_it_was_made_of(
            address: IpAddr,
            pool in 0u32..1 << 20,
            group in 0u32..1 << 16,
            datacenter: u16,
            ttl: u32,
            epoch in 0u8..EPOCHS,
        ) {
            let given = given(pool, group, datacenter);
            let record = Answered::new(address, given, ttl, epoch).unwrap();
            let back = Assignment {
                pool: record.pool(),
                group: record.group(),
                datacenter: record.datacenter(),
            };
            prop_assert_eq!(back, given);
            prop_assert_eq!((record.ttl(), record.epoch()), (ttl.min(4095), epoch));
            let address = address.to_canonical();
            let len = if address.is_ipv4() { 24 } else { 56 };
            prop_assert_eq!(record.prefix(), IpNet::new(address, len).unwrap().trunc());
            prop_assert_eq!(prefix_of(record.key()), record.prefix());
        }

        #[test]
        fn a_ledger_keeps_the_order_and_drops_what_finds_no_room(
            steps in proptest::collection::vec((0usize..12, 0usize..12), 0..40),
        ) {
            let ledger = Ledger::with_room(8);
            let (mut kept, mut next, mut dropped) = (std::collections::VecDeque::new(), 0, 0);
            for (write, read) in steps {
                for _ in 0..write {
                    ledger.write(record(next));
                    if kept.len() < 8 { kept.push_back(record(next)) } else { dropped += 1 }
                    next += 1;
                }
                let expected: Vec<Answered> = kept.drain(..read.min(kept.len())).collect();
                prop_assert_eq!(drained(&ledger, read), expected);
            }
            prop_assert_eq!(ledger.dropped.0.load(Ordering::Relaxed), dropped);
        }
    }

    #[test]
    fn what_has_no_number_is_not_written_down() {
        let client = IpAddr::from([198, 51, 100, 1]);
        assert_eq!(Answered::new(client, given(1 << 20, 0, 0), 30, 0), None);
        assert_eq!(Answered::new(client, given(0, 1 << 16, 0), 30, 0), None);
    }

    #[test]
    fn a_reader_beside_a_writer_gets_every_record_whole_and_in_order() {
        const COUNT: u32 = 200_000;
        let ledger = Arc::new(Ledger::with_room(64));
        let writer = std::thread::spawn({
            let ledger = Arc::clone(&ledger);
            move || (0..COUNT).for_each(|number| ledger.write(record(number)))
        });
        let mut ledgers = Ledgers::new([ledger]);
        let (mut last, mut seen) = (None, 0);
        loop {
            let done = writer.is_finished();
            let count = ledgers.drain(1000, |got| {
                let number = got.key() as u32;
                assert_eq!(got, record(number), "whole");
                assert!(last.is_none_or(|last| last < number), "in order");
                last = Some(number);
                seen += 1;
            });
            if done && count == 0 {
                break;
            }
        }
        assert_eq!(seen + ledgers.dropped(), u64::from(COUNT));
        writer.join().unwrap();
    }

    #[test]
    fn several_writers_lose_no_record_uncounted() {
        let ledger = Arc::new(Ledger::with_room(1 << 16));
        let write = |first: u32| {
            let ledger = Arc::clone(&ledger);
            std::thread::spawn(move || {
                (first..first + 10_000).for_each(|number| ledger.write_shared(record(number)));
            })
        };
        let writers = [write(0), write(20_000), write(40_000)];
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let mut seen = 0;
        let mut ledgers = Ledgers::new([Arc::clone(&ledger)]);
        ledgers.drain(usize::MAX, |got| {
            assert_eq!(got, record(got.key() as u32), "whole");
            seen += 1;
        });
        assert_eq!(seen + ledgers.dropped(), 30_000);
    }
}
