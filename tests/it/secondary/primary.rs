//! A primary of the test's own, that does what no primary should.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a primary behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Good,
    /// It says no to everything.
    Refuses,
    /// It closes the connection in the middle of a transfer.
    Cuts,
    /// It closes the connection in the middle of a message of a transfer.
    CutsMessages,
    /// It sends bytes that are no message.
    Garbles,
    /// It sends another zone.
    SendsAnother,
    /// It sends a zone that changes under the transfer.
    Changes,
    /// It sends a zone without SOA record.
    HasNoSoa,
    /// It does not know how to send changes.
    KnowsNoChanges,
    /// It sends changes that do not fit.
    Misfits,
    /// It sends records that cannot be served beside those that can.
    IsOdd,
}

struct State {
    manner: Manner,
    serial: u32,
    /// Refresh, retry and expire, in seconds.
    timers: [u32; 3],
    /// Transfers that were asked for in this manner.
    asked: u32,
}

/// Serves `example.com.` with one record more than it needs: `www A 198.51.100.N`, where N is the
/// serial number.
pub struct Primary {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

const WAKE_UP: Duration = Duration::from_millis(20);
const ORIGIN: &[u8] = b"\x07example\x03com\0";

impl Primary {
    pub fn start(address: SocketAddr, serial: u32, timers: [u32; 3]) -> Primary {
        let state = State { manner: Manner::Good, serial, timers, asked: 0 };
        let state = Arc::new(Mutex::new(state));
        let stop = Arc::<AtomicBool>::default();
        let udp = UdpSocket::bind(address).expect("an address of the test's own");
        udp.set_read_timeout(Some(WAKE_UP)).expect("not zero");
        let tcp = TcpListener::bind(address).expect("an address of the test's own");
        tcp.set_nonblocking(true).expect("a socket");
        let (shared, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, from)) = udp.recv_from(&mut buffer) {
                    let answer = shared.lock().expect("no panic").soa(&buffer[..length]);
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        let (shared, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match tcp.accept() {
                    // Who closes the connection early is not our trouble.
                    Ok((stream, _)) => drop(answer(stream, &shared)),
                    Err(_) => std::thread::sleep(WAKE_UP),
                }
            }
        });
        Primary { address, state, stop }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Behaves so from now on, with this version.
    pub fn turn(&self, manner: Manner, serial: u32) {
        let mut state = self.state.lock().expect("no panic");
        (state.manner, state.serial, state.asked) = (manner, serial, 0);
    }

    /// Announces its version, and returns the flags of the answer (RFC 1996).
    pub fn announce(&self, secondary: SocketAddr) -> Option<u16> {
        let socket = UdpSocket::bind((self.address.ip(), 0)).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let header = [7, 0x2400, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
        socket.send_to(&[&header, ORIGIN, &[0, 6, 0, 1]].concat(), secondary).ok()?;
        let mut answer = [0; 512];
        socket.recv(&mut answer).ok()?;
        Some(u16::from_be_bytes([answer[2], answer[3]]))
    }

    /// How many transfers were asked for since.
    pub fn asked(&self) -> u32 {
        self.state.lock().expect("no panic").asked
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut request = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut request)?;
    let (messages, cut) = state.lock().expect("no panic").transfer(&request);
    let framed: Vec<u8> = messages
        .iter()
        .flat_map(|message| [&(message.len() as u16).to_be_bytes(), &message[..]].concat())
        .collect();
    stream.write_all(&framed[..framed.len() - cut])
}

impl State {
    fn soa(&self, request: &[u8]) -> Vec<u8> {
        match self.manner {
            Manner::Refuses => message(request, 0x8405, &[]),
            _ => message(request, 0x8400, &[self.soa_record(ORIGIN, self.serial)]),
        }
    }

    /// The messages, and by how many bytes they are cut short.
    fn transfer(&mut self, request: &[u8]) -> (Vec<Vec<u8>>, usize) {
        self.asked += 1;
        let origin: &[u8] = match self.manner {
            Manner::SendsAnother => b"\x07example\x03net\0",
            _ => ORIGIN,
        };
        let soa = self.soa_record(origin, self.serial);
        let name = |label: &[u8]| [&[label.len() as u8], label, origin].concat();
        let ns = record(origin, 2, b"\x02ns\x07example\x03net\0");
        let www = record(&name(b"www"), 1, &[198, 51, 100, self.serial as u8]);
        let mut records = vec![soa.clone(), ns, www];
        let mut cut = 0;
        let asks_for_changes = request[12 + ORIGIN.len()..].starts_with(&251_u16.to_be_bytes());
        match self.manner {
            Manner::Refuses => return (vec![message(request, 0x8405, &[])], 0),
            Manner::Garbles => return (vec![vec![0xff; 100]], 0),
            Manner::Cuts => return (vec![message(request, 0x8400, &records)], 0),
            Manner::CutsMessages => cut = 10,
            Manner::HasNoSoa => drop(records.remove(0)),
            Manner::Changes => {
                records.push(self.soa_record(origin, self.serial + 1));
                return (vec![message(request, 0x8400, &records)], 0);
            }
            Manner::IsOdd => records.extend([
                record(b"\x03www\x07example\x03net\0", 1, &[198, 51, 100, 1]),
                record(&name(b"short"), 1, &[1, 2]),
                record(&name(b"two"), 5, b"\x01a\0"),
                record(&name(b"two"), 5, b"\x01b\0"),
                record(&name(b"two"), 16, b"\x01x"),
                record(&name(b"sub"), 6, b"\0\0aaaabbbbccccddddeeee"),
            ]),
            Manner::KnowsNoChanges if asks_for_changes => {
                return (vec![message(request, 0x8404, &[])], 0);
            }
            Manner::Misfits if asks_for_changes => {
                let old = self.soa_record(origin, self.serial - 1);
                let gone = record(&name(b"gone"), 1, &[198, 51, 100, 1]);
                let changes = [&soa, &old, &gone, &soa, &soa].map(Vec::clone);
                return (vec![message(request, 0x8400, &changes)], 0);
            }
            Manner::Good | Manner::SendsAnother | Manner::KnowsNoChanges | Manner::Misfits => (),
        }
        // A record a message, as old servers send them.
        let rest = records.into_iter().chain([soa]);
        (rest.map(|record| message(request, 0x8400, &[record])).collect(), cut)
    }

    fn soa_record(&self, owner: &[u8], serial: u32) -> Vec<u8> {
        let [refresh, retry, expire] = self.timers;
        let numbers = [serial, refresh, retry, expire, 1].map(u32::to_be_bytes).concat();
        record(owner, 6, &[&[0, 0], &numbers[..]].concat())
    }
}

fn record(owner: &[u8], rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let length = rdata.len() as u16;
    let head = [rtype, 1, 0, 60, length].map(u16::to_be_bytes).concat();
    [owner, &head, rdata].concat()
}

/// With the question of the request, and without its other records.
fn message(request: &[u8], flags: u16, answers: &[Vec<u8>]) -> Vec<u8> {
    let counts = [1, answers.len() as u16, 0, 0].map(u16::to_be_bytes).concat();
    let question = &request[12..12 + ORIGIN.len() + 4];
    [&request[..2], &flags.to_be_bytes(), &counts, question, &answers.concat()].concat()
}
