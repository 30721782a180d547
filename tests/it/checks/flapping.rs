//! Targets that are well every second time, for as long as a test runs.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};

/// Every second connection comes through to the server; the others are broken off.
pub fn connections(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten().step_by(2) {
            let _ = join(client, server);
            // The next one is skipped, and so dropped.
        }
    });
    address
}

fn join(client: TcpStream, server: SocketAddr) -> std::io::Result<()> {
    let server = TcpStream::connect(server)?;
    for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

/// Every second query comes through to the name server; the others are refused.
pub fn queries(server: SocketAddr) -> SocketAddr {
    const REFUSED: u8 = 5;
    let local = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (socket, asking) = (local(), local());
    let address = socket.local_addr().expect("an address");
    asking.connect(server).expect("loopback can be reached");
    std::thread::spawn(move || {
        let (mut message, mut is_well) = ([0; 4096], true);
        while let Ok((mut length, client)) = socket.recv_from(&mut message) {
            if is_well {
                asking.send(&message[..length]).expect("the server is there");
                length = asking.recv(&mut message).expect("an answer");
            } else {
                message[2] |= 0x80;
                message[3] = REFUSED;
            }
            let _ = socket.send_to(&message[..length], client);
            is_well = !is_well;
        }
    });
    address
}

/// An HTTP server that answers 200 and 500 in turn, to each Host apart.
pub fn http() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut asked = std::collections::HashMap::<String, u64>::new();
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let (mut line, mut host) = (String::new(), String::new());
            while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
                if line.to_ascii_lowercase().starts_with("host:") {
                    host.clone_from(&line);
                }
                line.clear();
            }
            let asked = asked.entry(host).or_default();
            let status = if asked.is_multiple_of(2) { 200 } else { 500 };
            *asked += 1;
            let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close");
            let _ = write!(stream.get_mut(), "{head}\r\n\r\n");
        }
    });
    address
}
