//! Where a running server is asked to hand over: a socket in the file system, for its own user
//! alone.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

use super::{Handed, Inherited, Line, Name, Use};

/// Processes that wait to be heard.
const BACKLOG: i32 = 4;
/// How long to rest when none can be heard, for instance for want of descriptors.
const REST: Duration = Duration::from_millis(200);

/// The open door. Its file is removed when it is dropped, while it is this process's.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    listener: UnixListener,
    /// The file's device and number.
    file: (u64, u64),
    /// False while another process answers for the file.
    is_kept: bool,
}

/// Why there is no door.
#[derive(Debug, Error)]
#[error("cannot open {path} (`admin.socket`), by which another process could take over: {source}")]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

impl Door {
    /// The door that the process before had at that path, or a new one. The file of a process that
    /// is gone is in nobody's way.
    pub fn open(path: &Path, inherited: &mut Inherited) -> Result<Door, OpenError> {
        // It was asked at this path, however it spells it: with another working directory, say.
        let doors = inherited.take_all(&[Use::Door]);
        let inherited = doors.by_name.into_values().flatten().next();
        let is_kept = inherited.is_none();
        let socket = inherited.map_or_else(|| listen(path), |socket| Ok(socket.into()));
        let opened = socket.and_then(|socket: Socket| {
            let metadata = fs::metadata(path)?;
            let listener = UnixListener::from_std(socket.into())?;
            let file = (metadata.dev(), metadata.ino());
            Ok(Door { path: path.into(), listener, file, is_kept })
        });
        opened.map_err(|source| OpenError { path: path.into(), source })
    }

    /// To be handed over.
    pub fn handed(&self) -> io::Result<Handed> {
        let name = Name::new(Use::Door, self.path.display());
        Ok(Handed { name, socket: self.listener.as_fd().try_clone_to_owned()? })
    }

    /// The next process that comes, if it may.
    pub async fn caller(&self) -> Line {
        loop {
            match self
                .listener
                .accept()
                .await
                .and_then(|(stream, _)| Ok((is_ours(&stream)?, stream)))
            {
                Ok((true, stream)) => return Line::new(stream),
                Ok((false, _)) => {
                    tracing::warn!("a process of another user asked to take over: not heard");
                }
                Err(error) => {
                    tracing::warn!(%error, "nobody can be heard who would take over");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// This process answers for its file from now on.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Another process answers for its file.
    pub fn leave(mut self) {
        self.is_kept = false;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path).ok();
        let there = there.map(|metadata| (metadata.dev(), metadata.ino()));
        if self.is_kept && Some(self.file) == there {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn listen(path: &Path) -> io::Result<Socket> {
    let socket = unix_socket()?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_over(path, &address)? => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    // Nobody can connect before it listens.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// True when it is the socket of a process that is gone.
fn is_left_over(path: &Path, address: &SockAddr) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "something else has that name"));
    }
    match unix_socket()?.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
        _ => {
            let error = "a server runs with this configuration; `portolan serve --replace` takes \
                         over from it";
            Err(io::Error::new(ErrorKind::AddrInUse, error))
        }
    }
}

fn unix_socket() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM, None)
}

/// Only the user that runs this, and root, may take over, or be taken over from.
pub(super) fn is_ours(stream: &UnixStream) -> io::Result<bool> {
    let peer = stream.peer_cred()?.uid();
    Ok(peer == 0 || peer == rustix::process::geteuid().as_raw())
}
