//! Looks after one zone: asks its primaries when it is time or something is announced, takes what
//! is newer, and gives the zone up when nobody has answered for too long.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::exchange::{self, Failure, LIMITS};
use super::{
    Install, Kept, Primary, Schedule, SecondarySettings, SecondaryStatus, Shared, What, storage,
};
use crate::control::status::unix_seconds;
use crate::dns::{Name, Rtype};
use crate::transfer::incoming::{Arrival, Fault};
use crate::transfer::records::Records;
use crate::transfer::soa::{Soa, is_newer};

/// What a task is told.
#[derive(Debug)]
pub(super) enum Bell {
    /// A primary has announced a new version.
    Announced(IpAddr),
    /// The files were read again; is the zone served?
    Reloaded { has_data: bool },
}

pub(super) struct Task {
    origin: Name,
    primaries: Vec<Primary>,
    file: PathBuf,
    shared: Arc<Shared>,
    bell: mpsc::Receiver<Bell>,
    begun: Instant,
    schedule: Schedule,
    /// Nothing is served.
    is_bare: bool,
    /// Who is asked first, as it has announced something.
    announcer: Option<IpAddr>,
    status: SecondaryStatus,
}

/// What came of asking one primary.
enum News {
    /// It has nothing newer than this, which is kept.
    None(Soa),
    /// This is served now.
    Taken(Soa),
}

impl Task {
    pub(super) fn new(
        zone: &SecondarySettings,
        shared: Arc<Shared>,
        bell: mpsc::Receiver<Bell>,
    ) -> Task {
        let now = SystemTime::now();
        let age = |kept: &Kept| now.duration_since(kept.confirmed).unwrap_or_default();
        let schedule =
            Schedule::new(zone.kept.as_ref().map(|kept| (&kept.soa, age(kept))), Duration::ZERO);
        let origin = zone.overlay.origin.clone();
        let status = SecondaryStatus {
            origin: origin.to_string(),
            primaries: zone.primaries.iter().map(|primary| primary.address).collect(),
            primary: None,
            serial: zone.kept.map(|kept| kept.soa.serial),
            refreshed: zone.kept.map(|kept| unix_seconds(kept.confirmed)),
            next: None,
            expires: None,
            is_expired: zone.kept.is_some_and(|kept| kept.is_expired),
            transfers_total: 0,
            failures_total: 0,
            last_error: None,
            warning: None,
        };
        let task = Task {
            origin,
            primaries: zone.primaries.clone(),
            file: zone.file.clone(),
            shared,
            bell,
            begun: Instant::now(),
            schedule,
            is_bare: zone.kept.is_none_or(|kept| kept.is_expired),
            announcer: None,
            status,
        };
        task.tell();
        task
    }

    /// Ends when nobody is left to ring the bell.
    pub(super) async fn run(mut self) {
        let mut is_awaited = self.is_bare;
        loop {
            if !self.wait().await {
                return;
            }
            self.expire_if_due().await;
            if self.schedule.due().is_some_and(|due| due <= self.now()) {
                self.look().await;
                self.tell();
                if std::mem::take(&mut is_awaited) {
                    self.shared.tried.send_modify(|tried| *tried += 1);
                }
            }
        }
    }

    /// Until something is to be done; false when there will be nothing any more.
    async fn wait(&mut self) -> bool {
        let expires = self.schedule.expires().filter(|_| !self.is_bare);
        let next = [self.schedule.due(), expires].into_iter().flatten().min();
        let until = async {
            match next {
                Some(next) => tokio::time::sleep_until(self.begun + next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What is due comes first, however often the bell rings.
            biased;
            () = until => true,
            rung = self.bell.recv() => {
                rung.map(|bell| self.hear(bell)).is_some()
            }
        }
    }

    fn hear(&mut self, bell: Bell) {
        match bell {
            Bell::Announced(source) => self.announcer = Some(source),
            // What was lost is fetched again.
            Bell::Reloaded { has_data: false } => self.is_bare = true,
            Bell::Reloaded { has_data: true } => return,
        }
        self.schedule.announce(self.now());
    }

    async fn expire_if_due(&mut self) {
        let is_due = self.schedule.expires().is_some_and(|expires| expires <= self.now());
        if is_due && !self.is_bare {
            let origin = &self.origin;
            tracing::error!(%origin, "the zone has expired: no primary has answered for too long");
            (self.is_bare, self.status.is_expired) = (true, true);
            if let Err(error) = self.install(What::Nothing).await {
                tracing::error!(origin = %self.origin, "it is served on: {error}");
            }
            self.tell();
        }
    }

    /// Asks the primaries, one after another, until one tells something that can be used.
    async fn look(&mut self) {
        self.schedule.begin(self.now());
        let mut primaries = self.primaries.clone();
        let announcer = self.announcer.take();
        primaries.sort_by_key(|primary| Some(primary.address.ip()) != announcer);
        let mut errors = Vec::new();
        for primary in primaries {
            let address = primary.address;
            match self.look_at(&primary).await {
                Ok(news) => return self.note_news(news, address).await,
                Err(error) => errors.push(format!("{address}: {error}")),
            }
        }
        let error = errors.join("; ");
        let origin = &self.origin;
        // What goes on for long is said once.
        if self.status.last_error.as_ref() != Some(&error) {
            tracing::warn!(%origin, "the zone cannot be refreshed: {error}");
        }
        self.status.failures_total += 1;
        self.status.last_error = Some(error);
        self.listen();
        self.schedule.fail(self.now(), fastrand::f64());
    }

    /// What was rung meanwhile.
    fn listen(&mut self) {
        while let Ok(bell) = self.bell.try_recv() {
            self.hear(bell);
        }
    }

    async fn note_news(&mut self, news: News, primary: SocketAddr) {
        let (News::None(soa) | News::Taken(soa)) = news;
        if let News::Taken(_) = news {
            self.status.transfers_total += 1;
            let (origin, serial) = (&self.origin, soa.serial);
            tracing::info!(%origin, serial, %primary, "the zone was transferred");
        }
        (self.is_bare, self.status.is_expired) = (false, false);
        self.status.primary = Some(primary);
        self.status.serial = Some(soa.serial);
        self.status.refreshed = Some(unix_seconds(SystemTime::now()));
        self.status.last_error = None;
        self.listen();
        self.schedule.succeed(&soa, self.now(), fastrand::f64());
    }

    async fn look_at(&mut self, primary: &Primary) -> Result<News, String> {
        let (file, origin) = (self.file.clone(), self.origin.clone());
        let kept = off_thread(move || storage::soa(&file, &origin)).await;
        let Some(kept) = kept else { return self.look_at_whole(primary).await };
        let (shared, origin) = (Arc::clone(&self.shared), self.origin.clone());
        let (asked, file) = (primary.clone(), self.file.clone());
        let taken = async move { take_newer(&shared, &asked, &origin, &file, kept).await };
        match self.while_expiring(taken).await? {
            Some(records) => self.keep(records).await,
            None => {
                let (file, now) = (self.file.clone(), SystemTime::now());
                let confirmed = off_thread(move || storage::confirm(&file, now)).await;
                if let Err(error) = confirmed {
                    let file = self.file.display();
                    tracing::error!(%file, %error, "cannot note that the zone was confirmed");
                }
                if self.is_bare
                    && let Err(error) = self.install(What::Kept).await
                {
                    let origin = &self.origin;
                    tracing::warn!(%origin, "what is kept cannot be served ({error}): the whole zone is asked for");
                    return self.look_at_whole(primary).await;
                }
                Ok(News::None(kept))
            }
        }
    }

    async fn look_at_whole(&mut self, primary: &Primary) -> Result<News, String> {
        let (shared, origin) = (Arc::clone(&self.shared), self.origin.clone());
        let records = self.while_expiring(take_whole(shared, primary.clone(), origin)).await?;
        self.keep(records).await
    }

    /// Has what has come kept and served.
    async fn keep(&mut self, records: Records) -> Result<News, String> {
        let soa = records.iter().find(|record| record.rtype == Rtype::SOA);
        let soa = soa.and_then(|soa| Soa::read(soa.rdata)).ok_or("the zone has no SOA record")?;
        let origin = self.origin.clone();
        let text = off_thread(move || storage::text(&origin, &records)).await;
        self.install(What::Text(text)).await?;
        Ok(News::Taken(soa))
    }

    async fn install(&mut self, what: What) -> Result<(), String> {
        let (done, result) = oneshot::channel();
        let gone = |()| "the server stops".to_string();
        let install = Install { origin: self.origin.clone(), what, done };
        self.shared.installs.send(install).await.map_err(|_| gone(()))?;
        let warning = result.await.map_err(|_| gone(()))??;
        // What stays doubtful is said once.
        if let Some(warning) = warning.as_ref().filter(|_| warning != self.status.warning) {
            let origin = &self.origin;
            tracing::warn!(%origin, "{warning}");
        }
        self.status.warning = warning;
        Ok(())
    }

    /// Does something that may take long; meanwhile the zone may expire.
    async fn while_expiring<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, String> {
        let mut work = std::pin::pin!(work);
        loop {
            let expires = self.schedule.expires().filter(|_| !self.is_bare);
            let at = self.begun + expires.unwrap_or_default();
            tokio::select! {
                done = &mut work => return done.map_err(|failure| failure.to_string()),
                () = tokio::time::sleep_until(at), if expires.is_some() => {
                    self.expire_if_due().await;
                }
            }
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Puts the state on the board.
    fn tell(&self) {
        let (now, wall) = (self.now(), unix_seconds(SystemTime::now()));
        let at = |time: Duration| wall.saturating_add(time.saturating_sub(now).as_secs());
        let mut status = self.status.clone();
        status.next = self.schedule.due().map(at);
        status.expires = self.schedule.expires().filter(|_| !status.is_expired).map(at);
        self.shared.board.lock().insert(status.origin.clone(), status);
    }
}

async fn take_whole(
    shared: Arc<Shared>,
    primary: Primary,
    origin: Name,
) -> Result<Records, Failure> {
    let _permit = shared.transfers.acquire().await;
    match exchange::transfer(&primary, &origin, None, &LIMITS).await? {
        Arrival::Whole(records) => Ok(records),
        // Neither answers a request for all of the zone.
        Arrival::UpToDate { .. } | Arrival::Changes(_) => Err(Fault::OutOfSequence.into()),
    }
}

/// Asks for what is newer than what is kept; none if nothing is.
async fn take_newer(
    shared: &Arc<Shared>,
    primary: &Primary,
    origin: &Name,
    file: &std::path::Path,
    kept: Soa,
) -> Result<Option<Records>, Failure> {
    let theirs = {
        let _permit = shared.questions.acquire().await;
        exchange::ask(primary, origin, &LIMITS).await?
    };
    if !is_newer(theirs.serial, kept.serial) {
        if theirs.serial != kept.serial {
            let (ours, theirs) = (kept.serial, theirs.serial);
            tracing::warn!(%origin, ours, theirs, "the primary has an older version than we");
        }
        return Ok(None);
    }
    let permit = shared.transfers.acquire().await;
    let arrival = match exchange::transfer(primary, origin, Some(kept.serial), &LIMITS).await {
        Ok(arrival) => arrival,
        // Who does not know changes has the whole; and what is odd about changes may not be so
        // about the whole.
        Err(Failure::Fault(fault)) => {
            tracing::info!(%origin, "no changes ({fault}): the whole zone is asked for");
            drop(permit);
            return take_whole(Arc::clone(shared), primary.clone(), origin.clone()).await.map(Some);
        }
        Err(failure) => return Err(failure),
    };
    drop(permit);
    match arrival {
        Arrival::UpToDate { .. } => Ok(None),
        Arrival::Whole(records) => Ok(Some(records)),
        Arrival::Changes(deltas) => {
            let (file, name) = (file.to_path_buf(), origin.clone());
            let changed = off_thread(move || {
                let stored = storage::read(&file, &name).ok().flatten();
                let records = stored.and_then(|stored| Records::from_text(&stored.text));
                records.ok_or("what is kept cannot be read".to_string()).and_then(|records| {
                    records.changed(&deltas).map_err(|misfit| misfit.to_string())
                })
            });
            match changed.await {
                Ok(records) => Ok(Some(records)),
                Err(error) => {
                    tracing::warn!(%origin, "the changes do not fit ({error}): the whole zone is asked for");
                    take_whole(Arc::clone(shared), primary.clone(), origin.clone()).await.map(Some)
                }
            }
        }
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let task = tokio::task::spawn_blocking(work);
    task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
