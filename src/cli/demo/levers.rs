//! The demo's levers: HTTP calls that stop a backend or a datacenter, or fill one, and one that shows
//! what comes of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::site::{BACKENDS, CAPACITY, Site};

/// The sites of the demo; a lever holds them all while it is pulled.
pub type Sites = Arc<Mutex<Vec<Site>>>;

type Pulled = Result<String, (StatusCode, String)>;

/// Where the levers are.
pub async fn serve(address: SocketAddr, sites: Sites) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/", get(|| async { USAGE }))
        .route("/watch", get(watch))
        .route("/{site}/{lever}", post(pull_site))
        .route("/{site}/backend/{number}/{lever}", post(pull_backend))
        .fallback(|| async { (StatusCode::NOT_FOUND, USAGE) })
        .with_state(sites);
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, routes).await
}

const USAGE: &str = "\
POST /SITE/stop, /SITE/start            the whole datacenter
POST /SITE/fill, /SITE/empty            more clients from nearby than it can take
POST /SITE/backend/N/stop, …/start      one backend
GET  /watch                             a line a second: connections at each datacenter
";

/// From line to line.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// A line a second, until the client has seen enough.
async fn watch(State(sites): State<Sites>) -> Body {
    let begin = Instant::now();
    let lines = futures_util::stream::unfold(sites, move |sites| async move {
        tokio::time::sleep(WATCH_EVERY).await;
        let mut line = format!("{:4} s", begin.elapsed().as_secs());
        for site in sites.lock().await.iter() {
            line += &match site.connections() {
                Some(connections) => format!("   {} {connections:2} of {CAPACITY}", site.name),
                None => format!("   {} stopped ", site.name),
            };
        }
        Some((Ok::<_, Infallible>(line + "\n"), sites))
    });
    Body::from_stream(lines)
}

async fn pull_site(
    State(sites): State<Sites>,
    Path((site, lever)): Path<(String, String)>,
) -> Pulled {
    let mut sites = sites.lock().await;
    let site = find(&mut sites, &site)?;
    match &lever[..] {
        "stop" => {
            site.stop().await;
            Ok(format!("{} is stopped\n", site.name))
        }
        "start" => {
            site.start().await.map_err(failed)?;
            Ok(format!("{} runs\n", site.name))
        }
        "fill" => {
            let clients = site.fill();
            Ok(format!("{clients} clients come near {}, which can take {CAPACITY}\n", site.name))
        }
        "empty" => {
            let clients = site.empty();
            Ok(format!("{clients} clients near {} go\n", site.name))
        }
        _ => Err((StatusCode::NOT_FOUND, USAGE.into())),
    }
}

async fn pull_backend(
    State(sites): State<Sites>,
    Path((site, number, lever)): Path<(String, usize, String)>,
) -> Pulled {
    let mut sites = sites.lock().await;
    let site = find(&mut sites, &site)?;
    if !(1..=BACKENDS).contains(&number) {
        return Err((StatusCode::NOT_FOUND, format!("backends are 1 to {BACKENDS}\n")));
    }
    match &lever[..] {
        "stop" => {
            site.stop_backend(number - 1);
            Ok(format!("backend {number} of {} is stopped\n", site.name))
        }
        "start" => {
            site.start_backend(number - 1).await.map_err(failed)?;
            Ok(format!("backend {number} of {} runs\n", site.name))
        }
        _ => Err((StatusCode::NOT_FOUND, USAGE.into())),
    }
}

fn find<'a>(sites: &'a mut [Site], name: &str) -> Result<&'a mut Site, (StatusCode, String)> {
    let names: Vec<&str> = sites.iter().map(|site| site.name).collect();
    let unknown = format!("there is no site {name}; there are: {}\n", names.join(", "));
    let site = sites.iter_mut().find(|site| site.name == name);
    site.ok_or((StatusCode::NOT_FOUND, unknown))
}

fn failed(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n"))
}
