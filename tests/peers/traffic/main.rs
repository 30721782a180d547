//! What `tests/peers/l4` needs besides the proxies: backends, and clients that count. One thread each,
//! with as few system calls as will do, so that the proxy is what has most to do.
//!
//! `traffic backend PORT`: on all addresses, at PORT what answers a byte with a byte and closes, at
//! PORT + 1 an echo, at PORT + 2 what sends for ever, at PORT + 3 what reads for ever, and at the UDP
//! port PORT + 4 an echo.
//! `traffic connections ADDRESS SECONDS OPEN`: connects, sends a byte, reads one, closes; so many at once.
//! `traffic requests ADDRESS SECONDS OPEN BYTES`: request and answer over standing connections.
//! `traffic latency ADDRESS SECONDS OPEN RATE`: so many small requests a second, whatever comes back.
//! `traffic download ADDRESS SECONDS OPEN`, `traffic upload …`: as many bytes as go through.
//! `traffic hold ADDRESS OPEN`: opens them, uses each once, says so, and holds them until its input ends.
//! `traffic datagrams ADDRESS SECONDS CLIENTS BYTES`: each client sends its next when the last is back.

mod backend;
mod connections;
mod datagrams;
mod hold;
mod poll;
mod requests;
mod transfer;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["backend", port] => backend::serve(parse(port)),
        ["connections", address, seconds, open] => {
            connections::run(parse(address), parse(seconds), parse(open))
        }
        ["requests", address, seconds, open, bytes] => {
            requests::saturate(parse(address), parse(seconds), parse(open), parse(bytes))
        }
        ["latency", address, seconds, open, rate] => {
            requests::at_rate(parse(address), parse(seconds), parse(open), parse(rate))
        }
        ["download", address, seconds, open] => {
            transfer::download(parse(address), parse(seconds), parse(open))
        }
        ["upload", address, seconds, open] => {
            transfer::upload(parse(address), parse(seconds), parse(open))
        }
        ["hold", address, open] => hold::run(parse(address), parse(open)),
        ["datagrams", address, seconds, clients, bytes] => {
            datagrams::run(parse(address), parse(seconds), parse(clients), parse(bytes))
        }
        _ => panic!("usage: see the first lines of tests/peers/traffic/main.rs"),
    };
    done.expect("the sockets work");
}

fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().unwrap_or_else(|| panic!("`{text}` is not what was expected here"))
}
