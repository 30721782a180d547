//! The new process's side: finds the server that runs, gets its sockets, and takes over.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use tokio::net::UnixStream;

use super::door::is_ours;
use super::line::{Message, VERSION};
use super::{Broken, Elder, Flows, Handed, Inherited, Line};

/// The old process answers by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most sockets, and the most sessions, that are taken over.
const MOST: usize = 1 << 20;

/// The server that runs.
#[derive(Debug)]
pub struct Predecessor {
    line: Line,
    pid: u32,
}

/// Why no server is found to take over from.
#[derive(Debug, Error)]
#[error("cannot take over from the server that has {path}: {cause}")]
pub struct FindError {
    path: PathBuf,
    cause: Broken,
}

/// What is left to this process.
#[derive(Debug)]
pub enum Turn {
    /// It serves, with what goes on.
    Serve(Passed),
    /// It serves: the old process is gone.
    Alone,
}

/// What goes from one process to the next besides its listening sockets.
#[derive(Debug, Default)]
pub struct Passed {
    /// Sessions of datagrams: what the forwarder knows of each, and its socket.
    pub sessions: Vec<(Value, OwnedFd)>,
    /// The processes before this one that still carry flows.
    pub elders: Vec<Elder>,
}

impl Predecessor {
    /// The server behind that door, and its sockets; none if nobody is there.
    pub async fn find(path: &Path) -> Result<Option<(Predecessor, Inherited)>, FindError> {
        match find(path).await {
            Ok(found) => Ok(found),
            Err(cause) => Err(FindError { path: path.into(), cause }),
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Says that this process could serve, and waits until it shall. An error means that it must
    /// not: the old one serves on.
    pub async fn turn(&self) -> Result<Turn, Broken> {
        match self.line.say(&Message::Ready).await {
            Err(Broken::Gone) => return Ok(Turn::Alone),
            sent => sent?,
        }
        let Passed { mut sessions, mut elders } = Passed::default();
        loop {
            match self.line.receive(ANSWER_TIMEOUT).await {
                Ok((Message::Sessions { sessions: some }, descriptors)) => {
                    if some.len() != descriptors.len() || sessions.len() > MOST {
                        return Message::Sessions { sessions: some }.strange();
                    }
                    sessions.extend(some.into_iter().zip(descriptors));
                }
                Ok((Message::Elders { pids }, descriptors)) => {
                    if pids.len() != descriptors.len() || elders.len() > MOST {
                        return Message::Elders { pids }.strange();
                    }
                    for (pid, socket) in pids.into_iter().zip(descriptors) {
                        elders.push(Elder::new(pid, socket, Flows::default())?);
                    }
                }
                Ok((Message::Carried { elder, change }, _)) => match elders.get(elder) {
                    Some(elder) => elder.learn(change),
                    None => return Message::Carried { elder, change }.strange(),
                },
                Ok((Message::Yours, _)) => return Ok(Turn::Serve(Passed { sessions, elders })),
                Ok((message, _)) => return message.strange(),
                Err(Broken::Gone) => return Ok(Turn::Alone),
                Err(broken) => return Err(broken),
            }
        }
    }

    /// Says that this process serves, and returns when the old one takes nothing new.
    pub async fn replaced(self) -> Result<(), Broken> {
        self.line.say(&Message::Serving).await?;
        match self.line.receive(ANSWER_TIMEOUT).await? {
            (Message::Retired, _) => Ok(()),
            (message, _) => message.strange(),
        }
    }
}

async fn find(path: &Path) -> Result<Option<(Predecessor, Inherited)>, Broken> {
    let stream = match UnixStream::connect(path).await {
        Err(error) if is_nobody(&error) => return Ok(None),
        connected => connected?,
    };
    if !is_ours(&stream)? {
        return Err(io::Error::from(ErrorKind::PermissionDenied).into());
    }
    let line = Line::new(stream);
    let hello = Message::Hello { version: VERSION, pid: std::process::id() };
    line.say(&hello).await?;
    let mut handed = Vec::new();
    loop {
        match line.receive(ANSWER_TIMEOUT).await? {
            (Message::Sockets { names }, sockets) => {
                if names.len() != sockets.len() || handed.len() > MOST {
                    return Message::Sockets { names }.strange();
                }
                let some = names.into_iter().zip(sockets);
                handed.extend(some.map(|(name, socket)| Handed { name, socket }));
            }
            (Message::Complete { pid }, _) => {
                return Ok(Some((Predecessor { line, pid }, Inherited::new(handed))));
            }
            (message, _) => return message.strange(),
        }
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}
