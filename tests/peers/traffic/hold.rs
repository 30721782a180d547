//! Connections that are open and idle.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Opens so many, uses each once, prints how many are held, and holds them until its input ends.
pub fn run(address: SocketAddr, open: usize) -> io::Result<()> {
    let mut held = Vec::with_capacity(open);
    for _ in 0..open {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"?")?;
        stream.read_exact(&mut [0])?;
        held.push(stream);
    }
    println!("{}", held.len());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
