//! One process takes over from another: this one from its predecessor, a successor from this one.

use std::io;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::Signal;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::{Daemon, End, Entrance, L4_GRACE, Window};
use crate::config::{ControlSocket, Loaded};
use crate::control::Control;
use crate::control::reload::Trigger;
use crate::handover::{
    Broken, Door, Failed, Handed, Inherited, Line, Predecessor, Ready, Request, Teller, offer,
};
use crate::l4::L4;

/// How long connections of the DNS may go on once another process answers.
const DNS_LINGER: Duration = Duration::from_secs(60);
/// How often the flows that are still carried are counted, and told if they have changed.
const TELL: Duration = Duration::from_millis(500);

/// The server that runs, and its sockets, for one that shall take over.
pub(super) async fn inherit(
    loaded: &Loaded,
    entrance: Entrance,
) -> anyhow::Result<(Option<Predecessor>, Inherited)> {
    if entrance != Entrance::Replacing {
        return Ok(Default::default());
    }
    let path = &loaded.settings.socket.path;
    crate::l4::allow_many_descriptors();
    let Some((predecessor, inherited)) = Predecessor::find(path).await? else {
        tracing::info!(path = %path.display(), "no server runs: there is nothing to replace");
        return Ok(Default::default());
    };
    let (pid, sockets) = (predecessor.pid(), inherited.len());
    tracing::info!(pid, sockets, "taking over");
    Ok((Some(predecessor), inherited))
}

/// Opens the door for the process after this one.
pub(super) fn open_door(
    socket: &ControlSocket,
    entrance: Entrance,
    inherited: &mut Inherited,
) -> anyhow::Result<Option<Door>> {
    if entrance == Entrance::Apart {
        return Ok(None);
    }
    match Door::open(&socket.path, inherited) {
        Ok(door) => Ok(Some(door)),
        Err(error) if socket.is_wanted => Err(error.into()),
        Err(error) => {
            tracing::warn!("{error}");
            Ok(None)
        }
    }
}

/// Says that this process serves, once it does, and waits until the old one takes nothing new.
pub(super) async fn finish(predecessor: Predecessor, control: &Control) -> anyhow::Result<()> {
    let pid = predecessor.pid();
    match predecessor.replaced().await {
        Err(Broken::Refused(reason)) => {
            Err(Broken::Refused(reason)).context("the server that runs serves on")
        }
        Err(broken) => {
            tracing::warn!(
                pid,
                "the process before this one does not say that it is done: {broken}"
            );
            Ok(())
        }
        Ok(()) => {
            // What the operator has told the other in the meantime.
            control.read_overrides_again();
            tracing::info!(pid, "the process before this one has handed over");
            Ok(())
        }
    }
}

/// The next process that asks to take over.
pub(super) async fn caller(door: Option<&Door>) -> Line {
    match door {
        Some(door) => door.caller().await,
        None => std::future::pending().await,
    }
}

/// Another process serves.
pub(super) struct Replaced {
    successor: Ready,
    /// What this one still carries is told over it.
    teller: Teller,
}

impl Replaced {
    /// The number of that process.
    pub(super) fn pid(&self) -> u32 {
        self.successor.pid
    }
}

/// A replacement that may be under way.
#[derive(Default)]
pub(super) struct Offering {
    task: Option<JoinHandle<Result<Ready, Failed>>>,
    /// A reload that waits for its end.
    postponed: Option<Trigger>,
}

impl Offering {
    pub(super) fn is_under_way(&self) -> bool {
        self.task.is_some()
    }

    /// Hands the sockets to whoever has called, one at a time.
    pub(super) fn begin(&mut self, line: Line, handed: io::Result<Vec<Handed>>) {
        if self.is_under_way() {
            tokio::spawn(line.turn_away("another process is about to take over"));
            return;
        }
        match handed {
            Ok(handed) => self.task = Some(tokio::spawn(offer(line, handed))),
            Err(error) => {
                tracing::error!(%error, "the sockets cannot be handed over");
                let reason = format!("its sockets cannot be handed over: {error}");
                tokio::spawn(line.turn_away(reason));
            }
        }
    }

    /// What becomes of it.
    pub(super) async fn outcome(&mut self) -> Result<Ready, Failed> {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let offered = task.await;
        self.task = None;
        // It is aborted by nobody.
        offered.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Remembers that the files are to be read.
    pub(super) fn postpone(&mut self, trigger: Trigger) {
        tracing::info!("the files are read again if the process that asked does not take over");
        if self.postponed != Some(Trigger::Request) {
            self.postponed = Some(trigger);
        }
    }

    /// What was to be read, if the replacement has failed.
    pub(super) fn postponed(&mut self) -> Option<Trigger> {
        self.postponed.take()
    }
}

impl Daemon {
    /// Duplicates of all listening sockets.
    pub(super) fn handed(&self) -> io::Result<Vec<Handed>> {
        let mut handed = self.forwarder.l4.handed()?;
        if let Some(dns) = &self.dns {
            handed.extend(dns.handed()?);
        }
        if let Some(Window { handed: Handed { name, socket }, .. }) = &self.admin {
            handed.push(Handed { name: name.clone(), socket: socket.try_clone()? });
        }
        if let Some(door) = &self.door {
            handed.push(door.handed()?);
        }
        Ok(handed)
    }

    /// Lets a process that is ready serve. Until it does, this one does as if nothing had been.
    pub(super) async fn let_serve(
        &mut self,
        offered: Result<Ready, Failed>,
    ) -> Result<Replaced, Failed> {
        let ready = offered?;
        let l4 = &self.forwarder.l4;
        let sessions = l4.lend().await;
        let elders = self.elders.lend().await;
        match ready.let_serve(sessions, l4.flows(), &elders).await {
            Ok(teller) => Ok(Replaced { successor: ready, teller }),
            Err(failed) => {
                l4.take_back();
                self.elders.hear();
                Err(failed)
            }
        }
    }

    /// Takes nothing new, as another process does, and carries what there is to its end.
    pub(super) async fn linger(self, by: Replaced, hang_up: &mut Signal, end: &mut End) {
        let Replaced { successor, mut teller } = by;
        let l4 = self.forwarder.l4.clone();
        tokio::select! {
            () = self.carry_to_the_end(successor, end) => {}
            // To the very end, which tells itself.
            () = tell(&mut teller, hang_up, &l4) => {}
        }
    }

    async fn carry_to_the_end(self, successor: Ready, end: &mut End) {
        let Daemon {
            loaded,
            control,
            secondaries,
            mut dns,
            notifying,
            forwarder,
            elders,
            admin,
            door,
            ..
        } = self;
        // The other hears them.
        drop(elders);
        let (pid, l4) = (successor.pid, forwarder.l4);
        door.into_iter().for_each(Door::leave);
        notifying.into_iter().for_each(|notifying| notifying.abort());
        if let Some(Window { stop, task, handed }) = admin {
            drop(handed);
            stop.cancel();
            let _ = task.await;
        }
        if let Some(dns) = &mut dns {
            dns.retire().await;
        }
        l4.retire().await;
        successor.retired().await;
        tracing::info!(pid, "another process serves; connections that stand go on to their end");
        // Facts are the other's business now; the files of zones, too.
        drop((control, secondaries));
        let dns_ended = async {
            if let Some(dns) = &dns {
                let _ = tokio::time::timeout(DNS_LINGER, dns.connections_ended()).await;
            }
        };
        tokio::select! {
            () = end.comes() => {}
            _ = async { tokio::join!(dns_ended, l4.ended(loaded.settings.l4.linger)) } => {}
        }
        if let Some(dns) = dns {
            dns.stop().await;
        }
        l4.stop(L4_GRACE).await;
    }
}

/// Tells how many flows there are, whenever that has changed, and opens the access log again when it
/// shall.
async fn tell(teller: &mut Teller, hang_up: &mut Signal, l4: &L4) {
    let mut ticks = tokio::time::interval(TELL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_heard = true;
    loop {
        let is_to_reopen = tokio::select! {
            _ = hang_up.recv() => true,
            request = teller.asked(), if is_heard => {
                is_heard = request.is_ok();
                matches!(request, Ok(Request::ReopenLogs))
            }
            _ = ticks.tick(), if is_heard => {
                is_heard = teller.tell(&l4.flows()).await.is_ok();
                false
            }
        };
        if is_to_reopen && let Err(error) = l4.reopen_log() {
            tracing::error!("{error}");
        }
    }
}
