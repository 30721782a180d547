//! A thread that carries datagrams: what it waits for, and what it is told.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use tokio::sync::mpsc::UnboundedSender;

use super::Lent;
use super::carried::Carried;
use super::entrance::Entrance;
use super::oldest::Oldest;
use super::sessions::Index;
use super::token::Token;
use crate::datagram::{Inbox, Outbox};
use crate::l4::backend::Backend;
use crate::l4::descriptors;
use crate::l4::ending::Cause;
use crate::l4::listener::Opened;
use crate::l4::service::Service;

/// The most datagrams a system call moves.
pub const BATCH: usize = 64;
/// No datagram is longer.
const DATAGRAM_BYTES: usize = 65_535;
/// So many sockets are looked at before the worker asks again which have something.
const EVENTS: usize = 256;
/// How often it is looked for what has gone idle and what is to be counted.
pub const LOOK: Duration = Duration::from_secs(1);
/// No more often than this, however short the idle timeout.
const LEAST_LOOK: Duration = Duration::from_millis(10);
/// An entrance that is left is served for this long at most, while its sessions are not quiet.
const LEAVE: Duration = Duration::from_secs(1);
/// A session that is left is quiet after this.
const QUIET: Duration = Duration::from_millis(200);
/// How long a worker rests after an error that may come again at once.
pub const REST: Duration = Duration::from_millis(20);
/// One in so many of the files that can be open at a time is a session's socket, at most: the rest
/// is for connections, and for whoever looks what happens.
const PART_OF_DESCRIPTORS: u64 = 2;

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Carry what comes to these sockets.
    Serve(Serve),
    /// No longer.
    Leave { id: u64 },
    /// The sessions of those backends are to go on with others.
    WentDown(Arc<[Arc<Backend>]>),
    /// End the oldest session of a service for one at another worker, if it has not been used since
    /// then; else ask the worker that has the oldest, if so many more may still be asked.
    MakeRoom { service: Arc<Service>, used: Instant, more: u8 },
    /// Tell of all sessions, and read nothing more.
    Lend(UnboundedSender<Vec<Lent>>),
    /// Read again.
    TakeBack,
    /// End, by then.
    Stop { last: Instant },
}

/// What a worker is to carry.
#[derive(Debug)]
pub struct Serve {
    /// By which it is told to carry it no longer.
    pub id: u64,
    /// Whose sockets they are.
    pub service: Arc<Service>,
    /// All workers' sockets.
    pub opened: Arc<Opened>,
    /// Which worker it is.
    pub worker: usize,
    /// What is known of all workers' sessions of the service.
    pub oldest: Arc<Oldest>,
    /// All workers.
    pub others: Vec<Mailbox>,
    /// Sessions that go on.
    pub sessions: Vec<Lent>,
}

/// Where a worker is told it.
#[derive(Clone, Debug)]
pub struct Mailbox {
    commands: Sender<Command>,
    bell: Arc<OwnedFd>,
}

impl Mailbox {
    /// Tells it.
    pub fn send(&self, command: Command) {
        // A worker that has ended has nothing to do.
        if self.commands.send(command).is_ok() {
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }
}

/// Starts a worker.
pub fn start(number: usize) -> io::Result<(Mailbox, JoinHandle<()>)> {
    let (sender, commands) = mpsc::channel();
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &bell, EventData::new_u64(Token::Bell.into()), EventFlags::IN)?;
    let mailbox = Mailbox { commands: sender, bell: Arc::clone(&bell) };
    let worker = Worker {
        epoll,
        bell,
        commands,
        carried: Vec::new(),
        entrances: Vec::new(),
        others: Vec::new(),
        inbox: Inbox::new((0..BATCH).map(|_| vec![0; DATAGRAM_BYTES].into())),
        outbox: Outbox::new(BATCH),
        replies: Vec::with_capacity(BATCH),
        sessions: 0,
        most: usize::MAX,
        next_look: None,
        last_look: Instant::now(),
        is_lent: false,
        stop: None,
    };
    let name = format!("l4-udp-{number}");
    let thread = std::thread::Builder::new().name(name).spawn(move || worker.run())?;
    Ok((mailbox, thread))
}

/// A worker.
pub struct Worker {
    pub(super) epoll: OwnedFd,
    bell: Arc<OwnedFd>,
    commands: Receiver<Command>,
    /// The services, by number.
    pub(super) carried: Vec<Option<Carried>>,
    /// The sockets where clients arrive, by number.
    pub(super) entrances: Vec<Option<Entrance>>,
    /// All workers.
    pub(super) others: Vec<Mailbox>,
    pub(super) inbox: Inbox<Box<[u8]>>,
    pub(super) outbox: Outbox,
    /// What stands in the inbox and is to be sent to clients.
    pub(super) replies: Vec<Reply>,
    /// Those of all services.
    pub(super) sessions: usize,
    /// So many at most.
    pub(super) most: usize,
    /// When it is to be looked for what has gone idle; none while there is nothing that could.
    pub(super) next_look: Option<Instant>,
    pub(super) last_look: Instant,
    /// Another process has the sessions.
    pub(super) is_lent: bool,
    /// When to end.
    pub(super) stop: Option<Instant>,
}

/// A datagram in the inbox that is to be sent to a client.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    pub(super) slot: u16,
    pub(super) carried: u32,
    pub(super) session: Index,
}

impl Worker {
    fn run(mut self) {
        // A socket whose thread died would go on receiving its share of the datagrams.
        while catch_unwind(AssertUnwindSafe(|| self.carry_until_stopped())).is_err() {
            tracing::error!(
                "a UDP worker of the forwarder panicked and begins anew; please report this"
            );
            self.replies.clear();
            self.carried
                .iter_mut()
                .flatten()
                .for_each(|carried| carried.sessions = Default::default());
            self.sessions = 0;
        }
    }

    fn carry_until_stopped(&mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        let mut now = Instant::now();
        while !self.is_over() {
            events.clear();
            let timeout = self.next_look.map(|next| timespec(next.saturating_duration_since(now)));
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::warn!(%error, "a UDP worker of the forwarder cannot wait");
                    std::thread::sleep(REST);
                }
            }
            now = Instant::now();
            self.turn(&events, now);
            if self.next_look.is_some_and(|next| next <= now) {
                self.look(now);
            }
        }
    }

    /// Deals with what has come. What backends sent goes first, so that it is sent on in few calls.
    fn turn(&mut self, events: &[Event], now: Instant) {
        let tokens = || events.iter().map(|event| Token::from(event.data.u64()));
        for token in tokens() {
            if let Token::Session(carried, session) = token {
                self.take_replies(carried, session, now);
            }
        }
        self.send_replies();
        for token in tokens() {
            match token {
                // It may have been lent since the event came: what began now would be known here
                // alone.
                Token::Entrance(number) if !self.is_lent => self.forward(number, now),
                Token::Bell => self.read_mail(now),
                Token::Entrance(_) | Token::Session(..) => {}
            }
        }
    }

    fn read_mail(&mut self, now: Instant) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Serve(mut serve) => {
                    let (id, sessions) = (serve.id, std::mem::take(&mut serve.sessions));
                    self.serve(serve);
                    self.resume(id, sessions, now);
                }
                Command::Leave { id } => self.leave(id, now),
                Command::Lend(to) => {
                    let _ = to.send(self.lend(now));
                }
                Command::TakeBack => self.take_back(),
                // The process that has the sessions knows it, too.
                Command::WentDown(_) | Command::MakeRoom { .. } if self.is_lent => {}
                Command::MakeRoom { service, used, more } => {
                    self.make_room_for(&service, used, more, now);
                }
                Command::WentDown(backends) => self.leave_backends(&backends, now),
                Command::Stop { last } => {
                    self.stop = Some(last);
                    self.entrances.iter_mut().flatten().for_each(|one| one.leaves = Some(last));
                    self.next_look = Some(now);
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_some() && self.entrances.iter().flatten().next().is_none()
    }

    fn serve(&mut self, serve: Serve) {
        let Serve { id, service, opened, worker, oldest, others, .. } = serve;
        self.others = others;
        let workers = opened.workers.len().max(1);
        let part = descriptors::most() / PART_OF_DESCRIPTORS / workers as u64;
        self.most = usize::try_from(part).unwrap_or(usize::MAX).max(1);
        let number = match self.number_of(&service) {
            Some(number) => number,
            // It reads none of these sockets, and has no session that could reply by them.
            None if worker >= workers => return,
            None => put(&mut self.carried, Carried::new(service, worker, oldest)),
        };
        let entrances = match Entrance::of(&opened, worker, id, number as u32) {
            Ok(entrances) => entrances,
            Err(error) => return tracing::error!(%error, "cannot serve a UDP socket"),
        };
        for entrance in entrances {
            let number = put(&mut self.entrances, entrance);
            let Some(entrance) = &self.entrances[number] else { continue };
            if let Err(error) = self.watch_entrance(number as u32, entrance) {
                tracing::error!(%error, "cannot wait for a UDP socket");
                self.entrances[number] = None;
            }
        }
    }

    pub(super) fn watch_entrance(
        &self,
        number: u32,
        entrance: &Entrance,
    ) -> rustix::io::Result<()> {
        if entrance.is_outlet() || self.is_lent {
            return Ok(());
        }
        let token = EventData::new_u64(Token::Entrance(number).into());
        epoll::add(&self.epoll, entrance, token, EventFlags::IN)
    }

    /// Lets go of the entrances of a serving, a little later: what is under way shall arrive, and
    /// where the same address is served by other sockets, it is these that the kernel may choose
    /// until they are closed. Where the sessions are lent, others have the sockets, and both are let
    /// go at once.
    fn leave(&mut self, id: u64, now: Instant) {
        for number in 0..self.entrances.len() as u32 {
            let entrance = self.entrances[number as usize].as_mut().filter(|one| one.id == id);
            let Some(entrance) = entrance else { continue };
            entrance.leaves = Some(now + LEAVE);
            self.next_look = Some(now);
            if self.is_lent {
                self.let_go(number);
            }
        }
    }

    /// Closes an entrance whose sessions go on elsewhere.
    fn let_go(&mut self, number: u32) {
        let Some(of) = self.entrance(number).map(|one| one.carried) else { return };
        let lent = self.carried_mut(of).map_or(0, |carried| carried.forget(number));
        self.sessions -= lent;
        self.close(number);
    }

    /// Closes an entrance by which no session came.
    fn close(&mut self, number: u32) {
        let Some(entrance) = self.entrances.get_mut(number as usize).and_then(Option::take) else {
            return;
        };
        // Others may have the same socket: it would stay in the set.
        let _ = epoll::delete(&self.epoll, &entrance);
        let carried = entrance.carried;
        let is_carried = self.entrances.iter().flatten().any(|one| one.carried == carried);
        if !is_carried {
            self.carried[carried as usize] = None;
        }
    }

    /// Ends what has gone idle, counts what has moved, and follows the settings.
    fn look(&mut self, now: Instant) {
        let last_look = std::mem::replace(&mut self.last_look, now);
        let mut next = now + LOOK;
        let is_lent = self.is_lent;
        for number in 0..self.carried.len() as u32 {
            let Some(carried) = self.carried_mut(number) else { continue };
            if is_lent {
                continue;
            }
            carried.follow_settings();
            carried.sessions.each_used_since(last_look, |session| session.count());
            let idle = carried.settings.timeouts.idle;
            let mut ended = 0;
            while carried.end_overdue(now, idle) {
                ended += 1;
            }
            carried.tell_oldest();
            if let Some((_, used)) = carried.sessions.oldest() {
                next = next.min(used + idle);
            }
            self.sessions -= ended;
        }
        self.end_left(now);
        let is_leaving = self.entrances.iter().flatten().any(|one| one.leaves.is_some());
        self.next_look = match (self.sessions, is_leaving) {
            (0, false) => None,
            (_, true) => Some(now + QUIET / 4),
            _ => Some(next.max(now + LEAST_LOOK)),
        };
    }

    /// Closes the entrances that are left. The sessions that came by them go on by others at the
    /// same address, or end when they are quiet.
    fn end_left(&mut self, now: Instant) {
        for number in 0..self.entrances.len() as u32 {
            let Some(left) = self.entrance(number) else { continue };
            let Some(last) = left.leaves else { continue };
            if self.is_lent {
                // Its sessions may come back, but to no process that ends.
                if self.stop.is_some() {
                    self.let_go(number);
                }
                continue;
            }
            let (carried, is_over) = (left.carried, now >= last);
            let heir = |one: &Option<Entrance>| one.as_ref().is_some_and(|one| one.inherits(left));
            if let Some(heir) = self.entrances.iter().position(heir) {
                if now + LEAVE >= last + QUIET {
                    if !left.is_outlet() {
                        // What came at the last moment.
                        self.forward(number, now);
                    }
                    self.carried_mut(carried)
                        .iter_mut()
                        .for_each(|one| one.rehome(number, heir as u32));
                    self.close(number);
                }
                continue;
            }
            let Some(carried) = self.carried_mut(carried) else { continue };
            let is_quiet = |used: Instant| now.saturating_duration_since(used) >= QUIET;
            let came_by_it = carried.sessions.iter().filter(|(.., one)| one.entrance == number);
            let left: Vec<(Index, bool)> =
                came_by_it.map(|(index, used, _)| (index, is_over || is_quiet(used))).collect();
            let quiet = left.iter().filter(|(_, is_quiet)| *is_quiet);
            let ended = quiet.filter(|(index, _)| carried.end(*index, Cause::Stopped, now)).count();
            self.sessions -= ended;
            if ended == left.len() {
                self.close(number);
            }
        }
    }

    /// Under which number it carries a service.
    pub(super) fn number_of(&self, service: &Arc<Service>) -> Option<usize> {
        let is_it = |one: &Carried| Arc::ptr_eq(&one.service, service);
        self.carried.iter().position(|one| one.as_ref().is_some_and(is_it))
    }

    pub(super) fn entrance(&self, number: u32) -> Option<&Entrance> {
        self.entrances.get(number as usize)?.as_ref()
    }

    pub(super) fn carried_mut(&mut self, number: u32) -> Option<&mut Carried> {
        self.carried.get_mut(number as usize)?.as_mut()
    }
}

/// Puts something where there is nothing, and says where.
fn put<T>(places: &mut Vec<Option<T>>, one: T) -> usize {
    let number = places.iter().position(Option::is_none).unwrap_or_else(|| {
        places.push(None);
        places.len() - 1
    });
    places[number] = Some(one);
    number
}

fn timespec(duration: Duration) -> Timespec {
    // Rounded up, so that it is over when the wait is.
    let duration = duration.saturating_add(Duration::from_micros(999));
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() }
}
