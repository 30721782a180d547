//! A datacenter of the demo: two sample backends, an L4 service on the VIP in front of them, and
//! the report of its load.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::crowd::Crowd;
use crate::admin::{self, Admin};
use crate::handover::Inherited;
use crate::health::{Check, HttpCheck, Kind};
use crate::l4::{self, L4};

/// The port of the VIPs, as `zones/example.com.toml` has it.
pub const VIP_PORT: u16 = 8080;
/// The port of the sites' own API, as `portolan.toml` has it.
const API_PORT: u16 = 8053;
/// The port of the first backend; the others follow.
const BACKEND_PORT: u16 = 9001;
/// Backends a site.
pub const BACKENDS: usize = 2;
/// Connections a site can take: few, so that it is soon full.
pub const CAPACITY: u64 = 100;
/// Clients that come when it is to be filled: more than it can take.
const CROWD: u8 = 120;

/// A datacenter of the demo.
pub struct Site {
    /// As in `portolan.toml`.
    pub name: &'static str,
    /// For people.
    pub city: &'static str,
    /// Its VIP.
    pub address: Ipv4Addr,
    backends: [Option<Backend>; BACKENDS],
    running: Option<Running>,
    /// A network near it, a /16.
    clients: Ipv4Addr,
    /// Clients from there.
    crowd: Option<Crowd>,
}

struct Running {
    l4: L4,
    stop: CancellationToken,
    api: JoinHandle<()>,
}

impl Site {
    /// A site that does not run yet.
    pub fn new(
        name: &'static str,
        city: &'static str,
        address: Ipv4Addr,
        clients: Ipv4Addr,
    ) -> Site {
        let (backends, running, crowd) = ([None, None], None, None);
        Site { name, city, address, backends, running, clients, crowd }
    }

    /// Where the VIP listens.
    pub fn vip(&self) -> SocketAddr {
        (self.address, VIP_PORT).into()
    }

    /// Starts whatever does not run: backends, L4 service, API.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        for index in 0..BACKENDS {
            self.start_backend(index).await?;
        }
        if self.running.is_some() {
            return Ok(());
        }
        let l4 = l4::start(self.l4_settings()).await?;
        let listen = (self.address, API_PORT).into();
        let admin =
            Admin::bind(admin::Settings { listen, token: None }, &mut Inherited::default()).await?;
        let stop = CancellationToken::new();
        let state = admin::State {
            started: (SystemTime::now(), Instant::now()),
            control: None,
            l4: Some(l4.clone()),
            dns: None,
        };
        let api = tokio::spawn(admin.serve(state, stop.clone()));
        self.running = Some(Running { l4, stop, api });
        Ok(())
    }

    /// Stops everything at once, as a power cut would.
    pub async fn stop(&mut self) {
        self.backends = [None, None];
        if let Some(Running { l4, stop, api }) = self.running.take() {
            stop.cancel();
            let _ = api.await;
            l4.stop(Duration::ZERO).await;
        }
    }

    /// Connections now; none while it is stopped.
    pub fn connections(&self) -> Option<u64> {
        self.running.as_ref().map(|running| {
            running.l4.load().services.iter().map(|service| service.connections).sum()
        })
    }

    /// Starts one backend, if it does not run.
    pub async fn start_backend(&mut self, index: usize) -> anyhow::Result<()> {
        if self.backends[index].is_none() {
            let address = self.backend_address(index);
            let number = index + 1;
            let greeting = format!("{} ({}), backend {number}\n", self.name, self.city);
            let started = Backend::start(address, greeting).await;
            let started = started.with_context(|| format!("cannot listen on {address}"))?;
            self.backends[index] = Some(started);
        }
        Ok(())
    }

    /// Kills one backend.
    pub fn stop_backend(&mut self, index: usize) {
        self.backends[index] = None;
    }

    /// Lets more clients come from nearby than the site can take; they go where the DNS says.
    pub fn fill(&mut self) -> usize {
        self.crowd.get_or_insert_with(|| Crowd::gather(self.clients, CROWD)).len()
    }

    /// Lets them go.
    pub fn empty(&mut self) -> usize {
        self.crowd.take().map_or(0, |crowd| crowd.len())
    }

    fn backend_address(&self, index: usize) -> SocketAddr {
        (self.address, BACKEND_PORT + index as u16).into()
    }

    fn l4_settings(&self) -> l4::Settings {
        let http = HttpCheck { path: "/healthz".into(), status: vec![200], ..HttpCheck::default() };
        let check = Check {
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            rise: 1,
            fall: 2,
            ..Check::new(Kind::Http(http))
        };
        let backend = |index| l4::BackendSettings::new(self.backend_address(index), 1);
        let backends = (0..BACKENDS).map(backend).collect();
        let mut web = l4::ServiceSettings::new("web", vec![self.vip().into()], backends);
        web.balance = l4::Balance::LeastConnections;
        web.check = Some((Arc::new(check), None));
        web.capacity = Some(l4::Capacity::Connections(CAPACITY));
        web.timeouts.connect = Duration::from_secs(1);
        web.timeouts.idle = Duration::from_secs(600);
        l4::Settings::new(Some(1), vec![web])
    }
}
