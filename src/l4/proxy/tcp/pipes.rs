//! The pipes of a worker, through which the kernel moves what is not looked at.

use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::l4::descriptors::Claim;

/// What a pipe may hold. Several times a socket's segment, and not more than what an unprivileged
/// process may have for a hundred pipes and more (`pipe-user-pages-soft`).
const PIPE_BYTES: usize = 256 * 1024;
/// So many empty ones are kept; the others are closed.
const MOST_SPARE: usize = 32;
/// So many are used at a time; each takes two descriptors.
pub const MOST: usize = 512;

/// A pipe and what it holds. A direction has one only while bytes are in it.
#[derive(Debug)]
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    /// Of these two.
    _claim: Claim,
    /// Bytes in it.
    pub held: usize,
}

/// The pipes of one worker.
#[derive(Debug, Default)]
pub struct Pipes {
    spare: Vec<Pipe>,
    used: usize,
}

impl Pipes {
    /// An empty pipe, if there is one to be had.
    pub fn take(&mut self) -> Option<Pipe> {
        if self.used >= MOST {
            return None;
        }
        let pipe = match self.spare.pop() {
            Some(pipe) => pipe,
            None => {
                let claim = Claim::take(2)?;
                let (out, into) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
                // A smaller one does as well.
                let _ = fcntl_setpipe_size(&into, PIPE_BYTES);
                Pipe { out, into, _claim: claim, held: 0 }
            }
        };
        self.used += 1;
        Some(pipe)
    }

    /// Takes a pipe back; one that is not empty cannot be used again.
    pub fn give(&mut self, pipe: Pipe) {
        self.used -= 1;
        if pipe.held == 0 && self.spare.len() < MOST_SPARE {
            self.spare.push(pipe);
        }
    }
}

impl Pipe {
    /// Moves what `from` has into the pipe, which must be empty: a full one would look like a
    /// socket that has nothing.
    pub fn fill(&mut self, from: &OwnedFd) -> rustix::io::Result<usize> {
        let moved = splice(from, None, &self.into, None, PIPE_BYTES, flags())?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves what is in the pipe to `to`.
    pub fn empty(&mut self, to: &OwnedFd) -> rustix::io::Result<usize> {
        let moved = splice(&self.out, None, to, None, self.held, flags())?;
        self.held -= moved.min(self.held);
        Ok(moved)
    }
}

#[cfg(test)]
impl Pipes {
    /// With one that is none, through which the kernel moves nothing (EINVAL).
    pub fn refused() -> Pipes {
        let (out, into) = std::os::unix::net::UnixStream::pair().expect("two sockets");
        let claim = Claim::take(2).expect("descriptors");
        let pipe = Pipe { out: out.into(), into: into.into(), _claim: claim, held: 0 };
        Pipes { spare: vec![pipe], used: 0 }
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}
