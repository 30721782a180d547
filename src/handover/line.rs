//! What two processes say to each other, message by message, with descriptors (SCM_RIGHTS).

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Name;
use super::flows::Change;

/// The way of speaking; a process of another version is refused.
pub(super) const VERSION: u32 = 1;
/// The most descriptors that a message carries; the kernel's limit is 253.
pub(super) const MOST_DESCRIPTORS: usize = 128;
/// The longest message, in bytes.
const MOST_BYTES: usize = 64 * 1024;
/// Whoever calls says by then what for.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// A message that the other does not take by then is not taken at all.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "say")]
pub(super) enum Message {
    /// The new process asks for the sockets.
    Hello {
        /// [`VERSION`]
        version: u32,
        /// The new process.
        pid: u32,
    },
    /// The old process serves on, and hands nothing over.
    Refused {
        /// Why.
        reason: String,
    },
    /// Listening sockets, which come as descriptors.
    Sockets {
        /// One a descriptor.
        names: Vec<Name>,
    },
    /// Those were all.
    Complete {
        /// The old process.
        pid: u32,
    },
    /// The new process could serve.
    Ready,
    /// Sessions of datagram services; their sockets come as descriptors.
    Sessions {
        /// One a descriptor: what the forwarder knows of it.
        sessions: Vec<Value>,
    },
    /// Processes that go on to carry flows, the old one first; the sockets over which they tell of
    /// it come as descriptors.
    Elders {
        /// Their numbers, one a descriptor.
        pids: Vec<u32>,
    },
    /// What is known of that.
    Carried {
        /// Whose flows, counted from 0 over all that were named.
        elder: usize,
        /// A part of them.
        change: Change,
    },
    /// The new process shall serve now.
    Yours,
    /// It does.
    Serving,
    /// The old process takes nothing new.
    Retired,
}

/// Why two processes do not speak any more.
#[derive(Debug, Error)]
pub enum Broken {
    /// The other is gone.
    #[error("the other process is gone")]
    Gone,
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// It says nothing.
    #[error("the other process says nothing")]
    Silent,
    /// It says what has no place here.
    #[error("the other process says what is not understood: {0}")]
    Strange(String),
    /// The system does not let them.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// Between two processes, of which each has shown the other who it is.
#[derive(Debug)]
pub struct Line {
    stream: UnixStream,
}

impl Line {
    /// Over a connection.
    pub(super) fn new(stream: UnixStream) -> Line {
        Line { stream }
    }

    /// Says no to whoever has just called.
    pub async fn turn_away(self, reason: impl Into<String>) {
        // One that is closed with something unread would be reset, and the reason lost.
        let _ = self.receive(HELLO_TIMEOUT).await;
        self.refuse(reason).await;
    }

    /// Says no, and goes on as before.
    pub async fn refuse(&self, reason: impl Into<String>) {
        // Who has gone needs not be told.
        let _ = self.say(&Message::Refused { reason: reason.into() }).await;
    }

    /// Says something.
    pub(super) async fn say(&self, message: &Message) -> Result<(), Broken> {
        self.send::<OwnedFd>(message, &[]).await
    }

    /// Says something that comes with descriptors, [`MOST_DESCRIPTORS`] at most.
    pub(super) async fn send<Fd: AsFd>(
        &self,
        message: &Message,
        descriptors: &[Fd],
    ) -> Result<(), Broken> {
        let text = serde_json::to_vec(message).map_err(io::Error::other)?;
        let mut frame = (text.len() as u32).to_be_bytes().to_vec();
        frame.extend(text);
        let sending = async {
            // The descriptors go with the first bytes that are taken.
            let mut sent = self.send_some(&frame, descriptors).await?;
            while sent < frame.len() {
                sent += self.send_some::<OwnedFd>(&frame[sent..], &[]).await?;
            }
            Ok(())
        };
        timeout(SEND_TIMEOUT, sending).await.unwrap_or(Err(Broken::Silent))
    }

    /// Hears what the other says, if it does `within` that time. That it says no is an error.
    pub(super) async fn receive(
        &self,
        within: Duration,
    ) -> Result<(Message, Vec<OwnedFd>), Broken> {
        timeout(within, self.receive_frame()).await.unwrap_or(Err(Broken::Silent))
    }

    async fn receive_frame(&self) -> Result<(Message, Vec<OwnedFd>), Broken> {
        let mut descriptors = Vec::new();
        let mut length = [0; 4];
        self.fill(&mut length, &mut descriptors).await?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MOST_BYTES {
            return Err(Broken::Strange(format!("a message of {length} bytes")));
        }
        let mut text = vec![0; length];
        self.fill(&mut text, &mut descriptors).await?;
        match serde_json::from_slice(&text) {
            Ok(Message::Refused { reason }) => Err(Broken::Refused(reason)),
            Ok(message) => Ok((message, descriptors)),
            Err(error) => Err(Broken::Strange(error.to_string())),
        }
    }

    async fn send_some<Fd: AsFd>(&self, bytes: &[u8], with: &[Fd]) -> Result<usize, Broken> {
        let send = || Ok(send_now(&self.stream, bytes, with)?);
        self.stream.async_io(Interest::WRITABLE, send).await.map_err(Broken::of)
    }

    async fn fill(&self, room: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<(), Broken> {
        let mut filled = 0;
        while filled < room.len() {
            let receive = || receive_now(&self.stream, &mut room[filled..], descriptors);
            match self.stream.async_io(Interest::READABLE, receive).await.map_err(Broken::of)? {
                0 => return Err(Broken::Gone),
                some => filled += some,
            }
        }
        Ok(())
    }
}

impl Broken {
    pub(super) fn of(error: io::Error) -> Broken {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Broken::Gone,
            _ => Broken::Failed(error),
        }
    }
}

impl Message {
    /// That this has no place here.
    pub(super) fn strange<T>(&self) -> Result<T, Broken> {
        let said = serde_json::to_string(self).unwrap_or_default();
        Err(Broken::Strange(said.chars().take(100).collect()))
    }
}

fn send_now<Fd: AsFd>(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[Fd],
) -> rustix::io::Result<usize> {
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(rustix::io::Errno::MSGSIZE);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(stream, &[IoSlice::new(bytes)], &mut control, flags)
}

fn receive_now(
    stream: &UnixStream,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(stream, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            descriptors.extend(some);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MOST_DESCRIPTORS {
        let error = "not all sockets could be received: the limit of open files (`ulimit -n`) may \
                     be too low";
        return Err(io::Error::other(error));
    }
    Ok(received.bytes)
}
