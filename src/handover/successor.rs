//! The old process's side: hands its sockets over, and serves on until the new one does.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::line::{HELLO_TIMEOUT, MOST_DESCRIPTORS, Message, VERSION};
use super::{Broken, Elder, Flows, Handed, Line, Teller};

/// The new process is ready by then: its checks have run, and its zones have come.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(600);
/// The new process serves by then, once it may.
const SERVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A new process that could serve.
#[derive(Debug)]
pub struct Ready {
    line: Line,
    /// Its number.
    pub pid: u32,
}

/// Why a new process does not take over.
#[derive(Debug, Error)]
#[error("{what}: {cause}")]
pub struct Failed {
    what: &'static str,
    cause: Broken,
}

/// Hands these sockets to the process on that line, and waits until it is ready. This process
/// serves on meanwhile, and if it fails.
pub async fn offer(line: Line, sockets: Vec<Handed>) -> Result<Ready, Failed> {
    let failed = |what| move |cause| Failed { what, cause };
    let pid = match line.receive(HELLO_TIMEOUT).await {
        Ok((Message::Hello { version: VERSION, pid }, _)) => pid,
        Ok((Message::Hello { version, .. }, _)) => {
            let reason = format!(
                "it hands over in version {VERSION} of the protocol, and not {version}: stop it, \
                 and start this one"
            );
            line.refuse(reason.clone()).await;
            return Err(failed("a process asked to take over")(Broken::Strange(reason)));
        }
        Ok((message, _)) => return message.strange().map_err(failed("somebody called")),
        Err(broken) => return Err(failed("somebody called")(broken)),
    };
    for some in sockets.chunks(MOST_DESCRIPTORS) {
        let names = some.iter().map(|handed| handed.name.clone()).collect();
        let descriptors: Vec<_> = some.iter().map(|handed| &handed.socket).collect();
        let sent = line.send(&Message::Sockets { names }, &descriptors).await;
        sent.map_err(failed("the sockets were not taken"))?;
    }
    let complete = Message::Complete { pid: std::process::id() };
    let sent = line.say(&complete).await;
    sent.map_err(failed("the sockets were not taken"))?;
    match line.receive(PREPARE_TIMEOUT).await {
        Ok((Message::Ready, _)) => Ok(Ready { line, pid }),
        Ok((message, _)) => message.strange().map_err(failed("the new process failed")),
        Err(broken) => {
            line.refuse("it has waited too long, and serves on").await;
            Err(failed("the new process failed")(broken))
        }
    }
}

impl Ready {
    /// Lets the new process serve, with these sessions, and returns when it does. It is told that
    /// this process has these flows, and where those before this one tell of theirs; the teller is
    /// for what this one has later. After an error it does not serve.
    pub async fn let_serve(
        &self,
        sessions: Vec<(Value, OwnedFd)>,
        flows: Flows,
        elders: &[Arc<Elder>],
    ) -> Result<Teller, Failed> {
        let served = self.try_let_serve(sessions, flows, elders).await;
        if served.is_err() {
            self.line.refuse("it has taken its word back, and serves on").await;
        }
        served.map_err(|cause| Failed { what: "the new process failed at the last step", cause })
    }

    async fn try_let_serve(
        &self,
        mut sessions: Vec<(Value, OwnedFd)>,
        flows: Flows,
        elders: &[Arc<Elder>],
    ) -> Result<Teller, Broken> {
        while !sessions.is_empty() {
            let rest = sessions.split_off(sessions.len().min(MOST_DESCRIPTORS));
            let (some, descriptors): (_, Vec<OwnedFd>) =
                std::mem::replace(&mut sessions, rest).into_iter().unzip();
            self.line.send(&Message::Sessions { sessions: some }, &descriptors).await?;
        }
        let (teller, this) = Teller::pair(flows)?;
        let elders: Vec<Arc<Elder>> =
            std::iter::once(Arc::new(this)).chain(elders.iter().cloned()).collect();
        for some in elders.chunks(MOST_DESCRIPTORS) {
            let pids = some.iter().map(|elder| elder.pid).collect();
            self.line.send(&Message::Elders { pids }, some).await?;
        }
        for (elder, of) in elders.iter().enumerate() {
            for change in of.flows().changes_since(&Flows::default()) {
                self.line.say(&Message::Carried { elder, change }).await?;
            }
        }
        self.line.say(&Message::Yours).await?;
        match self.line.receive(SERVE_TIMEOUT).await? {
            (Message::Serving, _) => Ok(teller),
            (message, _) => message.strange(),
        }
    }

    /// Tells the new process that this one takes nothing new.
    pub async fn retired(self) {
        // It serves whether it hears that or not.
        let _ = self.line.say(&Message::Retired).await;
    }
}
