//! A resolver that knows what it is told, and fails as it is told.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};

/// The port of a resolver.
pub const PORT: u16 = 5300;

/// A resolver of the test's own; it stops when dropped.
pub struct Resolver {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    stop: AtomicBool,
    asked: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    manner: Manner,
    records: HashMap<String, Entry>,
}

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it knows.
    Answers,
    /// Not at all.
    Silent,
    /// SERVFAIL.
    Fails,
    /// With bytes that are no answers.
    Babbles,
    /// To other questions.
    Lies,
}

/// What stands at a name.
#[derive(Clone, Debug)]
enum Entry {
    Addresses(Vec<IpAddr>, u32),
    Alias(String, u32),
}

impl Resolver {
    /// Listens there, and knows nothing.
    pub fn start(address: Ipv4Addr) -> Resolver {
        let address = SocketAddr::from((address, PORT));
        let state = State { manner: Manner::Answers, records: HashMap::new() };
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            state: Mutex::new(state),
        });
        let udp = UdpSocket::bind(address).expect("a free port");
        udp.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let mine = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut packet = [0; 4096];
            while !mine.stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = udp.recv_from(&mut packet) else { continue };
                for answer in mine.answers(&packet[..length], 1232) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        let tcp = TcpListener::bind(address).expect("a free port");
        let mine = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                if mine.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                if stream.read_exact(&mut query).is_ok() {
                    for answer in mine.answers(&query, usize::MAX) {
                        let length = (answer.len() as u16).to_be_bytes();
                        let _ = stream.write_all(&[&length[..], &answer].concat());
                    }
                }
            }
        });
        Resolver { shared, address }
    }

    /// The name has these addresses from now on; none: it exists, and has none.
    pub fn knows(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        self.state().records.insert(name.into(), Entry::Addresses(addresses, ttl));
    }

    /// The name is an alias of another.
    pub fn alias(&self, name: &str, target: &str, ttl: u32) {
        self.state().records.insert(name.into(), Entry::Alias(target.into(), ttl));
    }

    /// The name does not exist any more.
    pub fn forgets(&self, name: &str) {
        self.state().records.remove(name);
    }

    /// Answers so from now on.
    pub fn behaves(&self, manner: Manner) {
        self.state().manner = manner;
    }

    /// How many questions have come.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic while it was held")
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // So that it looks.
        let _ = std::net::TcpStream::connect(self.address);
    }
}

impl Shared {
    /// The messages that are sent for a query; what is longer than `most` is truncated.
    fn answers(&self, query: &[u8], most: usize) -> Vec<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let Ok(query) = Message::from_vec(query) else { return Vec::new() };
        let state = self.state.lock().expect("no panic while it was held");
        let mut message = query.clone();
        message.edns = None;
        message.metadata.message_type = MessageType::Response;
        message.metadata.recursion_available = true;
        match state.manner {
            Manner::Silent => return Vec::new(),
            Manner::Fails => message.metadata.response_code = ResponseCode::ServFail,
            Manner::Babbles => {
                let half = message.to_vec().expect("a message");
                return vec![vec![], vec![0xc0; 40], half[..half.len() / 2].to_vec()];
            }
            Manner::Lies => message.metadata.id = query.metadata.id.wrapping_add(1),
            Manner::Answers => state.fill(&mut message),
        }
        let mut bytes = message.to_vec().expect("a message");
        if bytes.len() > most {
            message.answers.clear();
            message.metadata.truncation = true;
            bytes = message.to_vec().expect("a message");
        }
        vec![bytes]
    }
}

impl State {
    fn fill(&self, message: &mut Message) {
        let question = message.queries[0].clone();
        let mut owner = question.name().to_ascii();
        loop {
            match self.records.get(&owner.to_ascii_lowercase()) {
                None => {
                    message.metadata.response_code = ResponseCode::NXDomain;
                    message.add_authority(soa());
                    return;
                }
                Some(Entry::Alias(target, ttl)) => {
                    let data = RData::CNAME(rdata::CNAME(name(target)));
                    message.add_answer(Record::from_rdata(name(&owner), *ttl, data));
                    owner = target.clone();
                }
                Some(Entry::Addresses(addresses, ttl)) => {
                    for address in addresses {
                        let data = match (address, question.query_type()) {
                            (IpAddr::V4(v4), RecordType::A) => RData::A(rdata::A(*v4)),
                            (IpAddr::V6(v6), RecordType::AAAA) => RData::AAAA(rdata::AAAA(*v6)),
                            _ => continue,
                        };
                        message.add_answer(Record::from_rdata(name(&owner), *ttl, data));
                    }
                    message.add_authority(soa());
                    return;
                }
            }
        }
    }
}

/// That there is nothing holds for five seconds.
fn soa() -> Record {
    let soa = rdata::SOA::new(name("ns.example.net."), name("host.example.net."), 1, 1, 1, 1, 5);
    Record::from_rdata(name("example.net."), 5, RData::SOA(soa))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}
