//! The operator's overrides: up, down or drained by word, until cleared or expired.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an override is about: `datacenter/fra`, `pool/example.com/web`,
/// `member/example.com/web/fra`, `l4/web/10.0.0.5:443`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// Every member in a datacenter.
    Datacenter(String),
    /// Every member of a pool.
    Pool {
        /// The zone's origin, without the final dot.
        zone: String,
        /// The pool's name.
        pool: String,
    },
    /// One datacenter's part in a pool.
    Member {
        /// The zone's origin, without the final dot.
        zone: String,
        /// The pool's name.
        pool: String,
        /// The datacenter's name.
        datacenter: String,
    },
    /// A backend of an L4 service.
    L4 {
        /// The service's name.
        service: String,
        /// The backend's address and port.
        backend: String,
    },
}

/// What an override does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Counts as up, whatever the checks say.
    ForceUp,
    /// Counts as down, whatever the checks say.
    ForceDown,
    /// Takes no new clients.
    Drain,
}

/// An override in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// About what.
    pub target: Target,
    /// What it does.
    pub action: Action,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was set: seconds since 1970 (UTC).
    pub since: u64,
    /// When it ends: seconds since 1970 (UTC); none: when cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let zone = |zone: &str| zone.trim_end_matches('.').to_ascii_lowercase();
        match parts[..] {
            ["datacenter", name] if !name.is_empty() => Ok(Target::Datacenter(name.into())),
            ["pool", origin, pool] => Ok(Target::Pool { zone: zone(origin), pool: pool.into() }),
            ["member", origin, pool, datacenter] => Ok(Target::Member {
                zone: zone(origin),
                pool: pool.into(),
                datacenter: datacenter.into(),
            }),
            ["l4", service, backend] => {
                Ok(Target::L4 { service: service.into(), backend: backend.into() })
            }
            _ => Err(format!(
                "`{text}` is not a target: expected datacenter/NAME, pool/ZONE/POOL, \
                 member/ZONE/POOL/DATACENTER or l4/SERVICE/ADDRESS:PORT"
            )),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Target, String> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Datacenter(name) => write!(f, "datacenter/{name}"),
            Target::Pool { zone, pool } => write!(f, "pool/{zone}/{pool}"),
            Target::Member { zone, pool, datacenter } => {
                write!(f, "member/{zone}/{pool}/{datacenter}")
            }
            Target::L4 { service, backend } => write!(f, "l4/{service}/{backend}"),
        }
    }
}
