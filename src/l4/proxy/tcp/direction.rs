//! One direction of a connection: bytes are copied first, and spliced when there are many.

use rustix::io::{Errno, Result};

use super::pipes::{Pipe, Pipes};
use super::side::Side;

/// What is read at a time.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// A direction that has moved more than this is spliced: below, a copy is cheaper than a pipe.
const SPLICE_AFTER: u64 = 64 * 1024;
/// But not while it brings less than this at a time.
const SPLICE_LEAST: usize = 2 * 1024;
/// A source that always has more is left after so many reads, for the sake of other connections.
/// With fewer, a receiver sleeps and is woken again and again, which costs more than all else.
const MOST_READS: usize = 16;

/// What a worker lends to a direction while it moves bytes.
#[derive(Debug)]
pub struct Tools {
    /// The one buffer of the worker: a connection that waits needs none.
    pub buffer: Box<[u8]>,
    /// For splicing.
    pub pipes: Pipes,
}

/// The bytes from one side to the other.
#[derive(Debug, Default)]
pub struct Direction {
    held: Held,
    /// Bytes passed on.
    pub moved: u64,
    /// Spliced rather than copied.
    is_bulk: bool,
    /// The kernel has refused to.
    cannot_splice: bool,
    /// The source has said all, and everything was read.
    has_ended: bool,
    /// Nothing more is moved.
    pub is_over: bool,
}

/// What has been read, and not been taken yet.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Bytes {
        bytes: Box<[u8]>,
        from: usize,
    },
    Pipe(Pipe),
}

/// How far a direction came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Until an event tells of more to read or more room.
    Waits,
    /// It could go on, and should when others have had their turn.
    Rests,
    /// All was passed on, but for the end itself.
    Ended,
    /// The source broke.
    CannotRead,
    /// The destination broke.
    CannotWrite,
}

impl Direction {
    /// Reads what is there already, while there is nobody yet to give it to.
    pub fn read_ahead(&mut self, from: &mut Side, tools: &mut Tools) -> Result<()> {
        match from.read(&mut tools.buffer) {
            Ok(0) => self.has_ended = true,
            Ok(read) => self.held = Held::Bytes { bytes: tools.buffer[..read].into(), from: 0 },
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// True when something waits to be passed on.
    pub fn holds(&self) -> bool {
        !matches!(self.held, Held::Nothing)
    }

    /// Moves what can be moved now.
    pub fn run(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        may_splice: bool,
        tools: &mut Tools,
    ) -> Outcome {
        for _ in 0..MOST_READS {
            match self.flush(to, tools) {
                Ok(true) => {}
                Ok(false) if from.has_failed => return Outcome::CannotRead,
                Ok(false) => return Outcome::Waits,
                Err(_) => return Outcome::CannotWrite,
            }
            if self.has_ended {
                return Outcome::Ended;
            }
            if !from.readable {
                return Outcome::Waits;
            }
            if !to.writable {
                return if from.has_failed { Outcome::CannotRead } else { Outcome::Waits };
            }
            let read = match self.is_bulk && may_splice && !self.cannot_splice && !from.stops_short
            {
                true => self.splice(from, tools),
                false => self.copy(from, to, tools),
            };
            match read {
                Ok(()) => {}
                Err(Fault::Source(Errno::AGAIN)) => from.readable = false,
                Err(Fault::Source(Errno::INTR)) => {}
                Err(Fault::Source(_)) => return Outcome::CannotRead,
                Err(Fault::Destination) => return Outcome::CannotWrite,
            }
        }
        Outcome::Rests
    }

    /// What the destination is given before anything is read.
    pub fn hold(&mut self, bytes: Box<[u8]>) {
        self.held = Held::Bytes { bytes, from: 0 };
    }

    /// Gives back what it holds.
    pub fn drop_held(&mut self, tools: &mut Tools) {
        if let Held::Pipe(pipe) = std::mem::take(&mut self.held) {
            tools.pipes.give(pipe);
        }
    }

    fn copy(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        tools: &mut Tools,
    ) -> std::result::Result<(), Fault> {
        let read = from.read(&mut tools.buffer).map_err(Fault::Source)?;
        if read == 0 {
            return self.end(from);
        }
        let bytes = &tools.buffer[..read];
        let are_last = !from.has_failed && from.is_read_out(read < tools.buffer.len());
        let written = match to.write(bytes, are_last) {
            Ok(written) => written,
            Err(Errno::INTR) => 0,
            Err(Errno::AGAIN) => {
                to.writable = false;
                0
            }
            Err(_) => return Err(Fault::Destination),
        };
        self.moved += written as u64;
        if written < read {
            self.held = Held::Bytes { bytes: bytes[written..].into(), from: 0 };
        }
        self.is_bulk = self.moved > SPLICE_AFTER && read >= SPLICE_LEAST;
        self.has_ended = are_last;
        Ok(())
    }

    fn splice(&mut self, from: &mut Side, tools: &mut Tools) -> std::result::Result<(), Fault> {
        let Some(mut pipe) = tools.pipes.take() else {
            self.is_bulk = false;
            return Ok(());
        };
        match pipe.fill(&from.socket) {
            Ok(0) => {
                // The end, or a byte marked urgent just before it: a read tells which.
                tools.pipes.give(pipe);
                self.cannot_splice = true;
                Ok(())
            }
            Ok(read) => {
                self.is_bulk = read >= SPLICE_LEAST;
                self.held = Held::Pipe(pipe);
                Ok(())
            }
            Err(Errno::INVAL) => {
                // Some kinds of sockets cannot be.
                tools.pipes.give(pipe);
                self.cannot_splice = true;
                Ok(())
            }
            Err(error) => {
                tools.pipes.give(pipe);
                Err(Fault::Source(error))
            }
        }
    }

    /// The end of a side that broke is no end that the other should be told of as one.
    fn end(&mut self, from: &Side) -> std::result::Result<(), Fault> {
        if from.has_failed {
            return Err(Fault::Source(Errno::CONNRESET));
        }
        self.has_ended = true;
        Ok(())
    }

    /// Writes what is held; true when nothing is, any more.
    fn flush(&mut self, to: &mut Side, tools: &mut Tools) -> Result<bool> {
        loop {
            let written = match &mut self.held {
                Held::Nothing => return Ok(true),
                _ if !to.writable => return Ok(false),
                Held::Bytes { bytes, from } => to.write(&bytes[*from..], false),
                Held::Pipe(pipe) => {
                    to.be_prompt();
                    pipe.empty(&to.socket)
                }
            };
            let written = match written {
                Ok(written) => written,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    to.writable = false;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            self.moved += written as u64;
            let is_empty = match &mut self.held {
                Held::Nothing => true,
                Held::Bytes { bytes, from } => {
                    *from += written;
                    *from >= bytes.len()
                }
                Held::Pipe(pipe) => pipe.held == 0,
            };
            if is_empty {
                self.drop_held(tools);
                return Ok(true);
            }
        }
    }
}

/// What broke.
enum Fault {
    Source(Errno),
    Destination,
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::l4::proxy::tcp::pipes::MOST;

    /// A side, and what its peer has of it.
    fn side() -> (Side, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        (Side::backend(near.into()), far)
    }

    fn tools() -> Tools {
        Tools { buffer: vec![0; BUFFER_BYTES].into(), pipes: Pipes::default() }
    }

    /// Passes so many bytes on, to a peer that reads when nothing more fits; returns how often
    /// something was left in a pipe.
    fn pass(length: usize, may_splice: bool, tools: &mut Tools) -> usize {
        let (mut from, mut source) = side();
        let (mut to, mut sink) = side();
        let sent: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        let (mut written, mut heard, mut piped) = (0, Vec::new(), 0);
        let mut direction = Direction::default();
        while heard.len() < length {
            if let Ok(more) = source.write(&sent[written..]) {
                written += more;
            }
            from.readable = true;
            let outcome = direction.run(&mut from, &mut to, may_splice, tools);
            assert!(matches!(outcome, Outcome::Waits | Outcome::Rests), "{outcome:?}");
            piped += usize::from(matches!(direction.held, Held::Pipe(_)));
            if !to.writable || written == length {
                let _ = sink.read_to_end(&mut heard);
                to.writable = true;
            }
        }
        assert!(heard == sent);
        assert_eq!(direction.moved, length as u64);
        assert!(!direction.holds(), "nothing is kept for a direction that waits");
        drop(source);
        from.readable = true;
        assert_eq!(direction.run(&mut from, &mut to, may_splice, tools), Outcome::Ended);
        piped
    }

    #[test]
    fn what_is_long_goes_through_pipes_and_what_is_short_does_not() {
        let mut tools = tools();
        assert!(pass(2 << 20, true, &mut tools) > 0);
        assert_eq!(pass(SPLICE_AFTER as usize, true, &mut tools), 0);
        assert_eq!(pass(2 << 20, false, &mut tools), 0);
    }

    #[test]
    fn what_the_kernel_refuses_to_splice_is_copied() {
        let mut tools = Tools { pipes: Pipes::refused(), ..tools() };
        assert_eq!(pass(2 << 20, true, &mut tools), 0);
        let mut pipe = tools.pipes.take().expect("it was given back");
        let (socket, mut peer) = side();
        peer.write_all(b"hello").unwrap();
        assert_eq!(pipe.fill(&socket.socket), Err(Errno::INVAL));
    }

    #[test]
    fn without_pipes_everything_is_copied() {
        let mut tools = tools();
        let all: Vec<Pipe> = (0..MOST).map_while(|_| tools.pipes.take()).collect();
        assert!(tools.pipes.take().is_none());
        assert_eq!(pass(2 << 20, true, &mut tools), 0);
        all.into_iter().for_each(|pipe| tools.pipes.give(pipe));
        assert!(pass(2 << 20, true, &mut tools) > 0);
    }
}
