//! Builds the floors bottom-up, runs them, and stops them top-down.

mod backends;
mod elders;
mod replace;
mod supervisor;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::config::source::Source;
use crate::config::{self, ControlSocket, Diagnostic, Loaded, Rejected, Severity};
use crate::control::override_file::OverrideFile;
use crate::control::reload::{FileWatch, Trigger};
use crate::control::secondary::{Install, Secondaries};
use crate::control::serials::Serials;
use crate::control::status::unix_seconds;
use crate::control::{self, Control, Override};
use crate::handover::{Door, Failed, Handed, Line, Ready, Request, Turn};
use crate::l4::{self, L4};
use crate::transport;
use crate::zone::{Condition, Zone};
use backends::{Forwarder, laid_over};
use elders::Elders;
use replace::Replaced;
use supervisor::{State, Supervisor};

/// How many announcements of primaries wait to be looked at.
const ANNOUNCEMENTS: usize = 256;
/// How long connections of the forwarder may go on after the order to stop.
const L4_GRACE: Duration = Duration::from_secs(5);
/// What the supervisor is told while nothing is wrong.
const SERVING: &str = "serving";

/// How a server comes to its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// It opens them, and no other process can take over from it.
    Apart,
    /// It opens them, and others can take over from it.
    Fresh,
    /// It takes over from the server that runs with the same configuration, if one does.
    Replacing,
}

/// What a reload cannot change.
struct Fixed {
    dns: Option<transport::Settings>,
    admin: Option<admin::Settings>,
    overrides: PathBuf,
    socket: ControlSocket,
}

/// A server that runs.
struct Daemon {
    path: PathBuf,
    loaded: Loaded,
    serials: Arc<Serials>,
    fixed: Fixed,
    control: Control,
    secondaries: Secondaries,
    dns: Option<transport::Running>,
    /// Tells other servers of changes.
    notifying: Option<tokio::task::JoinHandle<()>>,
    forwarder: Forwarder,
    /// The processes before this one that still carry flows.
    elders: Elders,
    admin: Option<Window>,
    /// Where another process asks to take over.
    door: Option<Door>,
    supervisor: Supervisor,
}

/// The admin page and API.
struct Window {
    /// A duplicate of its socket, to be handed over.
    handed: Handed,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Runs what the configuration asks for, calls `ready` once everything listens, and returns when a
/// signal ends it, or another process has taken over and all connections have ended.
pub async fn serve(
    path: &Path,
    loaded: Loaded,
    entrance: Entrance,
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut end = End {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    // Watched from before the first facts are served, so that no change falls in between.
    let mut files = FileWatch::new(&loaded.files, loaded.begun);
    // A round of checks may take long; nobody shall have to wait for it to stop the program.
    let mut daemon = tokio::select! {
        started = Daemon::start(path, loaded, entrance) => started?,
        () = end.comes() => return Ok(()),
    };
    tracing::info!("serving");
    if entrance == Entrance::Replacing {
        // As good as the reload that the process before may have been asked for in the meantime.
        daemon.supervisor.tell(State::Reloading);
    }
    daemon.supervisor.tell(State::Ready(SERVING));
    ready();
    match daemon.run(&mut hang_up, &mut end, &mut files).await {
        Ending::Stopped => {
            tracing::info!("stopping");
            daemon.supervisor.tell(State::Stopping);
            daemon.stop().await;
        }
        Ending::Replaced(by) => {
            // Before the other hears that it is alone, and says something itself.
            daemon.supervisor.tell(State::ReplacedBy(by.pid()));
            daemon.linger(by, &mut hang_up, &mut end).await;
        }
    }
    Ok(())
}

/// How a server comes to its end.
enum Ending {
    /// By a signal.
    Stopped,
    /// Another process serves.
    Replaced(Replaced),
}

/// What a running server does next.
enum Due {
    /// Its files are read again.
    Reload(Trigger),
    /// A zone has come from its primary.
    Install(Install),
    /// Another process asks to take over.
    Offer(Line),
    /// It is ready, or has failed.
    Offered(Result<Ready, Failed>),
}

/// The signals that end the program.
struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    async fn comes(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Fixed {
    fn of(loaded: &Loaded) -> Fixed {
        let config::Settings { dns, admin, overrides, socket, .. } = &loaded.settings;
        let (dns, admin) = (dns.clone(), admin.clone());
        Fixed { dns, admin, overrides: overrides.clone(), socket: socket.clone() }
    }

    /// What is different in `new`, and so takes another process, or a restart.
    fn pending(&self, new: &Fixed, path: &Path) -> Vec<String> {
        let is_admin_other = self.admin != new.admin || self.overrides != new.overrides;
        let is_socket_other = self.socket.path != new.socket.path;
        let replace = "that takes another process: `portolan serve --replace`";
        let restart = "that takes a restart: the next process would ask there, and find nobody";
        let changed = [
            ("[dns]", self.dns != new.dns, replace),
            ("[admin]", is_admin_other, replace),
            ("[admin] socket", is_socket_other, restart),
        ];
        let changed = changed.into_iter().filter(|(_, is_other, _)| *is_other);
        let path = path.display();
        changed.map(|(what, _, way)| format!("{path}: {what} changed; {way}")).collect()
    }
}

impl Daemon {
    /// Starts what the configuration asks for, bottom-up: what is answered is known before the
    /// sockets open. What another process serves, it serves until all of it is ready here.
    async fn start(path: &Path, loaded: Loaded, entrance: Entrance) -> anyhow::Result<Daemon> {
        let (predecessor, mut inherited) = replace::inherit(&loaded, entrance).await?;
        for warning in &loaded.warnings {
            tracing::warn!("{}", one_line(warning));
        }
        let settings = &loaded.settings;
        let override_file = OverrideFile::new(settings.overrides.clone());
        let (overrides, unreadable) = override_file.load(unix_seconds(SystemTime::now()));
        if let Some(warning) = unreadable {
            tracing::error!("{warning}");
        }
        for one in overrides.list() {
            let Override { target, action, .. } = one;
            tracing::warn!("an override from before this start is in force: {target} is {action}");
        }
        // The VIPs before the checks of pools, which may be checks of these very VIPs.
        let no_l4 = "the L4 services do not start";
        let files = settings.l4.clone();
        let words: Vec<Override> = overrides.list().cloned().collect();
        let prepared = l4::prepare(laid_over(files.clone(), &words), &mut inherited).await;
        let forwarder = Forwarder::new(prepared.context(no_l4)?, files, &words);
        let l4 = forwarder.l4.clone();
        if predecessor.is_none() {
            l4.serve().context(no_l4)?;
        }
        let probes = settings.control.probes.len();
        if probes > 0 {
            tracing::info!(probes, "everything is checked once before it is answered");
        }
        let serials = Arc::new(Serials::default().after(&settings.control.zones).0);
        let control = Control::start(
            Arc::new(settings.control.clone()),
            noted(&loaded, Vec::new(), &serials),
            overrides,
            Some(override_file),
        )
        .await;
        // What is announced before it is looked at waits here.
        let (announced, rung) = mpsc::channel(ANNOUNCEMENTS);
        let zones = &settings.control.secondaries;
        let mut secondaries = Secondaries::start(zones, control.board(), rung);
        control.await_first(&mut secondaries, zones).await;
        let dns = match &settings.dns {
            Some(dns) => Some(transport::bind(dns, &mut inherited)?),
            None => None,
        };
        let admin = match &settings.admin {
            Some(admin) => Some(Admin::bind(admin.clone(), &mut inherited).await?),
            None => None,
        };
        let mut door = replace::open_door(&settings.socket, entrance, &mut inherited)?;
        let mut elders = Elders::new(Vec::new(), l4.clone());
        if let Some(predecessor) = &predecessor {
            let turn = predecessor.turn().await.context("the server that runs serves on")?;
            if let Turn::Serve(passed) = turn {
                l4.adopt(passed.sessions);
                elders = Elders::new(passed.elders, l4.clone());
            }
            l4.serve().context(no_l4)?;
        }
        let dns = match dns {
            Some(dns) => {
                let mut dns = serve_dns(dns, &control, announced)?;
                control.read(dns.take_ledgers());
                Some(dns)
            }
            None => None,
        };
        let admin = match admin {
            Some(admin) => Some(serve_admin(admin, &control, &l4, dns.as_ref())?),
            None => None,
        };
        if let Some(predecessor) = predecessor {
            replace::finish(predecessor, &control).await?;
        }
        elders.hear();
        door.as_mut().into_iter().for_each(Door::keep);
        let notifying = dns.as_ref().map(|dns| {
            let (control, listen) = (control.clone(), dns.local_addrs().to_vec());
            tokio::spawn(async move { control.notify(&listen).await })
        });
        let fixed = Fixed::of(&loaded);
        let path = path.into();
        Ok(Daemon {
            path,
            loaded,
            serials,
            fixed,
            control,
            secondaries,
            dns,
            notifying,
            forwarder,
            elders,
            admin,
            door,
            supervisor: Supervisor::of_environment(),
        })
    }

    /// Follows the files, the signals and the overrides until a signal ends it, or another process
    /// serves.
    async fn run(&mut self, hang_up: &mut Signal, end: &mut End, files: &mut FileWatch) -> Ending {
        let following =
            tokio::spawn(follow_overrides(self.control.clone(), self.forwarder.clone()));
        let mut offering = replace::Offering::default();
        let ending = loop {
            let due = tokio::select! {
                () = end.comes() => break Ending::Stopped,
                _ = hang_up.recv() => {
                    // Whoever has moved the access log away knows of this process alone.
                    self.elders.ask(Request::ReopenLogs);
                    Due::Reload(Trigger::Request)
                }
                () = files.changed() => Due::Reload(Trigger::Change),
                install = self.secondaries.next() => Due::Install(install),
                line = replace::caller(self.door.as_ref()) => Due::Offer(line),
                offered = offering.outcome() => Due::Offered(offered),
            };
            let work = async {
                // Whatever the files are like, and whoever reads them.
                if matches!(due, Due::Reload(Trigger::Request))
                    && let Err(error) = self.forwarder.l4.reopen_log()
                {
                    tracing::error!("{error}");
                }
                match due {
                    // The process that takes over has read them, and will look again.
                    Due::Reload(trigger) if offering.is_under_way() => offering.postpone(trigger),
                    Due::Reload(trigger) => self.reload(trigger, files).await,
                    // Here, so that it does not come between a reload's reading and its serving.
                    Due::Install(install) => self.control.install(install).await,
                    Due::Offer(line) => offering.begin(line, self.handed()),
                    Due::Offered(offered) => match self.let_serve(offered).await {
                        Ok(by) => return Some(by),
                        Err(failed) => {
                            tracing::error!("{failed}; this process serves on");
                            if let Some(trigger) = offering.postponed() {
                                self.reload(trigger, files).await;
                            }
                        }
                    },
                }
                None
            };
            // Half of any does no harm to a server that stops.
            tokio::select! {
                () = end.comes() => break Ending::Stopped,
                replaced = work => {
                    if let Some(by) = replaced {
                        break Ending::Replaced(by);
                    }
                }
            }
        };
        following.abort();
        ending
    }

    /// Reads the files again: all or nothing. What was good before is served until then, and
    /// after a failure.
    async fn reload(&mut self, trigger: Trigger, files: &mut FileWatch) {
        self.supervisor.tell(State::Reloading);
        match self.try_reload(trigger, files).await {
            Ok(()) => self.supervisor.tell(State::Ready(SERVING)),
            Err(error) => {
                self.supervisor.tell(State::Ready(&format!("the old facts serve on: {error}")));
                self.control.note_failed_load(error);
            }
        }
    }

    async fn try_reload(&mut self, trigger: Trigger, files: &mut FileWatch) -> Result<(), String> {
        files.look();
        let loaded = match load(&self.path, Some(&self.loaded)).await {
            Ok(loaded) => loaded,
            Err(Rejected { diagnostics, files: looked_at, begun }) => {
                let errors = diagnostics.iter().filter(|p| p.severity == Severity::Error);
                let error = errors.map(one_line).collect::<Vec<_>>().join("; ");
                tracing::error!("the files cannot be served, the old facts serve on: {error}");
                files.follow(&looked_at, begun);
                return Err(error);
            }
        };
        files.follow(&loaded.files, loaded.begun);
        if let Some(gone) = self.zones_gone(&loaded)
            && trigger == Trigger::Change
        {
            let error = format!(
                "{gone}: the file of a zone being served is gone; the zone is served on, until \
                 SIGHUP confirms that it shall go"
            );
            tracing::error!("{error}");
            return Err(error);
        }
        if let Some(bare) = self.zones_bare(&loaded)
            && trigger == Trigger::Change
        {
            let error = format!(
                "{bare}: what is kept of a zone being served is gone or cannot be read; the zone is \
                 served on, until SIGHUP confirms that its primary is to be asked for it"
            );
            tracing::error!("{error}");
            return Err(error);
        }
        // Before the new checks are waited for: a new backend may be a drained one.
        let (l4, overrides) = (loaded.settings.l4.clone(), self.control.overrides());
        if let Err(error) = self.forwarder.replace(l4, &overrides).await {
            let error = format!("{error}");
            tracing::error!("the L4 services stay as they were: {error}");
            return Err(error);
        }
        let mut pending = self.fixed.pending(&Fixed::of(&loaded), &self.path);
        let (serials, stale) = self.serials.after(&loaded.settings.control.zones);
        for (origin, serial) in stale {
            let place = loaded.soas.iter().find(|place| place.origin == origin);
            pending.extend(place.map(|place| one_line(&place.stale(serial))));
        }
        pending.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.serials = Arc::new(serials);
        let noted = noted(&loaded, pending, &self.serials);
        self.control.replace(Arc::new(loaded.settings.control.clone()), noted).await;
        self.secondaries.follow(&loaded.settings.control.secondaries);
        self.loaded = loaded;
        Ok(())
    }

    /// The origins that are taken from a primary and served, and would be without data.
    fn zones_bare(&self, loaded: &Loaded) -> Option<String> {
        let snapshot = self.control.snapshot();
        let is_served = |zone: &&Zone| zone.condition() == Condition::Served;
        let served = snapshot.zones.iter().filter(is_served);
        let served: HashSet<_> = served.map(|zone| zone.origin().to_key()).collect();
        let secondaries = &self.loaded.settings.control.secondaries;
        let taken: HashSet<_> =
            secondaries.iter().map(|zone| zone.overlay.origin.to_key()).collect();
        let bare = loaded.settings.control.zones.iter().filter(|zone| !is_served(zone));
        let bare = bare.map(|zone| zone.origin()).filter(|origin| {
            let key = origin.to_key();
            served.contains(&key) && taken.contains(&key)
        });
        let bare: Vec<String> = bare.map(ToString::to_string).collect();
        (!bare.is_empty()).then(|| bare.join(", "))
    }

    /// The origins that are served and would be no more.
    fn zones_gone(&self, loaded: &Loaded) -> Option<String> {
        let old = &self.loaded.settings.control.zones;
        let new = &loaded.settings.control.zones;
        let kept: HashSet<_> = new.iter().map(|zone| zone.origin().to_key()).collect();
        let gone = old.iter().map(|zone| zone.origin());
        let gone = gone.filter(|origin| !kept.contains(&origin.to_key()));
        let gone: Vec<String> = gone.map(ToString::to_string).collect();
        (!gone.is_empty()).then(|| gone.join(", "))
    }

    /// Stops top-down.
    async fn stop(self) {
        if let Some(Window { stop, task, .. }) = self.admin {
            stop.cancel();
            let _ = task.await;
        }
        if let Some(notifying) = self.notifying {
            notifying.abort();
        }
        if let Some(dns) = self.dns {
            dns.stop().await;
        }
        self.forwarder.l4.stop(L4_GRACE).await;
    }
}

/// Tells the forwarder what the operator says of its backends, whenever something happens.
async fn follow_overrides(control: Control, forwarder: Forwarder) {
    let mut events = control.subscribe();
    loop {
        // Whether one came or some were missed, the list of overrides tells all.
        let overrides = control.overrides();
        // At once: a reload may be under way, which waits for the checks of what is new.
        forwarder.tell_standing(&overrides);
        tokio::select! {
            biased;
            () = forwarder.follow(&overrides) => { let _ = events.recv().await; }
            // Something new has been said before that.
            _ = events.recv() => {}
        }
    }
}

/// Reads the files off the asynchronous threads: a large database takes seconds.
pub async fn load(path: &Path, previous: Option<&Loaded>) -> Result<Loaded, Rejected> {
    let (owned, previous) = (path.to_path_buf(), previous.cloned());
    let files = previous.as_ref().map_or_else(Vec::new, |previous| previous.files.clone());
    survived(path, files, move || config::load(&owned, previous.as_ref())).await
}

/// A file that makes its reader panic is a bad file like others: it ends no server that runs.
async fn survived(
    path: &Path,
    files: Vec<PathBuf>,
    read: impl FnOnce() -> Result<Loaded, Rejected> + Send + 'static,
) -> Result<Loaded, Rejected> {
    let begun = SystemTime::now();
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| {
        let message = "reading the files failed by a fault of this program; please report it";
        let fault = Diagnostic::error(&Source::new(path, ""), None, message);
        Err(Rejected { diagnostics: vec![fault], files, begun })
    })
}

fn one_line(problem: &Diagnostic) -> String {
    let place = match problem.line_and_column() {
        Some((line, column)) => format!("{}:{line}:{column}", problem.file().display()),
        None => problem.file().display().to_string(),
    };
    format!("{place}: {}", problem.message)
}

fn noted(loaded: &Loaded, more: Vec<String>, serials: &Arc<Serials>) -> control::Loaded {
    let warnings = loaded.warnings.iter().map(one_line).chain(more);
    control::Loaded {
        files: loaded.files.clone(),
        warnings: warnings.collect(),
        serials: Arc::clone(serials),
    }
}

fn serve_dns(
    mut bound: transport::Bound,
    control: &Control,
    announced: transport::Announced,
) -> anyhow::Result<transport::Running> {
    bound.tell(announced);
    let running = bound.serve(control.published())?;
    for address in running.local_addrs() {
        tracing::info!(%address, "the DNS listens (UDP and TCP)");
    }
    Ok(running)
}

fn serve_admin(
    admin: Admin,
    control: &Control,
    l4: &L4,
    dns: Option<&transport::Running>,
) -> anyhow::Result<Window> {
    tracing::info!(address = %admin.local_addr()?, "the admin page and API listen");
    let handed = admin.handed()?;
    let stop = CancellationToken::new();
    let state = admin::State {
        started: (SystemTime::now(), Instant::now()),
        control: Some(control.clone()),
        l4: Some(l4.clone()),
        dns: dns.map(transport::Running::tally),
    };
    let task = tokio::spawn(admin.serve(state, stop.clone()));
    Ok(Window { handed, stop, task })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_panics_is_a_rejected_file_and_what_was_watched_is_watched_on() {
        let files = vec![PathBuf::from("zones")];
        let read = || panic!("as a fault would");
        let rejected = survived(Path::new("portolan.toml"), files, read).await.unwrap_err();
        assert_eq!(rejected.files, [PathBuf::from("zones")]);
        assert!(one_line(&rejected.diagnostics[0]).contains("portolan.toml: reading the files"));
    }
}
