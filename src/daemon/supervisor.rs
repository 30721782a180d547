//! Tells the supervisor that started this process how it fares: the protocol of systemd
//! (sd_notify(3)), one datagram a message.

use std::env;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The environment variable that says where it listens; without it there is no such supervisor.
const VARIABLE: &str = "NOTIFY_SOCKET";
/// It is not waited for any longer.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest status, in characters: of a message of more than 4,096 bytes systemd heeds nothing.
const MOST_STATUS: usize = 1_000;

/// Who wants to know, if anybody does.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    address: Option<SocketAddr>,
}

/// How this process fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State<'a> {
    /// It serves; and what else is to be said of that.
    Ready(&'a str),
    /// It reads its files again, and is ready then.
    Reloading,
    /// It stops.
    Stopping,
    /// That process serves in its place.
    ReplacedBy(u32),
}

impl Supervisor {
    /// The one that the environment names.
    pub(super) fn of_environment() -> Supervisor {
        let Some(name) = env::var_os(VARIABLE).filter(|name| !name.is_empty()) else {
            return Supervisor::default();
        };
        match address(name.as_bytes()) {
            Ok(address) => Supervisor { address: Some(address) },
            Err(error) => {
                tracing::warn!(%error, ?name, "{VARIABLE} is not understood: nobody is told");
                Supervisor::default()
            }
        }
    }

    /// Tells it, if it is there.
    pub(super) fn tell(&self, state: State<'_>) {
        let Some(address) = &self.address else { return };
        let said = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(SEND_TIMEOUT))?;
            socket.send_to_addr(state.to_string().as_bytes(), address)
        });
        if let Err(error) = said {
            tracing::warn!(%error, "the supervisor ({VARIABLE}) cannot be told: {state:?}");
        }
    }
}

impl fmt::Display for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Ready(status) => {
                // A line is a message of its own, and a message with a zero in it is none.
                let plain = |c: char| if c.is_control() { ' ' } else { c };
                let status: String = status.chars().take(MOST_STATUS).map(plain).collect();
                write!(f, "READY=1\nSTATUS={status}")
            }
            State::Reloading => {
                let now = clock_gettime(ClockId::Monotonic);
                let now = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000;
                write!(f, "RELOADING=1\nMONOTONIC_USEC={now}")
            }
            State::Stopping => write!(f, "STOPPING=1"),
            State::ReplacedBy(pid) => write!(f, "MAINPID={pid}"),
        }
    }
}

/// A path, or `@` and a name that is in no file system.
fn address(name: &[u8]) -> io::Result<SocketAddr> {
    match name {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
        _ => Err(io::Error::other("expected a path, or @ and a name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_whatever_is_in_it() {
        let said = State::Ready("web.toml:7: bad\nMAINPID=1").to_string();
        assert_eq!(said, "READY=1\nSTATUS=web.toml:7: bad MAINPID=1");
    }

    #[test]
    fn however_much_is_wrong_the_supervisor_hears_that_the_reload_is_over() {
        for error in ["zones/web.toml:7:1: `name` is missing; ", "\u{1f9ed}\0"] {
            let said = State::Ready(&error.repeat(3_000)).to_string();
            assert!(said.starts_with("READY=1\nSTATUS=") && said.len() <= 4_096, "{}", said.len());
            assert!(!said.contains('\0'));
        }
    }

    #[test]
    fn a_socket_is_a_path_or_a_name_in_no_file_system() {
        let path = address(b"/run/notify").unwrap();
        assert_eq!(path.as_pathname(), Some(std::path::Path::new("/run/notify")));
        assert_eq!(address(b"@a name").unwrap().as_abstract_name(), Some(&b"a name"[..]));
        assert!(address(b"notify").is_err());
        assert!(address(&[b'@'; 200]).is_err(), "longer than the system takes");
    }
}
