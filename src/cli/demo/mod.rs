//! `portolan demo`: three datacenters on loopback, to try it out.

mod backend;
mod crowd;
mod levers;
mod site;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::Mutex;

use super::{Output, serve};
use crate::daemon::Entrance;
use levers::Sites;
use site::Site;

/// The configuration that the demo runs: that of the repository, as it stands.
const CONFIG: &str = "portolan.toml";
/// Where the demo's levers are.
const LEVERS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8054);

/// The command line of `demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// JSON makes the log JSON.
    #[command(flatten)]
    pub output: Output,
}

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    serve::log_to_stderr(arguments.output.json, "warn");
    let path = Path::new(CONFIG);
    if !path.exists() {
        eprintln!(
            "error: there is no {CONFIG} here\n\n\
             The demo runs the repository's own {CONFIG}, zones/ and geoip/: start it there."
        );
        return ExitCode::from(super::FAILED);
    }
    serve::until_stopped(demo(path, arguments.output.json))
}

async fn demo(path: &Path, json: bool) -> anyhow::Result<()> {
    let sites: Sites = Arc::new(Mutex::new(vec![
        Site::new("fra", "Frankfurt", Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(130, 92, 0, 0)),
        Site::new("iad", "Washington", Ipv4Addr::new(127, 0, 2, 1), Ipv4Addr::new(142, 150, 0, 0)),
        Site::new("nrt", "Tokyo", Ipv4Addr::new(127, 0, 3, 1), Ipv4Addr::new(133, 11, 0, 0)),
    ]));
    for site in sites.lock().await.iter_mut() {
        let started = site.start().await;
        started.with_context(|| format!("the datacenter {} does not start", site.name))?;
    }
    let levers = tokio::spawn(levers::serve(LEVERS, Arc::clone(&sites)));
    let serving = serve::serve(path, json, Entrance::Apart, || {
        // Nobody may be reading.
        let _ = std::io::stdout().write_all(GUIDE.as_bytes());
    });
    tokio::select! {
        done = serving => done?,
        failed = levers => failed?.with_context(|| format!("cannot listen on {LEVERS}"))?,
    }
    for site in sites.lock().await.iter_mut() {
        site.stop().await;
    }
    Ok(())
}

const GUIDE: &str = "\
Portolan runs: three datacenters on loopback, each an L4 service in front of two backends.

  fra  Frankfurt   127.0.1.1:8080
  iad  Washington  127.0.2.1:8080
  nrt  Tokyo       127.0.3.1:8080

Ask, on behalf of clients in Switzerland, Canada and Japan:

  dig @127.0.0.1 -p 5353 www.example.com +subnet=130.92.0.0/16
  dig @127.0.0.1 -p 5353 www.example.com +subnet=142.150.0.0/16
  dig @127.0.0.1 -p 5353 www.example.com +subnet=133.11.0.0/16

Follow the answer to a backend, and see why it was given:

  curl http://$(dig +short @127.0.0.1 -p 5353 www.example.com +subnet=133.11.0.0/16):8080/
  portolan explain www.example.com --client 133.11.0.0/16     (cargo run --release -- explain …)

Look:  http://127.0.0.1:8053/

See which clients go where, and what the loss of a datacenter would mean:

  portolan plan                                               (cargo run --release -- plan)

Stop a backend, both, a whole datacenter; ask again. Let more clients come to one than it can take,
and watch in another window how the DNS sends them on:

  curl --no-buffer http://127.0.0.1:8054/watch

  curl -X POST http://127.0.0.1:8054/nrt/backend/1/stop       and back: …/start
  curl -X POST http://127.0.0.1:8054/nrt/stop                 and back: …/start
  curl -X POST http://127.0.0.1:8054/fra/fill                 and back: …/empty

Ctrl-C ends it.
";
