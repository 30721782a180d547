//! The access log: a line of JSON for each flow that ended, or for a sample of them. Whoever carries
//! flows does not wait for the disk: what finds no room on the way there is counted, and lost.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use serde::Serialize;

use super::ending::{Cause, Ending};
use super::settings::{self, Protocol};

/// Lines that wait for the disk.
const WAITING: usize = 8_192;
/// So many bytes are written at a time, at most.
const WRITE_BYTES: usize = 64 * 1024;
/// Of those that are turned away so many are noted a second, at most: strangers decide how many come.
const TURNED_AWAY: u64 = 100;
/// How soon it is looked again whether there is room for a line.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// That the file cannot be written is said no more often than this.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Where the ends of flows are noted, if they are.
#[derive(Debug, Default)]
pub struct AccessLog {
    open: ArcSwapOption<Open>,
    /// Lines that found no room, or could not be written.
    lost: Arc<AtomicU64>,
}

/// A file that is written, until this is dropped.
#[derive(Debug)]
struct Open {
    settings: settings::AccessLog,
    orders: SyncSender<Order>,
    since: Instant,
    /// In which second since then how many that were turned away have been noted.
    turned_away: AtomicU64,
}

#[derive(Debug)]
enum Order {
    Write(Line),
    /// Go on in this file: the other was moved away.
    GoOnIn(File),
    /// Say when all before it is written.
    Flush(SyncSender<()>),
}

/// What is noted of a flow.
#[derive(Debug)]
struct Line {
    time: SystemTime,
    service: String,
    ending: Ending,
}

/// As it is written.
#[derive(Serialize)]
struct Written<'a> {
    /// When it ended.
    time: String,
    service: &'a str,
    protocol: Protocol,
    client: SocketAddr,
    vip: SocketAddr,
    backend: Option<SocketAddr>,
    cause: Cause,
    /// From its first packet to its end.
    duration_ms: f64,
    /// Until it had a backend.
    connect_ms: Option<f64>,
    bytes_to_backend: u64,
    bytes_to_client: u64,
}

impl AccessLog {
    /// Writes where and what these settings say from now on. A file of the same name is opened
    /// again: it may have been moved away (log rotation).
    pub fn follow(&self, settings: Option<&settings::AccessLog>) -> io::Result<()> {
        let Some(settings) = settings else {
            self.open.store(None);
            return Ok(());
        };
        let file = open(&settings.path)?;
        let old = self.open.load();
        if let Some(old) = old.as_ref().filter(|old| old.settings == *settings)
            && old.orders.try_send(Order::GoOnIn(file.try_clone()?)).is_ok()
        {
            return Ok(());
        }
        let (orders, received) = sync_channel(WAITING);
        let writer =
            Writer { path: settings.path.clone(), file, lost: Arc::clone(&self.lost), said: None };
        std::thread::Builder::new()
            .name("l4-access-log".into())
            .spawn(move || writer.write_all(&received))?;
        self.open.store(Some(Arc::new(Open::new(settings.clone(), orders))));
        Ok(())
    }

    /// Where and what is written.
    pub fn settings(&self) -> Option<settings::AccessLog> {
        self.open.load().as_ref().map(|open| open.settings.clone())
    }

    /// Notes the end of a flow, if this one is to be noted.
    pub fn note(&self, service: &str, ending: &Ending) {
        if let Some(open) = self.open.load().as_ref().filter(|open| open.is_of_sample()) {
            self.write(open, service, ending);
        }
    }

    /// Notes that a flow was not let in, if this one is to be noted.
    pub fn note_turned_away(&self, service: &str, ending: &Ending, now: Instant) {
        let open = self.open.load();
        let open = open.as_ref().filter(|open| open.is_of_sample() && open.has_room(now));
        if let Some(open) = open {
            self.write(open, service, ending);
        }
    }

    fn write(&self, open: &Open, service: &str, ending: &Ending) {
        let line = Line { time: SystemTime::now(), service: service.into(), ending: *ending };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            open.orders.try_send(Order::Write(line))
        {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Returns when all that was noted before is written, or `within` is over: the lines of flows
    /// that end with the process would be lost with it. Blocks.
    pub fn flush(&self, within: Duration) {
        let Some(open) = self.open.load_full() else { return };
        let begun = Instant::now();
        let left = || within.saturating_sub(begun.elapsed());
        let (done, written) = sync_channel(1);
        let mut order = Order::Flush(done);
        while let Err(TrySendError::Full(again)) = open.orders.try_send(order) {
            if left().is_zero() {
                return;
            }
            order = again;
            std::thread::sleep(LOOK_AGAIN);
        }
        let _ = written.recv_timeout(left());
    }

    /// Lines that found no room, or could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

impl Open {
    fn new(settings: settings::AccessLog, orders: SyncSender<Order>) -> Open {
        Open { settings, orders, since: Instant::now(), turned_away: AtomicU64::new(0) }
    }

    fn is_of_sample(&self) -> bool {
        self.settings.sample >= 1.0 || fastrand::f64() < self.settings.sample
    }

    /// Whether one more that was turned away is noted in this second.
    fn has_room(&self, now: Instant) -> bool {
        let this = now.saturating_duration_since(self.since).as_secs() << 32;
        let counted = |latest: u64| match latest {
            latest if latest < this => Some(this + 1),
            latest if latest & u64::from(u32::MAX) < TURNED_AWAY => Some(latest + 1),
            _ => None,
        };
        self.turned_away.fetch_update(Relaxed, Relaxed, counted).is_ok()
    }
}

/// The thread that writes.
struct Writer {
    path: PathBuf,
    file: File,
    lost: Arc<AtomicU64>,
    said: Option<Instant>,
}

impl Writer {
    fn write_all(mut self, orders: &Receiver<Order>) {
        let mut text = Vec::with_capacity(WRITE_BYTES);
        let mut lines = 0;
        while let Ok(first) = orders.recv() {
            let mut next = Some(first);
            // What waits goes in few writes.
            while let Some(order) = next {
                match order {
                    Order::Write(line) => {
                        line.write_to(&mut text);
                        lines += 1;
                    }
                    Order::GoOnIn(file) => {
                        self.write(&mut text, &mut lines);
                        self.file = file;
                    }
                    Order::Flush(done) => {
                        self.write(&mut text, &mut lines);
                        // Whoever waited for too long has gone.
                        let _ = done.try_send(());
                    }
                }
                if text.len() > WRITE_BYTES {
                    break;
                }
                next = orders.try_recv().ok();
            }
            self.write(&mut text, &mut lines);
        }
    }

    fn write(&mut self, text: &mut Vec<u8>, lines: &mut u64) {
        if let Err(error) = self.file.write_all(text) {
            self.lost.fetch_add(*lines, Relaxed);
            if self.said.is_none_or(|said| said.elapsed() > SAY_AGAIN) {
                let path = self.path.display();
                tracing::error!("the access log {path} cannot be written: {error}");
                self.said = Some(Instant::now());
            }
        }
        text.clear();
        *lines = 0;
    }
}

impl Line {
    fn write_to(&self, text: &mut Vec<u8>) {
        let Line { time, service, ending } = self;
        let ms = |duration: Duration| duration.as_micros() as f64 / 1e3;
        let written = Written {
            time: humantime::format_rfc3339_millis(*time).to_string(),
            service,
            protocol: ending.flow.protocol,
            client: ending.flow.client,
            vip: ending.flow.vip,
            backend: ending.backend,
            cause: ending.cause,
            duration_ms: ms(ending.lasted),
            connect_ms: ending.connected_after.map(ms),
            bytes_to_backend: ending.bytes_to_backend,
            bytes_to_client: ending.bytes_to_client,
        };
        // Into memory, and of numbers and text alone: it cannot fail.
        let _ = serde_json::to_writer(&mut *text, &written);
        text.push(b'\n');
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l4::flow::Flow;

    fn ending(port: u16) -> Ending {
        let client = SocketAddr::from(([198, 51, 100, 7], port));
        let vip = SocketAddr::from(([203, 0, 113, 10], 443));
        Ending {
            flow: Flow { client, vip, protocol: Protocol::Tcp },
            backend: None,
            cause: Cause::NoBackend,
            lasted: Duration::from_micros(1_500),
            connected_after: None,
            bytes_to_backend: 0,
            bytes_to_client: 7,
        }
    }

    fn until_lines(path: &Path, count: usize) -> Vec<serde_json::Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() >= count || Instant::now() > deadline {
                let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                return lines.collect();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_line_a_flow_in_the_file_and_in_the_next_after_it_was_moved_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let settings = settings::AccessLog { path: path.clone(), sample: 1.0 };
        let log = AccessLog::default();
        log.note("web", &ending(1));
        log.follow(Some(&settings)).unwrap();
        log.note("web", &ending(2));
        let lines = until_lines(&path, 1);
        assert_eq!(lines.len(), 1, "what was before is not there");
        let expected = serde_json::json!({
            "time": lines[0]["time"], "service": "web", "protocol": "tcp",
            "client": "198.51.100.7:2", "vip": "203.0.113.10:443", "backend": null,
            "cause": "no-backend", "duration_ms": 1.5, "connect_ms": null,
            "bytes_to_backend": 0, "bytes_to_client": 7,
        });
        assert_eq!(lines[0], expected);
        let moved = directory.path().join("access.log.1");
        std::fs::rename(&path, &moved).unwrap();
        log.note("web", &ending(3));
        assert_eq!(until_lines(&moved, 2).len(), 2, "until it is told, it goes on in the old one");
        log.follow(Some(&settings)).unwrap();
        log.note("web", &ending(4));
        assert_eq!(until_lines(&path, 1)[0]["client"], "198.51.100.7:4");
        log.follow(None).unwrap();
        log.note("web", &ending(5));
        assert_eq!((until_lines(&path, 1).len(), log.lost()), (1, 0));
        let nowhere = settings::AccessLog { path: directory.path().join("no/where"), sample: 1.0 };
        assert!(log.follow(Some(&nowhere)).is_err());
    }

    #[test]
    fn what_was_noted_before_a_flush_is_in_the_file_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let log = AccessLog::default();
        log.flush(Duration::from_secs(20));
        log.follow(Some(&settings::AccessLog { path: path.clone(), sample: 1.0 })).unwrap();
        (0..5_000).for_each(|port| log.note("web", &ending(port)));
        log.flush(Duration::from_secs(20));
        let lines = std::fs::read_to_string(&path).unwrap().lines().count() as u64;
        assert_eq!(lines + log.lost(), 5_000);
        // Nobody writes: it is not waited for ever.
        let (orders, _unread) = sync_channel(1);
        let settings = settings::AccessLog { path, sample: 1.0 };
        log.open.store(Some(Arc::new(Open::new(settings, orders))));
        log.note("web", &ending(1));
        log.flush(Duration::from_millis(20));
    }

    #[test]
    fn a_flood_that_is_turned_away_writes_few_lines_a_second() {
        let log = AccessLog::default();
        let (orders, lines) = sync_channel(WAITING);
        let settings = settings::AccessLog { path: PathBuf::new(), sample: 1.0 };
        log.open.store(Some(Arc::new(Open::new(settings, orders))));
        let begin = Instant::now() + Duration::from_secs(10);
        let flood = |second: u64| {
            let now = begin + Duration::from_secs(second);
            (0..10_000).for_each(|port| log.note_turned_away("web", &ending(port), now));
            lines.try_iter().count() as u64
        };
        assert_eq!([0, 0, 1, 0, 5].map(flood), [TURNED_AWAY, 0, TURNED_AWAY, 0, TURNED_AWAY]);
        log.note("web", &ending(1));
        assert_eq!((lines.try_iter().count(), log.lost()), (1, 0), "others have their lines");
    }

    #[test]
    fn a_sample_is_a_sample_and_who_writes_slowly_loses_lines_but_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let log = AccessLog::default();
        log.follow(Some(&settings::AccessLog { path: path.clone(), sample: 0.1 })).unwrap();
        for port in 0..5_000 {
            log.note("web", &ending(port));
        }
        let lines = until_lines(&path, 300).len() as u64 + log.lost();
        assert!((300..800).contains(&lines), "{lines} of 5000");
        // Nobody reads it: it can hold what waits, and no more.
        let (orders, _unread) = sync_channel(WAITING);
        let settings = settings::AccessLog { path, sample: 1.0 };
        log.open.store(Some(Arc::new(Open::new(settings, orders))));
        let before = log.lost();
        for _ in 0..WAITING + 100 {
            log.note("web", &ending(9));
        }
        assert_eq!(log.lost(), before + 100);
    }
}
