//! Small requests and answers over standing connections: how many, and how long each takes.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags};
use rustix::time::{self, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::poll::{Poll, connect_patiently};

/// Bytes of a request whose latency is measured.
const SMALL: usize = 64;

/// Standing connections, on each of which one request at most is under way.
struct Clients {
    poll: Poll,
    sockets: Vec<OwnedFd>,
    /// When the request was due, and how many bytes of its answer are missing.
    open: Vec<Option<(Instant, usize)>>,
    request: Vec<u8>,
    buffer: Vec<u8>,
    /// In nanoseconds.
    latencies: Vec<u32>,
    broken: u64,
}

impl Clients {
    fn new(address: SocketAddr, count: usize, bytes: usize) -> io::Result<Clients> {
        let poll = Poll::new()?;
        let sockets: Vec<OwnedFd> =
            (0..count).map(|_| connect_patiently(address)).collect::<io::Result<_>>()?;
        for (number, socket) in sockets.iter().enumerate() {
            poll.reading(socket, number)?;
        }
        let (request, buffer) = (vec![b'r'; bytes], vec![0; bytes]);
        let open = vec![None; count];
        let latencies = Vec::with_capacity(1 << 20);
        Ok(Clients { poll, sockets, open, request, buffer, latencies, broken: 0 })
    }

    /// Sends a request on that connection, which must have none under way.
    fn ask(&mut self, number: usize, due: Instant) {
        match net::send(&self.sockets[number], &self.request, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == self.request.len() => self.open[number] = Some((due, sent)),
            _ => self.broken += 1,
        }
    }

    /// Waits, and puts those connections into `answered` whose answer is complete.
    fn receive(&mut self, limit: Duration, answered: &mut Vec<usize>) -> io::Result<()> {
        for number in self.poll.wait(Some(limit))? {
            let Some(Some((due, missing))) = self.open.get_mut(number) else { continue };
            match net::recv(&self.sockets[number], &mut self.buffer[..], RecvFlags::empty()) {
                Ok((_, length @ 1..)) => *missing = missing.saturating_sub(length),
                Err(Errno::AGAIN) => {}
                _ => {
                    self.broken += 1;
                    self.open[number] = None;
                    continue;
                }
            }
            if *missing == 0 {
                self.latencies.push(due.elapsed().as_nanos().min(u32::MAX.into()) as u32);
                self.open[number] = None;
                answered.push(number);
            }
        }
        Ok(())
    }

    fn print(&mut self, seconds: f64) {
        self.latencies.sort_unstable();
        let count = self.latencies.len();
        let at = |part: f64| match count {
            0 => f64::NAN,
            _ => f64::from(self.latencies[(part * (count - 1) as f64) as usize]) / 1e3,
        };
        println!(
            "{{\"done\": {count}, \"failed\": {}, \"seconds\": {seconds:.4}, \"p50\": {:.2}, \
             \"p90\": {:.2}, \"p99\": {:.2}, \"p999\": {:.2}}}",
            self.broken,
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999)
        );
    }
}

/// On each connection the next request follows the answer.
pub fn saturate(address: SocketAddr, seconds: f64, open: usize, bytes: usize) -> io::Result<()> {
    let mut clients = Clients::new(address, open, bytes)?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    (0..open).for_each(|number| clients.ask(number, begin));
    let mut answered = Vec::new();
    while Instant::now() < end {
        answered.clear();
        clients.receive(Duration::from_millis(100), &mut answered)?;
        for &number in &answered {
            clients.ask(number, Instant::now());
        }
    }
    clients.print(begin.elapsed().as_secs_f64());
    Ok(())
}

/// Where `Clock` stands among what is watched.
const CLOCK: usize = usize::MAX;

/// Wakes the poll to the microsecond; its own limit is rounded up to a millisecond.
struct Clock(OwnedFd);

impl Clock {
    fn new(poll: &Poll) -> io::Result<Clock> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        poll.reading(&timer, CLOCK)?;
        Ok(Clock(timer))
    }

    /// Wakes it after that time.
    fn set(&self, after: Duration) -> io::Result<()> {
        let it_value = Timespec {
            tv_sec: after.as_secs() as i64,
            // Zero would disarm it.
            tv_nsec: i64::from(after.subsec_nanos()).max(1),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval, it_value };
        time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }
}

/// Requests come at random, so many a second, and count from the moment at which they were due: what
/// waits because another is slow counts, too.
pub fn at_rate(address: SocketAddr, seconds: f64, open: usize, rate: f64) -> io::Result<()> {
    let mut clients = Clients::new(address, open, SMALL)?;
    let clock = Clock::new(&clients.poll)?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let gap = |random: f64| Duration::from_secs_f64(-(1.0 - random).ln() / rate);
    let mut next = begin;
    let mut free: VecDeque<usize> = (0..open).collect();
    let mut answered = Vec::new();
    let mut set_to = begin;
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        while next <= now {
            let Some(number) = free.pop_front() else { break };
            clients.ask(number, next);
            next += gap(fastrand::f64());
        }
        // With no connection free there is nothing to do before an answer comes.
        if !free.is_empty() && set_to != next {
            set_to = next;
            clock.set(next.saturating_duration_since(now))?;
        }
        answered.clear();
        clients.receive(Duration::from_millis(100), &mut answered)?;
        free.extend(&answered);
    }
    clients.print(begin.elapsed().as_secs_f64());
    Ok(())
}
